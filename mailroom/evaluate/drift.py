"""Two windows of answered mail → how far the later one has moved, as effect sizes with fixed alarm levels.

An effect size says how large a change is; a p-value says how much mail there was. The same change gives the
same figure in a hundred emails and in a million: what chance adds to a small window is taken off
(`effects.py`), and a small window is said to be too small rather than to be steady.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import DataError
from mailroom.evaluate.effects import (
    Effect,
    count_effect,
    jensen_shannon_bits,
    mean_shift,
    population_stability,
    share_change,
)
from mailroom.evaluate.intervals import Interval, wilson
from mailroom.evaluate.outside import FALSE_ALARMS, threshold_at

Level = Literal["steady", "watch", "alarm", "unknown"]
SEVERITY: tuple[Level, ...] = ("unknown", "steady", "watch", "alarm")

# (watch, alarm). PSI: the levels that credit scoring has used for decades. Jensen–Shannon: for small changes
# it is PSI / 8 nats, so these are the same changes in bits. The others: see docs/drift.md.
LEVELS: Mapping[str, tuple[float, float]] = {
    "label_mix_psi": (0.10, 0.25),
    "label_mix_js_bits": (0.02, 0.05),
    "probability_psi": (0.10, 0.25),
    "margin_psi": (0.10, 0.25),
    "embedding_shift": (0.10, 0.20),
    "outside_share": (0.05, 0.15),
    "audited_accuracy_loss": (0.03, 0.08),
}
MIN_EMAILS = 100
SCORE_BINS = 10
MOVED_LABELS = 5

Scores = NDArray[np.float64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """The answers of one span of time; all arrays (n,), n ≥ 1, in one order.

    `foreignness` is that of `classify.marks`; `vectors` (m, d) embed a sample of the same mail, with one
    encoder for both windows, or None; `audited` counts right answers and audits of a random sample.
    """

    labels: Sequence[str]
    probabilities: Scores
    margins: Scores
    foreignness: Scores
    vectors: Vectors | None = None
    audited: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Finding:
    """One measure: its size, what chance alone would reach once in a hundred, and what that makes it.

    `before` and `now` show the measure's subject in both windows where one figure can (a mean, a share).
    """

    name: str
    level: Level
    size: float | None
    chance: float | None
    watch: float
    alarm: float
    before: float | None = None
    now: float | None = None


@dataclass(frozen=True, slots=True)
class MovedLabel:
    """A label whose share of the mail changed."""

    label: str
    before: float
    now: float


@dataclass(frozen=True, slots=True)
class Drift:
    """All findings; `level` is the worst of them. Accuracies are those of audits, None without any."""

    level: Level
    emails: int
    reference_emails: int
    findings: tuple[Finding, ...]
    moved_labels: tuple[MovedLabel, ...]
    accuracy: Interval | None
    reference_accuracy: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name."""
        return asdict(self)


def measure_drift(
    reference: Window,
    current: Window,
    min_emails: int = MIN_EMAILS,
    seed: int = 0,
    outside_above: float | None = None,
) -> Drift:
    """Hold one window to a reference; DataError where either is empty.

    With fewer than `min_emails` in either, sizes are given and no level is. Mail is outside the taxonomy
    above `outside_above`, else where it is as foreign as the most foreign twentieth of the reference.
    """
    if not len(reference.labels) or not len(current.labels):
        raise DataError(
            f"expected mail in both windows, got {len(reference.labels):,} emails in the reference and "
            f"{len(current.labels):,} in the window"
        )
    random = np.random.default_rng(seed)
    findings: tuple[Finding, ...] = (
        *_label_mix(reference, current, random),
        _scores("probability_psi", reference.probabilities, current.probabilities, random),
        _scores("margin_psi", reference.margins, current.margins, random),
        _outside(reference.foreignness, current.foreignness, outside_above),
        _embeddings(reference.vectors, current.vectors, random),
        _accuracy(reference.audited, current.audited),
    )
    if min(len(reference.labels), len(current.labels)) < min_emails:
        findings = tuple(replace(finding, level="unknown") for finding in findings)
    return Drift(
        level=max((finding.level for finding in findings), key=SEVERITY.index),
        emails=len(current.labels),
        reference_emails=len(reference.labels),
        findings=findings,
        moved_labels=_moved(reference.labels, current.labels),
        accuracy=_share(current.audited),
        reference_accuracy=_share(reference.audited),
    )


def level_of(name: str, effect: Effect) -> Level:
    """What a size means: the watch and alarm levels count where more than chance was seen.

    Where nothing more was seen, and the true size could yet be at the alarm level, there is too little mail.
    """
    watch, alarm = LEVELS[name]
    if effect.size > effect.chance:
        return "alarm" if effect.size >= alarm else "watch" if effect.size >= watch else "steady"
    return "unknown" if effect.size + effect.chance > alarm else "steady"


def _finding(
    name: str, effect: Effect | None, before: float | None = None, now: float | None = None
) -> Finding:
    watch, alarm = LEVELS[name]
    if effect is None:
        return Finding(name, "unknown", None, None, watch, alarm, before, now)
    return Finding(name, level_of(name, effect), effect.size, effect.chance, watch, alarm, before, now)


def _label_mix(reference: Window, current: Window, random: np.random.Generator) -> tuple[Finding, Finding]:
    names = sorted({*reference.labels, *current.labels})
    seen, seen_now = Counter(reference.labels), Counter(current.labels)
    before = np.array([seen[name] for name in names])
    now = np.array([seen_now[name] for name in names])
    return (
        _finding("label_mix_psi", count_effect(population_stability, before, now, random)),
        _finding("label_mix_js_bits", count_effect(jensen_shannon_bits, before, now, random)),
    )


def _scores(name: str, reference: Scores, current: Scores, random: np.random.Generator) -> Finding:
    """PSI over bins that hold a tenth of the reference each."""
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, SCORE_BINS + 1)[1:-1]))
    before, now = (
        np.bincount(np.searchsorted(edges, scores), minlength=len(edges) + 1)
        for scores in (reference, current)
    )
    effect = count_effect(population_stability, before, now, random)
    return _finding(name, effect, float(reference.mean()), float(current.mean()))


def _outside(reference: Scores, current: Scores, above: float | None) -> Finding:
    """How much more of the mail is outside the taxonomy."""
    threshold = threshold_at(reference, FALSE_ALARMS) if above is None else above
    before, now = int((reference > threshold).sum()), int((current > threshold).sum())
    effect = share_change((before, len(reference)), (now, len(current)))
    return _finding("outside_share", effect, before / len(reference), now / len(current))


def _embeddings(reference: Vectors | None, current: Vectors | None, random: np.random.Generator) -> Finding:
    enough = reference is not None and current is not None and min(len(reference), len(current)) >= 2
    if not enough or reference is None or current is None:
        return _finding("embedding_shift", None)
    return _finding("embedding_shift", mean_shift(reference, current, random))


def _accuracy(reference: tuple[int, int], current: tuple[int, int]) -> Finding:
    if not reference[1] or not current[1]:
        return _finding("audited_accuracy_loss", None)
    wrong = [(of - right, of) for right, of in (reference, current)]
    before, now = (right / of for right, of in (reference, current))
    return _finding("audited_accuracy_loss", share_change(*wrong), before, now)


def _share(audited: tuple[int, int]) -> Interval | None:
    return wilson(*audited) if audited[1] else None


def _moved(reference: Sequence[str], current: Sequence[str]) -> tuple[MovedLabel, ...]:
    before, now = Counter(reference), Counter(current)
    moved = [
        MovedLabel(label, before[label] / len(reference), now[label] / len(current))
        for label in before.keys() | now.keys()
    ]
    moved.sort(key=lambda one: (-abs(one.now - one.before), one.label))
    return tuple(one for one in moved[:MOVED_LABELS] if one.now != one.before)
