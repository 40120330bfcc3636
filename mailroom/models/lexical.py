"""What words say for each label, beside the encoder's cosine: a linear head over hashed words; numpy alone.

An encoder reads the first tokens of an email and sees no rare names, product codes or other languages than
its own; a linear classifier over words sees all of them. Its scores, in units of cosine, are added to the
cosines. Labels that it has not learned get the score 0, to which the others are levelled.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import ModelError
from mailroom.models.text_features import Counts, Hashes, is_piece, text_features

Scores = NDArray[np.float32]

LEXICAL_NAME = "lexical.npz"
_ARRAYS = ("features", "idf", "starts", "columns", "values", "bias")


@dataclass(frozen=True)
class Lexical:
    """A linear head: `features` (f,) rising, their `idf` (f,), weights of feature × label, `bias` (labels,).

    Weights are sparse: those of feature i are `values[starts[i]:starts[i + 1]]`, for the labels in the same
    stretch of `columns`; all others are 0. `neutral` is the score at which words say nothing for a label, and
    `weight` > 0 is how much a point of score counts beside the cosine.
    """

    labels: tuple[str, ...]
    features: Hashes
    idf: NDArray[np.float16]
    starts: NDArray[np.int64]
    columns: NDArray[np.uint16]
    values: NDArray[np.float16]
    bias: Scores
    neutral: float
    weight: float

    def __post_init__(self) -> None:
        """Refuse parts that do not fit each other, or are not finite; ModelError."""
        count = len(self.features)
        fits = (
            len(self.idf) == count
            and len(self.starts) == count + 1
            and self.starts[0] == 0
            and bool((np.diff(self.starts) >= 0).all())
            and self.starts[-1] == len(self.columns) == len(self.values)
            and len(self.bias) == len(self.labels)
            and (not len(self.columns) or int(self.columns.max()) < len(self.labels))
        )
        if not fits:
            raise ModelError("expected the weights of a lexical head, got parts that do not fit; learn again")
        numbers = (self.idf, self.values, self.bias, np.array([self.neutral, self.weight]))
        if not all(np.isfinite(part).all() for part in numbers):
            raise ModelError("a lexical head holds values that are not finite; learn again")

    def raw_scores(self, text: str) -> Scores:
        """What the head gives each of its labels (labels,), before levelling and weighing."""
        features, counts = text_features(text)
        if not len(self.features) or not len(features):
            return self.bias.copy()
        places = np.minimum(np.searchsorted(self.features, features), len(self.features) - 1)
        known = self.features[places] == features
        places = places[known]
        shares = weigh(counts[known], self.idf[places].astype(np.float32), is_piece(features[known]))
        begins = self.starts[places]
        lengths = self.starts[places + 1] - begins
        # Positions of all weights of these features, one feature after another.
        within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows = np.repeat(begins, lengths) + within
        products = self.values[rows].astype(np.float32) * np.repeat(shares, lengths)
        sums = np.bincount(self.columns[rows], products, minlength=len(self.labels))
        return self.bias + sums.astype(np.float32)

    def for_labels(self, labels: Sequence[str]) -> "WordScores":
        """The head for labels in this order; those that it has not learned get 0."""
        return WordScores(self, labels)

    def weighing(self, weight: float) -> "Lexical":
        """The same head, counting `weight` a point beside the cosine."""
        return replace(self, weight=weight)

    def save(self, path: Path) -> None:
        """Write one `.npz` file, without pickles."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        with path.open("wb") as file:
            np.savez(
                file,
                labels=np.array(self.labels, dtype=np.str_),
                neutral=np.float64(self.neutral),
                weight=np.float64(self.weight),
                **arrays,
            )


class WordScores:
    """A lexical head over the labels of a taxonomy; safe to share between threads."""

    def __init__(self, head: Lexical, labels: Sequence[str]) -> None:
        place = {label: row for row, label in enumerate(head.labels)}
        found = [(row, place[label]) for row, label in enumerate(labels) if label in place]
        self._head, self._count = head, len(labels)
        self._rows = np.array([row for row, _ in found], dtype=np.intp)
        self._learned = np.array([learned for _, learned in found], dtype=np.intp)

    def raw_scores(self, texts: Sequence[str]) -> Scores:
        """What the head itself gives (n, labels); NaN for labels that it has not learned."""
        scores = np.full((len(texts), self._count), np.nan, dtype=np.float32)
        for row, text in enumerate(texts):
            scores[row, self._rows] = self._head.raw_scores(text)[self._learned]
        return scores

    def score(self, text: str) -> Scores:
        """What is added to the labels' cosines with one email text (labels,)."""
        scores = np.zeros(self._count, dtype=np.float32)
        head = self._head
        raw = head.raw_scores(text)[self._learned]
        scores[self._rows] = np.float32(head.weight) * (raw - np.float32(head.neutral))
        return scores


def weigh(counts: Counts, idf: Scores, pieces: NDArray[np.bool_]) -> Scores:
    """1 + log of the counts times idf, words and pieces of words each brought to length 1; all (n,)."""
    shares: Scores = (1 + np.log(counts)) * idf
    for kind in (pieces, ~pieces):
        length = np.linalg.norm(shares[kind])
        if length > 0:
            shares[kind] /= length
    return shares


def load_lexical(path: Path) -> Lexical | None:
    """What `save` wrote, None where there is no such file; ModelError where it is damaged."""
    try:
        # Opened here, since numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            return Lexical(
                labels=tuple(content["labels"].tolist()),
                neutral=float(content["neutral"]),
                weight=float(content["weight"]),
                **{name: content[name] for name in _ARRAYS},
            )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as exc:
        raise ModelError(f"{path}: expected a lexical head, got: {exc}; learn again") from exc
