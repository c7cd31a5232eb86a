"""Start the program: ``python -m examples.web_chat``."""

from __future__ import annotations

import argparse

import uvicorn

from .app import make_app
from .bookshop import build_agent


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m examples.web_chat", description=__doc__)
    parser.add_argument("--backend", help="for example vllm:http://localhost:8000")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    # A stream that is read for ever does not hold up Ctrl-C.
    uvicorn.run(
        make_app(build_agent(options.backend)), port=options.port, timeout_graceful_shutdown=3
    )


if __name__ == "__main__":
    main()
