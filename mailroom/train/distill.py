"""A cross-encoder's scores of candidate sets → soft targets that a bi-encoder is pulled towards.

The teacher reads email and label together, which the student cannot; its shares say which labels are near
misses. Labelled and unlabelled mail alike can be taught.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import ConfigError, DataError
from mailroom.train.bi_encoder import TaughtText

Values = NDArray[np.float32]

# No candidate's share is smaller: below it the student would learn nothing of that candidate, and a share of
# exactly 0 would say that the teacher is certain.
SMALLEST_SHARE = 1e-5


@dataclass(frozen=True, slots=True)
class Scored:
    """An email with what decided on it: ranking scores (K,) of its candidates by id, in one order."""

    text: str
    labels: tuple[str, ...]
    scores: Values


def teach(
    scored: Sequence[Scored], temperature: float, weight: float = 1.0, least_spread: float = 0.0
) -> list[TaughtText]:
    """The teacher's shares softmax(scores / temperature), none below `SMALLEST_SHARE`.

    `temperature` is what makes the teacher's probabilities believable (`fit_blend` gives it). Emails whose
    scores differ by less than `least_spread`, and those with a single candidate, teach nothing and are left
    out. DataError for scores that are not finite.
    """
    if not temperature > 0:
        raise ConfigError(f"the teacher's temperature must be above 0, got {temperature!r}")
    taught = []
    for item in scored:
        if len(item.scores) != len(item.labels) or not np.isfinite(item.scores).all():
            raise DataError("a teacher's scores must be finite, and one for each candidate")
        if len(item.labels) < 2 or float(np.ptp(item.scores)) < least_spread:
            continue
        taught.append(TaughtText(item.text, item.labels, _shares(item.scores, temperature), weight))
    return taught


def _shares(scores: Values, temperature: float) -> tuple[float, ...]:
    logits = scores.astype(np.float64) / temperature
    shares = np.maximum(np.exp(logits - logits.max()), 0.0)
    shares = np.maximum(shares / shares.sum(), SMALLEST_SHARE)
    return tuple((shares / shares.sum()).tolist())
