"""Scores of the candidates → probabilities → margin, label and whether a person should look.

A label is always given: low confidence sets `needs_review`, it never withholds the answer.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mailroom.config import ClassifySettings
from mailroom.errors import ModelError

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decision:
    """Positions within the candidate list, best first, with their probabilities; they sum to 1."""

    order: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    margin: float
    needs_review: bool


def softmax(scores: Scores, temperature: float) -> NDArray[np.float64]:
    """Shares of the candidates, summing to 1; `temperature` > 0 divides the scores first."""
    scaled = np.asarray(scores, dtype=np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max())
    shares: NDArray[np.float64] = exponentials / exponentials.sum()
    return shares


def decide(scores: Scores, temperature: float, settings: ClassifySettings) -> Decision:
    """Order the candidates by score; ties keep the retrieval order. ModelError if a score is not finite."""
    if not np.isfinite(scores).all():
        raise ModelError("a model gave a score that is not finite; its weights are damaged: export it again")
    probabilities = softmax(scores, temperature)
    order = np.argsort(-scores, kind="stable")
    ranked = probabilities[order]
    margin = float(ranked[0] - ranked[1]) if len(ranked) > 1 else float(ranked[0])
    unsure = ranked[0] < settings.review_below_probability or margin < settings.review_below_margin
    return Decision(order, ranked, margin, bool(unsure))
