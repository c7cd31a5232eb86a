"""Rows found in the bytes of a damaged file, whatever still points at them.

Where an inner page is lost, SQLite reaches nothing below it, and the rows are all there: pages of
rows say what they are. The layout is in https://www.sqlite.org/fileformat2.html. Pages that are no
longer in use are read too; their rows can do no harm, since an entry is never changed and its
number never given again, and of a run the row that was written last counts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

PAGE = 4096
_LEAF = 0x0D
_CELLS = PAGE // 4

Value = int | float | bytes | str | None
Pages = Callable[[int], bytes]


def carved(path: Path) -> Iterator[tuple[int, list[Value]]]:
    """Number and values of all rows of tables that can be made out.

    The column that is the row's number is None, as it is kept.
    """
    pages = path.stat().st_size // PAGE
    with open(path, "rb") as file:

        def read(number: int) -> bytes:
            if not 0 < number <= pages:
                raise ValueError(number)
            file.seek((number - 1) * PAGE)
            return file.read(PAGE)

        for number in range(1, pages + 1):
            page = read(number)
            for place in _cells(page) if page[0] == _LEAF else ():
                try:
                    row = _row(page, place, read)
                except (IndexError, ValueError):
                    continue
                yield row


def _cells(page: bytes) -> list[int]:
    count = min(int.from_bytes(page[3:5], "big"), _CELLS)
    places = [int.from_bytes(page[8 + 2 * n : 10 + 2 * n], "big") for n in range(count)]
    return [place for place in places if 8 < place < PAGE]


def _rest(read: Pages, number: int, length: int) -> bytes:
    """Payload that goes on in further pages."""
    found = bytearray()
    while len(found) < length:
        page = read(number)
        number = int.from_bytes(page[:4], "big")
        found += page[4:]
    return bytes(found[:length])


def _row(page: bytes, place: int, read: Pages) -> tuple[int, list[Value]]:
    length, place = _varint(page, place)
    number, place = _varint(page, place)
    local = _local(length)
    payload = page[place : place + local]
    if local < length:
        first = int.from_bytes(page[place + local : place + local + 4], "big")
        payload += _rest(read, first, length - local)
    if len(payload) != length:
        raise ValueError(length)
    return number, _values(payload)


def _local(length: int) -> int:
    """How much of a payload is in the page itself."""
    most, least = PAGE - 35, (PAGE - 12) * 32 // 255 - 23
    if length <= most:
        return length
    local = least + (length - least) % (PAGE - 4)
    return local if local <= most else least


def _values(payload: bytes) -> list[Value]:
    end, place = _varint(payload, 0)
    kinds: list[int] = []
    while place < end:
        kind, place = _varint(payload, place)
        kinds.append(kind)
    values: list[Value] = []
    for kind in kinds:
        value, place = _value(payload, place, kind)
        values.append(value)
    return values


_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def _value(payload: bytes, place: int, kind: int) -> tuple[Value, int]:
    if kind in (0, 8, 9):
        return (None, 0, 1)[(0, 8, 9).index(kind)], place
    size = _INTEGERS.get(kind) or (8 if kind == 7 else (kind - 12) // 2)
    data = payload[place : place + size]
    if kind in (10, 11) or len(data) != size:
        raise ValueError(kind)
    place += size
    if kind in _INTEGERS:
        return int.from_bytes(data, "big", signed=True), place
    if kind == 7:
        return struct.unpack(">d", data)[0], place
    return (data.decode() if kind % 2 else data), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for count in range(9):
        byte = data[place + count]
        if count == 8:
            return (value << 8) | byte, place + 9
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            return value, place + count + 1
    raise ValueError(place)
