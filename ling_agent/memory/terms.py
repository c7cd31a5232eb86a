"""Terms: what a text is searched by, the same for what is kept and for what is asked.

Words are folded by Unicode (NFKC), lower-cased and, in English, cut to their stem. Chinese,
Japanese and Korean are written without spaces: their terms are overlapping pairs of characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterator
from functools import lru_cache

from .stem import stem

_CJK = (
    "\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3100-\u318f\u31a0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_CJK_RUN = re.compile(f"[{_CJK}]+")
_TOKEN = re.compile(r"[^\W_]+")
_AS_WRITTEN = re.compile(f"[{_CJK}]+|[^\\W_{_CJK}]+")
_UNREADABLE = re.compile("[\x00\ud800-\udfff]")
_LONGEST = 200
"""Characters of a token that count: base64 and the like have no words."""

_STOP_WORDS = """
a about after all also am an and any are as at be because been before being but by can could did do
does doing for from had has have having he her here him his how i if in into is it its itself just
me more most my no nor not of off on once only or other our out over own please s same she should so
some such t tell than that the their them then there these they this those through to too under
until up us very was we were what when where which while who whom whose why will with would you your
der das den dem des ein eine einer eines einem einen und oder ist sind nicht mit von zu im auf für
wie wer wann sich auch
le la les un une du de et est sont en dans que qui pas sur au aux ce cette il elle
el los las una y o del al se por para lo su
gli i di e è che non
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words that say nothing about what a text is about."""


_NOT_INDEXED = re.compile(
    r"\b(?:a|an|and|are|as|at|by|for|from|has|in|is|it|of|on|that|the|this|to|was|were|with)\b"
)
"""The most frequent words, which take a fifth of an index of English; only as they stand within a
sentence, so that IT and US are found."""


def folded(text: str) -> str:
    """A text as it is indexed: what looks alike is alike, and pairs of CJK characters are words."""
    text = _NOT_INDEXED.sub("", text)
    if text.isascii():
        return text.replace("\x00", " ")
    text = unicodedata.normalize("NFKC", _UNREADABLE.sub(" ", text))
    return _CJK_RUN.sub(_pairs, text)


def _pairs(match: re.Match[str]) -> str:
    # With the last character for itself, each character is the beginning of a term.
    run = match[0]
    return " " + " ".join(run[place : place + 2] for place in range(len(run))) + " "


def tokens(text: str) -> list[str]:
    """The terms of a text in their order, with repetitions."""
    return [_term(word[:_LONGEST]) for word in _TOKEN.findall(folded(text))]


def places(text: str, asked: Container[str]) -> Iterator[tuple[int, str]]:
    """Where terms occur in a text as it is written."""
    for found in _AS_WRITTEN.finditer(text):
        begin, word = found.start(), found[0][:_LONGEST]
        if _CJK_RUN.match(word) is None:
            candidates = [(begin, _term(unicodedata.normalize("NFKC", word)))]
        else:
            candidates = [
                (begin + place, found[0][place : place + length])
                for place in range(len(found[0]))
                for length in (2, 1)
            ]
        yield from (candidate for candidate in candidates if candidate[1] in asked)


@lru_cache(maxsize=20_000)
def _term(word: str) -> str:
    word = word.lower()
    if word.isascii():
        return stem(word)
    decomposed = unicodedata.normalize("NFD", word)
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    return stem(plain) if plain.isascii() else word


def query_words(query: str, *, most: int = 64) -> dict[str, str]:
    """Terms that a query asks for, without stop words unless there are no others.

    Args:
        query: Any text.
        most: At most so many terms; later ones are left out.

    Returns:
        For each term the word that it is of, as the index takes it.
    """
    # The last character of a run of CJK is only asked for when it is alone.
    text = _CJK_RUN.sub(lambda run: f" {_asked(run[0])} ", _without_pairs(query))
    words = [word[:_LONGEST] for word in _TOKEN.findall(text)]
    telling = [word for word in words if word.lower() not in STOP_WORDS] or words
    found: dict[str, str] = {}
    for word in telling:
        found.setdefault(_term(word), word)
        if len(found) == most:
            break
    return found


def _without_pairs(text: str) -> str:
    return unicodedata.normalize("NFKC", _UNREADABLE.sub(" ", text))


def _asked(run: str) -> str:
    return " ".join(run[place : place + 2] for place in range(max(1, len(run) - 1)))


def is_single_cjk(term: str) -> bool:
    """Whether a term is one character of CJK: it is the beginning of pairs."""
    return len(term) == 1 and _CJK_RUN.fullmatch(term) is not None
