"""Build `questions.json`: questions about the snapshot with answers computed from it.

Run it with ``python -m examples.marketplace_search.questions``. The answers come from plain loops
over the offers, not from the tools, so that a wrong tool cannot agree with itself.

What ``expected`` can hold, all of which has to be true of an answer (see `checking.check`):

- ``offers`` with ``need``: the acceptable offers, each with its price per hour in USD and the
  other amounts that an answer may mention; ``need`` is ``id``, ``usd``, ``both`` or ``either``.
- ``usd``: amounts that have to be there; ``about_offers``: the only offers that may be named.
- ``mentioned_usd``: amounts from the question, which may be repeated.
- ``priced``: names, each of which has to be given its own price per hour in USD.
- ``cheaper``: the names of the cheaper and of the dearer one.
- ``none``: the answer has to say that there is nothing.
- ``numbers`` and ``words``: plain numbers, and groups of words with one of each group.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .checking import HOURLY_TOLERANCE_USD, Verdict, check
from .generate_snapshot import SNAPSHOT_PATH
from .market import Offer, offer_from_api
from .text import country_name

__all__ = ["QUESTIONS_PATH", "Verdict", "build_questions", "check", "load_questions", "render"]

QUESTIONS_PATH = Path(__file__).with_name("questions.json")

Question = dict[str, Any]


class _Book:
    """The free offers of the snapshot, and the questions collected so far."""

    def __init__(self, offers: Iterable[Offer]) -> None:
        self.all = list(offers)
        self.free = [offer for offer in self.all if not offer.rented]
        self.questions: list[Question] = []

    def of(self, gpu: str, *, spot: bool = False) -> list[Offer]:
        """Free offers of this model with such a price, cheapest first."""
        offers = [o for o in self.free if o.gpu == gpu and o.price(spot=spot) is not None]
        return sorted(offers, key=lambda offer: (offer.price(spot=spot) or 0.0, offer.id))

    def ask(self, shape: str, text: str, expected: dict[str, Any], *, tool: bool = True) -> None:
        """Add a question; its id is its shape and a number."""
        number = sum(question["shape"] == shape for question in self.questions) + 1
        self.questions.append(
            {
                "id": f"{shape}-{number}",
                "shape": shape,
                "question": text,
                "needs_tool": tool,
                "expected": expected,
            }
        )


def _accept(offers: Iterable[Offer], need: str, *, spot: bool = False) -> dict[str, Any]:
    """Any of these offers is right."""
    rows: list[dict[str, Any]] = []
    for offer in offers:
        prices = [offer.usd_per_hour]
        if offer.spot_usd_per_hour is not None:
            saved = round(offer.usd_per_hour - offer.spot_usd_per_hour, 4)
            prices += [offer.spot_usd_per_hour, saved]
        rows.append({"id": offer.id, "usd": offer.price(spot=spot), "amounts": prices})
    return {"offers": rows, "need": need}


def _best(offers: Iterable[Offer], key: Callable[[Offer], float]) -> list[Offer]:
    """Every offer that shares the smallest key."""
    found = list(offers)
    least = min(map(key, found))
    return [offer for offer in found if key(offer) == least]


def _cheapest(offers: Iterable[Offer], *, spot: bool = False) -> list[Offer]:
    return _best(offers, lambda offer: offer.price(spot=spot) or 0.0)


def _total(offer_ids: list[int] | None, price: float, hours: float) -> dict[str, Any]:
    expected: dict[str, Any] = {
        "usd": [{"value": round(price * hours, 2), "tolerance": 0.005}],
        "mentioned_usd": [price],
    }
    return expected if offer_ids is None else {**expected, "about_offers": offer_ids}


def _cheapest_of_model(book: _Book) -> None:
    shape = "cheapest_of_model"
    for gpu, text, need in (
        ("RTX 4090", "Find the cheapest RTX 4090.", "either"),
        ("RTX 3090", "What is the lowest price per hour for an RTX 3090?", "usd"),
        ("RTX 5090", "Find the cheapest RTX 5090 offer and tell me its number.", "id"),
        ("A100", "How much does the cheapest A100 cost per hour?", "usd"),
    ):
        book.ask(shape, text, _accept(_cheapest(book.of(gpu)), need))
    german = [offer for offer in book.of("RTX 3090") if offer.country == "DE"]
    text = "Find the cheapest RTX 3090 in Germany."
    book.ask(shape, text, _accept(_cheapest(german), "either"))


def _under_price(book: _Book) -> None:
    shape = "under_price"
    for gpu, limit, text in (
        ("RTX 4090", 0.35, "Find an RTX 4090 for at most $0.35 per hour."),
        ("RTX 3060", 0.05, "Which RTX 3060 can I rent for $0.05 per hour or less?"),
        ("RTX A6000", 0.45, "Is there an RTX A6000 for $0.45 per hour or less? What does it cost?"),
    ):
        offers = [offer for offer in book.of(gpu) if offer.usd_per_hour <= limit]
        book.ask(shape, text, {**_accept(offers, "either"), "mentioned_usd": [limit]})
    count = sum(offer.usd_per_hour <= 0.4 for offer in book.of("RTX 4090"))
    text = "How many RTX 4090 offers are available for $0.40 per hour or less?"
    book.ask(shape, text, {"numbers": [count]})


def _cost_for_hours(book: _Book) -> None:
    shape = "cost_for_hours"
    for gpu, hours, text in (
        ("RTX 3090", 24, "What does the cheapest RTX 3090 cost for 24 hours?"),
        ("RTX 4090", 10, "How much would I pay in total for 10 hours on the cheapest RTX 4090?"),
        ("L40S", 100, "Estimate the cost of an L40S for 100 hours."),
    ):
        best = _cheapest(book.of(gpu))
        ids = [offer.id for offer in best]
        book.ask(shape, text, _total(ids, best[0].usd_per_hour, hours))
    offer = book.of("RTX 4080")[1]
    text = f"What is the total cost of offer {offer.id} for 48 hours?"
    book.ask(shape, text, _total([offer.id], offer.usd_per_hour, 48))


def _reliability(book: _Book) -> None:
    shape = "best_reliability"
    for gpu, text in (
        ("RTX 3090", "Which RTX 3090 offer has the best reliability?"),
        ("RTX 4080", "What is the most reliable RTX 4080 offer?"),
    ):
        best = _best(book.of(gpu), lambda offer: -offer.reliability)
        book.ask(shape, text, _accept(best, "id"))
    steady = [offer for offer in book.of("RTX 4090") if offer.reliability >= 0.99]
    text = "Which is the cheapest RTX 4090 offer with a reliability of at least 99%?"
    book.ask(shape, text, _accept(_cheapest(steady), "id"))


def _spot(book: _Book) -> None:
    shape = "spot_vs_on_demand"
    first, second = (
        [offer for offer in book.of(gpu, spot=True) if offer.gpu_count == 1][1]
        for gpu in ("RTX 3090", "RTX 5090")
    )
    spot = first.spot_usd_per_hour or 0.0
    names = (["spot"], ["on demand", "on-demand"])
    right, wrong = names if spot < first.usd_per_hour else names[::-1]
    text = f"For offer {first.id}, which is cheaper: spot or on-demand?"
    cheaper = {"right": right, "wrong": wrong}
    book.ask(shape, text, {"cheaper": cheaper, "about_offers": [first.id]})
    saved = round(second.usd_per_hour - (second.spot_usd_per_hour or 0.0), 4)
    book.ask(
        shape,
        f"How much do I save per hour with spot instead of on-demand on offer {second.id}?",
        {
            "usd": [{"value": saved, "tolerance": HOURLY_TOLERANCE_USD}],
            "mentioned_usd": [second.usd_per_hour, second.spot_usd_per_hour],
            "about_offers": [second.id],
        },
    )
    best = _cheapest(book.of("RTX 4090", spot=True), spot=True)
    text = "What is the cheapest spot price per hour for an RTX 4090?"
    book.ask(shape, text, _accept(best, "usd", spot=True))
    best = _cheapest(book.of("H100", spot=True), spot=True)
    on_demand, cheapest = best[0].usd_per_hour, best[0].spot_usd_per_hour or 0.0
    expected = _total([offer.id for offer in best], cheapest, 8)
    saved = on_demand - cheapest
    expected["mentioned_usd"] += [
        round(amount, 4) for amount in (on_demand, on_demand * 8, saved, saved * 8)
    ]
    book.ask(shape, "What do 8 hours on the cheapest spot H100 cost?", expected)


def _aliases(gpu: str) -> list[str]:
    return [gpu, gpu.removeprefix("RTX ")] if gpu.startswith("RTX ") else [gpu]


def _compare(book: _Book) -> None:
    for one, other, text in (
        ("RTX 3090", "RTX 4090", "Which is cheaper, an RTX 3090 or an RTX 4090?"),
        ("H100", "A100", "Compare the H100 and the A100: which one costs less per hour?"),
        ("RTX 5080", "RTX 4080", "Compare the prices of the RTX 5080 and the RTX 4080."),
    ):
        low, high = sorted((one, other), key=lambda gpu: book.of(gpu)[0].usd_per_hour)
        expected: dict[str, Any] = {"cheaper": {"right": _aliases(low), "wrong": _aliases(high)}}
        if text.startswith("Compare the prices"):
            prices = [(gpu, book.of(gpu)[0].usd_per_hour) for gpu in (low, high)]
            priced = [{"names": _aliases(gpu), "usd": price} for gpu, price in prices]
            expected = {"priced": priced}
        book.ask("compare_models", text, expected)


def _none(book: _Book) -> None:
    for gpu, limit, text in (
        ("H200", None, "Is an H200 available right now?"),
        ("RTX 4090", 0.1, "Find an RTX 4090 for less than $0.10 per hour."),
        ("H100", 0.5, "Which H100 offers cost less than $0.50 per hour?"),
        ("RTX 9090", None, "Find the cheapest RTX 9090."),
    ):
        offers = book.of(gpu)
        if any(limit is None or offer.usd_per_hour < limit for offer in offers):
            raise ValueError(f"the snapshot has an offer for: {text}")
        book.ask("none_available", text, {"none": True})


def _details(book: _Book) -> None:
    offer = book.of("L40S")[0]
    text = f"How many GB of disk does offer {offer.id} have?"
    book.ask("offer_details", text, {"numbers": [offer.disk_gb]})
    offer = book.of("RTX 4070")[2]
    words = [country_name(offer.country), offer.country]
    book.ask("offer_details", f"In which country is offer {offer.id}?", {"words": [words]})


def _no_tool(book: _Book) -> None:
    words = [["video"], ["random"], ["access"], ["memory"]]
    for text, expected in (
        ("What does VRAM stand for?", {"words": words}),
        ("How many hours are in three days?", {"numbers": [72]}),
        ("What is the capital of France?", {"words": [["Paris"]]}),
    ):
        book.ask("no_tool", text, expected, tool=False)


def build_questions(snapshot: Path = SNAPSHOT_PATH) -> list[Question]:
    """Every question with its answer, from the snapshot alone."""
    servers = json.loads(snapshot.read_text(encoding="utf-8"))["servers"]
    parsed = (offer_from_api(server) for server in servers)
    book = _Book(offer for offer in parsed if offer is not None)
    for add in (
        _cheapest_of_model,
        _under_price,
        _cost_for_hours,
        _reliability,
        _spot,
        _compare,
        _none,
        _details,
        _no_tool,
    ):
        add(book)
    return book.questions


def render(questions: list[Question]) -> str:
    """JSON with one question per line."""
    return "[\n" + ",\n".join(json.dumps(question) for question in questions) + "\n]\n"


def load_questions(path: Path = QUESTIONS_PATH) -> list[Question]:
    """The questions as shipped."""
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    """Write ``questions.json`` next to this file."""
    questions = build_questions()
    QUESTIONS_PATH.write_text(render(questions), encoding="utf-8")
    print(f"{QUESTIONS_PATH.name}: {len(questions)} questions")


if __name__ == "__main__":
    main()
