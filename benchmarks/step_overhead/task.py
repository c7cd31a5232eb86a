"""The one tool that every contender calls, and the check that a run did what it should."""

from __future__ import annotations

from . import script

calls_made: int = 0
"""How often the tool ran in this process."""


async def search_marketplace(gpu: str, max_price_per_hour: float, page: int) -> str:
    """Search one page of the GPU rental offers.

    Args:
        gpu: GPU model, for example "RTX 4090".
        max_price_per_hour: Highest acceptable price in USD per hour.
        page: Page of the result, from 1.
    """
    global calls_made
    calls_made += 1
    return (
        f"Page {page}: offer {1040 + page}, 1x {gpu}, 24 GB, {max_price_per_hour} USD per hour, "
        "reliability 0.99, 16 cores, 64 GB RAM, 500 Mbit/s down; 3 more offers are dearer."
    )


def check(answers: list[str], calls_before: int) -> None:
    """Refuse a measurement of something else than the task.

    Args:
        answers: What the runs returned. They end with the script's answer: agno puts what the
            model said before it in front.
        calls_before: `calls_made` when they began.
    """
    for answer in answers:
        if not answer.endswith(script.FINAL_ANSWER):
            raise RuntimeError(f"a run ended with another answer than the script's: {answer!r}")
    made = calls_made - calls_before
    if made != script.TOOL_STEPS * len(answers):
        raise RuntimeError(f"{len(answers)} runs called the tool {made} times")
