"""Answers to gold emails → how far stated probabilities can be believed, and what that lets one automate."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailroom.classify.decide import softmax
from mailroom.classify.temperature import fit_temperature
from mailroom.errors import DataError
from mailroom.evaluate.answers import Answer, certainty
from mailroom.evaluate.intervals import wilson
from mailroom.evaluate.metrics import CALIBRATION_BINS, expected_calibration_error

FOLDS = 5
TARGET_PRECISION = 0.95
# Probabilities come from float32 scores: nothing smaller than this can be told from 0.
_SMALLEST = 1e-12

Shares = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Emails whose stated probability falls into one bin: mean of what was stated, and share right.

    `low` and `high` bound the true share right with 95 % confidence.
    """

    emails: int
    stated: float
    correct: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """What may be automated at a wanted precision: answers at least as probable as `threshold`.

    `coverage` is their share of all emails and `precision` the share right among them; `threshold` is None,
    `coverage` 0 and `precision` None where no threshold reaches `wanted`.
    """

    wanted: float
    threshold: float | None
    coverage: float
    precision: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far probabilities can be believed, as stated and after dividing log-probabilities by `factor`.

    `error_after` is out of sample: each fold is judged under the factor of the others.
    """

    emails: int
    factor: float
    error_before: float
    error_after: float
    bins: tuple[ReliabilityBin, ...]
    coverage: Coverage

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name."""
        return asdict(self)


def calibrate(answers: Sequence[Answer], precision: float = TARGET_PRECISION) -> Calibration:
    """Fit one temperature factor on gold, and say what it is worth; DataError without answers.

    `bins` and `coverage` are those of the probabilities under the fitted factor. A model whose temperature
    was t serves these probabilities with t × `factor`.
    """
    if not answers:
        raise DataError("expected at least one gold email to calibrate on, got none")
    factor = temperature_factor(answers)
    stated, correct = certainty(answers)
    fitted, _ = certainty(recalibrated(answers, factor))
    return Calibration(
        emails=len(answers),
        factor=factor,
        error_before=expected_calibration_error(stated.tolist(), correct.tolist()),
        error_after=expected_calibration_error(_cross_fitted(answers).tolist(), correct.tolist()),
        bins=reliability_bins(fitted, correct),
        coverage=coverage_at_precision(fitted, correct, precision),
    )


def temperature_factor(answers: Sequence[Answer]) -> float:
    """What the model's temperature should be multiplied by, 0.05 to 20; 1 where it is right already."""
    targets = [
        answer.ranked.index(answer.truth) if answer.truth in answer.ranked else None for answer in answers
    ]
    return fit_temperature([_logits(answer) for answer in answers], targets)


def recalibrated(answers: Sequence[Answer], factor: float) -> list[Answer]:
    """The same answers with the probabilities of a temperature `factor` times as high; no rank changes."""
    return [
        replace(answer, probabilities=tuple(softmax(_logits(answer), factor).tolist())) for answer in answers
    ]


def reliability_bins(probabilities: Shares, correct: Flags) -> tuple[ReliabilityBin, ...]:
    """The bins of the expected calibration error that hold an email, least probable first."""
    places = np.minimum((probabilities * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return tuple(
        _bin(probabilities[places == place], correct[places == place]) for place in np.unique(places)
    )


def coverage_at_precision(probabilities: Shares, correct: Flags, wanted: float) -> Coverage:
    """The lowest threshold at and above which at least `wanted` of the answers are right; (n,) and (n,)."""
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    precision = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    # A threshold takes all equally probable answers or none.
    ends = np.append(ranked[1:] < ranked[:-1], True)
    good = np.flatnonzero(ends & (precision >= wanted))
    if not len(good):
        return Coverage(wanted, None, 0.0, None)
    last = int(good[-1])
    return Coverage(wanted, float(ranked[last]), (last + 1) / len(order), float(precision[last]))


def _logits(answer: Answer) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = np.log(np.maximum(answer.probabilities, _SMALLEST)).astype(np.float32)
    return logits


def _cross_fitted(answers: Sequence[Answer]) -> Shares:
    """Each answer's probability under a factor that was fitted without it; too few emails keep theirs."""
    stated, _ = certainty(answers)
    if len(answers) < 2 * FOLDS:
        return stated
    for fold in range(FOLDS):
        others = [answer for place, answer in enumerate(answers) if place % FOLDS != fold]
        own = recalibrated(answers[fold::FOLDS], temperature_factor(others))
        stated[fold::FOLDS] = certainty(own)[0]
    return stated


def _bin(probabilities: Shares, correct: Flags) -> ReliabilityBin:
    share = wilson(int(correct.sum()), len(correct))
    return ReliabilityBin(len(correct), float(probabilities.mean()), share.value, share.low, share.high)
