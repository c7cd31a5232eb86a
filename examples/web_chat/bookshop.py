"""The agent: it answers customers of a bookshop."""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from ling_agent import Agent, Limits, RunContext, Sampling, ToolError, tool
from ling_agent.backends import Backend


@dataclass(frozen=True)
class Book:
    """A book that the shop sells; the price is in euros."""

    title: str
    author: str
    price: float
    copies: int


BOOKS = [
    Book("The Dispossessed", "Ursula K. Le Guin", 12.5, 4),
    Book("Solaris", "Stanisław Lem", 10.0, 0),
    Book("Kindred", "Octavia E. Butler", 11.0, 7),
]
WAREHOUSES = {"Lyon": 2, "Gdańsk": 3, "Bari": 5}
"""Days that a parcel takes."""


@tool
def find_books(words: str) -> list[Book]:
    """Find books by words of their title or author.

    Args:
        words: For example "Solaris" or "Lem".
    """
    return [b for b in BOOKS if words.lower() in f"{b.title} {b.author}".lower()]


@tool
async def delivery_days(ctx: RunContext[None], title: str) -> str:
    """How many days until a book is with the customer.

    Args:
        title: The book's whole title.
    """
    if not any(book.title == title and book.copies for book in BOOKS):
        raise ToolError(f"{title} is not in stock")
    for city in WAREHOUSES:
        ctx.emit(f"asking {city}")  # the page shows it beside the call
        await anyio.sleep(0.2)
    return f"{min(WAREHOUSES.values())} days"


def build_agent(backend: Backend | str | None = None) -> Agent:
    """The agent; its sessions are kept in this process."""
    return Agent(
        backend,
        tools=[find_books, delivery_days],
        instructions="You help the customers of a bookshop. Answer from the tool results.",
        limits=Limits(max_steps=8, timeout=300),  # nobody waits longer for an answer
        sampling=Sampling(max_tokens=400),
    )
