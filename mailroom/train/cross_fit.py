"""Labelled emails → candidates that were retrieved without knowing their label (out of sample).

A bi-encoder, and label vectors, that have seen an email's label rank it too well; a reranker trained on such
lists learns to trust the similarity. So every email is ranked by what was learned from the other folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import DataError
from mailroom.models.prototypes import LabelledVectors, Vectors, fit_prototypes
from mailroom.records import Example
from mailroom.train.bi_encoder import train_bi_encoder
from mailroom.train.bi_encoder_settings import BiEncoderSettings
from mailroom.train.label_texts import LabelTexts, encode_label_texts
from mailroom.train.loop import Report
from mailroom.train.text_encoder import TextEncoder


@dataclass(frozen=True)
class Proposals:
    """The nearest labels of n emails, best first: positions of labels and similarities, both (n, K)."""

    labels: NDArray[np.intp]
    similarities: Vectors

    @classmethod
    def nearest(cls, similarities: Vectors, top_k: int) -> "Proposals":
        """The `top_k` best of all labels' similarities (n, labels)."""
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :top_k]
        return cls(order, np.take_along_axis(similarities, order, axis=1))


def folds_of(examples: Sequence[Example], folds: int, seed: int) -> NDArray[np.intp]:
    """A fold (0…folds − 1) for each example; one conversation, and equal texts, share a fold."""
    if folds < 2:
        raise DataError(f"cross-fitting needs at least 2 folds, got {folds}")
    keys = [example.thread or example.text for example in examples]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    fold = np.random.default_rng(seed).permutation(len(numbers)) % folds
    return np.array([fold[numbers[key]] for key in keys], dtype=np.intp)


def cross_fit_prototypes(
    labels: Sequence[str],
    text_vectors: Vectors,
    emails: LabelledVectors,
    folds: NDArray[np.intp],
    top_k: int,
) -> Proposals:
    """Each email's nearest labels by label vectors that were learned from the other folds.

    `emails` are vectors of one encoder for all: out of sample only if it was not trained on their labels.
    """
    similarities = np.zeros((len(emails.targets), len(labels)), dtype=np.float32)
    for fold in np.unique(folds):
        held_back = folds == fold
        learned = fit_prototypes(labels, text_vectors, emails.part(~held_back))
        vectors = learned.label_vectors(labels, text_vectors)
        similarities[held_back] = emails.vectors[held_back] @ vectors.T
    return Proposals.nearest(similarities, top_k)


def cross_fit_encoders(
    source: Path,
    work: Path,
    examples: Sequence[Example],
    labels: Sequence[LabelTexts],
    settings: BiEncoderSettings,
    folds: NDArray[np.intp],
    top_k: int,
    progress: Report | None = None,
    budget_s: float | None = None,
) -> Proposals:
    """Each email's nearest labels by a bi-encoder that was trained on the other folds alone.

    Costs one training a fold. A killed run goes on from the folder `work`; `budget_s` is for all folds.
    """
    ids = [label.id for label in labels]
    similarities = np.zeros((len(examples), len(labels)), dtype=np.float32)
    numbers = np.unique(folds).tolist()
    for fold in numbers:
        known = [example for example, own in zip(examples, folds, strict=True) if own != fold]
        result = train_bi_encoder(
            source,
            work / f"fold-{fold}",
            known,
            (),
            labels,
            replace(settings, training=replace(settings.training, seed=settings.training.seed + fold)),
            work / f"fold-{fold}-checkpoint",
            progress,
            None if budget_s is None else budget_s / len(numbers),
        )
        encoder = TextEncoder(result.directory, settings.max_tokens)
        vectors = result.prototypes.label_vectors(ids, encode_label_texts(encoder, labels))
        held_back = np.flatnonzero(folds == fold).tolist()
        emails = encoder.encode([encoder.email_ids(examples[row].text) for row in held_back])
        similarities[held_back] = emails @ vectors.T
    return Proposals.nearest(similarities, top_k)
