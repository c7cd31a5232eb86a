"""A stand-in for a server with a small model: what such a model is asked aside, it answers, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ling_agent.backends.base import DRAFTS

from .hostile import Exchange, text_reply
from .test_completions import Model

NAME = "Qwen2.5-Coder-0.5B-Instruct"
DRAFTED: Mapping[str, str] = {
    "listed": '{"name": "add", "arguments": {"a": 1, "b": 2}}\n]',
    "python": "add(a=1, b=2)\n```",
}
CUT_OFF: Mapping[str, str] = {"listed": '{"name": "add", ', "python": "add(a=1, "}
"""What is left of them where there is no room for more: not one call."""
HINT = "Begin with one line"


def models(name: str = NAME, owner: str = "vllm") -> dict[str, object]:
    """The route that lists this model."""
    return {"/v1/models": {"data": [{"id": name, "owned_by": owner, "max_model_len": 8192}]}}


@dataclass
class SmallModel(Model):
    """It drafts one call, is sure that it is meant, and carries its plan out.

    Attributes:
        weighs: Whether it tells likely tokens.
        drafted: Its drafts.
    """

    weighs: bool = True
    drafted: Mapping[str, str] = field(default_factory=lambda: DRAFTED)

    async def complete(self, exchange: Exchange) -> None:
        body = exchange.json
        if "messages" in body:
            self.bodies.append(body)
            await text_reply("It is 3.")(exchange)
        elif body.get("logprobs") and not self.weighs:
            reason = "Requested sample logprobs of 20, which is greater than max allowed: 5"
            await exchange.respond({"error": reason}, status=400)
        elif body["max_tokens"] == 1:
            self.prompts.append(body["prompt"])
            self.bodies.append(body)
            await self._weigh(exchange, body)
        else:
            await super().complete(exchange)

    async def _weigh(self, exchange: Exchange, body: dict[str, Any]) -> None:
        choice: dict[str, Any] = {"index": 0, "text": "yes", "finish_reason": "length"}
        if body.get("logprobs"):
            choice["logprobs"] = {"top_logprobs": [{"yes": -0.1, "no": -3.0}]}
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": 1}
        if body["stream"]:
            await exchange.begin_events()
            await exchange.event({"choices": [choice]})
            await exchange.event({"choices": [], "usage": usage})
            await exchange.end_events()
        else:
            await exchange.respond({"choices": [choice], "usage": usage})

    def _answer(self, prompt: str) -> str:
        for form in ("listed", "python"):
            if prompt.endswith(DRAFTS[form].prefill):
                return self.drafted[form]
        return super()._answer(prompt)
