"""The profiles as data: names, switches, and agreement with the facts and the templates."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from ling_agent import ConfigurationError, Sampling, facts
from ling_agent.hermes import TEMPLATES, render
from ling_agent.hermes.templates import BY_NAME
from ling_agent.profiles import (
    ALIASES,
    CHATML,
    LING2,
    PROFILES,
    Profile,
    TemplateName,
    get_profile,
    profile_for_name,
)

NAMES = (
    *("ling-1", "ling-2.0", "ling-2.5", "ling-2.6", "ring-2.5", "ring-2.6", "ling-3.0"),
    *("qwen2.5", "qwen3", "hermes-2", "hermes-3", "plain"),
)
every_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda one: one.name)
switchable = pytest.mark.parametrize(
    "profile",
    [one for one in PROFILES.values() if one.thinking.templates],
    ids=lambda one: one.name,
)


def test_names() -> None:
    assert tuple(PROFILES) == NAMES
    assert get_profile("ling2") is LING2 is PROFILES["ling-2.0"]
    assert get_profile("chatml") is CHATML is PROFILES["qwen2.5"]
    assert get_profile("Ling-2.6-1T") is get_profile("ling-2.6")
    assert set(ALIASES.values()) <= set(PROFILES)


def test_unknown_names() -> None:
    with pytest.raises(ConfigurationError, match="unknown profile 'nope'; known: ling2, chatml, "):
        get_profile("nope")
    with pytest.raises(ConfigurationError, match=r"did you mean .*ling-2\.6"):
        get_profile("ling-2.7")
    with pytest.raises(ConfigurationError, match="with :thinking or :no-thinking behind it"):
        get_profile("qwen3:maybe")


def test_the_templates_are_those_of_the_renderer() -> None:
    assert set(typing.get_args(TemplateName)) == set(TEMPLATES)


@every_profile
def test_a_profile_ends_turns_as_its_template_does(profile: Profile) -> None:
    asked = [{"role": "user", "content": "x"}]
    answered = [*asked, {"role": "assistant", "content": "", "raw": "RAW"}]
    prompt = render(asked, template=profile.template)
    shown = render(answered, template=profile.template, add_generation_prompt=False)
    assert shown == f"{prompt}RAW{profile.turn_end}"
    assert profile.turn_end.strip() in ("", *profile.stop)
    assert prompt.endswith("<think>") == profile.starts_in_reasoning


@every_profile
def test_a_profile_renders_calls_in_its_dialect(profile: Profile) -> None:
    call = {"function": {"name": "look", "arguments": {"where": "here"}}}
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call]}]
    shown = render(messages, template=profile.template, add_generation_prompt=False)
    inside = shown.partition("<tool_call>")[2].partition("</tool_call>")[0]
    assert inside.startswith("look\n<arg_key>") == (profile.dialect == "arg_key")
    assert inside.startswith('\n{"name": "look"') == (profile.dialect == "json")


@every_profile
def test_windows_and_models_are_those_of_the_facts(profile: Profile) -> None:
    models = [facts.model(name) for name in profile.models]
    assert [one.id for one in models] == list(profile.models)
    for one in models:
        assert profile_for_name(one.repository) is profile
    if profile.native_context:
        assert profile.native_context == min(one.native_context for one in models)
        assert profile.max_context == max(one.max_context for one in models)
        assert profile.yarn_factor == max(one.yarn_factor for one in models)


@every_profile
def test_recommended_sampling_is_sampling(profile: Profile) -> None:
    for advice in (profile.chat_sampling, profile.call_sampling):
        sampling = Sampling(**advice.fields())
        for name, value in advice.fields().items():
            assert getattr(sampling, name) == value


@every_profile
def test_a_profile_says_where_its_template_is_from(profile: Profile) -> None:
    assert profile.source.startswith(("read: ", "inferred: "))


class TestThinking:
    @switchable
    def test_it_is_part_of_the_profile(self, profile: Profile) -> None:
        on, off = profile.with_thinking(True), profile.with_thinking(False)
        assert (on.name, off.name) == (f"{profile.name}:thinking", f"{profile.name}:no-thinking")
        assert get_profile(on.name) == on
        assert get_profile(off.name) == off
        assert on.template != off.template
        assert (on.thinks, off.thinks) == (True, False)
        assert on.with_thinking(False) == off
        assert profile.template in (on.template, off.template)
        kept = dataclasses.replace(
            on,
            name=profile.name,
            template=profile.template,
            thinks=profile.thinks,
            thinking=profile.thinking,
            chat_sampling=profile.chat_sampling,
        )
        assert kept == profile

    @switchable
    def test_a_server_that_renders_itself_is_told(self, profile: Profile) -> None:
        on, off = profile.with_thinking(True), profile.with_thinking(False)
        if profile.thinking.switch == "enable_thinking":
            assert on.template_variables == {"enable_thinking": True}
            assert off.template_variables == {"enable_thinking": False}
            assert on.system_switch == off.system_switch == ""
        else:
            assert on.system_switch == "detailed thinking on"
            assert off.system_switch == ""
            assert on.template_variables == off.template_variables == {}

    def test_nothing_is_sent_where_nobody_switches(self) -> None:
        assert PROFILES["qwen3"].template_variables == {}
        assert PROFILES["ling-2.6"].system_switch == ""
        assert PROFILES["ling-2.0"].template_variables == {}

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("ling-2.0:thinking", "it never thinks"),
            ("qwen2.5:thinking", "it never thinks"),
            ("ring-2.6:no-thinking", "it always thinks"),
        ],
    )
    def test_families_that_cannot_be_switched(self, name: str, problem: str) -> None:
        with pytest.raises(ConfigurationError, match=problem):
            get_profile(name)
        base, _, switch = name.partition(":")
        same = f"{base}:{'no-thinking' if switch == 'thinking' else 'thinking'}"
        assert get_profile(same) is get_profile(base)

    def test_qwen3_is_sampled_as_it_thinks(self) -> None:
        assert get_profile("qwen3:no-thinking").chat_sampling.temperature == 0.7
        assert get_profile("qwen3:thinking").chat_sampling.temperature == 0.6

    def test_the_words_of_ling_are_in_the_prompt_once(self) -> None:
        for name, words in (
            ("ling-2.6", "detailed thinking off"),
            ("ling-2.6:thinking", "detailed thinking on"),
            ("ling-3.0", "detailed thinking off"),
            ("ling-3.0:thinking", "detailed thinking on"),
        ):
            profile = get_profile(name)
            prompt = render([{"role": "user", "content": "x"}], template=profile.template)
            assert prompt.count("detailed thinking") == prompt.count(words) == 1

    def test_answers_begin_in_reasoning_where_the_prompt_opens_it(self) -> None:
        assert BY_NAME[get_profile("ling-3.0:thinking").template].answer.endswith("<think>")
        assert get_profile("ling-3.0:thinking").starts_in_reasoning
        assert not get_profile("ling-3.0").starts_in_reasoning
