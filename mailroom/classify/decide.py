"""Scores of the candidates → probabilities → margin and label.

A label is always given: low confidence marks the answer (`marks.py`), it never withholds it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import ModelError

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decision:
    """Positions within the candidate list, best first, with their probabilities; they sum to 1."""

    order: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    margin: float


def softmax(scores: Scores, temperature: float) -> NDArray[np.float64]:
    """Shares of the candidates, summing to 1; `temperature` > 0 divides the scores first."""
    scaled = np.asarray(scores, dtype=np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max())
    shares: NDArray[np.float64] = exponentials / exponentials.sum()
    return shares


def contenders(similarities: Scores, temperature: float, share: float) -> int:
    """How many candidates, best first, retrieval finds at least `share` (0…1) as probable as the first."""
    if share <= 0:
        return len(similarities)
    # The softmax's sum falls out: a share of the first's probability is a distance from its cosine.
    floor = float(similarities[0]) + temperature * math.log(share)
    return max(1, int((similarities >= floor).sum()))


def decide(scores: Scores, temperature: float, rest: NDArray[np.float64] | None = None) -> Decision:
    """Order the candidates by score; ties keep the retrieval order. ModelError if a score is not finite.

    `rest` are probabilities of further candidates, which have no score: they keep theirs, and the scored ones
    share what is left of 1. Where each of `rest` is smaller than any scored one was, a scored one wins.
    """
    if not np.isfinite(scores).all():
        raise ModelError("a model gave a score that is not finite; its weights are damaged: export it again")
    probabilities = softmax(scores, temperature)
    if rest is None or not len(rest):
        order = np.argsort(-scores, kind="stable")
    else:
        probabilities = np.concatenate([probabilities * (1 - rest.sum()), rest])
        order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    margin = float(ranked[0] - ranked[1]) if len(ranked) > 1 else float(ranked[0])
    return Decision(order, ranked, margin)
