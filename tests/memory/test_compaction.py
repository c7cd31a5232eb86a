"""What leaves the window: in whole groups, in order, and only what makes the prompt smaller."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ling_agent import Trajectory
from ling_agent.memory.budget import Budget, Meter, divide
from ling_agent.memory.compaction import Compaction, choose, cut_large, excerpt, stub
from ling_agent.memory.window import Window, bytes_of, content_of
from ling_agent.messages import (
    AssistantMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)

from .logs import OPS, SEEDS, Log

NO_TOOLS = 0


class Run:
    """A log with its window, measured in bytes: a byte is a token."""

    def __init__(self, window: int = 4000, *, task: str = "Do it.", **options: int) -> None:
        self.trajectory = Trajectory()
        self.trajectory.append("instructions", SystemMessage("Be brief."))
        self.meter = Meter()
        self.meter.learn(1000, 1000)
        self.budget = divide(
            window, answer=1, high_watermark=0.85, low_watermark=0.5, max_observation_tokens=None
        )
        self.window = Window(self.trajectory)
        self.task(task)

    def task(self, text: str, *documents: str) -> None:
        for number, document in enumerate(documents):
            self.trajectory.append("document", UserMessage(document), name=f"d{number}")
        self.trajectory.append("task", UserMessage(text), task=text)

    def step(self, *sizes: int, text: str = "I look.") -> list[int]:
        number = self.trajectory.last_step + 1
        calls = tuple(ToolCall(f"call_{number}_{n}", "look", {}) for n in range(len(sizes)))
        self.trajectory.append("assistant", AssistantMessage(text, None, calls), step=number)
        ids: list[int] = []
        for call, size in zip(calls, sizes, strict=True):
            answer = ToolMessage(call.id, "look", ("line of text\n" * size)[:size])
            ids.append(self.trajectory.append("observation", answer, step=number).id)
        return ids

    @property
    def total(self) -> int:
        self.window.update()
        return self.meter.tokens(self.window.size, len(self.window.items))

    def choose(self) -> Compaction:
        return choose(self.window, self.meter, self.budget, self.total)

    def apply(self, change: Compaction, record: str = "Goal: x") -> None:
        data = change.data()
        if change.dropped:
            data["record"] = record
        self.trajectory.append("compaction", **data)
        self.window.update()


def test_first_old_large_observations_become_stubs_oldest_first() -> None:
    run = Run()
    big = [run.step(1000)[0] for _ in range(3)]
    for _ in range(4):
        run.step(100)
    change = choose(run.window, run.meter, run.budget, 3500)
    assert list(change.stubs) == big[:2], "no more than needed"
    assert not (change.dropped)
    assert not (change.cut)
    assert not (change.documents)
    before = run.total
    run.apply(change)
    assert before - run.total == pytest.approx(change.saved, abs=4)  # pyright: ignore[reportUnknownMemberType]


def test_then_old_steps_are_dropped_and_need_no_stub() -> None:
    run = Run()
    for _ in range(40):
        run.step(60)
    change = run.choose()
    assert not (change.stubs)
    assert not (change.cut)
    assert not (change.documents)
    assert 0 < len(change.dropped) <= 36
    first = run.window.items[2].entry.id
    assert change.dropped[0][0].entry.id == first
    run.apply(change, "r" * run.budget.record)
    assert run.total <= run.budget.low


def test_groups_stay_whole() -> None:
    run = Run()
    for _ in range(20):
        run.step(60, 60, 60)
    for group in run.choose().dropped:
        assert isinstance(group[0].message, AssistantMessage)
        assert len(group) == 4


def test_the_newest_steps_stay_as_far_as_there_is_room() -> None:
    run = Run()
    for _ in range(20):
        run.step(150)
    kept = run.window
    run.apply(run.choose())
    assert [item.entry.step for item in kept.items if item.entry.step] [-8:] == [
        17, 17, 18, 18, 19, 19, 20, 20,
    ]  # fmt: skip
    large = Run()
    for _ in range(6):
        large.step(900)
    change = large.choose()
    gone = {item.entry.step for group in change.dropped for item in group}
    touched = gone | {large.trajectory[number].step for number in change.stubs}
    assert touched == {1, 2, 3, 4, 5}, "only one fits into half of what is to be left"


def test_instructions_task_and_pinned_steps_are_never_touched() -> None:
    run = Run(task="t" * 1000)
    ids = [run.step(400)[0] for _ in range(12)]
    run.trajectory.pin(run.trajectory[ids[1]])
    run.trajectory.pin(run.trajectory[ids[3] - 1])
    change = run.choose()
    run.apply(change)
    shown = {item.entry.id: item for item in run.window.items}
    assert {0, 1, ids[1], ids[1] - 1, ids[3], ids[3] - 1} <= set(shown)
    assert not (shown[ids[1]].stub)
    assert not (shown[ids[3]].stub)
    assert ids[0] not in shown or shown[ids[0]].stub


def test_old_tasks_go_with_what_stands_in_front_of_them() -> None:
    run = Run()
    run.task("old", "d" * 1500)
    for _ in range(3):
        run.step(200)
    run.task("new")
    for _ in range(6):
        run.step(200)
    run.apply(run.choose())
    assert [task.text for task in run.window.tasks] == ["new"]


def test_one_big_newest_observation_is_cut() -> None:
    run = Run()
    (big,) = run.step(50_000)
    change = run.choose()
    assert list(change.cut) == [big]
    run.apply(change)
    assert run.budget.low < run.total <= run.budget.high


def test_many_calls_in_one_message_are_cut_to_equal_shares() -> None:
    run = Run(8000)
    ids = run.step(*[900] * 20, 50)
    change = run.choose()
    assert list(change.cut) == ids[:20], "the small one stays whole"
    run.apply(change)
    assert run.total <= run.budget.high
    sizes = {item.size for item in run.window.items if item.cut}
    assert max(sizes) - min(sizes) < 60


def test_documents_alone_are_shown_shorter_the_last_one_first() -> None:
    run = Run()
    run.task("new", "first line\n" * 100, "second line\n" * 300)
    change = run.choose()
    assert list(change.documents) == [3]
    run.apply(change)
    assert run.total <= run.budget.high
    assert run.window.task is not None
    (_, whole), (entry, shown) = run.window.task.documents
    assert whole == 1100
    assert entry.text[:shown].endswith("\n"), "whole lines"


def test_a_document_of_one_long_line_is_cut_inside_it() -> None:
    run = Run()
    run.task("new", "title\n" + "x" * 9000)
    run.apply(run.choose())
    assert run.window.task is not None
    assert run.window.task.documents[0][1] > 1000


def test_nothing_to_take_is_nothing_to_do() -> None:
    run = Run(task="t" * 5000)
    assert run.choose().data() == {}
    run.step(20)
    assert run.choose().data() == {}, "the newest step is small"


def test_a_record_that_would_be_larger_than_what_it_replaces_is_not_made() -> None:
    run = Run(task="t" * 3500)
    for _ in range(5):
        run.step(20)
    assert run.choose().dropped == []


def test_it_comes_to_an_end() -> None:
    """What is applied is not chosen again: a compaction in vain would be made at each step."""
    run = Run(task="t" * 3900)
    run.step(250, 250, 300)
    for _ in range(4):
        change = run.choose()
        if not change.data():
            break
        before = run.total
        run.apply(change)
        assert run.total < before
    assert run.choose().data() == {}


def budget(window: int = 4000, observation: int = 500) -> Budget:
    return Budget(window, window * 17 // 20, window // 2, observation, window // 16)


def cut_of(text: str, observation: int) -> tuple[Trajectory, Compaction]:
    trajectory = Trajectory()
    trajectory.append("task", UserMessage("t"), task="t")
    call = ToolCall("call_1_0", "look", {})
    trajectory.append("assistant", AssistantMessage("", None, (call,)), step=1)
    trajectory.append("observation", ToolMessage(call.id, "look", text), step=1)
    meter = Meter()
    meter.learn(1000, 1000)
    window = Window(trajectory)
    window.update()
    return trajectory, cut_large(window.items, meter, budget(observation=observation))


def test_a_long_observation_is_cut_at_both_ends_and_the_note_reads_on_exactly_there() -> None:
    text = "".join(f"line {n}\n" for n in range(500))
    trajectory, change = cut_of(text, 500)
    trajectory.append("compaction", **change.data())
    head, tail, note = change.cut[2]
    shown = Window(trajectory).messages()[-1].content
    assert shown == f"{text[:head]}\n{note}\n{text[-tail:]}"
    assert bytes_of(shown) <= 500
    assert f"open('e2', {head})" in note
    assert f"[{len(text) - head - tail:,} characters" in note


@given(st.text(max_size=700), st.integers(32, 300), st.sampled_from(["", "漢" * 400, "x" * 2000]))
def test_a_cut_is_smaller_and_repeats_nothing(text: str, observation: int, more: str) -> None:
    for whole in (text + more + text, more + text + more):
        _, change = cut_of(whole, observation)
        for head, tail, note in change.cut.values():
            assert head + tail < len(whole)
            shown = bytes_of(whole[:head] + whole[len(whole) - tail :])
            assert shown <= max(observation, 200)
            assert shown + bytes_of(note) < bytes_of(whole)


def test_a_task_of_more_than_half_the_window_is_cut() -> None:
    run = Run(task="t" * 10_000)
    run.window.update()
    change = cut_large(run.window.items, run.meter, run.budget)
    run.apply(change)
    assert list(change.cut) == [1]
    assert run.window.items[1].size <= run.budget.low
    assert not cut_large(run.window.items, run.meter, run.budget).cut, "once"


def test_a_task_that_is_cut_is_cut_shorter_when_nothing_else_helps() -> None:
    run = Run(task="t" * 10_000)
    run.trajectory.append("note", UserMessage("n" * 1600))
    run.window.update()
    run.apply(cut_large(run.window.items, run.meter, run.budget))
    assert run.total > run.budget.high
    change = run.choose()
    assert list(change.cut) == [1]
    run.apply(change)
    assert run.total <= run.budget.high


def test_steps_of_an_earlier_task_may_all_go() -> None:
    run = Run()
    run.step(*[60] * 60)
    run.task("new")
    change = run.choose()
    assert [group[0].entry.kind for group in change.dropped] == ["assistant", "task"]


def test_what_a_task_stands_behind_does_not_count_as_its_length() -> None:
    run = Run()
    run.task("short", "d" * 50_000)
    run.window.update()
    assert not cut_large(run.window.items, run.meter, run.budget).cut


def test_a_stub_is_one_line_with_the_handle() -> None:
    trajectory, _ = cut_of("first\nsecond\n" * 50, 5000)
    line = stub(trajectory[2])
    assert "\n" not in line
    assert "open('e2')" in line
    assert "look" in line
    assert "first second first" in line


def test_an_excerpt_is_one_line_of_bounded_length() -> None:
    assert excerpt("a\n b\t c") == "a b c"
    assert len(excerpt("x" * 500)) == 80
    assert excerpt("x" * 500).endswith("…")


@settings(max_examples=150, deadline=None)
@given(SEEDS, OPS, st.sampled_from([600, 1500, 4000]), st.sampled_from([0.2, 0.35, 1.0]))
def test_whatever_the_log_it_gets_smaller_in_whole_groups(
    seed: int, ops: list[str], size: int, ratio: float
) -> None:
    log = Log(seed, most_words=80)
    for op in ops:
        log.grow(op)
    meter = Meter()
    meter.learn(int(1000 * ratio), 1000)
    parts = divide(size, answer=100, high_watermark=0.85, low_watermark=0.5)
    window = Window(log.trajectory)
    for _ in range(8):
        window.update()
        before = meter.tokens(window.size, len(window.items))
        untouched = {i.entry.id: i.message for i in window.items if i.entry.id in window.pinned}
        newest = [*window.groups()][-1][0].entry.id
        change = choose(window, meter, parts, before)
        if not change.data():
            break
        data = change.data()
        if change.dropped:
            data["record"] = "x" * meter.bytes(parts.record - 40)
        log.trajectory.append("compaction", **data)
        window.update()
        assert meter.tokens(window.size, len(window.items)) < before
        shown = {item.entry.id: item.message for item in window.items}
        task = window.task
        assert newest in shown
        assert task is not None
        assert task.text.endswith(content_of(task.item.entry)) or task.item.cut
        for number, message in untouched.items():
            assert number == task.item.entry.id or shown[number] == message
        check_whole(window)
    else:
        pytest.fail("it does not come to an end")


def check_whole(window: Window) -> None:
    calls: set[str] = set()
    for item in window.items:
        if isinstance(item.message, AssistantMessage):
            assert not calls, "a call without its observation"
            calls = {call.id for call in item.message.calls}
        elif isinstance(item.message, ToolMessage):
            assert item.message.call_id in calls, "an observation without its call"
            calls.remove(item.message.call_id)
    assert not calls


def test_an_earlier_task_stays_as_long_as_one_of_its_steps() -> None:
    """So that no conversation begins with a message of the model."""
    trajectory = Trajectory()
    for task in range(3):
        trajectory.append("task", UserMessage(f"task {task}"), task=f"task {task}")
        for _ in range(6):
            step = trajectory.last_step + 1
            trajectory.append("assistant", AssistantMessage("word " * 100), step=step)
    for high in range(500, 2000, 50):
        window = Window(Trajectory(list(trajectory)))
        budget = divide(high, answer=10, high_watermark=0.9, low_watermark=0.5)
        change = choose(window, Meter(), budget, 4000)
        log = Trajectory(list(trajectory))
        log.append("compaction", **change.data())
        first = Window(log).messages()[0]
        assert isinstance(first, UserMessage), f"with a window of {high}"
