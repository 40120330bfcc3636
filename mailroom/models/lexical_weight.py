"""Cosines and word scores of emails that neither learned from → how much words count, perhaps nothing.

Both overfit what they learned from, so the emails must be held back from both. Words know nothing of a label
without examples: it gets the neutral score, and where that stands decides whether such labels keep their
mail. So emails are also judged whose labels were hidden, as heavily as there are labels without examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]

# Points of score in units of cosine, and where the neutral score stands: at 0 with the labels that an email
# is not of, at 1 with its own.
WEIGHTS = (0.0, 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
_PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
# Tried for every weight, so that no weight wins by its scale alone.
TEMPERATURES = np.geomspace(0.01, 1.0, 24)
# Below so many emails nothing can be said about what words add.
LEAST_JUDGED = 40
# More cost time and tell no more.
_MOST_JUDGED = 4000


@dataclass(frozen=True)
class Judged:
    """Held-back emails: `cosines` and `words` (n, labels), NaN where a label's words were not learned.

    `targets` (n,) are the labels' positions, `weights` (n,) ≥ 0 say how much each email counts.
    """

    cosines: Scores
    words: Scores
    targets: NDArray[np.intp]
    weights: NDArray[np.float32]

    def part(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Judged":
        """These emails alone."""
        return Judged(self.cosines[rows], self.words[rows], self.targets[rows], self.weights[rows])

    def counted(self, seed: int) -> "Judged":
        """Those that count and have word scores; of many a part, drawn with the seed."""
        rows = np.flatnonzero((self.weights > 0) & ~np.isnan(self.words).all(axis=1))
        if len(rows) > _MOST_JUDGED:
            rows = np.random.default_rng(seed).choice(rows, _MOST_JUDGED, replace=False)
        return self.part(rows)

    def combined(self, neutral: float, weight: float) -> Scores:
        """What labels are ranked by (n, labels)."""
        said = np.nan_to_num(self.words - np.float32(neutral), nan=0.0)
        combined: Scores = self.cosines + np.float32(weight) * said
        return combined


@dataclass(frozen=True, slots=True)
class Choice:
    """The neutral score, and what a point of score counts beside the cosine; 0 is nothing."""

    neutral: float
    weight: float


def choose_weight(known: Judged, hidden: Judged | None, without: float, seed: int = 0) -> Choice:
    """The neutral score and weight of the least log loss, at its best temperature.

    `hidden` are emails whose labels were kept from both, `without` is the share of labels without examples.
    The weight is 0 where words do not make as many right, or there are too few emails to say.
    """
    known = known.counted(seed)
    if len(known.targets) < LEAST_JUDGED:
        return Choice(0.0, 0.0)
    parts = [(1.0 - without, known)]
    if hidden is not None and without > 0 and len(hidden.targets):
        parts.append((without, hidden.counted(seed)))
    low, high = _ends(known)
    places = _PLACES if len(parts) > 1 else _PLACES[:1]
    tried = [Choice(low + place * (high - low), weight) for place in places for weight in WEIGHTS]
    losses = [_loss(parts, one) for one in tried]
    best = tried[int(np.argmin(losses))]
    if _right(parts, best) < _right(parts, Choice(0.0, 0.0)):
        return Choice(best.neutral, 0.0)
    return best


def weight_beside(judged: Judged, neutral: float, seed: int = 0) -> float:
    """The weight beside other cosines, those of another encoder, with the neutral score that was chosen."""
    parts = [(1.0, judged.counted(seed))]
    if len(parts[0][1].targets) == 0:
        return 0.0
    best = min((Choice(neutral, weight) for weight in WEIGHTS), key=lambda one: _loss(parts, one))
    return best.weight if _right(parts, best) >= _right(parts, Choice(neutral, 0.0)) else 0.0


def log_losses(
    scores: Scores, targets: NDArray[np.intp], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The mean log loss of scores (n, labels) at each of TEMPERATURES."""
    below = scores - scores.max(axis=1, keepdims=True)
    own = below[np.arange(len(targets)), targets]
    at = [np.log(np.exp(below / np.float32(t)).sum(axis=1)) - own / t for t in TEMPERATURES]
    losses: NDArray[np.float64] = np.average(np.array(at), axis=1, weights=weights)
    return losses


def _ends(known: Judged) -> tuple[float, float]:
    """The mean score of labels that an email is not of, and of its own."""
    rows = np.arange(len(known.targets))
    others = known.words.copy()
    others[rows, known.targets] = np.nan
    own = known.words[rows, known.targets]
    low = float(np.nanmean(others)) if not np.isnan(others).all() else -1.0
    high = float(np.nanmean(own)) if not np.isnan(own).all() else low
    return low, max(low, high)


def _loss(parts: Sequence[tuple[float, Judged]], choice: Choice) -> float:
    """The least mean log loss over temperatures, the parts by their shares."""
    losses = np.zeros(len(TEMPERATURES))
    for share, judged in parts:
        scores = judged.combined(choice.neutral, choice.weight)
        losses += share * log_losses(scores, judged.targets, judged.weights)
    return float(losses.min())


def _right(parts: Sequence[tuple[float, Judged]], choice: Choice) -> float:
    """The share of emails whose label comes first, the parts by their shares."""
    return sum(
        share
        * float(
            np.average(
                judged.combined(choice.neutral, choice.weight).argmax(axis=1) == judged.targets,
                weights=judged.weights,
            )
        )
        for share, judged in parts
    )
