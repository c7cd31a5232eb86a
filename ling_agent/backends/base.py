"""The seam between the loop and a model: one request in, a stream of chunks out.

A backend turns a `ModelRequest` into text. It does not parse: the loop's model turn reads calls,
reasoning and content from the text, the same way for every backend. To write one, subclass
`Backend` and implement `describe` and `stream`; `ling_agent.testing.ScriptedBackend` is the
smallest example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

from ..limits import Sampling
from ..messages import Message
from ..profiles import CHATML, Profile
from ..results import Usage

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class NamedTool:
    """A `ModelRequest.tool_choice`: the answer is to be a call of this tool."""

    name: str


DraftForm = Literal["listed", "python", "commented"]
"""A `ModelRequest.tool_choice`: the answer is all calls at once, in a code block.

``listed`` is a list in JSON, ``python`` one line of Python for each call (`hermes.python_calls`),
``commented`` the same with a comment before each. Of backends that render prompts themselves.
"""

ToolChoice = Literal["auto", "none", "required"] | DraftForm | NamedTool


@dataclass(frozen=True, slots=True)
class DraftText:
    """How a draft is written.

    Attributes:
        prefill: With what the answer begins.
        separator: What stands between two calls.
        end: What stands behind the last one.
    """

    prefill: str
    separator: str
    end: str


DRAFTS: Mapping[ToolChoice, DraftText] = {
    "listed": DraftText("```json\n[\n    ", ",\n    ", "\n]"),
    "python": DraftText("```python\n", "\n", "\n```"),
    "commented": DraftText("```python\n", "\n", "\n```"),
}


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a backend serves.

    Attributes:
        model: Name of the model, as its server or file names it.
        context_window: Tokens of prompt and answer together; None when unknown.
        profile: Facts about the model's family.
        notes: What was degraded, one line each.
        parameters: Number of weights; None when unknown.
        forces_calls: Whether a ``tool_choice`` of ``required`` or a named tool is obeyed.
    """

    model: str
    context_window: int | None = None
    profile: Profile = CHATML
    notes: tuple[str, ...] = ()
    parameters: int | None = None
    forces_calls: bool = False

    @property
    def small(self) -> bool:
        """Whether it is of the size at which models write on behind a call and never stop calling.

        Measured with 0.5 billion weights; the bound of 4 billion is a judgement. Unknown is large.
        """
        return is_small(self.parameters)


def is_small(parameters: int | None) -> bool:
    """See `ModelInfo.small`."""
    return parameters is not None and parameters < 4_000_000_000


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question to the model.

    Attributes:
        messages: The conversation; each request of a run extends the one before it.
        tools: OpenAI tool objects, sorted by name; the same in every request of a run.
        sampling: Always explicit.
        prefill: Text with which the answer begins; it counts as generated. Only sent to backends
            that render prompts themselves.
        stop_when: Takes each generated piece; True ends the answer with that piece. It may be
            called in another thread. Sent like ``prefill``.
        tool_choice: ``none`` asks for an answer in words: backends that can keep the answer from
            beginning as a call do. ``required`` and a named tool ask for a call, of backends whose
            `ModelInfo.forces_calls` says that they obey; others take them as ``auto``. A
            `DraftForm` is all calls at once, behind the prefill of its `DRAFTS`.
        conversation: Name of the run, for backends that keep a prefix cache per conversation.
        whole: Ask for the answer in one piece: some servers lose calls only when they stream.
        watched: Whether somebody looks at the pieces of the answer; otherwise a backend may deliver
            larger and later ones.
        answer_schema: JSON schema of the answer in words, for backends that can hold it to one. A
            call stays possible: with tools and ``auto`` only the embedded backend holds an answer,
            from its first bracket on; with ``none``, or without tools, others do, too. An answer
            that begins with a visible ``prefill`` is free, unless that begins the JSON.
        weigh: Words of which only is asked how likely the answer begins with each; nothing is
            generated. Sent like ``prefill``.
        shared: With how many of these messages other conversations begin, too. A backend that keeps
            such beginnings keeps them as far as there; instructions it keeps in any case.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    prefill: str = ""
    stop_when: Callable[[str], bool] | None = None
    tool_choice: ToolChoice = "auto"
    conversation: str = ""
    whole: bool = False
    watched: bool = True
    answer_schema: Mapping[str, Any] | None = None
    weigh: tuple[str, ...] = ()
    shared: int = 0


@dataclass(frozen=True, slots=True)
class TextChunk:
    """Generated text, tags and all, in pieces of any size."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningChunk:
    """Reasoning that a server has separated from the text already."""

    text: str


@dataclass(frozen=True, slots=True)
class PrefillChunk:
    """How much of a long prompt has been evaluated; only watched requests get it.

    It comes before all text that is generated, from backends that know.

    Attributes:
        tokens: Prompt tokens that are done, those reused from a cache among them; it only grows.
        total: Tokens of the whole prompt.
    """

    tokens: int
    total: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The last chunk of every stream.

    Attributes:
        finish_reason: ``length`` says that the answer was cut.
        usage: What it cost.
        lost: How the answer shows that a call was lost between the model and here, as one line;
            empty when it does not. The call is worth asking for again.
        arguments_lost: Whether what was lost are only its arguments: then the same request, with
            the answer in one piece, may bring them.
        read_by_server: Calls that the server had read from the text itself; None for backends that
            deliver the text as it was generated.
        notes: What was degraded for this answer, one line each.
        weights: Of the words of `ModelRequest.weigh`, the natural logarithms of the probabilities
            of their first tokens: very low for one that is not among the likely ones that a server
            names, none where the backend cannot tell.
    """

    finish_reason: FinishReason
    usage: Usage
    lost: str = ""
    arguments_lost: bool = False
    read_by_server: int | None = None
    notes: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()


Chunk = TextChunk | ReasoningChunk | PrefillChunk | Finished


class Backend(ABC):
    """A model that can be asked; safe to share between concurrent runs and event loops."""

    renders_prompts: bool = False
    """Whether the backend renders prompts itself: then generated text is repeated byte for byte in
    later prompts, and ``prefill`` and ``stop_when`` of a `ModelRequest` are honoured."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The backend string, for example ``llamacpp:qwen2.5-coder-0.5b``."""

    @abstractmethod
    async def describe(self) -> ModelInfo:
        """Load or reach the model and say what it is.

        Raises:
            BackendError: It cannot be loaded or reached; the message says what to do.
        """

    @abstractmethod
    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """Ask the model; the iterator ends after `Finished`. Leaving the context cancels.

        Raises:
            ContextOverflow: The prompt does not fit; nothing was computed.
            BackendError: The model cannot be asked.
        """

    async def prepare(self) -> None:  # noqa: B027 - mostly there is nothing to find out
        """Find out what has to be known before a conversation begins: `renders_prompts`.

        Raises:
            BackendError: The model cannot be reached.
        """

    def tool_notes(self, tools: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        """What this backend cannot do for these tools, one line each; asked when an agent is made.

        Args:
            tools: OpenAI tool objects.
        """
        return ()

    async def count_tokens(self, text: str) -> int | None:
        """Tokens of a text by the model's own tokenizer; None when that is not available."""
        return None

    async def aclose(self) -> None:  # noqa: B027 - releasing nothing is a sensible default
        """Release what the backend holds; it may be used again afterwards."""
