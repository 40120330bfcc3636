import time

import pytest

from mailroom.cycle.budget import Budget, duration_words, parse_duration
from mailroom.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("30min", 1800),
        ("2h", 7200),
        ("1h 30m", 5400),
        ("1h30m", 5400),
        ("5", 300),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "5 weeks", "m", "1.5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a duration"):
        parse_duration(text)


def test_time_before_a_kill_counts_and_time_between_does_not() -> None:
    budget = Budget(100.0, spent_s=60.0)
    assert 39 < budget.left_s() <= 40
    assert Budget(100.0, spent_s=200.0).left_s() == 0
    time.sleep(0.02)
    assert budget.used_s() >= 60.02


def test_durations_are_told_in_words() -> None:
    assert [duration_words(value) for value in (5, 240, 6000)] == ["5 s", "4 min", "1 h 40 min"]
