"""The program: a FastAPI app that existed, and what is added to it for the agent."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from ling_agent import Agent
from ling_agent.stream import RunStream

from .bookshop import BOOKS, Book
from .streaming import RunResponse


class Question(BaseModel):
    """What the page sends; each browser tab has a session of its own, which it has made up."""

    session: str = Field(pattern="^[0-9a-f]{32}$")
    text: str = Field(min_length=1, max_length=10_000)


def make_app(agent: Agent) -> FastAPI:
    """The bookshop's program with the agent in it."""
    app = FastAPI(title="Bookshop")

    @app.get("/books")
    async def books() -> list[Book]:
        return BOOKS

    add_agent(app, agent)
    return app


def add_agent(app: FastAPI, agent: Agent) -> None:
    """Add the page and its three paths; ``app.state.runs`` has the runs that work, by session."""
    runs: dict[str, RunStream[str]] = {}
    app.state.runs = runs

    @asynccontextmanager
    async def asked(question: Question) -> AsyncGenerator[RunStream[str], None]:
        async with agent.stream(question.text, session=question.session) as run:
            runs[question.session] = run
            try:
                yield run
            finally:
                del runs[question.session]

    def running(session: str) -> RunStream[str]:
        if session not in runs:
            raise HTTPException(404, "nothing runs")
        return runs[session]

    @app.get("/")
    async def page() -> HTMLResponse:
        return page_response(Path(__file__).with_name("page.html"))

    @app.post("/chat")
    async def chat(question: Question) -> Response:
        return RunResponse(asked(question))

    @app.post("/chat/{session}/stop", status_code=204)
    async def stop(session: str) -> None:
        running(session).stop()

    @app.post("/chat/{session}/cancel", status_code=204)
    async def cancel(session: str) -> None:
        running(session).cancel()


def page_response(path: Path) -> HTMLResponse:
    """A page whose own script is the only one that a browser runs."""
    nonce = secrets.token_urlsafe(16)
    policy = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; " + (
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    text = path.read_text("utf-8").replace("<script>", f'<script nonce="{nonce}">')
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})
