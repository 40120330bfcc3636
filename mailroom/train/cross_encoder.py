"""Candidate sets → a fine-tuned one-pass cross-encoder: listwise, resumable.

It knows nothing of where the candidate sets come from, nor of what the weights are used for.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mailroom.errors import ModelError
from mailroom.train.checkpoints import Checkpoint
from mailroom.train.loop import Progress, Report, TrainingLoop, TrainResult
from mailroom.train.losses import listwise_cross_entropy, listwise_soft_cross_entropy
from mailroom.train.one_pass_model import OnePassModel
from mailroom.train.ranking_batches import EncodedExample, collate, plan_batches
from mailroom.train.train_settings import TrainSettings, pick_precision

__all__ = ["Progress", "TrainResult", "score_examples", "top1_evaluator", "train_cross_encoder"]

# Scores of one candidate set that differ by less than this carry no ranking any more.
COLLAPSED_SPREAD = 1e-5
ExampleSource = Callable[[int], Sequence[EncodedExample]]
Evaluate = Callable[[OnePassModel], float]


def top1_evaluator(examples: Sequence[EncodedExample], batch_size: int = 8) -> Evaluate:
    """A validation metric: the share of examples whose target has the highest score, 0…1."""

    def evaluate(model: OnePassModel) -> float:
        scores = score_examples(model, examples, batch_size)
        hits = [int(row.argmax()) == _best(example) for row, example in zip(scores, examples, strict=True)]
        return sum(hits) / max(1, len(hits))

    return evaluate


@torch.no_grad()
def score_examples(
    model: OnePassModel, examples: Sequence[EncodedExample], batch_size: int = 8
) -> list[Tensor]:
    """Scores (K,) of every example in order, on the model's device and in its autocast precision."""
    was_training = model.training
    model.eval()
    order = sorted(range(len(examples)), key=lambda index: examples[index].tokens)
    scores: list[Tensor] = [torch.empty(0)] * len(examples)
    device = model.gate.device
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = collate([examples[row] for row in rows])
        with torch.autocast(device.type, torch.bfloat16, enabled=pick_precision("auto", device) == "bf16"):
            result: Tensor = model(batch.inputs.to(device))
        for row, values in zip(rows, result.float().cpu(), strict=True):
            scores[row] = values[: len(examples[row].candidates)]
    model.train(was_training)
    return scores


def train_cross_encoder(
    model: OnePassModel,
    examples: Sequence[EncodedExample] | ExampleSource,
    settings: TrainSettings,
    evaluate: Evaluate | None = None,
    checkpoint_dir: Path | None = None,
    progress: Report | None = None,
    budget_s: float | None = None,
) -> TrainResult:
    """Fine-tune `model` in place on candidate sets; the best weights by `evaluate` are left in it.

    `examples` is a sequence, or a function of the epoch (0…) that gives that epoch's examples. With
    `checkpoint_dir`, a run that was killed goes on from its last checkpoint; `budget_s` ends the run after
    so many seconds. Raises ModelError when there is nothing to train on, when the loss is not finite, or
    when all scores of a set have become equal.
    """
    source: ExampleSource = examples if callable(examples) else _constant(examples)
    task = _RankingTask(model, source, settings)
    check = None if evaluate is None else partial(evaluate, model)
    model.set_dropout(settings.dropout)
    loop = TrainingLoop(task, settings, check, Checkpoint(checkpoint_dir), progress, budget_s)
    result = loop.train()
    model.set_dropout(0.0)
    return result


class _RankingTask:
    """Candidate sets as the loop trains on them."""

    def __init__(self, model: OnePassModel, source: ExampleSource, settings: TrainSettings) -> None:
        self.module, self._source, self._settings = model, source, settings
        # Drawing an epoch takes long: the first one, drawn to be counted, is kept until it is trained on.
        self._first: Sequence[EncodedExample] | None = source(0)
        self.steps_an_epoch = math.ceil(len(self._first) / settings.batch_size)
        if not self.steps_an_epoch:
            raise ModelError(
                "expected candidate sets to train on, got none; sample more, or lower the limits"
            )

    def parameter_groups(self) -> Iterator[dict[str, Any]]:
        _freeze(self.module, self._settings)
        return _parameter_groups(self.module, self._settings)

    def batches(self, epoch: int) -> list[list[EncodedExample]]:
        examples = self._first if epoch == 0 and self._first is not None else self._source(epoch)
        self._first = None
        plan = plan_batches([example.tokens for example in examples], self._settings, epoch)
        return [[examples[row] for row in rows] for rows in plan]

    def loss(self, batch: Sequence[EncodedExample]) -> Tensor:
        tensors = collate(batch)
        scores: Tensor = self.module(tensors.inputs.to(self.module.gate.device))
        return _loss(scores, tensors.hard_target, tensors.soft_target, tensors.weight)

    def check(self, batch: Sequence[EncodedExample]) -> str | None:
        """Weights that score all candidates alike, looked at without dropout, which would hide it."""
        rows = score_examples(self.module, batch)
        widest = max(float(row.max() - row.min()) for row in rows)
        collapsed = max(map(len, rows)) > 1 and widest < COLLAPSED_SPREAD
        return "all candidates of an email score the same" if collapsed else None


def _loss(scores: Tensor, hard: Tensor | None, soft: Tensor | None, weight: Tensor) -> Tensor:
    weight = weight.to(scores.device)
    if hard is not None:
        return listwise_cross_entropy(scores, hard.to(scores.device), weight)
    if soft is None:
        raise ModelError("a batch needs hard or soft targets; it has neither")
    return listwise_soft_cross_entropy(scores, soft.to(scores.device), weight)


def _best(example: EncodedExample) -> int:
    if isinstance(example.target, int):
        return example.target
    return max(range(len(example.target)), key=example.target.__getitem__)


def _constant(examples: Sequence[EncodedExample]) -> ExampleSource:
    return lambda _epoch: examples


def _freeze(model: OnePassModel, settings: TrainSettings) -> None:
    """Switch off what is not trained."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not _is_frozen(name, model, settings))


def _is_frozen(name: str, model: OnePassModel, settings: TrainSettings) -> bool:
    head, _, rest = name.partition(".")
    if head in ("layers", "candidate_layers"):
        own_tower = head == "layers" and model.config.separate_candidate_tower
        return own_tower or int(rest.split(".")[0]) < settings.frozen_layers
    if "embedding" in head:
        return settings.freeze_embeddings or model.config.separate_candidate_tower
    return False


def _parameter_groups(model: OnePassModel, settings: TrainSettings) -> Iterator[dict[str, Any]]:
    """One group a parameter kind: layers slower the lower they lie, gates and read-out at their own rate."""
    depth = model.config.num_hidden_layers
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        head, _, rest = name.partition(".")
        if head in ("layers", "candidate_layers"):
            rate = settings.learning_rate * settings.layer_decay ** (depth - 1 - int(rest.split(".")[0]))
        elif "embedding" in head:
            rate = settings.learning_rate * settings.layer_decay**depth
        else:
            rate = settings.read_out_learning_rate
        decays = parameter.ndim > 1 and head != "gate"
        yield {"params": [parameter], "lr": rate, "weight_decay": settings.weight_decay if decays else 0.0}
