"""The tables of docs/profiles.md say what the profiles say."""

from __future__ import annotations

from pathlib import Path

import pytest

from ling_agent.profiles import PROFILES, Profile, SamplingAdvice, get_profile

PAGE = Path(__file__).resolve().parents[2] / "docs" / "profiles.md"
ROWS = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]


def thinking(profile: Profile) -> str:
    switch, on = profile.thinking.switch, profile.thinking.on
    if switch in ("never", "always"):
        return switch
    on = profile.template == profile.thinking.templates[1] if profile.thinking.templates else on
    return (
        f"{'on' if on else 'off'}: {'system text' if switch == 'system' else '`enable_thinking`'}"
    )


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda one: one.name)
def test_families(profile: Profile) -> None:
    stops = ", ".join(f"`{stop.replace('|', chr(92) + '|')}`" for stop in profile.stop)
    window = f"{profile.native_context:,}" if profile.native_context else ""
    factor = profile.yarn_factor
    longest = f"{profile.max_context:,} ({factor:g})" if factor > 1 else ""
    cells = [
        *(f"`{profile.name}`", f"`{profile.template}`", f"`{profile.dialect}`", stops),
        *(thinking(profile), window, longest),
    ]
    row = "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"
    assert row in ROWS


def shown(advice: SamplingAdvice) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in advice.fields().items() if value)


def test_sampling() -> None:
    rows = [[cell.strip() for cell in row.split("|")] for row in ROWS]
    told = {
        name.strip(" `"): (row[2], row[3])
        for row in rows
        if len(row) == 6
        for name in row[1].split(",")
    }
    told = {name: cells for name, cells in told.items() if "temperature" in cells[0]}
    for name, cells in told.items():
        profile = get_profile(name)
        assert cells == (shown(profile.chat_sampling), shown(profile.call_sampling)), name
    known = {name for name, one in PROFILES.items() if one.chat_sampling.fields()}
    assert known == {name.partition(":")[0] for name in told} - {"ling-3.0"}
