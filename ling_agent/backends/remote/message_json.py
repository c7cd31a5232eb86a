"""`MessageEncoder`: the messages of chat requests as JSON; of a conversation only what is new.

A request repeats the one before it and adds a few messages. What was written of those that are the
same objects is taken again. How a message is shown depends on nothing in front of the assistant
message that it follows, so each assistant message begins a part of its own.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

from ...hermes.render import unchanged
from ...messages import AssistantMessage, Message
from ...profiles import Profile
from ..base import ModelRequest
from ..recent import Recent
from .chat_body import chat_messages
from .facts import ServerFacts
from .written import WrittenList

_MOST = 64 << 20  # bytes of all conversations together: 64 whole windows of 256K tokens


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Messages that were encoded.

    Attributes:
        messages: As they were given.
        starts: Index of each part's first message.
        json: The parts.
    """

    messages: tuple[Message, ...]
    starts: tuple[int, ...]
    json: WrittenList


_NOTHING = _Encoded((), (), WrittenList())


class MessageEncoder:
    """The newest requests of one backend's conversations; used from any thread."""

    def __init__(self) -> None:
        self._known: Recent[tuple[str, ...], _Encoded] = Recent(_MOST)

    def encode(self, request: ModelRequest, facts: ServerFacts, profile: Profile) -> WrittenList:
        """`chat_messages` of the request, as JSON."""
        if not request.conversation:
            return _extended(_NOTHING, request.messages, facts, profile).json
        key = (request.conversation, facts.kind, profile.template, profile.system_switch)
        known = self._known.get(key) or _NOTHING
        encoded = _extended(known, request.messages, facts, profile)
        self._known.put(key, encoded, size=encoded.json.size)
        return encoded.json


def _extended(
    known: _Encoded, messages: tuple[Message, ...], facts: ServerFacts, profile: Profile
) -> _Encoded:
    """These messages, with the parts that are known."""
    same = unchanged(known.messages, messages)
    # Without the last part that is the same: more may follow its messages now.
    kept = max(bisect_left(known.starts, same) - 1, 0)
    first = known.starts[kept] if kept else 0
    starts = [at for at in range(first, len(messages)) if _begins_part(at, messages[at])]
    # The first part may hold more items than messages: the switch of thinking.
    length = known.json.length - len(known.messages) + first if kept else 0
    json = WrittenList(known.json.parts[:kept], length)
    for start, end in pairwise([*starts, len(messages)]):
        shown = chat_messages(messages[start:end], facts, profile, first=not start)
        json = json.plus(shown)
    return _Encoded(tuple(messages), (*known.starts[:kept], *starts), json)


def _begins_part(at: int, message: Message) -> bool:
    return at == 0 or isinstance(message, AssistantMessage)
