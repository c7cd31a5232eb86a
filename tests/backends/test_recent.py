"""What is used stays, up to a total size."""

from __future__ import annotations

from ling_agent.backends.recent import Recent


def test_a_value_is_kept_until_others_need_the_room() -> None:
    recent = Recent[str, int](10)
    recent.put("a", 1, size=4)
    recent.put("b", 2, size=4)
    assert recent.get("a") == 1
    recent.put("c", 3, size=4)
    assert (recent.get("a"), recent.get("b"), recent.get("c")) == (1, None, 3)


def test_a_new_value_takes_the_place_and_the_size_of_the_old_one() -> None:
    recent = Recent[str, int](10)
    for size in range(11):
        recent.put("a", size, size=size)
    assert recent.get("a") == 10
    recent.put("a", 1, size=1)
    recent.put("b", 2, size=9)
    assert (recent.get("a"), recent.get("b")) == (1, 2)


def test_what_is_larger_than_the_room_is_not_kept() -> None:
    recent = Recent[str, int](10)
    recent.put("a", 1, size=11)
    assert recent.get("a") is None
    recent.put("b", 2, size=10)
    assert recent.get("b") == 2
