"""Ask the marketplace agent: ``python -m examples.marketplace_search ["your question"]``."""

from __future__ import annotations

import argparse
import sys

import anyio

from ling_agent import LingAgentError, RunResult
from ling_agent.planning import Planning
from ling_agent.view import RunView

from .agent import make_agent
from .market import SnapshotMarket, open_market

QUESTION = "Find the cheapest RTX 4090."


def main(arguments: list[str] | None = None) -> int:
    """Run the example; exit code 0 when the run completed, 1 when not, 2 for an error."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.marketplace_search",
        description="An agent finds GPU offers on the Clore.ai marketplace: live when "
        "CLORE_API_KEY is set, else on a synthetic snapshot. It never rents.",
    )
    parser.add_argument("question", nargs="?", default=QUESTION, help=f"default: {QUESTION}")
    parser.add_argument(
        "--model", default="qwen2.5-coder-0.5b", help="catalogue alias or path to a .gguf"
    )
    parser.add_argument("--planning", default="inline", choices=("off", "inline", "explicit"))
    options = parser.parse_args(arguments)
    try:
        result = anyio.run(ask, options.question, options.model, options.planning)
    except LingAgentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0 if result.ok else 1


async def ask(question: str, model: str, planning: Planning) -> RunResult:
    """Ask one question and show the run."""
    market = open_market()
    source = "a synthetic snapshot" if isinstance(market, SnapshotMarket) else "live offers"
    print(f"Marketplace search on {source}, model {model}\nQuestion: {question}\n", flush=True)
    agent = make_agent(market, f"llamacpp:{model}", planning=planning)
    view = RunView()
    try:
        async with agent.stream(question) as run:
            async for event in run:
                view.show(event)
    finally:
        view.close()
    return run.result


if __name__ == "__main__":
    sys.exit(main())
