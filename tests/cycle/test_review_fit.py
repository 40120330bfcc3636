"""Which mark a new version brings: proven where gold suffices, and said to be less where it does not."""

import numpy as np
import pytest

from mailroom.classify.marks import ReviewRules, foreignness
from mailroom.config import LearningSettings
from mailroom.cycle.review_fit import LEAST_TO_FIT, fit_review, review_of
from mailroom.evaluate.answers import Answer

SETTINGS = LearningSettings()


def answers(count: int, right_above: float, seed: int = 0, lucky: float = 0.5) -> list[Answer]:
    """Answers of every probability, right above one and by `lucky` chance below it."""
    random = np.random.default_rng(seed)
    found = []
    for place, stated in enumerate(random.uniform(0.2, 1.0, count).tolist()):
        is_right = stated >= right_above or random.random() < lucky
        ranked = ("a", "b") if is_right else ("b", "a")
        found.append(Answer(f"<{place}>", "a", ranked, (stated, 1 - stated), (stated, 0.1)))
    return found


def test_much_gold_proves_what_passes_unmarked() -> None:
    fit = fit_review(answers(1000, 0.6), [], SETTINGS)
    assert fit.basis == "proven"
    assert fit.below_probability is not None
    assert fit.precision is not None
    assert fit.precision >= 0.95
    later = review_of(answers(4000, 0.6, seed=1), ReviewRules(fit.below_probability, 0.0))
    assert later.unmarked_accuracy is not None
    assert later.unmarked_accuracy >= 0.95
    assert later.review_rate < 0.6
    assert "lower bound" in fit.words()


def test_little_gold_is_said_to_prove_nothing() -> None:
    fit = fit_review(answers(40, 0.6), [], SETTINGS)
    assert fit.basis == "observed"
    assert "not yet proven" in fit.words()


def test_where_the_target_is_never_reached_the_nearest_is_taken_and_named() -> None:
    fit = fit_review(answers(200, 2.0, lucky=0.6), [], SETTINGS)
    assert fit.basis == "unreached"
    assert fit.precision is not None
    assert fit.precision < 0.95
    assert "never reached" in fit.words()


def test_too_little_gold_and_a_target_of_none_fit_nothing() -> None:
    for count, settings in ((LEAST_TO_FIT - 1, SETTINGS), (500, LearningSettings(unmarked_precision=0.0))):
        fit = fit_review(answers(count, 0.6), [], settings)
        assert (fit.basis, fit.below_probability) == ("none", None)


@pytest.mark.parametrize("allowed", [0.05, 0.2])
def test_known_mail_is_marked_as_foreign_no_more_often_than_allowed(allowed: float) -> None:
    known = answers(500, 0.6)
    fit = fit_review([], known, LearningSettings(outside_false_alarms=allowed))
    assert fit.outside_above is not None
    alarms = np.mean([foreignness(answer.similarities) > fit.outside_above for answer in known])
    assert allowed - 0.01 <= alarms <= allowed


def test_a_foreign_mark_needs_mail_and_leave() -> None:
    assert fit_review([], answers(LEAST_TO_FIT - 1, 0.6), SETTINGS).outside_above is None
    off = LearningSettings(outside_false_alarms=0.0)
    assert fit_review([], answers(500, 0.6), off).outside_above is None


def test_the_marks_worth_counts_every_reason() -> None:
    gold = [
        Answer("1", "a", ("a", "b"), (0.9, 0.1), (0.9, 0.1)),
        Answer("2", "a", ("b", "a"), (0.4, 0.3), (0.9, 0.1)),
        Answer("3", "a", ("b", "a"), (0.9, 0.1), (0.1, 0.1)),
        Answer("4", "a", ("b", "a"), (0.9, 0.1), (0.9, 0.1)),
    ]
    found = review_of(gold, ReviewRules(0.5, 0.1, outside_above=-0.4))
    assert (found.review_rate, found.unmarked_accuracy) == (0.5, 0.5)
    assert found.mistakes_caught == pytest.approx(2 / 3)


def test_rounding_does_not_mark_the_answers_of_a_model_that_errs_nowhere() -> None:
    fit = fit_review([Answer(f"<{n}>", "a", ("a", "b"), (1.0, 0.0)) for n in range(200)], [], SETTINGS)
    assert fit.below_probability is not None
    stated = float(np.nextafter(1.0, 0.0))
    later = [Answer("<x>", "a", ("a", "b"), (stated, 1 - stated))]
    assert review_of(later, ReviewRules(fit.below_probability, 0.0)).review_rate == 0
