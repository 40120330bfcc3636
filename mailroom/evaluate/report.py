"""Judged emails → one evaluation: the numbers, as a record and as JSON."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mailroom.errors import DataError
from mailroom.evaluate.calibration import TARGET_PRECISION, Coverage, coverage_at_precision
from mailroom.evaluate.metrics import (
    Confusion,
    Judged,
    ReviewFigures,
    expected_calibration_error,
    latency_percentiles,
    macro_f1,
    recall_at,
    review_figures,
    sibling_confusion_rate,
    worst_confusions,
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures of one run; shares are 0…1, times milliseconds."""

    emails: int
    recall: dict[str, float]
    retrieval: dict[str, float]
    macro_f1: float
    sibling_confusion_rate: float
    expected_calibration_error: float
    review: ReviewFigures
    coverage: Coverage
    emails_per_second: float
    latency_ms: dict[str, dict[str, float]]
    worst_confusions: list[Confusion]

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values; the recall fields stand at the top level."""
        figures = asdict(self)
        recall = figures.pop("recall")
        return {"emails": figures.pop("emails"), **recall, **figures}


def evaluate(
    judged: Sequence[Judged], seconds: float, are_siblings: Callable[[str, str], bool]
) -> Evaluation:
    """Figures over at least one judged email, answered within `seconds` of wall-clock time."""
    if not judged:
        raise DataError("expected at least one labelled email, got none that could be used")
    truths = [item.truth for item in judged]
    answers = [item.ranked[0] for item in judged]
    correct = [answer == truth for answer, truth in zip(answers, truths, strict=True)]
    return Evaluation(
        emails=len(judged),
        recall=recall_at([item.ranked for item in judged], truths),
        retrieval=recall_at([item.retrieved for item in judged], truths),
        macro_f1=macro_f1(answers, truths),
        sibling_confusion_rate=sibling_confusion_rate(answers, truths, are_siblings),
        expected_calibration_error=expected_calibration_error([item.probability for item in judged], correct),
        review=review_figures([item.needs_review for item in judged], correct),
        coverage=coverage_at_precision(
            np.array([item.probability for item in judged]), np.array(correct), TARGET_PRECISION
        ),
        emails_per_second=round(len(judged) / max(seconds, 1e-9), 2),
        latency_ms=latency_percentiles([item.latency_ms for item in judged]),
        worst_confusions=worst_confusions(answers, truths, are_siblings),
    )
