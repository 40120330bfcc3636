"""Labelled emails' vectors → how many examples a label's texts are worth (κ), by the examples themselves.

Well described labels whose emails differ from one another are found best by their texts; terse names whose
emails are alike by the emails. Which it is differs from desk to desk, so every example is answered as if it
had not been learned from: its own vector is taken out of its label's sum, which costs nothing extra.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

# Where too few examples can be judged: between what one example a label liked best on clinc150, bitext and
# cfpb (2), and what keeps well described labels from harm (16 and above on the helpdesk example).
UNPROVEN_KAPPA = 4.0
# 1,000 leaves hardly anything but the texts: examples that teach nothing change nothing.
KAPPAS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 1000.0)
_LEAST_JUDGED = 30
_MOST_JUDGED = 4000
# Nearer than this, another example of the label is a copy, beside which leaving one out shows nothing.
_COPY = 0.97


def choose_kappa(
    texts: Vectors,
    vectors: Vectors,
    targets: NDArray[np.intp],
    weights: NDArray[np.float32],
    seed: int = 0,
    judges: NDArray[np.bool_] | None = None,
) -> float | None:
    """The κ with which most examples are answered right, by weight; None where too few can be.

    Of equally good ones the largest, which trusts the texts most.
    """
    found = answered_right(texts, vectors, targets, weights, seed, judges)
    return None if found is None else max(zip((found.right @ found.weights).tolist(), KAPPAS, strict=True))[1]


@dataclass(frozen=True)
class AnsweredRight:
    """Whether each of j examples is answered right by each of KAPPAS (kappas, j); their weights (j,)."""

    right: NDArray[np.bool_]
    weights: NDArray[np.float32]


def answered_right(
    texts: Vectors,
    vectors: Vectors,
    targets: NDArray[np.intp],
    weights: NDArray[np.float32],
    seed: int = 0,
    judges: NDArray[np.bool_] | None = None,
) -> AnsweredRight | None:
    """How examples are answered at every κ, each as if it had not been learned from; None for too few.

    `texts` (labels, d) and `vectors` (n, d) have unit length; `targets` (n,) are rows of `texts`. Only the
    examples of `judges` (n,) are answered, all of them unless it is given.
    """
    sums = np.zeros_like(texts)
    np.add.at(sums, targets, vectors * weights[:, None])
    judged = _informative(vectors, targets, weights, seed, judges)
    if len(judged) < _LEAST_JUDGED:
        return None
    asked, own, share = vectors[judged], targets[judged], weights[judged]
    without = sums[own] - asked * share[:, None]  # (j, d)
    return AnsweredRight(np.stack([_right(k, texts, sums, asked, own, without) for k in KAPPAS]), share)


def _right(
    kappa: float,
    texts: Vectors,
    sums: Vectors,
    asked: Vectors,
    own: NDArray[np.intp],
    without: Vectors,
) -> NDArray[np.bool_]:
    """Which examples (j,) are nearest to their own label."""
    similarities = asked @ _unit(kappa * texts + sums).T  # (j, labels)
    alone = _unit(kappa * texts[own] + without)
    similarities[np.arange(len(own)), own] = np.einsum("jd,jd->j", asked, alone)
    nearest: NDArray[np.bool_] = similarities.argmax(axis=1) == own
    return nearest


def _informative(
    vectors: Vectors,
    targets: NDArray[np.intp],
    weights: NDArray[np.float32],
    seed: int,
    judges: NDArray[np.bool_] | None,
) -> NDArray[np.intp]:
    """Rows of `judges` whose label has others, none of them a copy; at most so many, drawn with the seed."""
    kept: list[int] = []
    for rows in _rows_of_labels(targets, weights, judges):
        alike = vectors[rows] @ vectors[rows].T
        np.fill_diagonal(alike, -1.0)
        kept += rows[alike.max(axis=1) < _COPY].tolist()
    found = np.sort(np.array(kept, dtype=np.intp))
    found = found if judges is None else found[judges[found]]
    if len(found) <= _MOST_JUDGED:
        return found
    return np.random.default_rng(seed).choice(found, _MOST_JUDGED, replace=False)


def _rows_of_labels(
    targets: NDArray[np.intp], weights: NDArray[np.float32], judges: NDArray[np.bool_] | None
) -> list[NDArray[np.intp]]:
    """The rows of each label with several examples that count; of a large label a thousand, judges first."""
    rows = np.flatnonzero(weights > 0)
    order = rows[np.argsort(targets[rows], kind="stable")]
    ends = np.flatnonzero(np.diff(targets[order])) + 1
    groups = [group for group in np.split(order, ends) if len(group) > 1]
    if judges is not None:
        groups = [group[np.argsort(~judges[group], kind="stable")] for group in groups]
    return [group[:1000] for group in groups]


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return result
