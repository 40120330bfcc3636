"""Champion and challenger on the same emails → what changed, with paired bootstrap intervals.

Pairing matters: two models err on mostly the same emails, so their difference is known far better than
either figure. Each resample draws emails, and takes both models' answers to them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import DataError
from mailroom.evaluate.answers import Answer, align
from mailroom.evaluate.intervals import Interval

Metric = Literal["top_1", "recall_at_5", "macro_f1", "sibling_confusion_rate"]
METRICS: tuple[Metric, ...] = ("top_1", "recall_at_5", "macro_f1", "sibling_confusion_rate")
# Of these less is better.
ERRORS: frozenset[Metric] = frozenset({"sibling_confusion_rate"})

RESAMPLES = 2000
# Counts (resamples, groups or labels) are drawn in runs of about this many, to bound memory.
_COUNTS_AT_ONCE = 2_000_000

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One figure of both models and the challenger's lead (challenger − champion), all as shares.

    `not_worse` is the share of resamples in which the challenger is at least as good, 0…1.
    """

    name: Metric
    champion: Interval
    challenger: Interval
    difference: Interval
    not_worse: float

    @property
    def gain(self) -> float:
        """The challenger's lead with its sign turned where less is better: above 0 is an improvement."""
        return -self.difference.value if self.name in ERRORS else self.difference.value


@dataclass(frozen=True, slots=True)
class ChangedSide:
    """An email that one model answers right and the other wrong."""

    email_id: str
    truth: str
    champion: str
    challenger: str
    champion_probability: float
    challenger_probability: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same emails; `won` and `lost` by the challenger, the surest mistakes first."""

    emails: int
    confidence: float
    metrics: tuple[MetricComparison, ...]
    won: tuple[ChangedSide, ...]
    lost: tuple[ChangedSide, ...]

    def metric(self, name: Metric) -> MetricComparison:
        """The comparison of one figure."""
        return next(metric for metric in self.metrics if metric.name == name)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name."""
        return asdict(self)


def compare(
    champion: Sequence[Answer],
    challenger: Sequence[Answer],
    are_siblings: Callable[[str, str], bool],
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two models' answers to the same emails, in whatever order each stands; DataError without any.

    Intervals are percentiles of `resamples` paired bootstrap draws (Efron 1979).
    """
    if not champion:
        raise DataError("expected at least one gold email to compare two models on, got none")
    challenger = align(champion, challenger)
    outcomes = _Outcomes.of(champion, challenger, are_siblings)
    figures = outcomes.figures(outcomes.counts[None, :])[0]  # (metrics, 2)
    drawn = np.concatenate([outcomes.figures(c) for c in _resamples(outcomes, resamples, seed)])
    return Comparison(
        emails=len(champion),
        confidence=confidence,
        metrics=tuple(
            _metric(name, figures[place], drawn[:, place], confidence) for place, name in enumerate(METRICS)
        ),
        won=_changed(champion, challenger, won=True),
        lost=_changed(champion, challenger, won=False),
    )


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """Emails grouped by what both models made of them: a resample is a multinomial draw over the groups.

    That is the same bootstrap as drawing emails, with far less to draw: (k,) groups stand for (n,) emails.
    """

    counts: Counts
    truths: NDArray[np.int64]
    answers: tuple[NDArray[np.int64], NDArray[np.int64]]
    flags: NDArray[np.float64]  # (k, metrics but macro-F1, 2)
    labels: int

    @classmethod
    def of(
        cls,
        champion: Sequence[Answer],
        challenger: Sequence[Answer],
        are_siblings: Callable[[str, str], bool],
    ) -> "_Outcomes":
        codes: dict[str, int] = {}
        rows = np.array(
            [
                [codes.setdefault(label, len(codes)) for label in (one.truth, one.label, other.label)]
                + [_in_five(one), _in_five(other)]
                + [are_siblings(one.label, one.truth), are_siblings(other.label, one.truth)]
                for one, other in zip(champion, challenger, strict=True)
            ],
            dtype=np.int64,
        )
        groups, counts = np.unique(rows, axis=0, return_counts=True)
        truths, first, second = groups[:, 0], groups[:, 1], groups[:, 2]
        right = np.stack([first == truths, second == truths], axis=1)
        flags = np.stack([right, groups[:, 3:5], groups[:, 5:7]], axis=1).astype(np.float64)
        return cls(counts, truths, (first, second), flags, len(codes))

    def figures(self, counts: Counts) -> NDArray[np.float64]:
        """Counts of the groups (b, k) → figures (b, metrics, 2) in the order of METRICS."""
        shares = np.einsum("bk,kmp->bmp", counts, self.flags) / counts.sum(axis=1)[:, None, None]
        scores = np.stack([self._macro_f1(counts, answers) for answers in self.answers], axis=1)
        return np.stack([shares[:, 0], shares[:, 1], scores, shares[:, 2]], axis=1)

    def _macro_f1(self, counts: Counts, answers: NDArray[np.int64]) -> NDArray[np.float64]:
        """As `metrics.macro_f1`, (b,), each over the labels that its draw holds."""
        hits = self._by_label(counts * (answers == self.truths), self.truths)
        seen = self._by_label(counts, self.truths) + self._by_label(counts, answers)
        scores = 2 * hits / np.maximum(seen, 1)
        means: NDArray[np.float64] = scores.sum(axis=1) / (seen > 0).sum(axis=1)
        return means

    def _by_label(self, counts: Counts, labels: NDArray[np.int64]) -> Counts:
        """Counts of the groups (b, k) added up by the label of each group (k,) → (b, labels)."""
        order = np.argsort(labels, kind="stable")
        present, starts = np.unique(labels[order], return_index=True)
        sums = np.zeros((len(counts), self.labels), dtype=np.int64)
        sums[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
        return sums


def _in_five(answer: Answer) -> bool:
    return answer.truth in answer.ranked[:5]


def _resamples(outcomes: _Outcomes, resamples: int, seed: int) -> Iterator[Counts]:
    generator = np.random.default_rng(seed)
    emails = int(outcomes.counts.sum())
    at_once = max(1, _COUNTS_AT_ONCE // max(len(outcomes.counts), outcomes.labels))
    for start in range(0, resamples, at_once):
        yield generator.multinomial(emails, outcomes.counts / emails, min(at_once, resamples - start))


def _metric(
    name: Metric, figures: NDArray[np.float64], drawn: NDArray[np.float64], confidence: float
) -> MetricComparison:
    """One figure (2,) and its resamples (b, 2), columns champion and challenger."""
    differences = drawn[:, 1] - drawn[:, 0]
    # Resamples without a changed email must count as ties, whatever the rounding of their sums.
    gains = np.round(-differences if name in ERRORS else differences, 12)
    return MetricComparison(
        name,
        _interval(figures[0], drawn[:, 0], confidence),
        _interval(figures[1], drawn[:, 1], confidence),
        _interval(figures[1] - figures[0], differences, confidence),
        float(np.mean(gains >= 0)),
    )


def _interval(value: float, drawn: NDArray[np.float64], confidence: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(value), float(low), float(high))


def _changed(champion: Sequence[Answer], challenger: Sequence[Answer], won: bool) -> tuple[ChangedSide, ...]:
    changed = [
        ChangedSide(
            one.email_id, one.truth, one.label, other.label, one.probabilities[0], other.probabilities[0]
        )
        for one, other in zip(champion, challenger, strict=True)
        if one.correct != other.correct and other.correct == won
    ]

    def mistaken(side: ChangedSide) -> float:
        return side.champion_probability if won else side.challenger_probability

    return tuple(sorted(changed, key=lambda side: (-mistaken(side), side.email_id)))
