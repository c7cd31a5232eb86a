"""Bars with their intervals as SVG, without a library and without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .statistics import Rate
from .texts import cut, hypertext

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c6d1f", "#5b5b5b")
"""Told apart by most people who see colours differently (M. Okabe and K. Ito), made darker."""

_WIDTH, _LEFT, _RIGHT = 860, 210, 150
_BAR, _GAP, _TOP = 16, 10, 34


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a share with its interval, and what is written behind it."""

    rate: Rate
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Bars with a common name; None where a series has none."""

    name: str
    bars: tuple[Bar | None, ...]


def svg(title: str, series: Sequence[str], groups: Sequence[Group]) -> str:
    """A plot of horizontal bars from 0 to 100 %, with a line for each 95 % interval.

    Args:
        title: For those who cannot see it.
        series: A name for the bars of each place in the groups; shown when there are several.
        groups: From top to bottom.
    """
    legend = len(series) * 18 if len(series) > 1 else 0
    tall = sum(_GAP + _BAR * max(len(group.bars), 1) for group in groups)
    height = _TOP + legend + tall + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{hypertext(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    if legend:
        parts += [_key(place, name) for place, name in enumerate(series)]
    top = _TOP + legend
    parts += _scale(top, top + tall)
    for group in groups:
        top += _GAP
        parts.append(_text(_LEFT - 8, top + _BAR * len(group.bars) / 2, group.name, "end", 32))
        for place, bar in enumerate(group.bars):
            if bar is not None:
                parts.append(_bar(bar, top, COLOURS[place % len(COLOURS)]))
            top += _BAR
    return "\n".join([*parts, "</svg>"])


def _key(place: int, name: str) -> str:
    top = 10 + 18 * place
    colour = COLOURS[place % len(COLOURS)]
    square = f'<rect x="{_LEFT}" y="{top}" width="12" height="12" fill="{colour}"/>'
    return square + _text(_LEFT + 18, top + 6, name, "start", 90)


def _scale(top: float, bottom: float) -> list[str]:
    parts: list[str] = []
    for percent in (0, 25, 50, 75, 100):
        x = _x(percent / 100)
        parts.append(
            f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="#d9d9d9"/>'
            + _text(x, bottom + 12, f"{percent} %", "middle", 8)
        )
    return parts


def _bar(bar: Bar, top: float, colour: str) -> str:
    rate, middle = bar.rate, top + _BAR / 2
    low, high = _x(rate.low), _x(rate.high)
    return (
        f'<rect x="{_LEFT}" y="{top + 1:.1f}" width="{_x(rate.value) - _LEFT:.1f}" '
        f'height="{_BAR - 2}" fill="{colour}" fill-opacity="0.75"/>'
        f'<path d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 4:.1f}v8'
        f'M{high:.1f} {middle - 4:.1f}v8" stroke="#222222" fill="none"/>'
        + _text(_WIDTH - _RIGHT + 10, middle, bar.text, "start", 24)
    )


def _x(share: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(max(share, 0.0), 1.0)


def _text(x: float, middle: float, text: str, anchor: str, longest: int) -> str:
    shown = hypertext(cut(" ".join(text.split()), longest))
    return (
        f'<text x="{x:.1f}" y="{middle + 4:.1f}" text-anchor="{anchor}" fill="#222222">'
        f"{shown}</text>"
    )
