"""Whether a prompt fits is known before it is sent, and costs nothing where it surely does."""

from __future__ import annotations

import pytest

from ling_agent import ContextOverflow, Sampling
from ling_agent.backends.base import ModelRequest
from ling_agent.backends.remote.prompt_size import PromptSizes
from ling_agent.messages import AssistantMessage, Message, UserMessage
from ling_agent.results import Usage

pytestmark = pytest.mark.anyio


class Counter:
    """Counts tokens, and how often it was asked to."""

    def __init__(self, tokens: int | None) -> None:
        self.tokens = tokens
        self.asked = 0

    async def __call__(self) -> int | None:
        self.asked += 1
        return self.tokens


def request(*messages: Message, max_tokens: int = 100, conversation: str = "c") -> ModelRequest:
    return ModelRequest(
        messages or (UserMessage("Hi."),),
        sampling=Sampling(max_tokens=max_tokens),
        conversation=conversation,
    )


async def longest(
    window: int | None, size: int, tokens: int | None, *, sure: bool = True
) -> tuple[int, int]:
    """The longest answer that is asked for, and how often tokens were counted."""
    count = Counter(tokens)
    sizes = PromptSizes()
    fitted = await sizes.fitted(request(), window, size=lambda: size, count=count, sure=sure)
    return fitted.sampling.max_tokens, count.asked


@pytest.mark.parametrize(
    ("window", "size", "tokens", "expected"),
    [
        (None, 10**9, 1, (100, 0)),
        (1000, 900, 1, (100, 0)),
        (1000, 901, 300, (100, 1)),
        (1000, 5000, 950, (50, 1)),
        (1000, 5000, 999, (1, 1)),
        (1000, 5000, None, (100, 1)),
    ],
)
async def test_it_is_only_counted_where_it_may_not_fit(
    window: int | None, size: int, tokens: int | None, expected: tuple[int, int]
) -> None:
    assert await longest(window, size, tokens) == expected


@pytest.mark.parametrize("tokens", [1000, 1001, 5000])
async def test_no_room_for_an_answer_is_an_overflow(tokens: int) -> None:
    with pytest.raises(ContextOverflow) as caught:
        await longest(1000, 5000, tokens)
    assert (caught.value.prompt_tokens, caught.value.context_window) == (tokens, 1000)
    assert f"the prompt has {tokens:,} tokens and the context window 1,000" in str(caught.value)


async def test_where_a_server_would_cut_silently_an_estimate_refuses() -> None:
    assert await longest(1000, 3999, None, sure=False) == (100, 1)
    with pytest.raises(ContextOverflow):
        await longest(1000, 4000, None, sure=False)


async def test_what_is_known_of_a_conversation_saves_counting() -> None:
    sizes = PromptSizes()
    first = request(UserMessage("Hi."))
    sizes.learn(first, Usage(prompt_tokens=400, completion_tokens=20))
    count = Counter(5)
    grown = request(UserMessage("Hi."), AssistantMessage("Ho."), UserMessage("And?"))
    await sizes.fitted(grown, 1000, size=lambda: 3000, count=count, sure=True)
    assert count.asked == 0, "420 tokens and a few bytes fit, whatever the whole prompt's bytes are"
    long = request(UserMessage("Hi."), AssistantMessage("Ho."), UserMessage("x" * 600))
    await sizes.fitted(long, 1000, size=lambda: 3600, count=count, sure=True)
    assert count.asked == 1
    other = request(UserMessage("Hi."), conversation="d")
    await sizes.fitted(other, 1000, size=lambda: 3000, count=count, sure=True)
    assert count.asked == 2, "another conversation is not known"


async def test_a_request_without_a_conversation_teaches_nothing() -> None:
    sizes = PromptSizes()
    sizes.learn(request(conversation=""), Usage(prompt_tokens=1, completion_tokens=1))
    count = Counter(5)
    await sizes.fitted(request(conversation=""), 1000, size=lambda: 3000, count=count, sure=True)
    assert count.asked == 1


async def test_a_conversation_that_was_compacted_is_counted_anew() -> None:
    sizes = PromptSizes()
    short = request(UserMessage("Sum up."))
    sizes.learn(short, Usage(prompt_tokens=4, completion_tokens=2))
    count = Counter(5)
    for messages in ((UserMessage("A long summary."), UserMessage("Hi.")), (UserMessage("Hi."),)):
        await sizes.fitted(request(*messages), 1000, size=lambda: 3000, count=count, sure=True)
    assert count.asked == 2, "what is known is of other messages"
