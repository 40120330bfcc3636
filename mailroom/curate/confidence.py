"""Answers of one model → how sure each is among its like, as a share of mail that is as sure or surer.

A rank says nothing of being right; `precision` learns that from audits. Ranks rather than raw figures: they
keep their meaning when a model's probabilities are off.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mailroom.records import Prediction

Ranks = NDArray[np.float64]


def rank_answers(pool: Sequence[Prediction], others: Sequence[Prediction]) -> tuple[Ranks, Ranks]:
    """For each answer of `pool` and each of `others`: the share of `pool` that is as sure or surer (0…1).

    Sure is what stands high in probability and in margin; the lower of the two standings counts.
    """
    standings = [_standings(pool, [*pool, *others], name) for name in ("probability", "margin")]
    worse = np.maximum(*standings)
    ranks = _share_above(-worse[: len(pool)], -worse)
    return ranks[: len(pool)], ranks[len(pool) :]


def stages_agree(answer: Prediction) -> bool:
    """True where retrieval alone would have said the same; it always does where it decided."""
    nearest = max(answer.candidates, key=lambda candidate: candidate.similarity, default=None)
    return nearest is not None and nearest.label == answer.label


def _standings(pool: Sequence[Prediction], asked: Sequence[Prediction], name: str) -> Ranks:
    known = np.array([getattr(answer, name) for answer in pool], dtype=np.float64)
    return _share_above(known, np.array([getattr(answer, name) for answer in asked], dtype=np.float64))


def _share_above(known: Ranks, asked: Ranks) -> Ranks:
    """The share of `known` values that are at least as high, for each of `asked`."""
    below = np.searchsorted(np.sort(known), asked, side="left")
    shares: Ranks = (len(known) - below) / max(1, len(known))
    return shares
