"""Labelled texts → a lexical head: a linear SVM over TF-IDF; scikit-learn, which the training install has.

Words, pairs of words and pieces of words, one label against the others. How much the head counts beside the
cosine is chosen in `lexical_weight`.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import DataError
from mailroom.models.lexical import Lexical, weigh
from mailroom.models.text_features import Hashes, is_piece, text_features

Scores = NDArray[np.float32]
Targets = NDArray[np.intp]
Weights = NDArray[np.float32]

# Chosen on validation parts of five sets (docs/experiments-words.md).
_INVERSE_REGULARISATION = 1.0
# A feature that only one text has teaches little, and is most of them, where there are many texts.
_MANY_TEXTS = 2000
# At 4 bytes each: what a head may weigh, whatever the number of labels.
_MOST_WEIGHTS = 3_000_000
_MOST_LABELS = 2**16
# Weights while learning, features × labels: the commonest features are kept.
_MOST_LEARNED = 50_000_000


@dataclass(frozen=True)
class Bags:
    """Texts as weighed features: `matrix` is scipy's CSR (texts, f), its columns are `features` (f,)."""

    matrix: Any
    features: Hashes
    idf: Scores

    @classmethod
    def read(cls, texts: Sequence[str], labels: int) -> "Bags":
        """Count the features of all texts, and weigh them, as many as so many labels bear.

        DataError without texts.
        """
        from scipy.sparse import csr_matrix

        if not texts:
            raise DataError("expected texts to read words from, got none")
        counted = [text_features(text) for text in texts]
        found = np.concatenate([features for features, _ in counted])
        features, documents = np.unique(found, return_counts=True)
        kept = documents >= (2 if len(texts) >= _MANY_TEXTS else 1)
        most = _MOST_LEARNED // max(1, labels)
        if kept.sum() > most:
            kept &= documents > np.partition(documents, len(documents) - most - 1)[len(documents) - most - 1]
        features, documents = features[kept], documents[kept]
        idf = (1 + np.log((1 + len(texts)) / (1 + documents))).astype(np.float16).astype(np.float32)
        columns: list[NDArray[np.intp]] = []
        shares: list[Scores] = []
        for own, counts in counted:
            places = np.minimum(np.searchsorted(features, own), max(0, len(features) - 1))
            known = features[places] == own if len(features) else np.zeros(len(own), dtype=bool)
            columns.append(places[known])
            shares.append(weigh(counts[known], idf[places[known]], is_piece(own[known])))
        ends = np.cumsum([0, *map(len, columns)])
        matrix = csr_matrix(
            (np.concatenate(shares), np.concatenate(columns), ends), shape=(len(texts), len(features))
        )
        return cls(matrix, features, idf)


@dataclass(frozen=True)
class Fitted:
    """A linear SVM's `weights` (learned labels, f) and `bias`, for the labels at positions `rows`."""

    rows: Targets
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def scores(self, bags: Any, labels: int) -> Scores:
        """The scores of `labels` labels (n, labels); NaN for those that were not learned."""
        scores = np.full((bags.shape[0], labels), np.nan, dtype=np.float32)
        scores[:, self.rows] = bags @ self.weights.T + self.bias
        return scores


def fit_svm(bags: Any, targets: Targets, weights: Weights) -> Fitted | None:
    """Learn from the rows of `bags`; None with fewer than two labels, which leave nothing to tell apart."""
    from sklearn.svm import LinearSVC

    counted = weights > 0
    if len(np.unique(targets[counted])) < 2:
        return None
    model = LinearSVC(C=_INVERSE_REGULARISATION, random_state=0)
    with warnings.catch_warnings():
        # A head that has not converged to the last digit answers the same.
        warnings.filterwarnings("ignore", module="sklearn")
        model.fit(bags[np.flatnonzero(counted)], targets[counted], sample_weight=weights[counted])
    rows, learned, bias = model.classes_.astype(np.intp), model.coef_, model.intercept_
    if len(rows) == 2:  # one classifier serves both
        learned, bias = np.concatenate([-learned, learned]), np.concatenate([-bias, bias])
    return Fitted(rows, learned, bias)


def make_lexical(labels: Sequence[str], bags: Bags, fitted: Fitted, neutral: float, weight: float) -> Lexical:
    """The head as it is served: the largest weights, the rest left out; DataError with too many labels."""
    if len(labels) > _MOST_LABELS:
        raise DataError(f"expected at most {_MOST_LABELS} labels to learn words for, got {len(labels)}")
    learned = np.ascontiguousarray(fitted.weights.T, dtype=np.float32)  # (f, labels)
    kept = learned.astype(np.float16) != 0
    if kept.sum() > _MOST_WEIGHTS:
        largest = np.argpartition(np.abs(learned), learned.size - _MOST_WEIGHTS, axis=None)[-_MOST_WEIGHTS:]
        kept = np.zeros_like(kept)
        kept.ravel()[largest] = True
    used = np.flatnonzero(kept.any(axis=1))
    places, columns = np.nonzero(kept[used])
    ends = np.searchsorted(places, np.arange(len(used) + 1))
    return Lexical(
        labels=tuple(labels[row] for row in fitted.rows.tolist()),
        features=bags.features[used],
        idf=bags.idf[used].astype(np.float16),
        starts=ends.astype(np.int64),
        columns=columns.astype(np.uint16),
        values=learned[used][places, columns].astype(np.float16),
        bias=fitted.bias.astype(np.float32),
        neutral=neutral,
        weight=weight,
    )
