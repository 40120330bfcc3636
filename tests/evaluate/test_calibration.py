"""Calibration on simulated answers whose true probabilities are known."""

import numpy as np
import pytest

from mailroom.classify.decide import softmax
from mailroom.errors import DataError
from mailroom.evaluate.answers import Answer, answer_of, retrieval_alone
from mailroom.evaluate.calibration import (
    calibrate,
    coverage_at_precision,
    recalibrated,
    reliability_bins,
    temperature_factor,
)
from mailroom.records import Candidate


def answers(emails: int, overconfidence: float, seed: int = 0) -> list[Answer]:
    """Truths drawn from softmax(logits); what is stated is softmax(logits × overconfidence)."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(emails):
        logits = np.sort(random.normal(0, 2, 6).astype(np.float32))[::-1]
        truth = int(random.choice(6, p=softmax(logits, 1.0)))
        stated = tuple(softmax(logits, 1 / overconfidence).tolist())
        made.append(Answer(f"m{number}", f"label{truth}", tuple(f"label{n}" for n in range(6)), stated))
    return made


@pytest.mark.parametrize("overconfidence", [0.5, 1.0, 3.0])
def test_the_factor_undoes_a_known_overconfidence(overconfidence: float) -> None:
    found = calibrate(answers(3000, overconfidence))
    assert found.factor == pytest.approx(overconfidence, rel=0.1)
    assert found.error_after < 0.04
    if overconfidence != 1.0:
        assert found.error_before > 3 * found.error_after


def test_recalibration_keeps_every_rank_and_sums_to_one() -> None:
    before = answers(50, 3.0)
    after = recalibrated(before, temperature_factor(before))
    assert [one.ranked for one in after] == [one.ranked for one in before]
    assert all(sum(one.probabilities) == pytest.approx(1) for one in after)
    assert all(list(one.probabilities) == sorted(one.probabilities, reverse=True) for one in after)


def test_the_error_after_fitting_is_out_of_sample() -> None:
    # Twelve emails: a factor fitted to them would flatter itself. Folds are judged by the others' factor.
    few = answers(12, 1.0)
    found = calibrate(few)
    fitted = recalibrated(few, found.factor)
    assert found.error_after != calibrate(fitted).error_before


def test_a_probability_of_zero_is_no_infinity() -> None:
    sure = [Answer(f"m{n}", "a" if n else "b", ("a", "b"), (1.0, 0.0)) for n in range(20)]
    found = calibrate(sure)
    assert np.isfinite(found.factor)
    assert found.factor > 1


def test_answers_that_retrieval_missed_are_judged_too() -> None:
    missed = [Answer(f"m{n}", "elsewhere", ("a", "b"), (0.9, 0.1)) for n in range(20)]
    assert calibrate(missed).coverage.threshold is None


def test_bins_hold_every_email_and_an_interval() -> None:
    probabilities = np.array([0.05, 0.5, 0.52, 1.0])
    bins = reliability_bins(probabilities, np.array([False, True, False, True]))
    assert [one.emails for one in bins] == [1, 2, 1]
    assert bins[1].stated == pytest.approx(0.51)
    assert bins[1].low < bins[1].correct == 0.5 < bins[1].high


def test_coverage_takes_the_lowest_threshold_that_holds_the_precision() -> None:
    probabilities = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    found = coverage_at_precision(probabilities, np.array([True, True, False, True, False]), 0.75)
    assert (found.threshold, found.coverage, found.precision) == (0.6, 0.8, 0.75)


def test_equally_probable_answers_are_automated_together_or_not_at_all() -> None:
    correct = np.array([True, False, False])
    assert coverage_at_precision(np.array([0.9, 0.9, 0.9]), correct, 0.9).threshold is None
    assert coverage_at_precision(np.array([0.9, 0.8, 0.8]), correct, 0.9).coverage == pytest.approx(1 / 3)


def test_nothing_to_calibrate_on_is_refused() -> None:
    with pytest.raises(DataError):
        calibrate([])


def test_retrieval_alone_orders_by_similarity() -> None:
    reranked = answer_of("m", "a", [Candidate("a", 0.2, 3.0, 0.9), Candidate("b", 0.4, 1.0, 0.1)])
    [alone] = retrieval_alone([reranked], 0.05)
    assert (reranked.label, alone.label) == ("a", "b")
    assert alone.probabilities[0] == pytest.approx(1 / (1 + np.exp(-4)))
    with pytest.raises(DataError, match="similarities"):
        retrieval_alone([Answer("m", "a", ("a",), (1.0,))], 0.05)


def test_an_answer_needs_a_candidate() -> None:
    with pytest.raises(DataError):
        answer_of("m", "a", [])
