"""Labelled emails' vectors → how many examples a label's texts are worth (κ), by the examples themselves.

Well described labels whose emails differ from one another are found best by their texts; terse names whose
emails are alike by the emails. Which it is differs from desk to desk, so every example is answered as if it
had not been learned from: its own vector is taken out of its label's sum, which costs nothing extra.
"""

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
    """The κ with which most examples are answered right, each without itself; None where too few can be.

    `texts` (labels, d) and `vectors` (n, d) have unit length; `targets` (n,) are rows of `texts`. Only the
    examples of `judges` (n,) are answered, all of them unless it is given. Of equally good ones the largest
    is taken, which trusts the texts most.
    """
    sums = np.zeros_like(texts)
    np.add.at(sums, targets, vectors * weights[:, None])
    judged = _informative(vectors, targets, weights, seed, judges)
    if len(judged) < _LEAST_JUDGED:
        return None
    asked, own, share = vectors[judged], targets[judged], weights[judged]
    without = sums[own] - asked * share[:, None]  # (j, d)
    hits = [_hits(kappa, texts, sums, asked, own, without, share) for kappa in KAPPAS]
    return max(zip(hits, KAPPAS, strict=True))[1]


def _hits(
    kappa: float,
    texts: Vectors,
    sums: Vectors,
    asked: Vectors,
    own: NDArray[np.intp],
    without: Vectors,
    share: NDArray[np.float32],
) -> float:
    """The weight of the examples that are nearest to their own label."""
    similarities = asked @ _unit(kappa * texts + sums).T  # (j, labels)
    alone = _unit(kappa * texts[own] + without)
    similarities[np.arange(len(own)), own] = np.einsum("jd,jd->j", asked, alone)
    return float(share[similarities.argmax(axis=1) == own].sum())


def _informative(
    vectors: Vectors,
    targets: NDArray[np.intp],
    weights: NDArray[np.float32],
    seed: int,
    judges: NDArray[np.bool_] | None,
) -> NDArray[np.intp]:
    """Rows of `judges` whose label has others, none of them a copy; at most so many, drawn with the seed."""
    kept: list[int] = []
    for rows in _rows_of_labels(targets, weights):
        alike = vectors[rows] @ vectors[rows].T
        np.fill_diagonal(alike, -1.0)
        kept += rows[alike.max(axis=1) < _COPY].tolist()
    found = np.sort(np.array(kept, dtype=np.intp))
    found = found if judges is None else found[judges[found]]
    if len(found) <= _MOST_JUDGED:
        return found
    return np.random.default_rng(seed).choice(found, _MOST_JUDGED, replace=False)


def _rows_of_labels(targets: NDArray[np.intp], weights: NDArray[np.float32]) -> list[NDArray[np.intp]]:
    """The rows of each label with several examples that count; of a large label the first thousand."""
    rows = np.flatnonzero(weights > 0)
    order = rows[np.argsort(targets[rows], kind="stable")]
    ends = np.flatnonzero(np.diff(targets[order])) + 1
    return [group[:1000] for group in np.split(order, ends) if len(group) > 1]


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return result
