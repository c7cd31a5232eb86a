"""The part of a text that answers a query: where most of what is asked for stands together."""

from __future__ import annotations

from .terms import places, query_words
from .window import bytes_of, within

_BEFORE = 3  # share of the room that is not needed, in front of the first word


def passage(text: str, query: str, room: int) -> tuple[int, str]:
    """So much of a text that fits.

    Args:
        text: All of it.
        query: What is asked for.
        room: UTF-8 bytes.

    Returns:
        Where it begins, in characters, and the part itself.
    """
    size = bytes_of(text)
    if size <= room:
        return 0, text
    characters = max(room * len(text) // size, 1)
    first, last = _densest(list(places(text, query_words(query))), characters)
    begin = first - max(characters - (last - first), 0) // _BEFORE
    begin = max(min(begin, len(text) - characters), 0)
    word = text.find(" ", begin, first)  # it begins with a word, where there are any
    if begin and 0 <= word < begin + characters // 4:
        begin = word + 1
    return begin, within(text[begin:], room)


def _densest(found: list[tuple[int, str]], width: int) -> tuple[int, int]:
    """The first and the last place of the stretch with the most different terms."""
    best, span = 0, (0, 0)
    inside: dict[str, int] = {}
    begin = 0
    for place, term in found:
        inside[term] = inside.get(term, 0) + 1
        while place - found[begin][0] >= width or inside[found[begin][1]] > 1:
            left = found[begin][1]
            inside[left] -= 1
            if not inside[left]:
                del inside[left]
            begin += 1
        if len(inside) > best:
            best, span = len(inside), (found[begin][0], place)
    return span
