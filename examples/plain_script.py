"""Hello world: tools, a streamed answer, a typed answer. ``python examples/plain_script.py``."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass

from ling_agent import Agent, tool
from ling_agent.backends import Backend
from ling_agent.events import TextDelta, ToolFinished, ToolStarted

QUESTION = "Find the cheapest RTX 4090."


@dataclass
class Offer:
    """One offer of the market."""

    gpu: str
    price_per_hour: float
    city: str


OFFERS = [
    Offer("RTX 4090", 0.42, "Oslo"),
    Offer("RTX 4090", 0.35, "Porto"),
    Offer("A100", 1.10, "Graz"),
]


@tool
def search_offers(gpu: str) -> list[Offer]:
    """Search GPU rental offers; the cheapest one comes first.

    Args:
        gpu: GPU model, for example "RTX 4090".
    """
    found = [offer for offer in OFFERS if offer.gpu.lower() == gpu.lower()]
    return sorted(found, key=lambda offer: offer.price_per_hour)


async def streamed(backend: Backend | str | None) -> str | None:
    """Print the run while it works; returns the answer."""
    agent = Agent(backend, tools=[search_offers], instructions="You find GPU rental offers.")
    async with agent.stream(QUESTION) as run:
        async for event in run:
            match event:
                case TextDelta(text):
                    print(text, end="", flush=True)
                case ToolStarted(call):
                    print(f"\n→ {call.name}({call.arguments})")
                case ToolFinished(observation, seconds):
                    print(f"← {observation.content}  ({seconds:.2f} s)")
                case _:  # events.Event lists the others
                    pass
    print(f"\n{run.result.status}: {run.result.usage.total_tokens} tokens\n")
    return run.result.output


async def typed(backend: Backend | str | None) -> Offer | None:
    """The same question, answered with an `Offer`; None when the run did not complete."""
    agent = Agent(backend, tools=[search_offers], planning="off", output_type=Offer)
    result = await agent.run(QUESTION)
    return result.output


async def main(backend: Backend | str | None) -> None:
    """Ask twice."""
    await streamed(backend)
    offer = await typed(backend)
    if offer is not None:
        print(f"{offer.gpu} in {offer.city}: ${offer.price_per_hour:.2f} an hour")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", help="for example vllm:http://localhost:8000")
    asyncio.run(main(parser.parse_args().backend))
