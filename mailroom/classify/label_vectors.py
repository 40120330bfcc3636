"""Label texts → one vector a label, as retrieval compares emails with; kept with the model version."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mailroom.classify.retrieve import mean_directions
from mailroom.classify.wordings import wordings
from mailroom.models.label_vectors import load_label_vectors, save_label_vectors
from mailroom.models.registry import ModelVersion
from mailroom.models.runtime import Precision
from mailroom.taxonomy import Taxonomy

Vectors = NDArray[np.float32]
# A label's groups of texts, as `wordings` gives them.
Wordings = tuple[tuple[str, ...], ...]


class PassageEncoder(Protocol):
    """The bi-encoder as label vectors need it."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Label texts → vectors (n, d)."""
        ...


def encode_labels(
    encoder: PassageEncoder, labels: Sequence[Wordings], advance: Callable[[int], None] | None = None
) -> Vectors:
    """One unit vector a label (labels, d): the mean of its groups of wordings, each the mean of its texts."""
    groups = np.empty((sum(map(len, labels)), encoder.dimension), dtype=np.float32)
    row = 0
    for done, label in enumerate(labels, start=1):
        for texts in label:
            groups[row] = mean_directions(encoder.encode_passages(texts), [len(texts)])[0]
            row += 1
        if advance is not None:
            advance(done)
    return mean_directions(groups, [len(label) for label in labels])


def all_wordings(taxonomy: Taxonomy) -> list[Wordings]:
    """The wordings of every label that can be given, in the taxonomy's order."""
    return [wordings(label, taxonomy) for label in taxonomy.assignable]


def text_vectors(
    version: ModelVersion, encoder: PassageEncoder, taxonomy: Taxonomy, precision: Precision
) -> Vectors:
    """Unit vectors (assignable labels, d) of the labels' texts, computed once a version × wording of them."""
    labels = all_wordings(taxonomy)
    key = _wordings_key(labels)
    vectors = load_label_vectors(version, key, precision)
    if vectors is None:
        vectors = encode_labels(encoder, labels)
        save_label_vectors(version, key, vectors, precision)
    return vectors


def _wordings_key(labels: Sequence[Wordings]) -> str:
    """A key that changes with any text a label vector was made of."""
    digest = hashlib.sha256()
    for label in labels:
        for texts in label:
            digest.update("\0".join(texts).encode("utf-8", "surrogatepass") + b"\1")
        digest.update(b"\2")
    return digest.hexdigest()[:16]
