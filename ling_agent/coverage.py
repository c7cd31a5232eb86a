"""How much of a request calls take up: of several drafts, which one to make.

What a request names has to be somewhere in its calls: its numbers, and its names, which are words
with a capital letter inside a sentence. What a call holds that nobody said speaks against it. So
`taken_up` counts the former and subtracts the latter; of drafts that differ the highest count is
right most often (docs/evaluation.md).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .grounding import Call, Conversation, numbers_of, values_of

# Not behind the end of a sentence, where every word begins so.
_NAME = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w'-]+")


def taken_up(calls: Sequence[Call], request: str, conversation: Conversation) -> int:
    """The numbers and names of a request that are in its calls, less the values nobody said.

    Args:
        calls: A draft.
        request: The newest message of the user.
        conversation: All that was said.
    """
    values = [value for call in calls for value in values_of(call)]
    held = Conversation(str(value) for value in values)
    named = {*numbers_of(request), *(name.lower() for name in _NAME.findall(request))}
    made_up = sum(conversation.said(value) is False for value in values)
    return sum(held.said(name) is True for name in named) - made_up
