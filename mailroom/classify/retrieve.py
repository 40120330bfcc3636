"""Email vector → top-K candidates, by exact cosine and what words add to it (the speed layer).

5,000 labels × 384 dimensions are 2 MFLOP, so there is no index: one matrix-vector product ranks them all.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import ModelError

Vector = NDArray[np.float32]


def mean_directions(vectors: Vector, counts: Sequence[int]) -> Vector:
    """The mean direction of each run of rows: (Σcounts, d) → unit vectors (len(counts), d), counts ≥ 1.

    Rows are brought to unit length first, so that each counts the same whether its encoder normalises or not.
    """
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)
    return _unit(np.add.reduceat(_unit(vectors), starts, axis=0))


def _unit(vectors: Vector) -> Vector:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


class Retriever:
    """Ranks all labels for one email vector; safe to share between threads."""

    def __init__(self, label_vectors: Vector, top_k: int) -> None:
        """`label_vectors` (n, d), unit length, n ≥ 1; `top_k` ≥ 1 is capped at n."""
        if label_vectors.ndim != 2 or not len(label_vectors):
            raise ModelError(
                f"expected label vectors of shape (labels, dimension), got {label_vectors.shape}"
            )
        if not np.isfinite(label_vectors).all():
            raise ModelError("label vectors hold values that are not finite; export the bi-encoder again")
        self._vectors = label_vectors
        self._top_k = min(top_k, len(label_vectors))

    def top_k(self, query: Vector, added: Vector | None = None) -> tuple[NDArray[np.intp], Vector]:
        """The nearest labels' positions and similarities, best first; equal ones keep the labels' order.

        A similarity is the cosine, and `added` (n,) where that is given.
        """
        # Not every encoder normalises; dividing by the query's length makes these cosines all the same.
        unit = query / np.maximum(np.linalg.norm(query), np.float32(1e-12))
        # Not `@`: BLAS would start threads of its own, which fight with the emails side by side.
        similarities = np.vecdot(self._vectors, unit)  # (n, d), (d,) → (n,)
        if added is not None:
            similarities = similarities + added
        if self._top_k < len(similarities):
            nearest = np.argpartition(-similarities, self._top_k - 1)[: self._top_k]
            nearest.sort()  # so that the stable sort below breaks ties by the labels' order
        else:
            nearest = np.arange(len(similarities))
        best_first = nearest[np.argsort(-similarities[nearest], kind="stable")]
        return best_first, similarities[best_first]
