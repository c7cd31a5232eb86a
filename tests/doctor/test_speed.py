"""What the times of one streamed answer say; the times are made up, so that no clock decides."""

from __future__ import annotations

import pytest

from ling_agent.doctor.answers import Answer
from ling_agent.doctor.findings import Verdict
from ling_agent.doctor.speed import judge
from ling_agent.results import Usage


def judged(first: float, last: float, *, prompt: int = 400, generated: int = 61) -> Verdict:
    """Of an answer with these times: `first` and `last` are seconds after the question."""
    answer = Answer(
        text="1, 2, 3",
        content="1, 2, 3",
        reasoning="",
        calls=(),
        read_by_server=0,
        lost="",
        cut=True,
        usage=Usage(prompt_tokens=prompt, completion_tokens=generated),
        usage_told=True,
        streamed=True,
        first=first,
        last=last,
        pieces=30,
    )
    return judge(answer, "vllm")


def test_a_speed_is_told_with_its_figures() -> None:
    verdict = judged(0.5, 2.5)
    assert verdict.status == "ok"
    assert verdict.seen == (
        "first token after 0.50 s for a prompt of 400 tokens, then 30.0 tokens/s (61 tokens)"
    )
    assert verdict.figures["tokens_per_second"] == 30.0


@pytest.mark.parametrize(
    ("first", "prompt", "status"),
    [
        (20.0, 400, "warning"),  # 20 tokens/s of the prompt, 30 of the answer
        (20.0, 1200, "ok"),  # 60 tokens/s of the prompt
        (1.9, 40, "ok"),  # nobody waits
        (2.0, 40, "warning"),
    ],
)
def test_a_prompt_that_is_read_slower_than_an_answer_is_written_is_told(
    first: float, prompt: int, status: str
) -> None:
    verdict = judged(first, first + 2, prompt=prompt)
    assert verdict.status == status
    assert ("prompts are not read in batches" in verdict.seen) == (status == "warning")
    assert bool(verdict.fix) == (status == "warning")
