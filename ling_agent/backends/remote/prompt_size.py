"""`PromptSizes`: whether a prompt fits, asked before it is sent.

Exact where it matters and free where it does not: a prompt has at most as many tokens as its JSON
has bytes, and what an earlier request of the conversation had is known from its usage. Only when
that bound does not fit, the server is asked to count.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ...errors import ContextOverflow
from ...results import Usage
from ..base import ModelRequest
from .jsons import write_json

Count = Callable[[], Awaitable[int | None]]
Size = Callable[[], int]

_REMEMBERED = 10_000  # conversations


@dataclass(frozen=True, slots=True)
class _Known:
    """A request that was answered.

    Attributes:
        messages: How many it had.
        last: Hash of the last one's text; that of a conversation that was compacted is another.
        tokens: Of the prompt and its answer.
    """

    messages: int
    last: int
    tokens: int


class PromptSizes:
    """What is known of the sizes of a backend's conversations."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def fitted(
        self, request: ModelRequest, window: int | None, *, size: Size, count: Count, sure: bool
    ) -> ModelRequest:
        """The request, with what is left of the window as its longest answer.

        Args:
            request: What is to be sent.
            window: Tokens of prompt and answer together; None when unknown.
            size: Says how many bytes its messages and tools have; only asked where it matters.
            count: Counts its tokens exactly, where that is possible.
            sure: Whether only a count may refuse it; else an estimate does, too, for servers that
                cut prompts silently.

        Raises:
            ContextOverflow: There is no room for an answer.
        """
        longest = request.sampling.max_tokens
        if window is None or self._surely_fits(request, window - longest, size):
            return request
        tokens = await count()
        if tokens is None:
            tokens = size() // 4
            if sure or tokens < window:
                return request
        left = window - tokens
        if left < 1:
            raise ContextOverflow(
                f"the prompt has {tokens:,} tokens and the context window {window:,}: shorten the "
                "task or the tools' results, or serve the model with a longer window",
                prompt_tokens=tokens,
                context_window=window,
            )
        sampling = dataclasses.replace(request.sampling, max_tokens=min(longest, left))
        return dataclasses.replace(request, sampling=sampling)

    def learn(self, request: ModelRequest, usage: Usage) -> None:
        """Remember what a request has cost."""
        if not request.conversation or request.prefill:
            return
        tokens = usage.prompt_tokens + usage.completion_tokens
        last = hash(request.messages[-1].content)
        self._known[request.conversation] = _Known(len(request.messages), last, tokens)
        self._known.move_to_end(request.conversation)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _surely_fits(self, request: ModelRequest, room: int, size: Size) -> bool:
        known = self._known.get(request.conversation)
        if known is not None and _begins_with(request, known):
            # The message behind the known ones is the answer, whose tokens are known as well; its
            # markup is not, and is counted with what follows.
            new = [dataclasses.asdict(message) for message in request.messages[known.messages :]]
            if known.tokens + len(write_json(new)) <= room:
                return True
        return size() <= room


def _begins_with(request: ModelRequest, known: _Known) -> bool:
    count, messages = known.messages, request.messages
    return len(messages) >= count and hash(messages[count - 1].content) == known.last
