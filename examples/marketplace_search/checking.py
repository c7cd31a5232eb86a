"""Whether an answer in plain words is right.

`check` is strict about facts and easy about wording: numbers are parsed, never searched for as
text (``$1.28`` does not contain ``$0.28`` or ``28``); the offer named first has to be a right one;
amounts of money that belong to nothing in the question count as a contradiction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HOURLY_TOLERANCE_USD = 0.001
"""Hourly prices in the snapshot are whole cents; anything else is another price."""

_NUMBER = re.compile(
    r"(?P<before>\$\s*|\bUSD\s*|\busd[\"']?\s*[:=]\s*)?"
    r"(?<![\w.])(?<!\d,)(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?P<after>\s*%|\s*percent\b|\s*¢|\s*cents?\b|\s*USD\b|\s*dollars?\b"
    r"|\s*(?:/|per )\s*h(?:ou)?r?\b)?"
    r"(?![\w])",
    re.IGNORECASE,
)
_OFFER_DIGITS = 5

_NONE = re.compile(
    r"\bnone\b|\bunavailable\b|\bnothing\b|\bsold out\b|\b(?:zero|0) (?:\w+ ){0,3}offers?\b"
    r"|\bno(?:t| longer)?\b(?! (?:problem|doubt|worries|only|just))[^.!?]{0,80}"
    r"\b(?:available|availability|found|finds?|offers?|exists?|matching|match|any|listed|"
    r"known|under|below|possible|model)\b"
    r"|n['’]t\b[^.!?]{0,60}\b(?:available|find|found|any|exist|offers?|listed|see|know|match)\b"
    r"|\b(?:all|4 of 4)\b[^.!?]{0,60}\brented\b|\bcannot\b[^.!?]{0,40}\b(?:find|be found|rent)",
    re.IGNORECASE,
)
_CLAIM = re.compile(
    r"(?P<more>\b(?:more expensive|pricier|costs? more|higher|dearer)\b)"
    r"|\b(?:cheaper|cheapest|less expensive|costs? less|lower|lowest|more affordable|saves?)\b",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"\b(?:is|are|was|has|have|costs?|comes?|would|will|can|being|offers?|saves?)\b", re.I
)
_NOT = re.compile(r"\b(?:not|never|neither|isn['’]t|doesn['’]t|aren['’]t)\b", re.IGNORECASE)
_COMPARED = re.compile(
    r"\b(?:than|versus|vs\.?|compared (?:to|with)|instead of|over)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `check` found.

    Attributes:
        right: Whether the answer counts.
        problems: What is missing or wrong, in words; empty for a right answer.
    """

    right: bool
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Numbers:
    """The numbers of an answer, sorted by what they are."""

    offers: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Position and id of everything that looks like an offer id."""
    money: list[float] = field(default_factory=list[float])
    """Amounts in USD that are marked as money."""
    plain: list[float] = field(default_factory=list[float])
    """Every other number, without the percentages."""
    percents: list[float] = field(default_factory=list[float])


def _numbers(text: str) -> _Numbers:
    found = _Numbers()
    for match in _NUMBER.finditer(text):
        digits = match["digits"].replace(",", "")
        value = float(digits)
        after = (match["after"] or "").strip().lower()
        if after in ("%", "percent"):
            found.percents.append(value)
        elif after in ("¢", "cent", "cents"):
            found.money.append(value / 100)
        elif match["before"] or after:
            found.money.append(value)
        elif len(match["digits"]) == _OFFER_DIGITS and digits.isdigit():
            found.offers.append((match.start("digits"), int(digits)))
        else:
            found.plain.append(value)
    return found


def _has(values: Sequence[float], wanted: float, tolerance: float) -> bool:
    return any(abs(value - wanted) <= tolerance for value in values)


def _negated(text: str, position: int, length: int) -> bool:
    """Whether the offer at `position` is named only to say that it is not the one."""
    before = re.split(r"[.!?;,\n]", text[max(0, position - 40) : position])[-1]
    after = text[position + length : position + length + 30]
    return bool(
        re.search(r"\b(?:not|isn['’]t|except|other than)\s+(?:the\s+)?(?:offer\s*#?)?\s*$", before)
        or re.match(r"[^.!?;,\n]{0,12}\b(?:is|are|was) not\b|[^.!?;,\n]{0,12}isn['’]t", after)
    )


def _check_offers(expected: Mapping[str, Any], text: str, found: _Numbers) -> list[str]:
    """The first offer named has to be acceptable, and its own price has to be the one given."""
    accepted: list[Mapping[str, Any]] = expected["offers"]
    need: str = expected["need"]
    by_id = {offer["id"]: offer for offer in accepted}
    amounts = found.money + found.plain
    if found.offers:
        position, first = found.offers[0]
        if first not in by_id:
            return [f"names offer {first}, which is not a right one"]
        if _negated(text, position, _OFFER_DIGITS):
            return [f"says that it is not offer {first}"]
        accepted = [by_id[first]]
    elif need in ("id", "both"):
        return ["names no offer"]
    priced = [offer for offer in accepted if _has(amounts, offer["usd"], HOURLY_TOLERANCE_USD)]
    if not priced and (need in ("usd", "both") or not found.offers):
        return ["does not give the right price"]
    allowed = [amount for offer in accepted for amount in offer["amounts"]]
    strangers = [
        amount for amount in found.money if not _has(allowed, amount, HOURLY_TOLERANCE_USD)
    ]
    limits = expected.get("mentioned_usd", [])
    strangers = [amount for amount in strangers if not _has(limits, amount, HOURLY_TOLERANCE_USD)]
    # A list of alternatives may follow, but then each has to be an offer with its id.
    others = {offer for _, offer in found.offers} - set(by_id)
    if strangers and not others:
        return [f"gives another amount: {strangers[0]} USD"]
    return []


def _check_money(expected: Mapping[str, Any], found: _Numbers) -> list[str]:
    """Every wanted amount is there, and no other that the question does not explain."""
    problems = [
        f"does not give {wanted['value']} USD"
        for wanted in expected["usd"]
        if not _has(found.money + found.plain, wanted["value"], wanted["tolerance"])
    ]
    explained = [*expected.get("mentioned_usd", []), *(item["value"] for item in expected["usd"])]
    problems += [
        f"gives another amount: {amount} USD"
        for amount in found.money
        if not _has(explained, amount, 0.005 if amount >= 1 else HOURLY_TOLERANCE_USD)
    ]
    return problems


def _check_about(expected: Mapping[str, Any], found: _Numbers) -> list[str]:
    """No offer is named but those that the question is about."""
    offers = expected.get("about_offers")
    wrong = [offer for _, offer in found.offers if offers is not None and offer not in offers]
    return [f"names another offer: {offer}" for offer in wrong]


def _mention(names: Sequence[str]) -> re.Pattern[str]:
    """Finds a name as a whole: a 4070 Ti is no mention of a 4070."""
    alternatives = "|".join(
        re.escape(name).replace(r"\ ", r"[\s-]*") for name in sorted(names, key=len, reverse=True)
    )
    return re.compile(rf"(?<![\w.$])(?:{alternatives})(?![\w]|\.\d|\s*(?:ti|super)\b)", re.I)


def _claimed(clause: str, claim: re.Match[str], names: Mapping[str, re.Pattern[str]]) -> str | None:
    """Which of the two names this clause calls the cheaper one."""
    mentions = sorted(
        (match.start(), name) for name, regex in names.items() for match in regex.finditer(clause)
    )
    flip = bool(claim["more"]) != bool(_NOT.search(clause[: claim.end()]))
    before = [item for item in mentions if item[0] < claim.start()]
    after = [item for item in mentions if item[0] >= claim.end()]
    subject: str | None = None
    if before and _VERB.search(clause[before[-1][0] : claim.end()]):
        subject = before[-1][1]
    elif after:
        between = clause[claim.end() : after[0][0]]
        subject = after[0][1]
        flip = flip != bool(_COMPARED.search(between))
    elif before:
        subject = before[-1][1]
    if subject is None or not flip:
        return subject
    return next(name for name in names if name != subject)


def _check_cheaper(expected: Mapping[str, Any], text: str) -> list[str]:
    """Every statement about which is cheaper names the right one, and there is one."""
    names = {
        "right": _mention(expected["cheaper"]["right"]),
        "wrong": _mention(expected["cheaper"]["wrong"]),
    }
    claims: list[str] = []
    for clause in re.split(r"(?<!vs)[.,;:!?\n](?!\d)", text):
        for claim in _CLAIM.finditer(clause):
            name = _claimed(clause, claim, names)
            if name is not None:
                claims.append(name)
    if "wrong" in claims:
        return ["calls the wrong one cheaper"]
    alone = names["right"].search(text) and not names["wrong"].search(text)
    return [] if "right" in claims or alone else ["does not say which one is cheaper"]


def _price_owner(text: str, match: re.Match[str], names: Sequence[re.Pattern[str]]) -> int | None:
    """Which name an amount belongs to: ``$1 for A``, else the name before it, else after it."""
    follow = re.compile(r"\s*(?:for|\()\s*(?:the |an? )?", re.IGNORECASE).match(text, match.end())
    if follow:
        for index, name in enumerate(names):
            if name.match(text, follow.end()):
                return index
    mentions = sorted((m.start(), i) for i, name in enumerate(names) for m in name.finditer(text))
    before = [index for position, index in mentions if position < match.start()]
    if before:
        return before[-1]
    return mentions[0][1] if mentions else None


def _check_priced(rows: Sequence[Mapping[str, Any]], text: str) -> list[str]:
    """Each name is given its own price, and not the price of the other."""
    names = [_mention(row["names"]) for row in rows]
    given: set[int] = set()
    for match in _NUMBER.finditer(text):
        value = float(match["digits"].replace(",", ""))
        for index, row in enumerate(rows):
            if abs(value - row["usd"]) > HOURLY_TOLERANCE_USD:
                continue
            if _price_owner(text, match, names) != index:
                return [f"gives {value} USD to the wrong one"]
            given.add(index)
    missing = [row for index, row in enumerate(rows) if index not in given]
    return [f"does not give the price of the {row['names'][0]}" for row in missing]


def _check_none(text: str, found: _Numbers) -> list[str]:
    """The answer says that there is nothing, and does not name an offer after all."""
    if not _NONE.search(text):
        return ["does not say that there is none"]
    return [f"names offer {offer} all the same" for _, offer in found.offers[:1]]


def _check_words(groups: Sequence[Sequence[str]], text: str) -> list[str]:
    """One word of each group is there, as a whole word."""
    return [
        f"does not say {group[0]!r}"
        for group in groups
        if not any(re.search(rf"(?<!\w){re.escape(w)}(?!\w)", text, re.I) for w in group)
    ]


def check(question: Mapping[str, Any], answer_text: str) -> Verdict:
    """Judge an answer to one entry of ``questions.json``.

    Args:
        question: The entry; its ``expected`` says what has to hold (see `questions`).
        answer_text: The final answer of the agent.
    """
    expected: Mapping[str, Any] = question["expected"]
    text = answer_text.replace("*", "").replace("`", "").strip()
    if not text:
        return Verdict(right=False, problems=("empty answer",))
    found = _numbers(text)
    problems = _check_about(expected, found)
    if "offers" in expected:
        problems += _check_offers(expected, text, found)
    if "usd" in expected:
        problems += _check_money(expected, found)
    if "priced" in expected:
        problems += _check_priced(expected["priced"], text)
    if "cheaper" in expected:
        problems += _check_cheaper(expected, text)
    if expected.get("none"):
        problems += _check_none(text, found)
    for wanted in expected.get("numbers", []):
        if not _has(found.plain + found.money, wanted, 1e-6):
            problems.append(f"does not give {wanted}")
    problems += _check_words(expected.get("words", []), text)
    return Verdict(right=not problems, problems=tuple(problems))
