"""Drives an `Engine` without its thread: what tests of the engine's parts have in common."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from ling_agent import Sampling, Usage
from ling_agent.backends import Chunk, Finished, TextChunk
from ling_agent.backends.embedded.engine import Engine
from ling_agent.backends.embedded.generation import GenerationRequest

STOP = ("<|im_end|>", "<|endoftext|>")


def user(text: str) -> str:
    """A prompt of one question."""
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


@dataclass
class Answer:
    """What came out of one generation."""

    chunks: list[Chunk | BaseException] = field(default_factory=list[Chunk | BaseException])
    cancelled: threading.Event = field(default_factory=threading.Event)
    cancel_after: int | None = None

    def put(self, chunk: Chunk | BaseException) -> None:
        self.chunks.append(chunk)
        if self.cancel_after is not None and len(self.chunks) >= self.cancel_after:
            self.cancelled.set()

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks if isinstance(chunk, TextChunk))

    @property
    def end(self) -> Finished:
        for chunk in self.chunks:
            if isinstance(chunk, BaseException):
                raise chunk
        end = self.chunks[-1]
        assert isinstance(end, Finished)
        return end

    @property
    def usage(self) -> Usage:
        return self.end.usage


def begin(
    engine: Engine,
    prompt: str,
    *,
    cancel_after: int | None = None,
    sampling: Sampling | None = None,
    **options: Any,
) -> Answer:
    """Start an answer: greedy, 32 tokens unless the options say otherwise."""
    answer = Answer(cancel_after=cancel_after)
    engine.start(
        GenerationRequest(
            prompt,
            answer.put,
            cancelled=answer.cancelled,
            sampling=sampling or Sampling(max_tokens=32),
            stop=STOP,
            **options,
        )
    )
    return answer


def finish(engine: Engine) -> None:
    """Go on until there is nothing to do."""
    while not engine.idle:
        engine.tick()


def generate(engine: Engine, prompt: str, **options: Any) -> Answer:
    """One answer, alone."""
    answer = begin(engine, prompt, **options)
    finish(engine)
    return answer


class Talk:
    """A conversation that goes on: each step's prompt extends the last one."""

    def __init__(self, name: str, opening: str) -> None:
        self.name = name
        self.prompt = opening

    def step(self, engine: Engine, say: str, **options: Any) -> Answer:
        """One answer; the next prompt goes on from it."""
        answer = generate(engine, self.prompt, conversation=self.name, **options)
        self.follow(answer, say)
        return answer

    def follow(self, answer: Answer, say: str) -> None:
        """Take an answer into the conversation, and what is said next."""
        self.prompt += f"{answer.text}<|im_end|>\n{user(say)}"
