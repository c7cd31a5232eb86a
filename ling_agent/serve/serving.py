"""`Served`: what the endpoints share, and one way from a job to an answer."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from ..agent import Agent
from ..limits import Sampling
from .answering import Job, answer_streamed, answer_whole, refused_result
from .chunks import Completion
from .conversations import Conversation, ending
from .gate import NOTES
from .refusals import RefusedError
from .runs import Admitted, Runs
from .settings import Settings
from .writing import EventWriter

_MOST_MADE = 64


@dataclass(frozen=True, slots=True)
class Served:
    """The agents, and how they are served.

    Attributes:
        agents: By the names that they are served under.
        settings: How.
        runs: Those that work now.
        deps: Makes the ``deps`` of a run from its request.
    """

    agents: Mapping[str, Agent[Any]]
    settings: Settings
    runs: Runs
    deps: Callable[[Request], Awaitable[Any]]
    _made: dict[tuple[str, Sampling], Agent[Any]] = field(
        default_factory=dict[tuple[str, Sampling], "Agent[Any]"]
    )

    def agent(self, name: str) -> Agent[Any]:
        """The agent of that name.

        Raises:
            RefusedError: There is none.
        """
        if name not in self.agents:
            raise RefusedError(
                404,
                f"model: there is no agent {name!r}; /v1/models lists them",
                code="model_not_found",
                param="model",
            )
        return self.agents[name]

    def sampling_as(self, name: str, sampling: Sampling) -> Agent[Any]:
        """The agent of that name, with its backend and its memory, that samples so.

        Clients send the same few values again and again: their agents are not made anew.
        """
        agent = self.agents[name]
        if sampling == agent.sampling:
            return agent
        key = (name, sampling)
        if key not in self._made:
            if len(self._made) >= _MOST_MADE:
                self._made.clear()
            self._made[key] = agent.with_options(sampling=sampling)
        return self._made[key]

    def answer_only(self, agent: Agent[Any]) -> bool:
        """Whether nothing but the answer is content: one of a type has to be read as it is."""
        return self.settings.answer_only or _is_typed(agent)

    def completion(
        self, scope: Scope, model: str, conversation: Conversation, *, include_usage: bool
    ) -> Completion:
        """What writes the answer of a run."""
        resume = f"{scope.get('root_path', '')}/v1/runs/{conversation.run_id}/resume"
        if len(self.agents) > 1:  # which may share a store
            resume += f"?model={quote(model)}"
        return Completion(
            run_id=conversation.run_id,
            model=model,
            created=int(time.time()),
            events=self.settings.events,
            include_usage=include_usage,
            resume=resume,
            typed=_is_typed(self.agents[model]),
        )

    async def answer(
        self,
        job: Job,
        agent: Agent[Any],
        conversation: Conversation,
        admitted: Admitted,
        connection: tuple[Scope, Receive, Send],
        *,
        stream: bool,
    ) -> None:
        """Run and answer, and leave behind what has to stay only.

        Raises:
            RefusedError: What the client is told in place of an answer, when nothing was sent yet.
        """
        scope, receive, send = connection
        note(scope, outcome="error")
        async with ending(agent, conversation, admitted) as end:
            if stream:
                keepalive = self.settings.keepalive
                writer = EventWriter(send, job.run_id, keepalive=keepalive)
                result = await answer_streamed(job, admitted, end, receive, writer)
            else:
                result = await answer_whole(job, admitted, receive)
                await end.settle(result)
        if result is not None:
            note(scope, outcome=str(result.status))
        if result is None or stream:
            return
        if (refused := refused_result(result, admitted)) is not None:
            raise refused
        headers = {"x-run-id": job.run_id}
        await JSONResponse(job.completion.whole(result), headers=headers)(scope, receive, send)


def _is_typed(agent: Agent[Any]) -> bool:
    typed: Any = agent.output_type
    return typed is not str


def note(scope: Scope, **parts: Any) -> None:
    """Have the access log tell something of a request."""
    scope[NOTES].update(parts)
