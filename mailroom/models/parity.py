"""Scores in fp32 and in int8 → may int8 be used: the gate that every export passes or fails.

It compares what matters to a decision: which label comes first, and how far scores move against the
distance between labels. It knows nothing of gold labels; it needs none.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.cross_encoder import CrossEncoder

Scores = NDArray[np.float32]

# Set between what harms and what does not, on 2,500 training texts of CLINC150 with all-MiniLM-L6-v2, whose
# fp32 top-1 is 69.2 %. Weights with one scale a matrix lost 1.1 to 2.7 points at an agreement of 81 to 89 %;
# one scale a channel lost at most 0.4 at 94 to 95 %. The mean differences (docs/models.md) over a spread of
# about 0.09 give 0.28 to 0.66 for the former and 0.11 to 0.13 for the latter.
MIN_TOP1_AGREEMENT = 0.91
# A small tree gives few texts, of which a rate of 9 % shows more than 9 % now and then: the gate fails where
# so many disagreements would be a surprise at that rate (one-sided, 5 %).
_ONE_SIDED_95 = 1.645
MAX_RELATIVE_DIFFERENCE = 0.20


class Embedder(Protocol):
    """What makes vectors of emails and of label texts."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def encode_query(self, text: str) -> Scores:
        """The vector (d,) of one email."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> Scores:
        """The vectors (n, d) of label texts."""
        ...


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How near int8 scores are to fp32 scores.

    `top1_agreement` is the share of texts with the same best label; `mean_difference` and `max_difference`
    are absolute; `relative_difference` is the mean difference over the mean spread (standard deviation over
    the labels) of the fp32 scores, so that it means the same for cosines and for logits.
    """

    texts: int
    labels: int
    top1_agreement: float
    mean_difference: float
    max_difference: float
    relative_difference: float
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values, keyed by field name, with the limits it was held to.

        Those are the limits of this verdict: `min_top1_agreement` allows for how few the texts are.
        """
        limits = {
            "min_top1_agreement": round(_least_agreement(self.texts), 6),
            "max_relative_difference": MAX_RELATIVE_DIFFERENCE,
        }
        return dataclasses.asdict(self) | limits


def compare_scores(reference: Scores, candidate: Scores) -> ParityReport:
    """Hold `candidate` scores `(texts, labels)` to `reference` scores of the same shape.

    No text or no label means that nothing was shown, and does not pass.
    """
    texts, labels = reference.shape
    if reference.size == 0:
        return ParityReport(texts, labels, 0.0, 0.0, 0.0, 0.0, passed=False)
    difference = np.abs(reference - candidate)
    agreement = float((reference.argmax(axis=1) == candidate.argmax(axis=1)).mean())
    spread = float(reference.std(axis=1).mean())
    mean = float(difference.mean())
    # With a single label there is no spread, and no decision that int8 could change.
    relative = mean / spread if spread > 0 else 0.0
    disagreements = texts - round(agreement * texts)
    passed = disagreements <= _most_disagreements(texts) and relative <= MAX_RELATIVE_DIFFERENCE
    return ParityReport(
        texts=texts,
        labels=labels,
        top1_agreement=round(agreement, 6),
        mean_difference=round(mean, 6),
        max_difference=round(float(difference.max()), 6),
        relative_difference=round(relative, 6),
        passed=bool(passed and np.isfinite(candidate).all()),
    )


def _most_disagreements(texts: int) -> int:
    rate = 1 - MIN_TOP1_AGREEMENT
    return math.floor(texts * rate + _ONE_SIDED_95 * math.sqrt(texts * rate * (1 - rate)))


def _least_agreement(texts: int) -> float:
    return 1 - _most_disagreements(texts) / texts if texts else MIN_TOP1_AGREEMENT


def parity(fp32: BiEncoder, int8: BiEncoder, labels: Sequence[str], texts: Sequence[str]) -> ParityReport:
    """Compare two precisions of a bi-encoder by the cosines of `texts` (sample mail) with label texts.

    The label texts are read as queries too, so that the gate works before there is any mail.
    """
    queries = [*texts, *labels]
    return compare_scores(cosines(fp32, labels, queries), cosines(int8, labels, queries))


def cross_parity(
    fp32: CrossEncoder,
    int8: CrossEncoder,
    labels: Sequence[str],
    texts: Sequence[str],
    retrievers: tuple[Embedder, Embedder] | None = None,
) -> ParityReport:
    """Compare two precisions of a cross-encoder by the logits of `texts` × `labels`; give it few of both.

    `retrievers` are the bi-encoder in fp32 and as it serves: with them logits are compared as they decide,
    with as much of the cosine as their cross-encoder adds.
    """
    scores = [_logits(encoder, labels, texts) for encoder in (fp32, int8)]
    if retrievers is not None:
        for place, (encoder, retriever) in enumerate(zip((fp32, int8), retrievers, strict=True)):
            if encoder.similarity_weight:
                added = np.float32(encoder.similarity_weight) * cosines(retriever, labels, texts)
                scores[place] = scores[place] + added
    return compare_scores(*scores)


def cosines(encoder: Embedder, labels: Sequence[str], texts: Sequence[str]) -> Scores:
    """Cosines `(texts, labels)` of texts read as emails with label texts."""
    vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    for row, text in enumerate(texts):
        vectors[row] = encoder.encode_query(text)
    products: Scores = _unit(vectors) @ _unit(encoder.encode_passages(labels)).T
    return products


def _unit(vectors: Scores) -> Scores:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Scores = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def _logits(encoder: CrossEncoder, labels: Sequence[str], texts: Sequence[str]) -> Scores:
    logits = np.empty((len(texts), len(labels)), dtype=np.float32)
    for row, text in enumerate(texts):
        logits[row] = encoder.score(text, labels)
    return logits
