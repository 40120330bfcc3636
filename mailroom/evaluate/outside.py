"""Similarities to the labels → how foreign an email is to the taxonomy, and how well that tells.

Every email gets a label; a foreign one should reach a person. What says so is how little of the mail's
meaning any label has, not how close the race is: two labels may both fit well.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import DataError

# Chosen on validation parts, where it did better than the highest probability, the margin and the highest
# cosine (docs/metrics.md). It is the temperature of retrieval, so that the energy is the softmax's own.
ENERGY_TEMPERATURE = 0.05
FALSE_ALARMS = 0.05

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OutsideFigures:
    """How well foreign mail is told: `auroc`, and the share of it found at `false_alarms` on known mail.

    Mail that scores above `threshold` goes to review.
    """

    inside: int
    outside: int
    auroc: float
    false_alarms: float
    threshold: float
    found: float

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name."""
        return asdict(self)


def foreignness(similarities: Sequence[float], temperature: float = ENERGY_TEMPERATURE) -> float:
    """How foreign an email is by the cosines of its candidates: the higher, the more so; about −1…1.

    The negative free energy −T log Σ exp(s / T) of Liu et al., Energy-based Out-of-distribution Detection,
    2020: near the negative of the best cosine, less where several labels fit. DataError without candidates.
    """
    if not len(similarities):
        raise DataError("expected at least one candidate's similarity, got none")
    scaled = np.asarray(similarities, dtype=np.float64) / temperature
    best = scaled.max()
    return float(-temperature * (best + np.log(np.exp(scaled - best).sum())))


def outside_figures(inside: Scores, outside: Scores, false_alarms: float = FALSE_ALARMS) -> OutsideFigures:
    """Judge scores of known mail (n,) and foreign mail (m,), higher meaning more foreign; neither empty."""
    if not len(inside) or not len(outside):
        raise DataError(
            f"expected known and foreign mail to tell apart, got {len(inside)} and {len(outside)} emails"
        )
    threshold = threshold_at(inside, false_alarms)
    return OutsideFigures(
        inside=len(inside),
        outside=len(outside),
        auroc=auroc(inside, outside),
        false_alarms=false_alarms,
        threshold=threshold,
        found=float(np.mean(outside > threshold)),
    )


def threshold_at(inside: Scores, false_alarms: float) -> float:
    """The lowest score that at most the share `false_alarms` of known mail (n,) exceeds."""
    ranked = np.sort(inside)
    allowed = int(false_alarms * len(ranked) + 1e-9)
    return float(ranked[len(ranked) - 1 - min(allowed, len(ranked) - 1)])


def auroc(inside: Scores, outside: Scores) -> float:
    """The share of (known, foreign) pairs in which the foreign email scores higher; ties count half."""
    ranked = np.sort(inside)
    below = np.searchsorted(ranked, outside, side="left")
    not_above = np.searchsorted(ranked, outside, side="right")
    return float(np.mean((below + not_above) / 2) / len(ranked))
