"""Embeddings and labels → what a logistic regression on them answers: the rival that every model must beat.

Needs scikit-learn, which the training install brings.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import DataError
from mailroom.evaluate.answers import Answer

# Chosen on validation parts; see docs/gate.md.
INVERSE_REGULARISATION = 30.0
MAX_ITERATIONS = 300
TOP_K = 20

Vectors = NDArray[np.float32]


def logistic_regression_answers(
    train: tuple[Vectors, Sequence[str]],
    gold: tuple[Vectors, Sequence[tuple[str, str]]],
    weights: Sequence[float] | None = None,
) -> list[Answer]:
    """Fit on `train` (vectors (n, d), labels) and answer `gold` (vectors (m, d), (email id, truth)).

    Vectors are brought to unit length. `weights` (n,) count each training row. Each answer holds the twenty
    most probable labels. DataError with fewer than two labels, of which a regression can make nothing.
    """
    from sklearn.linear_model import LogisticRegression

    vectors, labels = train
    if len(set(labels)) < 2:
        raise DataError(f"expected training rows of at least two labels, got {len(set(labels))}")
    model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=MAX_ITERATIONS)
    model.fit(_unit(vectors), np.asarray(labels, dtype=object), sample_weight=weights)
    shares = model.predict_proba(_unit(gold[0]))
    order = np.argsort(-shares, axis=1, kind="stable")[:, :TOP_K]
    return [
        Answer(
            email_id,
            truth,
            tuple(str(model.classes_[place]) for place in best),
            tuple(float(row[place]) for place in best),
        )
        for (email_id, truth), row, best in zip(gold[1], shares, order, strict=True)
    ]


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
