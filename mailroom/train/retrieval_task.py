"""Texts with labels or a teacher's shares → the loss that a bi-encoder is trained by, and how it is judged.

Each text is ranked against all labels at once: cross-entropy over scale × cosine, with a free vector for
every label. So a batch is never capped by the number of labels, and no text of the same label is a negative.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mailroom.train.bi_encoder_settings import BiEncoderSettings
from mailroom.train.label_texts import LabelTexts
from mailroom.train.ranking_batches import plan_batches
from mailroom.train.text_encoder import TextEncoder, TokenIds

Vectors = NDArray[np.float32]

# Vectors of a batch that differ by less than this can tell nothing apart any more.
COLLAPSED_SPREAD = 1e-4
# A label of which less is known keeps its texts' vector.
LEAST_COUNT = 0.1


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts to train or judge on, as token ids.

    `targets` holds positions of labels, −1 for a text that only a teacher has spoken on; `taught` a
    teacher's candidates (positions) and its shares of them, or None.
    """

    ids: tuple[TokenIds, ...]
    targets: NDArray[np.intp]
    weights: NDArray[np.float32]
    taught: tuple[tuple[tuple[int, ...], tuple[float, ...]] | None, ...]

    @property
    def labelled(self) -> NDArray[np.intp]:
        """The numbers of the rows that have a label."""
        return np.flatnonzero(self.targets >= 0)

    def counts(self, labels: int) -> NDArray[np.float32]:
        """How many texts speak for each label (labels,), by weight; a teacher's share counts as a part."""
        counts = np.zeros(labels, dtype=np.float32)
        np.add.at(counts, self.targets[self.labelled], self.weights[self.labelled])
        for taught, weight in zip(self.taught, self.weights, strict=True):
            if taught is not None:
                np.add.at(counts, list(taught[0]), weight * np.array(taught[1], dtype=np.float32))
        # Crumbs of a teacher's shares are no knowledge of a label.
        counts[counts < LEAST_COUNT] = 0.0
        return counts


class RetrievalModel(nn.Module):
    """The encoder and a free vector for each label (labels, d)."""

    def __init__(self, encoder: TextEncoder, start: Vectors) -> None:
        super().__init__()
        self.encoder = encoder
        self.label_vectors = nn.Parameter(torch.from_numpy(start.copy()))

    def directions(self) -> Tensor:
        """The label vectors at length 1."""
        return functional.normalize(self.label_vectors, dim=-1)


class RetrievalTask:
    """Emails and labels as the loop trains on them."""

    def __init__(
        self,
        model: RetrievalModel,
        train: Rows,
        labels: Sequence[LabelTexts],
        settings: BiEncoderSettings,
    ) -> None:
        self.module, self._train, self._settings = model, train, settings
        self._closed = _closed(labels)
        self._texts = [[model.encoder.label_ids(t) for g in label.groups for t in g] for label in labels]
        # Labels that nobody has spoken on compete, but stay with their texts.
        learned = train.counts(len(labels)) > 0
        model.label_vectors.register_hook(  # type: ignore[no-untyped-call]
            _mask_rows(torch.from_numpy(learned))
        )
        self.steps_an_epoch = math.ceil(len(train.ids) / settings.training.batch_size)

    def parameter_groups(self) -> Iterator[dict[str, Any]]:
        yield from self.module.encoder.parameter_groups(self._settings.training)
        rate = self._settings.training.read_out_learning_rate
        yield {"params": [self.module.label_vectors], "lr": rate, "weight_decay": 0.0}

    def batches(self, epoch: int) -> list[list[int]]:
        return plan_batches([len(row) for row in self._train.ids], self._settings.training, epoch)

    def loss(self, batch: Sequence[int]) -> Tensor:
        vectors = self.module.encoder([self._train.ids[row] for row in batch])  # (B, d)
        weights = torch.from_numpy(self._train.weights[list(batch)]).to(vectors.device)
        logits = self._settings.scale * _cosines(vectors, self.module.directions())  # (B, labels)
        losses = torch.zeros(len(batch), device=vectors.device)
        targets = torch.from_numpy(self._train.targets[list(batch)]).to(vectors.device)
        labelled = (targets >= 0).nonzero()[:, 0]
        if len(labelled):
            known = self._label_losses(logits[labelled], targets[labelled])
            if self._settings.wordings_weight:
                texts = self._wordings_losses(vectors[labelled], targets[labelled])
                known = known + self._settings.wordings_weight * texts
            losses = losses.index_add(0, labelled, known)
        losses = losses + self._teacher_losses(batch, logits)
        return (losses * weights).sum() / weights.sum().clamp_min(1e-12)

    def check(self, batch: Sequence[int]) -> str | None:
        vectors = self.module.encoder.encode([self._train.ids[row] for row in batch])
        collapsed = len(batch) > 1 and float(np.ptp(vectors, axis=0).max()) < COLLAPSED_SPREAD
        different = len({self._train.ids[row] for row in batch}) > 1
        return "all emails have the same vector" if collapsed and different else None

    def _label_losses(self, logits: Tensor, right: Tensor) -> Tensor:
        """Cross-entropy of labelled rows (n,) over all labels but the ancestors of the right one.

        Every label is a negative already, and the softmax weighs each by how near it is: wrong labels that
        were named once more for it did not pay (docs/experiments-training.md).
        """
        closed = self._closed.to(logits.device)[right]
        return functional.cross_entropy(logits.masked_fill(closed, float("-inf")), right, reduction="none")

    def _teacher_losses(self, batch: Sequence[int], logits: Tensor) -> Tensor:
        """KL divergence (B,) from the teacher's shares to the softmax over its candidates; 0 without one."""
        losses = torch.zeros(len(batch), device=logits.device)
        for place, row in enumerate(batch):
            taught = self._train.taught[row]
            if taught is not None:
                candidates, shares = taught
                teacher = torch.tensor(shares, device=logits.device)
                student = functional.log_softmax(logits[place, list(candidates)], dim=-1)
                losses[place] = (torch.xlogy(teacher, teacher) - teacher * student).sum()
        return losses

    def _wordings_losses(self, vectors: Tensor, targets: Tensor) -> Tensor:
        """Ranking of the emails (B, d) against one text, drawn anew, of each label in the batch; (B,)."""
        present, places = torch.unique(targets, return_inverse=True)
        drawn = [int(torch.randint(len(self._texts[label]), ())) for label in present.tolist()]
        rows = [self._texts[label][pick] for label, pick in zip(present.tolist(), drawn, strict=True)]
        logits = self._settings.scale * _cosines(vectors, self.module.encoder(rows))
        closed = self._closed.to(targets.device)[targets][:, present]
        return functional.cross_entropy(logits.masked_fill(closed, float("-inf")), places, reduction="none")


class Evaluation:
    """Validation examples against the model's label vectors as they stand."""

    def __init__(self, model: RetrievalModel, held_back: Rows) -> None:
        self._model, self._held_back = model, held_back

    def top1(self) -> float:
        """The share, by weight, of examples whose nearest label is right."""
        vectors = self._model.encoder.encode(self._held_back.ids)
        nearest = (vectors @ self._model.directions().detach().cpu().numpy().T).argmax(axis=1)
        return float(np.average(nearest == self._held_back.targets, weights=self._held_back.weights))


def _cosines(one: Tensor, other: Tensor) -> Tensor:
    """All cosines of unit vectors (n, d) and (m, d), (n, m), in fp32 whatever the encoder runs in.

    bf16 keeps two or three digits: times the scale, logits were off by up to 0.06 (0.004 on average).
    """
    with torch.autocast(one.device.type, enabled=False):
        return one.float() @ other.float().T


def _closed(labels: Sequence[LabelTexts]) -> Tensor:
    """(labels, labels): row y is true at the ancestors of label y, which are no negatives."""
    place = {label.id: index for index, label in enumerate(labels)}
    closed = torch.zeros(len(labels), len(labels), dtype=torch.bool)
    for row, label in enumerate(labels):
        for above in label.ancestors & place.keys():
            closed[row, place[above]] = True
    return closed


def _mask_rows(learned: Tensor) -> Any:
    return lambda gradient: gradient * learned[:, None].to(gradient)
