"""Ranked labels and the true label of each email → the figures of a report.

Every figure is a share of the emails given (0…1), not a percentage. Definitions stand in docs/metrics.md.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RECALL_AT = (1, 3, 5, 10, 20)
CALIBRATION_BINS = 15


@dataclass(frozen=True, slots=True)
class Judged:
    """One answered email: the labels best first, the probability of the first, and the truth."""

    truth: str
    ranked: tuple[str, ...]
    retrieved: tuple[str, ...]
    probability: float
    needs_review: bool
    latency_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often `truth` was answered as `predicted`."""

    truth: str
    predicted: str
    count: int
    siblings: bool


def recall_at(rankings: Sequence[Sequence[str]], truths: Sequence[str]) -> dict[str, float]:
    """`recall_at_K` for each K of RECALL_AT: the share whose true label is among the first K."""
    ranks = [
        ranking.index(truth) if truth in ranking else len(ranking) + max(RECALL_AT)
        for ranking, truth in zip(rankings, truths, strict=True)
    ]
    return {f"recall_at_{k}": float(np.mean([rank < k for rank in ranks])) for k in RECALL_AT}


def macro_f1(predicted: Sequence[str], truths: Sequence[str]) -> float:
    """Mean F1 over every label that is true or predicted at least once; each counts the same."""
    hits = Counter(truth for answer, truth in zip(predicted, truths, strict=True) if answer == truth)
    answered, actual = Counter(predicted), Counter(truths)
    labels = answered.keys() | actual.keys()
    return float(np.mean([2 * hits[label] / (answered[label] + actual[label]) for label in labels]))


def sibling_confusion_rate(
    predicted: Sequence[str], truths: Sequence[str], are_siblings: Callable[[str, str], bool]
) -> float:
    """The share of all emails that were answered with a wrong label under the true label's own parent."""
    return float(np.mean([are_siblings(a, t) for a, t in zip(predicted, truths, strict=True)]))


def expected_calibration_error(probabilities: Sequence[float], correct: Sequence[bool]) -> float:
    """Mean gap between stated probability and share correct over 15 equal-width bins, weighted by size.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    stated, right = np.asarray(probabilities, dtype=float), np.asarray(correct, dtype=float)
    bins = np.minimum((stated * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    sizes = np.bincount(bins, minlength=CALIBRATION_BINS)
    gaps = np.abs(
        np.bincount(bins, weights=stated, minlength=CALIBRATION_BINS)
        - np.bincount(bins, weights=right, minlength=CALIBRATION_BINS)
    )
    return float(gaps.sum() / sizes.sum())


@dataclass(frozen=True, slots=True)
class ReviewFigures:
    """What the review mark is worth: how much mail it takes, what it catches, and what passes without it.

    `mistakes_caught` is None without mistakes, `unmarked_accuracy` None where everything is marked.
    """

    review_rate: float
    mistakes_caught: float | None
    unmarked_accuracy: float | None


def review_figures(marked: Sequence[bool], correct: Sequence[bool]) -> ReviewFigures:
    """Shares of all emails marked, of all wrong answers marked, and of right ones among the unmarked."""
    wrong = [mark for mark, right in zip(marked, correct, strict=True) if not right]
    unmarked = [right for mark, right in zip(marked, correct, strict=True) if not mark]
    return ReviewFigures(
        review_rate=float(np.mean(marked)),
        mistakes_caught=float(np.mean(wrong)) if wrong else None,
        unmarked_accuracy=float(np.mean(unmarked)) if unmarked else None,
    )


def latency_percentiles(latencies: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """`{step: {p50, p95, p99}}` in milliseconds, steps in the order in which they ran."""
    steps = latencies[0].keys() if latencies else ()
    return {
        step: {
            f"p{share}": round(float(np.percentile([latency[step] for latency in latencies], share)), 3)
            for share in (50, 95, 99)
        }
        for step in steps
    }


def worst_confusions(
    predicted: Sequence[str],
    truths: Sequence[str],
    are_siblings: Callable[[str, str], bool],
    most: int = 10,
) -> list[Confusion]:
    """The `most` frequent (truth, wrong answer) pairs, most frequent first, then by name."""
    counts = Counter((t, a) for a, t in zip(predicted, truths, strict=True) if a != t)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
    return [Confusion(t, a, count, are_siblings(a, t)) for (t, a), count in ordered]
