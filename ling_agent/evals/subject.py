"""`Subject`: what is put to the test; `AgentSubject` is our own agent on some backend.

A subject is asked for one turn of the model: a conversation and tools go in, the calls that were
made come out. Nothing is executed in such a turn: the tools note that they were called.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..agent import Agent
from ..backends import Backend, open_backend
from ..errors import BackendUnavailable
from ..hooks import BeforeModel, Veto
from ..limits import Limits, Sampling
from ..memory import InMemoryStore, Memory, Trajectory
from ..messages import AssistantMessage, SystemMessage, ToolCall, UserMessage
from ..planning import Planning
from ..results import RunResult, RunStatus, Usage
from ..tools import RunContext, Tool
from ..tools.problems import ArgumentError
from .observation import observation_format
from .options import EvalOptions
from .recording import RecordingBackend

_SESSION = "conversation"
_RECORDED = "ok"
_TURN_OVER = "the turn is over"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a subject did in one turn.

    Attributes:
        calls: ``{"name": …, "arguments": {…}}`` in the order in which they were made, with the
            arguments as the tools get them; of calls that were refused, as the model wrote them,
            and none of those of tools that do not exist.
        content: What it said in words.
        text: What the model wrote, as it came; of several requests the last.
        prompt: What the last request sent.
        repairs: Names of the repairs that reading the calls took.
        usage: Cost of the turn.
        seconds: Wall-clock time of it.
        status: How it ended.
        error: Why there is no answer; empty when there is one.
        details: More, as JSON types.
    """

    calls: tuple[Mapping[str, Any], ...]
    content: str
    text: str
    prompt: str
    repairs: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    status: str = str(RunStatus.completed)
    error: str = ""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Subject(ABC):
    """Something that answers with calls; it may be asked several things at the same time.

    Attributes:
        name: For people; part of the header of the results.
    """

    name: str

    @abstractmethod
    async def answer(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> Answer:
        """One turn of the model.

        Args:
            messages: OpenAI messages with a role of system (first), user or assistant, and text;
                the last is the user's.
            tools: OpenAI tool objects.

        Raises:
            BackendUnavailable: The model is gone.
        """

    @abstractmethod
    async def describe(self) -> Mapping[str, Any]:
        """Model, backend and settings, as JSON types that stay the same."""

    async def aclose(self) -> None:  # noqa: B027 - holding nothing is a sensible default
        """Let go of the model."""


class AgentSubject(Subject):
    """Our agent, through its public API: one run for each turn.

    Args:
        backend: A backend string or object; None is the embedded default.
        planning: As for `Agent`; None is the agent's own default.
        sampling: As for `Agent`; greedy by default.
        profile: As for `Agent`.
        observation: See `observation_format`.
        max_steps: Messages of the model in a turn of `answer`. One by default, as the benchmark's
            rules have it. With more, a message whose calls were all refused is followed by another;
            then only calls that reached a tool count.
    """

    name = "ling-agent"

    def __init__(
        self,
        backend: Backend | str | None = None,
        *,
        planning: Planning | None = None,
        sampling: Sampling | None = None,
        profile: str | None = None,
        observation: str = "",
        max_steps: int = 1,
    ) -> None:
        self.backend = open_backend(backend, profile=profile)
        self._options: dict[str, Any] = {"sampling": sampling or Sampling()}
        if planning is not None:
            self._options["planning"] = planning
        self.sampling = sampling or Sampling()
        self.planning = planning
        self.observation = observation
        self.observe = observation_format(observation)
        self.max_steps = max_steps

    @classmethod
    def of(cls, options: EvalOptions) -> AgentSubject:
        """The subject of an evaluation's settings."""
        return cls(
            options.backend or None,
            planning=options.planning,
            sampling=Sampling(
                temperature=options.temperature,
                max_tokens=options.max_tokens,
                seed=options.sampling_seed,
            ),
            profile=options.profile,
            observation=options.observation,
            max_steps=options.max_steps or 1,
        )

    def agent(
        self,
        tools: Sequence[Tool[..., Any]],
        *,
        instructions: str = "",
        recording: RecordingBackend | None = None,
        **more: Any,
    ) -> Agent[str]:
        """An agent with these settings.

        Args:
            tools: Its tools.
            instructions: Its system prompt.
            recording: Is asked in place of the backend, to keep what is said.
            more: Further arguments of `Agent`.
        """
        backend: Backend = self.backend if recording is None else recording
        given = {**self._options, **more}
        return Agent(backend, tools=tools, instructions=instructions, **given)

    async def answer(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> Answer:
        recording, turn = RecordingBackend(self.backend), _Turn()
        made = [turn.tool(item["function"]) for item in tools]
        instructions, earlier, task = _conversation(messages)
        memory = Memory(InMemoryStore())
        if earlier:
            _write_earlier(memory, instructions, earlier)
        agent = self.agent(
            made,
            instructions=instructions,
            recording=recording,
            memory=memory,
            limits=Limits(max_steps=self.max_steps),
            hooks=[turn.before_model] if self.max_steps > 1 else [],
        )
        started = time.perf_counter()
        result = await agent.run(task, session=_SESSION if earlier else None)
        seconds = time.perf_counter() - started
        if isinstance(result.error, BackendUnavailable):
            raise result.error
        return turn.answer(result, recording, seconds)

    async def describe(self) -> Mapping[str, Any]:
        info = await self.backend.describe()
        agent = self.agent(())
        return {
            "subject": self.name,
            "backend": self.backend.name,
            "model": info.model,
            "profile": info.profile.name,
            "planning": agent.planning,
            "temperature": self.sampling.temperature,
            "max_tokens": self.sampling.max_tokens,
            "sampling_seed": self.sampling.seed,
            "observation": self.observation,
            "max_steps": self.max_steps,
        }

    async def aclose(self) -> None:
        await self.backend.aclose()


class _Turn:
    """What is noted while one turn runs."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool[..., Any]] = {}
        self._reached: dict[str, dict[str, Any]] = {}  # arguments by call id

    def tool(self, function: Mapping[str, Any]) -> Tool[..., Any]:
        """A tool that only notes its calls."""

        # The name of the context is one that no function of a benchmark has for an argument.
        async def note(_run_context_: RunContext[Any], **arguments: Any) -> str:
            self._reached[_run_context_.call_id] = arguments
            return _RECORDED

        made = Tool.from_schema(
            function["name"],
            function.get("description", ""),
            function["parameters"],
            note,
        )
        self._tools[made.name] = made
        return made

    def before_model(self, moment: BeforeModel) -> Veto | None:
        """The turn ends as soon as a call has reached its tool."""
        return Veto(_TURN_OVER) if self._reached else None

    def answer(self, result: RunResult[str], recording: RecordingBackend, seconds: float) -> Answer:
        failures = _failures(result)
        made = [call for step in result.steps for call in step.message.calls]
        if len(result.steps) > 1:
            made = [call for call in made if call.id in self._reached]
        elif unknown := [_of_unknown_tool(f) for f in failures if f["kind"] == "unknown_tool"]:
            made = sorted([*made, *unknown], key=lambda call: int(call.id.rpartition("_")[2]))
        prompt, text = _prompt_and_text(result, recording)
        over = self._reached and result.status is RunStatus.failed
        error = "" if over or result.error is None else str(result.error)
        details: dict[str, Any] = {"notes": list(result.notes)} if result.notes else {}
        if failures:
            details["failures"] = failures
        if len(recording.exchanges) > 1:
            details["texts"] = [exchange.text for exchange in recording.exchanges]
        return Answer(
            calls=tuple({"name": c.name, "arguments": self._arguments(c)} for c in made),
            content="\n".join(s.message.content for s in result.steps if s.message.content),
            text=text,
            prompt=prompt,
            repairs=tuple(repair for call in made for repair in call.repairs),
            usage=result.usage,
            seconds=seconds,
            status=str(RunStatus.completed if over else result.status),
            error=error,
            details=details,
        )

    def _arguments(self, call: ToolCall) -> Mapping[str, Any]:
        """As the tool got them, or would have."""
        if call.id in self._reached:
            return self._reached[call.id]
        tool = self._tools.get(call.name)
        try:
            return call.arguments if tool is None else tool.validate(call.arguments).json_arguments
        except ArgumentError:
            return call.arguments


def _prompt_and_text(result: RunResult[str], recording: RecordingBackend) -> tuple[str, str]:
    """Of the last message; of one that was put together from several answers, where it stands."""
    if not recording.exchanges:
        return "", ""
    raw = result.steps[-1].message.raw if result.steps else None
    if raw is None:
        last = recording.exchanges[-1]
        return last.prompt, last.text
    written = [exchange for exchange in recording.exchanges if exchange.text == raw]
    return (written[-1] if written else recording.exchanges[0]).prompt, raw


def _failures(result: RunResult[str]) -> list[dict[str, Any]]:
    """What stood where a call may stand and was none; see `ling_agent.hermes.CallFailed`."""
    entries = (entry for entry in result.trajectory if entry.kind == "assistant")
    return [dict(failure) for entry in entries for failure in entry.data.get("failures", ())]


def _of_unknown_tool(failure: Mapping[str, Any]) -> ToolCall:
    """Our loop makes no call of a tool that does not exist; judges of other stacks see one."""
    return ToolCall(f"call_0_{failure['index']}", str(failure["name"]), {})


def _conversation(
    messages: Sequence[Mapping[str, Any]],
) -> tuple[str, list[Mapping[str, Any]], str]:
    """The system message, what was said before, and the task."""
    rest = list(messages)
    instructions = str(rest.pop(0)["content"]) if rest[0]["role"] == "system" else ""
    return instructions, rest[:-1], str(rest[-1]["content"])


def _write_earlier(memory: Memory, instructions: str, earlier: Sequence[Mapping[str, Any]]) -> None:
    """Keep a session in which the earlier messages were said, for the task to go on with."""
    log = Trajectory()
    if instructions:
        log.append("instructions", SystemMessage(instructions), tokens=_tokens(instructions))
    step = 0
    for message in earlier:
        text = str(message["content"])
        if message["role"] == "assistant":
            step += 1
            log.append("assistant", AssistantMessage(text), step=step, tokens=_tokens(text))
        else:
            log.append("task", UserMessage(text), step=step, tokens=_tokens(text), task=text)
    memory.store.append(_SESSION, log.since(0), status=str(RunStatus.completed))


def _tokens(text: str) -> int:
    """About how many there are: the log of a real run has the model's own count."""
    return len(text.encode()) // 4 + 1
