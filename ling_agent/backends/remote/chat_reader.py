"""`ChatReader`: the events of one chat completion -> chunks of text, and what was lost on the way.

The corrections, each for a fault that was seen or reported (docs/servers.md names them):

- a structured call becomes text again, for the one parser (`CallText`);
- ``reasoning`` and ``reasoning_content`` are one thing; a call that a server's reasoning parser has
  swallowed is read where nothing else came;
- ``finish_reason`` is not believed where the token count says that the answer was cut;
- usage that is missing is estimated, with a note;
- an answer of several tokens with nothing in it, ``tool_calls`` without calls, and empty arguments
  are a lost call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...profiles import Profile
from ...results import Usage
from ..base import Chunk, Finished, FinishReason, ModelRequest, ReasoningChunk, TextChunk
from .call_text import CallText
from .facts import ServerFacts
from .jsons import Json, as_list, as_object
from .progress import Progress

_CHARACTERS_A_TOKEN = 3.5
NO_USAGE = "the server sends no usage: tokens are estimated from the text"
NO_CACHE_REPORT = {
    "vllm": "cached tokens are not reported: start vLLM with --enable-prompt-tokens-details",
    "sglang": "cached tokens are not reported: start SGLang with --enable-cache-report",
}
_SWALLOWED = (
    "the server took the answer for reasoning, and it was read from there: start the server "
    "without --reasoning-parser"
)


class ChatReader:
    """Reads one answer; used once.

    Args:
        request: What was asked.
        facts: Of the server.
        profile: Of the model; one that does not think has written no reasoning.
        streamed: Whether the answer comes in pieces.
        prompt_size: Says how many bytes the prompt has, for servers that send no usage.
    """

    def __init__(
        self,
        request: ModelRequest,
        facts: ServerFacts,
        *,
        profile: Profile,
        streamed: bool,
        prompt_size: Callable[[], int],
    ) -> None:
        self._request = request
        self._facts = facts
        self._thinks = profile.thinks
        self._calls = CallText(_arguments_needed(request.tools, streamed, facts))
        self._prompt_size = prompt_size
        self._written = 0  # characters
        self._text = False
        self._held: list[str] = []  # text that came inside a call
        self._reasoning: list[str] = []
        self._finish_reason: str | None = None
        self._usage: Json | None = None
        self._progress = Progress()
        self._notes = list(facts.notes)  # also what was learned since the run began

    def take(self, event: Json) -> list[Chunk]:
        """Take an event of a stream, or a whole answer; the chunks that are certain now."""
        if usage := as_object(event.get("usage")):
            self._usage = usage
        if progress := self._progress.take(event):
            return [progress]
        choice = as_object(next(iter(as_list(event.get("choices"))), None))
        if choice.get("finish_reason"):
            self._finish_reason = str(choice["finish_reason"])
        delta = as_object(choice.get("delta")) or as_object(choice.get("message"))
        return self._delta(delta) if delta else []

    def finish(self, *, seconds: float, first_token: float) -> list[Chunk]:
        """The answer has ended; the last chunks, `Finished` among them.

        Args:
            seconds: From sending the request.
            first_token: From sending the request to the first piece of the answer.
        """
        cut = self._cut()
        chunks = self._text_chunk(self._calls.finish(cut=cut))
        if not cut:
            chunks += self._text_chunk("".join(self._held))
        if not self._text and not len(self._calls) and not cut:
            chunks += self._swallowed()
        lost = "" if cut else self._lost()
        reason: FinishReason = "length" if cut else "tool_calls" if len(self._calls) else "stop"
        usage = self._cost(seconds, first_token)
        chunks.append(
            Finished(
                reason,
                usage,
                lost=lost,
                arguments_lost=bool(self._calls.lost),
                read_by_server=len(self._calls) if self._facts.tool_parser else None,
                notes=tuple(self._notes),
            )
        )
        return chunks

    @property
    def ended(self) -> bool:
        """Whether the server has said that the answer is complete."""
        return self._finish_reason is not None

    def _delta(self, delta: Json) -> list[Chunk]:
        chunks: list[Chunk] = []
        reasoning = delta.get("reasoning") or delta.get("reasoning_content")
        if isinstance(reasoning, str) and reasoning:
            self._written += len(reasoning)
            self._reasoning.append(reasoning)
            chunks.append(ReasoningChunk(reasoning))
        text = _content(delta.get("content"))
        if text:
            self._text = self._text or not text.isspace()
            chunks += self._text_chunk(self._calls.close())
            if self._calls.unfinished:
                self._held.append(text)
            else:
                chunks += self._text_chunk(text)
        if calls := as_list(delta.get("tool_calls")):
            chunks += self._text_chunk(self._calls.take(calls))
        return chunks

    def _text_chunk(self, text: str) -> list[Chunk]:
        self._written += len(text)
        return [TextChunk(text)] if text else []

    def _cut(self) -> bool:
        """Whether the token limit ended the answer, whatever the server calls it."""
        if self._finish_reason == "length":
            return True
        generated = (self._usage or {}).get("completion_tokens")
        # vLLM says tool_calls for calls that the limit has cut.
        return (
            (self._finish_reason == "tool_calls" or len(self._calls) > 0)
            and isinstance(generated, int)
            and generated >= self._request.sampling.max_tokens
        )

    def _swallowed(self) -> list[Chunk]:
        """What a server's reasoning parser took although it was no reasoning."""
        reasoning = "".join(self._reasoning)
        start = reasoning.find("<tool_call>") if self._thinks else 0
        if not reasoning or start < 0 or not (self._request.tools or start == 0):
            return []
        self._text = True
        self._notes.append(_SWALLOWED)
        return self._text_chunk(reasoning[start:])

    def _lost(self) -> str:
        if self._calls.lost:
            names = ", ".join(self._calls.lost)
            return f"the server sent calls without their arguments ({names})"
        if len(self._calls) or not self._request.tools:
            return ""
        if self._finish_reason == "tool_calls":
            return "the server announced a call and sent none"
        generated = (self._usage or {}).get("completion_tokens")
        silent = not self._text and not self._reasoning
        if silent and isinstance(generated, int) and generated > 2:
            return f"the server sent nothing of {generated} generated tokens"
        return ""

    def _cost(self, seconds: float, first_token: float) -> Usage:
        usage = self._usage
        if usage is None or not isinstance(usage.get("prompt_tokens"), int):
            self._notes.append(NO_USAGE)
            usage = {
                "prompt_tokens": _estimate(self._prompt_size()),
                "completion_tokens": _estimate(self._written),
            }
        cached = as_object(usage.get("prompt_tokens_details")).get("cached_tokens")
        if cached is None and self._facts.kind in NO_CACHE_REPORT:
            self._notes.append(NO_CACHE_REPORT[self._facts.kind])
        generated = usage.get("completion_tokens")
        if not isinstance(generated, int) or generated < 1:
            generated = _estimate(self._written)
        return Usage(
            prompt_tokens=int(usage["prompt_tokens"]),
            completion_tokens=generated,
            cached_tokens=cached if isinstance(cached, int) else None,
            requests=1,
            seconds=seconds,
            prefill_seconds=first_token,
            decode_seconds=max(seconds - first_token, 0.0),
        )


def merged(chunks: list[Chunk]) -> list[Chunk]:
    """The same with neighbouring texts as one: what has arrived together is read together."""
    if len(chunks) < 2:
        return chunks
    result: list[Chunk] = []
    texts: list[str] = []
    for chunk in chunks:
        if isinstance(chunk, TextChunk):
            texts.append(chunk.text)
            continue
        if texts:
            result.append(TextChunk("".join(texts)))
            texts = []
        result.append(chunk)
    if texts:
        result.append(TextChunk("".join(texts)))
    return result


def _arguments_needed(
    tools: Sequence[Json], streamed: bool, facts: ServerFacts
) -> Callable[[str], bool]:
    """Whether a tool's empty arguments are not to be believed.

    SGLang streams ``{}`` for a call that it cannot read, so there any tool that takes arguments is
    asked for again; elsewhere those that require some are.
    """
    key = "properties" if streamed and facts.kind == "sglang" else "required"
    needed = {
        tool["function"]["name"]: bool(as_object(tool["function"].get("parameters")).get(key))
        for tool in tools
    }

    def is_needed(name: str) -> bool:
        return needed.get(name, True)

    return is_needed


def _content(content: object) -> str:
    """The text of a message; some servers send it in parts."""
    if isinstance(content, str):
        return content
    return "".join(str(as_object(part).get("text") or "") for part in as_list(content))


def _estimate(characters: int) -> int:
    return max(round(characters / _CHARACTERS_A_TOKEN), 1)
