"""Scores and similarities of candidate sets with known answers → what each counts, and the temperature."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mailroom.classify.temperature import fit_temperature

Values = NDArray[np.float32]

# Shares of the similarity in the sum; 0 is the cross-encoder alone, and 1 cannot be said by a weight.
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Blend:
    """What a reranker's config holds: score + similarity_weight × similarity, over temperature.

    `top1` is the share of the given sets that it answers right, `retrieval_top1` what similarity alone does;
    sets without the right candidate count as wrong.
    """

    similarity_weight: float
    temperature: float
    top1: float
    retrieval_top1: float


def fit_blend(
    scores: Sequence[Values], similarities: Sequence[Values], targets: Sequence[int | None], scale: float
) -> Blend:
    """The share of the similarity with the least log loss at its best temperature, and that temperature.

    All by set: `scores` and `similarities` (K,), `targets` the right candidate's place or None. `scale` is
    what the cross-encoder multiplies its cosines with. The sets must be out of sample for both stages.
    """
    found = []
    for share in SHARES:
        weight = scale * share / (1 - share)
        ranked = [score + np.float32(weight) * near for score, near in zip(scores, similarities, strict=True)]
        temperature = fit_temperature(ranked, targets)
        loss = float(np.mean([_loss(row / temperature, t) for row, t in zip(ranked, targets, strict=True)]))
        found.append((loss, Blend(weight, temperature, _top1(ranked, targets), _top1(similarities, targets))))
    return min(found, key=lambda pair: pair[0])[1]


def _loss(logits: NDArray[np.floating], target: int | None) -> float:
    shifted = logits - logits.max()
    right = shifted.mean() if target is None else shifted[target]
    return float(np.log(np.exp(shifted).sum()) - right)


def _top1(ranked: Sequence[Values], targets: Sequence[int | None]) -> float:
    return float(np.mean([int(row.argmax()) == target for row, target in zip(ranked, targets, strict=True)]))
