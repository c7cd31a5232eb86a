"""Start the program: ``python -m examples.web_approval``."""

from __future__ import annotations

import argparse

import uvicorn

from .app import make_app
from .refunds import build_agent


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m examples.web_approval", description=__doc__)
    parser.add_argument("--backend", help="for example vllm:http://localhost:8000")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--store", default="refunds.db", help="file of the runs")
    options = parser.parse_args()
    app = make_app(build_agent(options.backend, options.store))
    uvicorn.run(app, port=options.port, timeout_graceful_shutdown=3)


if __name__ == "__main__":
    main()
