"""Facts that are planted in observations, each with two questions about it.

One asks in words of the fact in another order, without the answer. The other paraphrases: a
question with other word forms and, for about half of the words that matter, other words; names
stay, as they say which fact is meant. The names occur in other observations, too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import words

COUNT = 200


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact with its questions.

    Attributes:
        kind: What it is about.
        text: The sentence that is planted.
        exact: A query in words of the text.
        paraphrase: A question in other words.
    """

    kind: str
    text: str
    exact: str
    paraphrase: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """How facts of a kind are written; ``names`` are the slots by which they differ."""

    name: str
    text: str
    exact: str
    paraphrase: str
    names: tuple[str, ...]


_KINDS = (
    _Kind(
        "key",
        "The deployment key of cluster {cluster} is kept in vault shelf {shelf}.",
        "vault shelf cluster {cluster} deployment key",
        "Where do we store the key for deploying to {cluster}?",
        ("cluster",),
    ),
    _Kind(
        "budget",
        "{person} approved the budget of {amount} euros for the {city} warehouse.",
        "{city} warehouse budget euros approved {person}",
        "What was the budget that {person} signed off for warehousing in {city}?",
        ("person", "city"),
    ),
    _Kind(
        "outage",
        "Offer {id} in {city} was down from {day} to {day2} {month} because of a broken {part}.",
        "down because broken {city} offer {id}",
        "Why could nobody rent offer {id} at the {city} site?",
        ("id",),
    ),
    _Kind(
        "bug",
        "Ticket {ticket}: the {component} leaks memory after a retry; {person} found the cause in "
        "{file}.",
        "cause found {component} memory leaks ticket {ticket}",
        "Who tracked down the leaking {component} of issue {ticket}, and in which source?",
        ("ticket",),
    ),
    _Kind(
        "contract",
        "The contract with {company} ends in {month} and renews for {count} years unless it is "
        "cancelled {days} days before.",
        "cancelled days before contract {company} renews years",
        "How early must our contract with {company} be terminated so that it is not renewed?",
        ("company",),
    ),
    _Kind(
        "shipment",
        "Shipment {code} with {count} crates of {goods} left {city} on {day} {month} aboard the "
        "{ship}.",
        "{city} left crates {goods} shipment {code} aboard",
        "Which vessel carried the {goods} with the code {code} out of {city}?",
        ("code",),
    ),
    _Kind(
        "meal",
        "{person} cannot eat {food}, so the team dinner in {city} was moved to the {place}.",
        "team dinner {city} moved {person} eat",
        "Which food is {person} unable to eat, and where were colleagues moved for the meal in "
        "{city}?",
        ("person", "city"),
    ),
    _Kind(
        "setting",
        "Service {service} has to run with {variable}={value}: with the default it times out under "
        "load.",
        "default times out load service {service} run {variable}",
        "Which value keeps the {service} service from timing out when traffic is heavy?",
        ("service",),
    ),
    _Kind(
        "speed",
        "With {count} threads the {algorithm} sort took {amount} ms on {gpu}, which was slower "
        "than before.",
        "{gpu} {algorithm} sort threads took ms slower",
        "How long does sorting by {algorithm} need on the {gpu} card?",
        ("algorithm", "gpu"),
    ),
    _Kind(
        "meeting",
        "The {project} review was moved to room {room} at {hour}:15; {person} takes the minutes.",
        "minutes room moved {project} review takes",
        "In what room do we meet to review {project}, and who writes the protocol?",
        ("project",),
    ),
    _Kind(
        "chinese",
        "{chinese}负责{chinese_city}数据中心的冷却系统，备用钥匙放在{floor}楼的保安室。",
        "备用钥匙 保安室 冷却系统 {chinese_city} {chinese}",
        "{chinese}管理的{chinese_city}机房，备份的钥匙在哪里？",
        ("chinese", "chinese_city"),
    ),
    _Kind(
        "japanese",
        "{japanese}さんは{japanese_city}の倉庫で在庫を確認し、{goods_japanese}が{count}個足りない"
        "と報告しました。",
        "在庫 確認 足りない {japanese_city} 倉庫 {japanese}さん",
        "{japanese_city}の倉庫で{japanese}さんが調べたとき、不足していたのは何ですか？",
        ("japanese", "japanese_city"),
    ),
)

Draw = Callable[[random.Random], str]


def _one_of(text: str) -> Draw:
    choices = text.split()
    return lambda r: r.choice(choices)


def _number(low: int, high: int) -> Draw:
    return lambda r: f"{r.randint(low, high):,}" if high > 9_999 else str(r.randint(low, high))


def _plant_number(r: random.Random) -> str:
    return f"{r.choice(words.PLANTS)}-{r.randint(10, 99)}"


_SLOTS: Mapping[str, Draw] = {
    "cluster": _plant_number,
    "shelf": lambda r: f"{r.choice('ABCDEFG')}{r.randint(10, 99)}",
    "person": lambda r: f"{r.choice(words.FIRST)} {r.choice(words.LAST)}",
    "city": lambda r: r.choice(words.CITIES),
    "amount": _number(1_000, 99_999),
    "id": lambda r: str(r.randint(10_000, 99_999)),
    "day": _number(1, 14),
    "day2": _number(15, 28),
    "month": lambda r: r.choice(words.MONTHS),
    "part": _one_of("fan pump cable valve bearing bracket battery"),
    "ticket": lambda r: f"{r.choice(('OPS', 'NET', 'WEB', 'CORE'))}-{r.randint(100, 9999)}",
    "component": _one_of("gateway queue index handler ledger probe"),
    "file": lambda r: f"{r.choice(words.TOPICS)}_{r.choice(words.TOPICS)}.rs",
    "company": lambda r: f"{r.choice(words.LAST)} & {r.choice(words.LAST)} {r.choice(_LEGAL)}",
    "count": _number(2, 60),
    "days": _number(30, 120),
    "code": lambda r: f"{r.choice('KLMNPRS')}{r.choice('ABCDEF')}{r.randint(1000, 9999)}",
    "goods": _one_of("cocoa olives ceramics textiles bicycles turbines"),
    "ship": lambda r: f"{r.choice(('Nordic', 'Blue', 'Silver'))} {r.choice(('Star', 'Heron'))}",
    "food": _one_of("peanuts shellfish celery gluten sesame lactose"),
    "place": _one_of("canteen terrace harbour museum courtyard"),
    "service": lambda r: f"{r.choice(words.TOPICS)}-{r.choice(words.TOPICS)}d",
    "variable": lambda r: f"{r.choice(words.TOPICS)}_{r.choice(words.TOPICS)}".upper(),
    "value": _number(1, 512),
    "algorithm": _one_of("radix merge bitonic bucket shell timsort"),
    "gpu": lambda r: (
        f"{r.choice(('RTX', 'Quadro', 'Radeon'))} {r.randint(30, 99)}{r.choice('05')}0"
    ),
    "project": lambda r: f"{r.choice(words.PLANTS).title()} {r.choice(words.TOPICS)}",
    "room": lambda r: f"{r.randint(1, 9)}.{r.randint(10, 99)}",
    "hour": _number(8, 17),
    "chinese": lambda r: r.choice(words.CHINESE_NAMES),
    "chinese_city": lambda r: r.choice(words.CHINESE_CITIES),
    "floor": _one_of("二 三 四 五 六 七 八"),
    "japanese": lambda r: r.choice(words.JAPANESE_NAMES),
    "japanese_city": lambda r: r.choice(words.JAPANESE_CITIES),
    "goods_japanese": _one_of("電池 部品 工具 荷札 電球"),
}
_LEGAL = ("GmbH", "Ltd", "SA", "BV")


def facts(count: int = COUNT, seed: int = 7) -> list[Fact]:
    """So many facts of all kinds, no two of them about the same thing."""
    generator = random.Random(seed)
    made: dict[tuple[str, ...], Fact] = {}
    while len(made) < count:
        kind = _KINDS[len(made) % len(_KINDS)]
        slots = {name: draw(generator) for name, draw in _SLOTS.items()}
        key = (kind.name, *(slots[name] for name in kind.names))
        made.setdefault(key, _fact(kind, slots))
    return list(made.values())


def _fact(kind: _Kind, slots: Mapping[str, str]) -> Fact:
    return Fact(
        kind.name,
        kind.text.format_map(slots),
        kind.exact.format_map(slots),
        kind.paraphrase.format_map(slots),
    )
