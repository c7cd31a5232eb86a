"""What a profile is: how to talk to one family of models, as data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import ConfigurationError

TemplateName = Literal[
    "chatml",
    "ling2",
    "ling1",
    "ling2.5",
    "ling2.5-thinking",
    "ling3",
    "ling3-thinking",
    "qwen3",
    "qwen3-no-thinking",
    "hermes",
    "plain",
]
Dialect = Literal["json", "arg_key"]
Switch = Literal["never", "always", "system", "enable_thinking"]


@dataclass(frozen=True, slots=True)
class SamplingAdvice:
    """Settings that the makers of a family recommend; None is not known.

    Attributes:
        temperature: As for `ling_agent.Sampling`, like the rest.
        top_p: Nucleus.
        top_k: The most likely tokens only.
        min_p: Least share of the likeliest token's probability.
        repetition_penalty: For tokens that the text already has.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None

    def fields(self) -> dict[str, Any]:
        """What is known, as arguments of `ling_agent.Sampling`."""
        return {
            name: value for name, value in dataclasses.asdict(self).items() if value is not None
        }


@dataclass(frozen=True, slots=True)
class Thinking:
    """Whether a family reasons before it answers, and how that is switched.

    It is part of a profile, and a profile is chosen with the agent: nothing switches in the middle
    of a run, which would change the beginning of every prompt.

    Attributes:
        switch: ``never`` and ``always`` cannot be switched; ``system`` is by the words
            `detailed thinking on` or `off` in the first system message; ``enable_thinking`` is by
            that variable of the chat template.
        on: How it is switched; None leaves it to the template.
        templates: Of prompts without and with thinking.
        sampling: Recommended for conversation, without and with thinking, where that differs.
    """

    switch: Switch = "never"
    on: bool | None = None
    templates: tuple[TemplateName, TemplateName] | None = None
    sampling: tuple[SamplingAdvice, SamplingAdvice] | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """How to talk to one family of models.

    Attributes:
        name: The profile's own name.
        template: Which chat template `ling_agent.hermes.render` writes.
        stop: Texts that end an answer; the tokens that the GGUF marks as end of generation end it
            as well.
        turn_end: What the template puts after an assistant message; it follows a generated text
            when the next prompt is rendered.
        bare_json: Whether the family writes calls without tags (measured for Qwen2.5-Coder).
        thinks: Whether some of the family reason before they answer, inside ``<think>``.
        dialect: How the family writes calls, and how they are rendered again.
        thinking: Whether it thinks, and how that is switched.
        chat_sampling: Recommended for conversation.
        call_sampling: Recommended where calls are to be exact.
        native_context: Tokens that every model of the family reads without YaRN; 0 is not known.
        max_context: The longest window of any of them, with YaRN where it needs that.
        yarn_factor: Largest factor of YaRN that the makers name; 1 is none.
        models: Ids of the family's models in `ling_agent.facts`.
        source: Where the template is known from; ``inferred: …`` where it is not public.
    """

    name: str
    template: TemplateName
    stop: tuple[str, ...]
    turn_end: str
    bare_json: bool = True
    thinks: bool = True
    dialect: Dialect = "json"
    thinking: Thinking = field(default_factory=Thinking)
    chat_sampling: SamplingAdvice = field(default_factory=SamplingAdvice)
    call_sampling: SamplingAdvice = field(default_factory=SamplingAdvice)
    native_context: int = 0
    max_context: int = 0
    yarn_factor: float = 1.0
    models: tuple[str, ...] = ()
    source: str = ""

    def with_thinking(self, on: bool) -> Profile:
        """The same family with thinking switched on or off, as its own profile.

        Raises:
            ConfigurationError: The family cannot be switched.
        """
        thinking = self.thinking
        if thinking.templates is None:
            if on == (thinking.switch == "always"):
                return self
            raise ConfigurationError(f"profile {self.name}: it {thinking.switch} thinks")
        base = self.name.partition(":")[0]
        sampling = thinking.sampling
        return dataclasses.replace(
            self,
            name=f"{base}:{'thinking' if on else 'no-thinking'}",
            template=thinking.templates[on],
            thinks=on,
            thinking=dataclasses.replace(thinking, on=on),
            chat_sampling=sampling[on] if sampling else self.chat_sampling,
        )

    @property
    def starts_in_reasoning(self) -> bool:
        """Whether prompts end inside ``<think>``, so that an answer begins with reasoning."""
        return self.template == "ling3-thinking"

    @property
    def system_switch(self) -> str:
        """What the first system message has to say, on a line of its own, for a server that renders
        prompts itself; empty where nothing."""
        thinking = self.thinking
        return "detailed thinking on" if thinking.switch == "system" and thinking.on else ""

    @property
    def template_variables(self) -> dict[str, Any]:
        """Variables of the chat template (``chat_template_kwargs``) for such a server."""
        thinking = self.thinking
        if thinking.switch != "enable_thinking" or thinking.on is None:
            return {}
        return {"enable_thinking": thinking.on}
