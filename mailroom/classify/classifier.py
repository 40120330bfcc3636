"""Email → Prediction: retrieve, rerank, decide, one email at a time.

Knows models by their interface only; threads share one Classifier and run emails side by side.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
import uuid_utils
from numpy.typing import NDArray

from mailroom.classify.decide import Decision, decide
from mailroom.classify.retrieve import Retriever
from mailroom.config import ClassifySettings
from mailroom.records import Candidate, Email, Prediction

# Chosen on the training parts of four of five label trees, where 0.05 or 0.06 had the least log loss; the
# fifth, noisy one wanted 0.1 (docs/experiments.md).
RETRIEVAL_TEMPERATURE = 0.05

Vector = NDArray[np.float32]


class QueryEncoder(Protocol):
    """The bi-encoder as the classifier needs it."""

    def encode_query(self, text: str) -> Vector:
        """One email text → unit vector (d,)."""
        ...


class Scorer(Protocol):
    """The cross-encoder as the classifier needs it."""

    @property
    def similarity_weight(self) -> float:
        """How often the cosine is added to a logit before candidates are ranked."""
        ...

    @property
    def temperature(self) -> float:
        """What the ranked sums are divided by before the softmax."""
        ...

    def score(self, text: str, labels: Sequence[str]) -> Vector:
        """One email text and n label texts → n logits."""
        ...


@dataclass(frozen=True, slots=True)
class LabelEntry:
    """One assignable label as the classifier reports and reranks it."""

    id: str
    path: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """What every prediction names: model version and taxonomy revision."""

    model: str
    taxonomy: str


class Classifier:
    """Decides one email at a time; without a cross-encoder the retrieval order is the answer."""

    def __init__(
        self,
        encoder: QueryEncoder,
        label_vectors: Vector,
        labels: Sequence[LabelEntry],
        settings: ClassifySettings,
        provenance: Provenance,
        cross_encoder: Scorer | None = None,
    ) -> None:
        """`label_vectors` (n, d) stand in the order of `labels`."""
        self._encoder = encoder
        self._retriever = Retriever(label_vectors, settings.top_k)
        self._labels = tuple(labels)
        self._settings = settings
        self._provenance = provenance
        self._cross_encoder = cross_encoder

    @property
    def decided_by(self) -> str:
        """`cross_encoder`, or `retrieval` where no cross-encoder is configured."""
        return "cross_encoder" if self._cross_encoder else "retrieval"

    def classify(self, email: Email) -> Prediction:
        """Exactly one label for one email, with candidates, margin and the time of each step."""
        started = time.perf_counter()
        text = email.text
        vector = self._encoder.encode_query(text)
        encoded = time.perf_counter()
        nearest, similarities = self._retriever.top_k(vector)
        retrieved = time.perf_counter()
        scores = self._rerank(text, nearest)
        reranked = time.perf_counter()
        decision = self._decide(similarities, scores)
        candidates = self._candidates(decision.order, nearest, similarities, scores, decision.probabilities)
        done = time.perf_counter()
        winner = self._labels[nearest[decision.order[0]]]
        return Prediction(
            id=str(uuid_utils.uuid7()),
            email_id=email.id,
            label=winner.id,
            path=winner.path,
            probability=candidates[0].probability,
            margin=decision.margin,
            needs_review=decision.needs_review,
            candidates=candidates,
            model=self._provenance.model,
            taxonomy=self._provenance.taxonomy,
            decided_by=self.decided_by,
            created_at=datetime.now(UTC),
            latency_ms={
                "encode": _ms(started, encoded),
                "retrieve": _ms(encoded, retrieved),
                "rerank": _ms(retrieved, reranked),
                "decide": _ms(reranked, done),
                "total": _ms(started, done),
            },
        )

    def _rerank(self, text: str, nearest: NDArray[np.intp]) -> Vector | None:
        if self._cross_encoder is None:
            return None
        return self._cross_encoder.score(text, [self._labels[position].text for position in nearest])

    def _decide(self, similarities: Vector, scores: Vector | None) -> Decision:
        if self._cross_encoder is None or scores is None:
            return decide(similarities, RETRIEVAL_TEMPERATURE, self._settings)
        ranking = scores + np.float32(self._cross_encoder.similarity_weight) * similarities
        return decide(ranking, self._cross_encoder.temperature, self._settings)

    def _candidates(
        self,
        order: NDArray[np.intp],
        nearest: NDArray[np.intp],
        similarities: Vector,
        scores: Vector | None,
        probabilities: NDArray[np.float64],
    ) -> tuple[Candidate, ...]:
        ordered = [None] * len(order) if scores is None else scores[order].tolist()
        return tuple(
            Candidate(self._labels[position].id, similarity, score, probability)
            for position, similarity, score, probability in zip(
                nearest[order], similarities[order].tolist(), ordered, probabilities.tolist(), strict=True
            )
        )


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
