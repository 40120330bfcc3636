"""Who is asked to look, and why; how foreign an email is."""

import numpy as np
import pytest

from mailroom.classify.marks import ReviewRules, foreignness
from mailroom.config import ClassifySettings
from mailroom.errors import DataError


def test_a_distant_email_is_more_foreign_than_a_close_race() -> None:
    sure, race, distant = [0.8, 0.2, 0.1], [0.8, 0.8, 0.1], [0.3, 0.1, 0.1]
    assert foreignness(race) < foreignness(sure) < foreignness(distant)


def test_foreignness_is_bounded_by_the_best_cosine_and_does_not_overflow() -> None:
    assert -0.5 - 0.001 * np.log(3) <= foreignness([0.5, 0.5, -1.0], 0.001) <= -0.5
    assert foreignness([1.0], 1e-4) == pytest.approx(-1.0)


def test_an_answer_without_candidates_is_refused() -> None:
    with pytest.raises(DataError):
        foreignness([])


@pytest.mark.parametrize(
    ("probability", "margin", "similarities", "expected"),
    [
        (0.9, 0.5, [0.8, 0.2], ()),
        (0.4, 0.5, [0.8, 0.2], ("low_probability",)),
        (0.9, 0.05, [0.8, 0.2], ("small_margin",)),
        (0.9, 0.5, [0.2, 0.1], ("out_of_taxonomy",)),
        (0.4, 0.05, [0.2, 0.1], ("low_probability", "small_margin", "out_of_taxonomy")),
    ],
)
def test_each_reason_stands_for_itself(
    probability: float, margin: float, similarities: list[float], expected: tuple[str, ...]
) -> None:
    rules = ReviewRules(0.5, 0.1, outside_above=-0.4)
    assert rules.reasons(probability, margin, similarities) == expected


def test_nothing_is_foreign_before_a_threshold_was_found() -> None:
    assert ReviewRules(0.0, 0.0).reasons(0.9, 0.9, [-1.0]) == ()


def test_a_version_marks_more_than_the_settings_and_never_less() -> None:
    settings = ClassifySettings(review_below_probability=0.5)
    assert ReviewRules.of(settings, 0.8, -0.3) == ReviewRules(0.8, 0.1, -0.3)
    assert ReviewRules.of(settings, 0.2, None) == ReviewRules(0.5, 0.1, None)


def test_the_settings_can_be_left_alone() -> None:
    settings = ClassifySettings(review_by_version=False)
    assert ReviewRules.of(settings, 0.8, -0.3) == ReviewRules(0.5, 0.1, None)
