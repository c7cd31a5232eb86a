"""``POST /v1/chat/completions``: a task for an agent."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from ..agent import Agent
from ..cancellation import CancelToken
from ..errors import LingAgentError
from ..results import RunResult
from ..stream import RunStream
from .answering import Job
from .ask import Ask, read_ask
from .conversations import SESSION_HEADER, Conversation, prepare
from .receiving import read_json
from .refusals import refusal_of
from .serving import Served, note


class Chat:
    """Answers requests of the chat API."""

    def __init__(self, served: Served) -> None:
        self._served = served

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the agent that the request names.

        Raises:
            RefusedError: What the client is told in place of an answer.
            ClientGoneError: The client has gone before its request was whole.
        """
        served, headers = self._served, Headers(scope=scope)
        served.runs.check()
        ask = read_ask(await read_json(receive, headers, served.settings.max_body))
        found = served.agent(ask.model)
        agent = served.sampling_as(ask.model, ask.sampling_from(found.sampling))
        conversation = Conversation.of(headers.get(SESSION_HEADER))
        note(scope, agent=ascii(ask.model)[1:-1], run=conversation.run_id)
        with served.runs.admit((id(agent.memory.store), conversation.run_id)) as admitted:
            try:
                await prepare(agent, conversation, ask)
            except LingAgentError as error:
                raise refusal_of(error) from error
            deps = await served.deps(Request(scope, receive))
            job = self._job(scope, agent, ask, conversation, deps)
            await served.answer(
                job, agent, conversation, admitted, (scope, receive, send), stream=ask.stream
            )

    def _job(
        self, scope: Scope, agent: Agent[Any], ask: Ask, conversation: Conversation, deps: object
    ) -> Job:
        run_id = conversation.run_id

        async def run(token: CancelToken) -> RunResult:
            return await agent.run(ask.task, session=run_id, deps=deps, cancel=token)

        def stream(token: CancelToken) -> AbstractAsyncContextManager[RunStream]:
            return agent.stream(ask.task, session=run_id, deps=deps, cancel=token)

        return Job(
            run_id=run_id,
            run=run,
            stream=stream,
            completion=self._served.completion(
                scope, ask.model, conversation, include_usage=ask.include_usage
            ),
            answer_only=self._served.answer_only(agent),
        )
