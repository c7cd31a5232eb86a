"""The program: tasks are given and calls are decided about over HTTP."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from examples.web_chat.app import page_response
from examples.web_chat.streaming import Json, RunResponse
from ling_agent import Agent, Deny, Edit, RunResult, RunStatus
from ling_agent.stream import RunStream

_log = logging.getLogger("examples")


class Task(BaseModel):
    """What the page sends to begin a run."""

    text: str = Field(min_length=1, max_length=10_000)


class Approve(BaseModel):
    """Run the call."""

    decision: Literal["approve"]

    def approval(self) -> Literal[True]:
        return True


class Refuse(BaseModel):
    """Do not run it; the model is told the reason."""

    decision: Literal["deny"]
    reason: str = ""

    def approval(self) -> Deny:
        return Deny(self.reason) if self.reason else Deny()


class Change(BaseModel):
    """Run it with other arguments."""

    decision: Literal["edit"]
    arguments: dict[str, Any]

    def approval(self) -> Edit:
        return Edit(self.arguments)


Decision = Annotated[Approve | Refuse | Change, Field(discriminator="decision")]


class Desk:
    """The runs that wait for a person.

    Their calls are kept in the agent's store; what is here can be made anew from it at any time.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.waiting: dict[str, RunResult] = {}
        self.group: TaskGroup

    @asynccontextmanager
    async def open(self, app: FastAPI) -> AsyncGenerator[None, None]:
        """While the program runs: first find the runs that waited when it ended."""
        for info in await anyio.to_thread.run_sync(self.agent.memory.store.runs):
            if info.status == RunStatus.needs_approval:
                # Without a decision this only says again what the run waits for.
                self._keep(await self.agent.resume(info.run_id))
        async with anyio.create_task_group() as self.group:
            yield
            self.group.cancel_scope.cancel()

    @asynccontextmanager
    async def followed(
        self, opened: AbstractAsyncContextManager[RunStream[str]]
    ) -> AsyncGenerator[RunStream[str], None]:
        """A run of `group` that goes on when the page is closed: somebody has decided, after all.

        Args:
            opened: Made with ``within=self.group``.
        """
        async with opened as run:
            self.waiting.pop(run.run_id, None)
            try:
                yield run
            except BaseException:
                run.detach()
                self.group.start_soon(self._until_ended, run)
                raise
            await self._until_ended(run)

    async def _until_ended(self, run: RunStream[str]) -> None:
        try:
            self._keep(await run.wait())
        except Exception:  # of one run; the others go on
            _log.exception("run %s left no result", run.run_id)

    def _keep(self, result: RunResult) -> None:
        if result.pending_approvals:
            self.waiting[result.run_id] = result


def make_app(agent: Agent) -> FastAPI:
    """The program. Who may decide is for its log-in, which is left out here."""
    desk = Desk(agent)
    app = FastAPI(title="Refunds", lifespan=desk.open)
    # Pages of others cannot reach it by giving its address a name of theirs.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])

    @app.get("/")
    async def page() -> HTMLResponse:
        return page_response(Path(__file__).with_name("page.html"))

    @app.post("/tasks")
    async def begin(task: Task) -> Response:
        return RunResponse(desk.followed(agent.stream(task.text, within=desk.group)))

    @app.get("/waiting")
    async def waiting() -> list[Json]:
        return [tell_waiting(result) for result in desk.waiting.values()]

    @app.post("/runs/{run_id}")
    async def decide(run_id: str, decisions: dict[str, Decision]) -> Response:
        """Go on with a run; decisions are by call id."""
        if run_id not in desk.waiting:
            raise HTTPException(409, "this run does not wait: somebody has decided already")
        approvals = {call_id: decision.approval() for call_id, decision in decisions.items()}
        resumed = agent.resume_stream(run_id, approvals=approvals, within=desk.group)
        return RunResponse(desk.followed(resumed))

    return app


def tell_waiting(result: RunResult) -> Json:
    """What the page lists of a run that waits."""
    task = result.trajectory.task
    assert task is not None  # every run begins with one
    calls = [
        {"id": call.id, "name": call.name, "arguments": call.arguments}
        for call in result.pending_approvals
    ]
    return {"run_id": result.run_id, "task": task.data["task"], "calls": calls}
