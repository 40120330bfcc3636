"""In which order unsure emails say most about the others."""

import pytest

from mailroom.curate import coverage
from mailroom.curate.coverage import in_order

BETWEEN = {"a": 0.5, "b": 0.5, "c": 0.1}
NEAR_A = {"a": 0.6, "b": 0.2, "c": 0.1}
ODD = {"a": 0.2, "b": 0.2, "c": 0.5}


def test_the_middle_of_the_largest_heap_comes_first() -> None:
    order = list(in_order([ODD, NEAR_A, NEAR_A, NEAR_A, BETWEEN], [0.9] * 5, []))
    assert order[0] == 1
    assert set(order[:3]) == {0, 1, 4}
    assert sorted(order) == [0, 1, 2, 3, 4]


def test_doubt_counts() -> None:
    assert next(in_order([NEAR_A, ODD], [0.2, 0.9], [])) == 1
    assert next(in_order([NEAR_A, ODD], [0.9, 0.2], [])) == 0


def test_what_is_known_need_not_be_asked() -> None:
    assert next(in_order([NEAR_A, NEAR_A, ODD], [0.9, 0.9, 0.5], [NEAR_A])) == 2


def test_emails_of_which_nothing_is_known_come_by_doubt() -> None:
    assert list(in_order([{}, {}, {}], [0.1, 0.9, 0.5], [{}])) == [1, 2, 0]
    assert list(in_order([], [], [NEAR_A])) == []


def test_of_very_many_the_last_follow_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "_MOST", 2)
    assert list(in_order([NEAR_A, ODD, NEAR_A, ODD], [0.1, 0.9, 0.9, 0.9], [])) == [1, 0, 2, 3]
