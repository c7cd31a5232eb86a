"""``POST /v1/runs/{run_id}/resume``: decide about calls that wait, and go on with the run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from ..agent import Agent
from ..approvals import Approval, Deny, Edit
from ..cancellation import CancelToken
from ..errors import ConfigurationError, LingAgentError
from ..results import RunResult
from ..resuming import is_complete
from ..stream import RunStream
from .answering import Job
from .ask import a_flag, an_object
from .conversations import Conversation, has, kept, not_kept
from .receiving import read_json
from .refusals import RefusedError, invalid, refusal_of
from .serving import Served, note

_KNOWN = ("approvals", "model", "stream")


class Resume:
    """Answers requests that go on with a run."""

    def __init__(self, served: Served) -> None:
        self._served = served

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go on with the run of the path.

        Raises:
            RefusedError: What the client is told in place of an answer.
            ClientGoneError: The client has gone before its request was whole.
        """
        served = self._served
        served.runs.check()
        conversation = Conversation.known(scope["path_params"]["run_id"])
        body = await read_json(receive, Headers(scope=scope), served.settings.max_body)
        data = an_object(body)
        for name in data:
            if name not in _KNOWN:
                raise invalid(f"{name}: there is no such field", name, code="unknown_parameter")
        approvals, stream = _approvals(data.get("approvals")), a_flag(data, "stream")
        model = data.get("model") or QueryParams(scope["query_string"]).get("model")
        name, agent = await self._agent(model, conversation)
        note(scope, agent=ascii(name)[1:-1], run=conversation.run_id)
        with served.runs.admit((id(agent.memory.store), conversation.run_id)) as admitted:
            await _check(agent, conversation)
            deps = await served.deps(Request(scope, receive))
            job = self._job(scope, name, agent, conversation, approvals, deps)
            await served.answer(
                job, agent, conversation, admitted, (scope, receive, send), stream=stream
            )

    async def _agent(self, model: object, conversation: Conversation) -> tuple[str, Agent[Any]]:
        """The agent that is named, or else the only one that has the run."""
        if model is not None:
            if not isinstance(model, str):
                raise invalid("model: name the agent of the run", "model")
            return model, self._served.agent(model)
        try:
            found = [
                (name, agent)
                for name, agent in self._served.agents.items()
                if await has(agent, conversation)
            ]
        except LingAgentError as error:
            raise refusal_of(error) from error
        if not found:
            raise not_kept()
        if len(found) > 1:
            raise invalid(
                "model: several agents have this run: name the one that began it", "model"
            )
        return found[0]

    def _job(
        self,
        scope: Scope,
        name: str,
        agent: Agent[Any],
        conversation: Conversation,
        approvals: Mapping[str, Approval],
        deps: object,
    ) -> Job:
        run_id = conversation.run_id

        async def run(token: CancelToken) -> RunResult:
            try:
                return await agent.resume(run_id, approvals=approvals, deps=deps, cancel=token)
            except ConfigurationError as error:
                raise _of_approvals(error) from error

        @asynccontextmanager
        async def stream(token: CancelToken) -> AsyncGenerator[RunStream[Any], None]:
            resumed = agent.resume_stream(run_id, approvals=approvals, deps=deps, cancel=token)
            try:
                async with resumed as events:
                    yield events
            except ConfigurationError as error:
                raise _of_approvals(error) from error

        return Job(
            run_id=run_id,
            run=run,
            stream=stream,
            completion=self._served.completion(scope, name, conversation, include_usage=False),
            answer_only=self._served.answer_only(agent),
        )


async def _check(agent: Agent[Any], conversation: Conversation) -> None:
    try:
        trajectory = await kept(agent, conversation)
    except LingAgentError as error:
        raise refusal_of(error) from error
    if is_complete(trajectory):
        raise RefusedError(409, "the run has completed: send a new message", code="run_completed")


def _of_approvals(error: ConfigurationError) -> Exception:
    """What is wrong with a decision is the client's affair; its text names calls only."""
    text = str(error)
    if text.startswith(("approval of", "Edit:")):
        return invalid(text, "approvals")
    return error


def _approvals(given: object) -> dict[str, Approval]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise invalid("approvals: give an object from call ids to decisions", "approvals")
    decisions = cast("dict[str, Any]", given)
    return {call_id: _approval(call_id, each) for call_id, each in decisions.items()}


def _approval(call_id: str, given: Any) -> Approval:
    if isinstance(given, bool):
        return given
    match given:
        case {"deny": str(reason), **more} if not more:
            return Deny(reason)
        case {"edit": dict(), **more} if not more:
            return Edit(given["edit"])
        case _:
            raise invalid(
                f'approvals: {call_id}: give true, false, {{"deny": "reason"}} or '
                '{"edit": {"argument": value}}',
                "approvals",
            )
