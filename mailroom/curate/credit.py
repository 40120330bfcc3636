"""Answers that people have labelled since → how right answers as sure as others are expected to be.

People label what was unsure, and a random share. That says nothing of all mail, but it does of mail that is
as sure: emails are chosen by how sure their answers are, not by whether they are right. So a curve from the
stated probability to being right, two numbers, is fitted to labelled answers (Platt 1999) and read where the
surest unlabelled ones stand. It reaches beyond what was seen, so it may refuse, and never proves.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# The curve is held to "right as often as stated", as strongly as about four even answers would hold it.
_HELD_TO_STATED = 1.0
_STATED = np.array([0.0, 1.0])
_LEAST_PROBABILITY = 1e-6
_MOST_STEPS = 50
# Fewer labelled answers say nothing.
_LEAST_LABELLED = 10
_DONE = 1e-8


def expected_precision(
    stated: Sequence[float], right: Sequence[bool], asked: Sequence[float]
) -> float | None:
    """The share (0…1) of answers with the probabilities `asked` that is expected to be right.

    `stated` are the probabilities of labelled answers, given before the label was known, and `right` says
    whether they were. None where that are fewer than 10, or nothing is asked.
    """
    if len(stated) < _LEAST_LABELLED or not len(asked):
        return None
    curve = _fitted(_with_logits(stated), np.asarray(right, dtype=np.float64))
    return float(_chance(_with_logits(asked) @ curve).mean())


def _fitted(features: Values, right: Values) -> Values:
    """Intercept and slope by Newton's method; the penalty makes the loss strictly convex."""
    curve = _STATED.copy()
    for _ in range(_MOST_STEPS):
        chance = _chance(features @ curve)
        slope = features.T @ (chance - right) + _HELD_TO_STATED * (curve - _STATED)
        bend = (features * (chance * (1 - chance))[:, None]).T @ features + _HELD_TO_STATED * np.eye(2)
        step = np.linalg.solve(bend, slope)
        curve = curve - step
        if np.abs(step).max() < _DONE:
            break
    return curve


def _with_logits(probabilities: Sequence[float]) -> Values:
    """A column of ones beside the logits of the probabilities, (n, 2)."""
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.column_stack([np.ones(len(clipped)), np.log(clipped) - np.log1p(-clipped)])


def _chance(logits: Values) -> Values:
    # tanh neither overflows nor warns, however far off a step lands.
    chance: Values = 0.5 * (1 + np.tanh(logits / 2))
    return chance
