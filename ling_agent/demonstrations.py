"""What a small model is shown before it drafts calls: requests and the calls that they ask for.

A demonstration says more to a model of half a billion weights than an instruction: one call for
each thing, dates as numbers, nothing that was not said. The tools in them are not there; what is
drafted is held to those that are. They stand right before the newest request, so that the prompt up
to there is the one that is cached already.

With eight in place of six the drafts were no better, and with the six in place of three behind
comments neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .hermes.python_calls import write_call
from .messages import AssistantMessage, Message, UserMessage


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A request and its calls.

    Attributes:
        request: What the user says.
        calls: What it is about, the tool and the arguments, of each call.
    """

    request: str
    calls: tuple[tuple[str, str, dict[str, Any]], ...]


def _shown(request: str, *calls: tuple[str, str, dict[str, Any]]) -> Demonstration:
    return Demonstration(request, calls)


_LAMP = _shown(
    "Turn on the lamp in the kitchen, please.",
    ("the lamp in the kitchen", "set_lamp", {"room": "kitchen", "on": True}),
)
_HEIGHTS = _shown(
    "How high are Mont Blanc and the Matterhorn?",
    ("the height of Mont Blanc", "mountain_height", {"name": "Mont Blanc"}),
    ("the height of the Matterhorn", "mountain_height", {"name": "Matterhorn"}),
)
_MONEY = _shown(
    "Convert 20 dollars to euros, and tell me what time it is in Lima.",
    (
        "20 dollars in euros",
        "convert_currency",
        {"amount": 20, "source": "USD", "target": "EUR"},
    ),
    ("the time in Lima", "local_time", {"city": "Lima"}),
)
_TRAIN = _shown(
    "I need a train from Bonn to Kiel on the 3rd of May 2026.",
    (
        "a train from Bonn to Kiel",
        "find_train",
        {"origin": "Bonn", "destination": "Kiel", "date": "2026-05-03"},
    ),
)
_FLAT = _shown(
    "Is there a flat with three rooms in Graz? And tell Ann that I will be late.",
    ("a flat in Graz", "find_flat", {"city": "Graz, Austria", "rooms": 3}),
    ("a message to Ann", "send_message", {"to": "Ann", "text": "I will be late."}),
)
_SONG = _shown("Play Yesterday.", ("the song Yesterday", "play_song", {"title": "Yesterday"}))

_FEW = (_LAMP, _HEIGHTS, _MONEY)
_ALL = (*_FEW, _TRAIN, _FLAT, _SONG)


def _python(shown: Demonstration) -> str:
    lines = (write_call(name, arguments) for _, name, arguments in shown.calls)
    return "\n".join(["```python", *lines, "```"])


def _commented(shown: Demonstration) -> str:
    lines = (f"# {what}\n{write_call(name, given)}" for what, name, given in shown.calls)
    return "\n".join(["```python", *lines, "```"])


def _messages(
    write: Callable[[Demonstration], str], shown: Iterable[Demonstration]
) -> Sequence[Message]:
    messages: list[Message] = []
    for each in shown:
        text = write(each)
        messages += [UserMessage(each.request), AssistantMessage(text, raw=text)]
    return tuple(messages)


IN_PYTHON = _messages(_python, _ALL)
"""Messages with all calls of a request, as lines of Python."""

COMMENTED = _messages(_commented, _FEW)
"""Fewer of them, each call behind a comment that says what it is about."""
