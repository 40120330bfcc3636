"""Scores of known and of foreign mail → how well they are told apart, and from which score on.

Every email gets a label; a foreign one should reach a person. What says so is how little of the mail's
meaning any label has: `classify.marks.foreignness`.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import DataError

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
