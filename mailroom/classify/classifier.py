"""Email → Prediction: retrieve, rerank, decide, one email at a time.

Knows models by their interface only; threads share one Classifier and run emails side by side.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import numpy as np
import uuid_utils
from numpy.typing import NDArray

from mailroom.classify.decide import Decision, contenders, decide, softmax
from mailroom.classify.marks import ReviewRules
from mailroom.classify.retrieve import Retriever
from mailroom.config import ClassifySettings
from mailroom.records import Candidate, Email, Prediction

# Chosen on the training parts of four of five label trees, where 0.05 or 0.06 had the least log loss; the
# fifth, noisy one wanted 0.1 (docs/experiments.md).
RETRIEVAL_TEMPERATURE = 0.05
# A label takes two to five milliseconds.
_MOST_WARMED = 200

Vector = NDArray[np.float32]


class QueryEncoder(Protocol):
    """The bi-encoder as the classifier needs it."""

    def encode_query(self, text: str) -> Vector:
        """One email text → unit vector (d,)."""
        ...


class Words(Protocol):
    """What words say beside the cosine, as the classifier needs it."""

    def score(self, text: str) -> Vector:
        """One email text → what is added to each label's cosine (n,), in the labels' order."""
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


class Reading(Protocol):
    """An email that was read; what else it holds is its reader's business."""

    @property
    def vector(self) -> Vector:
        """What the bi-encoder makes of the email, (d,)."""
        ...


class SharedReader(Protocol):
    """A cross-encoder whose email side is the bi-encoder: one reading serves both stages."""

    def read(self, text: str) -> Any:
        """One email text → a Reading."""
        ...

    def score_states(self, email: Any, labels: Sequence[str]) -> Vector:
        """The Reading and n label texts → n logits."""
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
        shared_reader: SharedReader | None = None,
        temperature_factor: float = 1.0,
        rules: ReviewRules | None = None,
        words: Words | None = None,
    ) -> None:
        """`label_vectors` (n, d) stand in the order of `labels`.

        `shared_reader` is the cross-encoder again where its reading of an email gives the encoder's vector.
        `temperature_factor` > 0 multiplies the temperature of the last stage: what calibration found.
        `rules` say which answers are marked for review; else the settings alone do.
        `words` add to the cosines by which labels are retrieved.
        """
        self._encoder = encoder
        self._retriever = Retriever(label_vectors, settings.top_k)
        self._labels = tuple(labels)
        self._settings = settings
        self._provenance = provenance
        self._cross_encoder = cross_encoder
        self._shared_reader = shared_reader
        self._temperature_factor = temperature_factor
        self._words = words
        self._rules = rules or ReviewRules.of(settings, None, None)

    @property
    def decided_by(self) -> str:
        """`cross_encoder`, or `retrieval` where none is configured; a prediction may differ."""
        return "cross_encoder" if self._cross_encoder else "retrieval"

    def warm(self) -> None:
        """Read labels now rather than with the first emails, where the cross-encoder keeps them.

        The first of a large tree alone: the others are read as they are asked for.
        """
        read_labels = getattr(self._cross_encoder, "read_labels", None)
        if read_labels is not None:
            read_labels([label.text for label in self._labels[:_MOST_WARMED]])

    def classify(self, email: Email) -> Prediction:
        """Exactly one label for one email, with candidates, margin and the time of each step."""
        started = time.perf_counter()
        text = email.text
        vector, score = self._read(text)
        encoded = time.perf_counter()
        added = self._words.score(text) if self._words is not None else None
        nearest, similarities = self._retriever.top_k(vector, added)
        retrieved = time.perf_counter()
        scores = self._rerank(score, nearest, similarities)
        reranked = time.perf_counter()
        decision = self._decide(similarities, scores)
        candidates = self._candidates(decision.order, nearest, similarities, scores, decision.probabilities)
        reasons = self._rules.reasons(candidates[0].probability, decision.margin, similarities.tolist())
        if _has_nothing_to_read(text):
            # The models answer it like any other, and may be sure of what its emptiness was once labelled.
            reasons = (*reasons, "no_text")
        done = time.perf_counter()
        winner = self._labels[nearest[decision.order[0]]]
        return Prediction(
            id=str(uuid_utils.uuid7()),
            email_id=email.id,
            label=winner.id,
            path=winner.path,
            probability=candidates[0].probability,
            margin=decision.margin,
            needs_review=bool(reasons),
            candidates=candidates,
            model=self._provenance.model,
            taxonomy=self._provenance.taxonomy,
            decided_by="retrieval" if scores is None else "cross_encoder",
            created_at=datetime.now(UTC),
            latency_ms={
                "encode": _ms(started, encoded),
                "retrieve": _ms(encoded, retrieved),
                "rerank": _ms(retrieved, reranked),
                "decide": _ms(reranked, done),
                "total": _ms(started, done),
            },
            review_reasons=reasons,
        )

    def _read(self, text: str) -> tuple[Vector, Callable[[Sequence[str]], Vector] | None]:
        """The email's vector, and what gives the logits of label texts for it, if anything does."""
        if self._shared_reader is not None:
            reading: Reading = self._shared_reader.read(text)
            return reading.vector, partial(self._shared_reader.score_states, reading)
        vector = self._encoder.encode_query(text)
        return vector, partial(self._cross_encoder.score, text) if self._cross_encoder is not None else None

    def _rerank(
        self,
        score: Callable[[Sequence[str]], Vector] | None,
        nearest: NDArray[np.intp],
        similarities: Vector,
    ) -> Vector | None:
        """Logits of the first candidates that are contenders; None where there is nothing to decide."""
        if score is None:
            return None
        count = contenders(similarities, RETRIEVAL_TEMPERATURE, self._settings.rerank_above_share)
        if count == 1 < len(nearest):
            return None
        return score([self._labels[position].text for position in nearest[:count]])

    def _decide(self, similarities: Vector, scores: Vector | None) -> Decision:
        if self._cross_encoder is None or scores is None:
            alone = self._temperature_factor if self._cross_encoder is None else 1.0
            return decide(similarities, RETRIEVAL_TEMPERATURE * alone)
        count = len(scores)
        ranking = scores + np.float32(self._cross_encoder.similarity_weight) * similarities[:count]
        rest = softmax(similarities, RETRIEVAL_TEMPERATURE)[count:]
        temperature = self._cross_encoder.temperature * self._temperature_factor
        return decide(ranking, temperature, rest)

    def _candidates(
        self,
        order: NDArray[np.intp],
        nearest: NDArray[np.intp],
        similarities: Vector,
        scores: Vector | None,
        probabilities: NDArray[np.float64],
    ) -> tuple[Candidate, ...]:
        known: list[float] = [] if scores is None else scores.tolist()
        ordered = [known[place] if place < len(known) else None for place in order.tolist()]
        return tuple(
            Candidate(self._labels[position].id, similarity, score, probability)
            for position, similarity, score, probability in zip(
                nearest[order], similarities[order].tolist(), ordered, probabilities.tolist(), strict=True
            )
        )


def _has_nothing_to_read(text: str) -> bool:
    return not any(map(str.isalnum, text))


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
