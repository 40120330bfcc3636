"""Labelled emails + labels' texts → a fine-tuned bi-encoder, and label vectors learned with it.

Each email is ranked against all labels at once: cross-entropy over scale × cosine, with a free vector for
every label that starts at its texts and examples (a prototype). So a batch is never capped by the number of
labels, and no email of the same label can be a negative. It knows nothing of the store nor of versions.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mailroom.errors import DataError
from mailroom.models.prototypes import (
    LabelledVectors,
    Prototypes,
    common_shift,
    fit_prototypes,
    likeness_gain,
    make_prototypes,
    unit,
)
from mailroom.records import Example
from mailroom.train.bi_encoder_settings import BiEncoderSettings
from mailroom.train.checkpoints import Checkpoint
from mailroom.train.label_texts import LabelTexts, encode_label_texts
from mailroom.train.loop import Report, TrainingLoop, TrainResult
from mailroom.train.ranking_batches import plan_batches
from mailroom.train.text_encoder import TextEncoder, TokenIds

Vectors = NDArray[np.float32]

# Vectors of a batch that differ by less than this can tell nothing apart any more.
COLLAPSED_SPREAD = 1e-4
# Examples of a label that its start is made from: more would move it little and cost a reading each.
_STARTING_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class BiEncoderResult:
    """What a run came to; `directory` holds the encoder, `prototypes` the label vectors learned with it.

    Shares 0…1 on the validation examples, NaN where there were none; `start_top1` is what the untrained
    encoder's prototypes answered right.
    """

    directory: Path
    prototypes: Prototypes
    training: TrainResult
    start_top1: float
    top1: float
    recall_at_5: float


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Examples as token ids; `negatives` holds positions of labels."""

    rows: tuple[TokenIds, ...]
    targets: NDArray[np.intp]
    weights: NDArray[np.float32]
    negatives: tuple[tuple[int, ...], ...]


def train_bi_encoder(
    source: Path,
    out: Path,
    examples: Sequence[Example],
    validation: Sequence[Example],
    labels: Sequence[LabelTexts],
    settings: BiEncoderSettings,
    checkpoint_dir: Path | None = None,
    progress: Report | None = None,
    budget_s: float | None = None,
) -> BiEncoderResult:
    """Fine-tune the encoder in the folder `source` and write it, exportable as `source` is, into `out`.

    The best weights on `validation` are kept (the last ones where it is empty). A killed run goes on from
    `checkpoint_dir`. Raises DataError for labels that `labels` does not hold and where there are no
    examples, ModelError where training breaks down.
    """
    encoder = TextEncoder(source, settings.max_tokens)
    train, held_back = _encode(encoder, examples, labels), _encode(encoder, validation, labels)
    if not len(train.targets):
        raise DataError("expected labelled emails to train a bi-encoder on, got none")
    texts = encode_label_texts(encoder, labels)
    start = _start(encoder, train, labels, texts, settings)
    model = _Model(encoder, unit(start.label_vectors([label.id for label in labels], texts)))
    task = _RetrievalTask(model, train, labels, settings)
    evaluate = _Evaluation(model, held_back)
    check = evaluate.top1 if len(held_back.targets) else None
    checkpoint = Checkpoint(checkpoint_dir, _digest(examples, validation, labels, settings))
    encoder.prepare(settings.training)
    result = TrainingLoop(task, settings.training, check, checkpoint, progress, budget_s).train()
    encoder.save(out)
    prototypes = _prototypes(model, train, held_back, labels, start.gain)
    top1, recall = evaluate.shares(1), evaluate.shares(5)
    return BiEncoderResult(
        out, prototypes, result, result.history[0][1] if result.history else math.nan, top1, recall
    )


class _Model(nn.Module):
    """The encoder and a free vector for each label (labels, d)."""

    def __init__(self, encoder: TextEncoder, start: Vectors) -> None:
        super().__init__()
        self.encoder = encoder
        self.label_vectors = nn.Parameter(torch.from_numpy(start.copy()))

    def directions(self) -> Tensor:
        """The label vectors at length 1."""
        return functional.normalize(self.label_vectors, dim=-1)


class _RetrievalTask:
    """Emails and labels as the loop trains on them."""

    def __init__(
        self, model: _Model, train: _Encoded, labels: Sequence[LabelTexts], settings: BiEncoderSettings
    ) -> None:
        self.module, self._train, self._settings = model, train, settings
        self._closed = _closed(labels)
        self._texts = [[model.encoder.label_ids(t) for g in label.groups for t in g] for label in labels]
        # Labels without examples compete, but stay with their texts.
        learned = np.bincount(train.targets, minlength=len(labels)) > 0
        model.label_vectors.register_hook(_mask_rows(torch.from_numpy(learned)))  # type: ignore[no-untyped-call]
        self.steps_an_epoch = math.ceil(len(train.rows) / settings.training.batch_size)

    def parameter_groups(self) -> Iterator[dict[str, Any]]:
        yield from self.module.encoder.parameter_groups(self._settings.training)
        rate = self._settings.training.read_out_learning_rate
        yield {"params": [self.module.label_vectors], "lr": rate, "weight_decay": 0.0}

    def batches(self, epoch: int) -> list[list[int]]:
        return plan_batches([len(row) for row in self._train.rows], self._settings.training, epoch)

    def loss(self, batch: Sequence[int]) -> Tensor:
        vectors = self.module.encoder([self._train.rows[row] for row in batch])  # (B, d)
        device = vectors.device
        targets = torch.from_numpy(self._train.targets[list(batch)]).to(device)
        weights = torch.from_numpy(self._train.weights[list(batch)]).to(device)
        logits = self._settings.scale * vectors @ self.module.directions().T  # (B, labels)
        logits = logits + self._negatives(batch).to(device)
        logits = logits.masked_fill(self._closed.to(device)[targets], float("-inf"))
        losses = functional.cross_entropy(logits.float(), targets, reduction="none")
        if self._settings.wordings_weight:
            losses = losses + self._settings.wordings_weight * self._wordings_losses(vectors, targets)
        return (losses * weights).sum() / weights.sum().clamp_min(1e-12)

    def check(self, batch: Sequence[int]) -> str | None:
        vectors = self.module.encoder.encode([self._train.rows[row] for row in batch])
        collapsed = len(batch) > 1 and float(np.ptp(vectors, axis=0).max()) < COLLAPSED_SPREAD
        different = len({self._train.rows[row] for row in batch}) > 1
        return "all emails have the same vector" if collapsed and different else None

    def _negatives(self, batch: Sequence[int]) -> Tensor:
        """What is added to the logits of the wrong labels that an example names: the log of their weight."""
        boost = torch.zeros(len(batch), len(self._texts))
        for place, row in enumerate(batch):
            boost[place, list(self._train.negatives[row])] = math.log(self._settings.hard_negative_weight)
        return boost

    def _wordings_losses(self, vectors: Tensor, targets: Tensor) -> Tensor:
        """Ranking of the emails (B, d) against one text, drawn anew, of each label in the batch; (B,)."""
        present, places = torch.unique(targets, return_inverse=True)
        drawn = [int(torch.randint(len(self._texts[label]), ())) for label in present.tolist()]
        rows = [self._texts[label][pick] for label, pick in zip(present.tolist(), drawn, strict=True)]
        logits = self._settings.scale * vectors @ self.module.encoder(rows).T
        closed = self._closed.to(targets.device)[targets][:, present]
        return functional.cross_entropy(
            logits.masked_fill(closed, float("-inf")).float(), places, reduction="none"
        )


class _Evaluation:
    """Validation examples against the model's label vectors as they stand."""

    def __init__(self, model: _Model, held_back: _Encoded) -> None:
        self._model, self._held_back = model, held_back

    def top1(self) -> float:
        """The share, by weight, of examples whose nearest label is right."""
        return self.shares(1)

    def shares(self, nearest: int) -> float:
        """The share, by weight, of examples with the right label among the nearest; NaN for no examples."""
        if not len(self._held_back.targets):
            return math.nan
        vectors = self._model.encoder.encode(self._held_back.rows)
        similarities = vectors @ self._model.directions().detach().cpu().numpy().T
        best = np.argsort(-similarities, axis=1, kind="stable")[:, :nearest]
        hits = (best == self._held_back.targets[:, None]).any(axis=1)
        return float(np.average(hits, weights=self._held_back.weights))


def _start(
    encoder: TextEncoder,
    train: _Encoded,
    labels: Sequence[LabelTexts],
    texts: Vectors,
    settings: BiEncoderSettings,
) -> Prototypes:
    """Prototypes of the untrained encoder, from some examples of each label."""
    generator = np.random.default_rng(settings.training.seed)
    order = generator.permutation(len(train.targets))
    taken = np.zeros(len(labels), dtype=int)
    picked = []
    for row in order.tolist():
        if taken[train.targets[row]] < _STARTING_EXAMPLES and train.weights[row] > 0:
            taken[train.targets[row]] += 1
            picked.append(row)
    vectors = encoder.encode([train.rows[row] for row in picked])
    known = LabelledVectors(vectors, train.targets[picked], train.weights[picked])
    return fit_prototypes([label.id for label in labels], texts, known, seed=settings.training.seed)


def _prototypes(
    model: _Model,
    train: _Encoded,
    held_back: _Encoded,
    labels: Sequence[LabelTexts],
    starting_gain: float,
) -> Prototypes:
    """The label vectors that were learned, beside where the trained encoder puts the labels' texts."""
    texts = encode_label_texts(model.encoder, labels)
    learned = model.directions().detach().cpu().numpy()
    counts = np.bincount(train.targets, weights=train.weights, minlength=len(labels)).astype(np.float32)
    shift = common_shift(texts, learned, counts)
    gain = starting_gain
    seen = np.flatnonzero(counts[held_back.targets] > 0) if len(held_back.targets) else np.array([], int)
    if len(seen):
        vectors = model.encoder.encode([held_back.rows[row] for row in seen])
        judged = LabelledVectors(vectors, held_back.targets[seen], held_back.weights[seen])
        gain = likeness_gain(learned, unit(texts + shift), judged)
    known = LabelledVectors(np.empty((0, texts.shape[1]), np.float32), train.targets, train.weights)
    return make_prototypes([label.id for label in labels], learned, known, shift, gain)


def _encode(encoder: TextEncoder, examples: Sequence[Example], labels: Sequence[LabelTexts]) -> _Encoded:
    place = {label.id: index for index, label in enumerate(labels)}
    unknown = sorted({example.label for example in examples} - set(place))
    if unknown:
        raise DataError(
            f"{len(unknown)} labels of the examples are not in the taxonomy, {unknown[0]!r} first; "
            "leave out examples of retired labels"
        )
    negatives = tuple(
        tuple(place[label] for label in example.negatives if label in place and label != example.label)
        for example in examples
    )
    return _Encoded(
        tuple(encoder.email_ids(example.text) for example in examples),
        np.array([place[example.label] for example in examples], dtype=np.intp),
        np.array([example.weight for example in examples], dtype=np.float32),
        negatives,
    )


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


def _digest(
    examples: Sequence[Example],
    validation: Sequence[Example],
    labels: Sequence[LabelTexts],
    settings: BiEncoderSettings,
) -> str:
    """What a checkpoint belongs to: any change of text, label or setting makes another run of it."""
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    for part in (examples, validation):
        for example in part:
            content = [example.text, example.label, example.weight, example.negatives]
            digest.update(json.dumps(content).encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    for label in labels:
        content = [label.id, label.groups, sorted(label.ancestors)]
        digest.update(json.dumps(content).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
