"""Candidate sets → a fine-tuned one-pass cross-encoder: the training loop, listwise, resumable.

It knows nothing of where the candidate sets come from, nor of what the weights are used for. The same
seed and examples give the same order of batches, whether the run was interrupted or not.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mailroom.errors import ModelError
from mailroom.train.checkpoints import Checkpoint, TrainState
from mailroom.train.losses import listwise_cross_entropy, listwise_soft_cross_entropy
from mailroom.train.one_pass_model import OnePassModel
from mailroom.train.ranking_batches import EncodedExample, collate, plan_batches
from mailroom.train.train_settings import TrainSettings, pick_device, pick_precision

# Scores of one candidate set that differ by less than this carry no ranking any more.
COLLAPSED_SPREAD = 1e-5
ExampleSource = Callable[[int], Sequence[EncodedExample]]
Evaluate = Callable[[OnePassModel], float]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: `loss` is a running mean, `metric` the last validation, None before the first."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    metric: float | None
    seconds_left: float


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run came to; `history` holds (step, metric) of every validation, the start first."""

    steps: int
    best_metric: float
    best_step: int
    history: tuple[tuple[int, float], ...]
    stopped_early: bool


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
    progress: Callable[[Progress], None] | None = None,
) -> TrainResult:
    """Fine-tune `model` in place on candidate sets; the best weights by `evaluate` are left in it.

    `examples` is a sequence, or a function of the epoch (0…) that gives that epoch's examples. With
    `checkpoint_dir`, a run that was killed goes on from its last checkpoint. Raises ModelError when there
    is nothing to train on, when the loss is not finite, or when all scores of a set have become equal.
    """
    source: ExampleSource = examples if callable(examples) else _constant(examples)
    run = _Run(model, source, settings, evaluate, Checkpoint(checkpoint_dir), progress)
    return run.train()


class _Run:
    """One training run: its optimiser, its schedule and how far it has come."""

    def __init__(
        self,
        model: OnePassModel,
        source: ExampleSource,
        settings: TrainSettings,
        evaluate: Evaluate | None,
        checkpoint: Checkpoint,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.device = pick_device(settings.device)
        self.precision = pick_precision(settings.precision, self.device)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.model = model.to(self.device)
        self.source, self.settings, self.evaluate = source, settings, evaluate
        self.checkpoint, self.report = checkpoint, progress
        self.steps_an_epoch = math.ceil(len(source(0)) / settings.batch_size)
        if not self.steps_an_epoch:
            raise ModelError(
                "expected candidate sets to train on, got none; sample more, or lower the limits"
            )
        self.total_steps = self.steps_an_epoch * settings.epochs
        self.parameters = _freeze(model, settings)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(model, settings), lr=settings.learning_rate, betas=(0.9, 0.98), fused=True
        )
        self.peaks = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.state = TrainState()
        self.started, self.first_step = time.monotonic(), 0

    def train(self) -> TrainResult:
        self.model.set_dropout(self.settings.dropout)
        resumed = self.checkpoint.load(self.model, self.optimizer, self.settings)
        if resumed is not None:
            self.state = resumed
        elif self.evaluate is not None:
            self._validate()
        self.first_step = self.state.step
        while self.state.step < self.total_steps and not self._out_of_patience():
            self._epoch(self.state.step // self.steps_an_epoch)
        self.checkpoint.restore_best(self.model)
        self.model.set_dropout(0.0)
        self.model.eval()
        state = self.state
        return TrainResult(
            state.step,
            state.best_metric,
            state.best_step,
            tuple(state.history),
            state.step < self.total_steps,
        )

    def _epoch(self, epoch: int) -> None:
        self.model.train()
        examples = self.source(epoch)
        batches = plan_batches([example.tokens for example in examples], self.settings, epoch)
        for rows in batches[self.state.step - epoch * self.steps_an_epoch :]:
            self._step([examples[row] for row in rows])
            if self.evaluate is not None and self._is_due(self.settings.evaluate_every_steps):
                self._validate()
                if self._out_of_patience():
                    return
            if self._is_due(self.settings.checkpoint_every_steps):
                self.checkpoint.save(self.model, self.optimizer, self.state, self.settings)

    def _step(self, examples: Sequence[EncodedExample]) -> None:
        # Seeded by the step, so that dropout is the same in a run that was interrupted.
        torch.manual_seed(self.settings.seed * 1_000_003 + self.state.step)
        share = _schedule(self.state.step, self.total_steps, self.settings.warmup_share)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share
        batch = collate(examples)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            scores: Tensor = self.model(batch.inputs.to(self.device))
        loss = _loss(scores, batch.hard_target, batch.soft_target, batch.weight)
        if not torch.isfinite(loss):
            raise ModelError(
                f"training broke down: the loss at step {self.state.step} is not finite; "
                f"lower the learning rate (now {self.settings.learning_rate:g})"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.max_gradient_norm)
        self.optimizer.step()
        self.state.step += 1
        self.state.see_loss(float(loss.detach()))
        if self._is_due(0):
            self._check_spread(examples)
        self._tell()

    def _check_spread(self, examples: Sequence[EncodedExample]) -> None:
        """Refuse weights that score all candidates alike, looked at without dropout, which would hide it."""
        rows = score_examples(self.model, examples)
        widest = max(float(row.max() - row.min()) for row in rows)
        if max(map(len, rows)) > 1 and widest < COLLAPSED_SPREAD:
            raise ModelError(
                f"training broke down: at step {self.state.step} all candidates of an email score the same; "
                f"lower the learning rate (now {self.settings.learning_rate:g})"
            )

    def _validate(self) -> None:
        if self.evaluate is None:
            return
        metric = self.evaluate(self.model)
        if self.state.see_metric(metric):
            self.checkpoint.keep_best(self.model)

    def _out_of_patience(self) -> bool:
        return bool(self.settings.patience) and self.state.validations_since_best >= self.settings.patience

    def _is_due(self, every_steps: int) -> bool:
        ends_epoch = self.state.step % self.steps_an_epoch == 0
        return ends_epoch or (every_steps > 0 and self.state.step % every_steps == 0)

    def _tell(self) -> None:
        if self.report is None:
            return
        state, elapsed = self.state, time.monotonic() - self.started
        left = elapsed / (state.step - self.first_step) * (self.total_steps - state.step)
        epoch = (state.step - 1) // self.steps_an_epoch
        metric = state.history[-1][1] if state.history else None
        self.report(Progress(state.step, self.total_steps, epoch, state.running_loss, metric, left))


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


def _schedule(step: int, total: int, warmup_share: float) -> float:
    """Linear warm-up from near 0 to 1, then linearly to 0."""
    warmup = max(1, round(total * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (total - step) / max(1, total - warmup))


def _freeze(model: OnePassModel, settings: TrainSettings) -> list[torch.nn.Parameter]:
    """Switch off what is not trained; the parameters that are."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not _is_frozen(name, model, settings))
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _is_frozen(name: str, model: OnePassModel, settings: TrainSettings) -> bool:
    head, _, rest = name.partition(".")
    if head in ("layers", "candidate_layers"):
        own_tower = head == "layers" and model.config.separate_candidate_tower
        return own_tower or int(rest.split(".")[0]) < settings.frozen_layers
    if "embedding" in head:
        return settings.freeze_embeddings or model.config.separate_candidate_tower
    return False


def _parameter_groups(model: OnePassModel, settings: TrainSettings) -> Iterator[dict[str, object]]:
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
