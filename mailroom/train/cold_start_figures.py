"""An untrained bi-encoder and a trained cross-encoder on a set that neither has seen: what reranking changes.

Knows nothing of how the weights came to be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mailroom.classify.temperature import fit_temperature
from mailroom.train.candidate_sets import Vectors
from mailroom.train.cross_encoder import score_examples
from mailroom.train.label_sets import WORDINGS, LabelSet, Wording
from mailroom.train.one_pass_model import OnePassModel
from mailroom.train.ranking_batches import ExampleEncoder, RankingExample

TOP_K = 20


@dataclass(frozen=True, slots=True)
class RerankFigures:
    """What reranking changed on one set: shares of emails; the temperature fits the blended scores."""

    name: str
    emails: int
    labels: int
    retrieval_top1: float
    recall_at_20: float
    cross_encoder_top1: float
    blended_top1: float
    temperature: float


class Embedder:
    """The bi-encoder as the email side of an untrained one-pass model reads texts; gives unit vectors.

    It computes where `model` lies.
    """

    def __init__(self, model: OnePassModel, tokenizer_path: Path) -> None:
        self._model = model.eval()
        self.encode = ExampleEncoder(tokenizer_path, model.config)
        # The same texts are judged with the weights of several seeds.
        self._known = lru_cache(maxsize=32)(self._embed)

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, d) of length 1; not to be changed in place."""
        return self._known(tuple(texts))

    @torch.no_grad()
    def _embed(self, texts: tuple[str, ...]) -> Vectors:
        ids = [self.encode.email_ids(text) for text in texts]
        device = self._model.gate.device
        vectors = np.zeros((len(texts), self._model.config.hidden_size), dtype=np.float32)
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        for start in range(0, len(order), 16):
            rows = order[start : start + 16]
            lengths = torch.tensor([len(ids[row]) for row in rows])
            padded = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
            for place, row in enumerate(rows):
                padded[place, : len(ids[row])] = torch.tensor(ids[row])
            pooled = self._model.encode_email(padded.to(device), lengths.to(device)).pooled
            vectors[rows] = torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()
        return vectors


@dataclass(frozen=True)
class Reranking:
    """A set's retrieved candidates, best first: labels, hits, cosines and scores, each (texts, K)."""

    candidates: NDArray[np.intp]
    hits: NDArray[np.bool_]
    similarities: Vectors
    scores: Vectors

    def blended(self, similarity_weight: float) -> Vectors:
        """What candidates are ranked by, (texts, K)."""
        return np.asarray(self.scores + similarity_weight * self.similarities, dtype=np.float32)

    def top1(self, ranked_by: Vectors) -> float:
        """The share of texts whose best candidate is right."""
        best = ranked_by.argmax(axis=1)[:, None]
        return float(np.take_along_axis(self.hits, best, axis=1).mean())


def rerank_set(
    model: OnePassModel, labels: LabelSet, embedder: Embedder, wording: Wording = "name"
) -> Reranking:
    """Retrieve and score the candidates of every text of a set that the model was not trained on.

    Retrieval averages the unit vectors of name and path, and of both forms with a description where there
    are any; the cross-encoder reads one wording.
    """
    kinds = WORDINGS if labels.has_descriptions else ("name", "path")
    vectors = sum(embedder(labels.wordings(kind)) for kind in kinds if kind != "id")
    unit = np.asarray(vectors) / np.linalg.norm(np.asarray(vectors), axis=1, keepdims=True)
    similarities = embedder(labels.texts) @ unit.T
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :TOP_K]
    texts = labels.wordings(wording)
    examples = [
        embedder.encode.encode(RankingExample(text, tuple(texts[label] for label in row), 0))
        for text, row in zip(labels.texts, order, strict=True)
    ]
    return Reranking(
        candidates=order,
        hits=order == np.array(labels.targets)[:, None],
        similarities=np.take_along_axis(similarities, order, axis=1),
        scores=np.stack([row.numpy() for row in score_examples(model, examples)]),
    )


def judge(
    model: OnePassModel, labels: LabelSet, embedder: Embedder, similarity_share: float
) -> RerankFigures:
    """What reranking by name changes on a set that the model was not trained on."""
    found = rerank_set(model, labels, embedder)
    blended = found.blended(similarity_weight(model, similarity_share))
    answers = [int(row.argmax()) if row.any() else None for row in found.hits]
    return RerankFigures(
        name=labels.name,
        emails=len(labels.texts),
        labels=len(labels.paths),
        retrieval_top1=float(found.hits[:, 0].mean()),
        recall_at_20=float(found.hits.any(axis=1).mean()),
        cross_encoder_top1=found.top1(found.scores),
        blended_top1=found.top1(blended),
        temperature=fit_temperature(list(blended), answers),
    )


def similarity_weight(model: OnePassModel, share: float) -> float:
    """What the cosine is multiplied with so that it has that share beside the cosine within the score."""
    return share / (1 - share) * float(model.log_scale.detach().exp())
