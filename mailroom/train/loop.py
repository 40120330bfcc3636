"""A trainable module and its batches → trained weights: steps, schedule, budget, validation, resume.

Knows neither what a batch holds nor what the loss means; `cross_encoder` and `bi_encoder` bring both. The
same seed and data give the same steps, whether the run was interrupted or not, unless a budget cuts them.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from mailroom.errors import ModelError
from mailroom.train.checkpoints import Checkpoint, TrainState
from mailroom.train.train_settings import TrainSettings, pick_device, pick_precision


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


Report = Callable[[Progress], None]
BatchT = TypeVar("BatchT")


class Task(Protocol[BatchT]):
    """What is trained, and on what."""

    @property
    def module(self) -> nn.Module:
        """Everything that is learned and kept in checkpoints."""
        ...

    @property
    def steps_an_epoch(self) -> int:
        """Batches of every epoch, at least 1."""
        ...

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """AdamW's groups, with the peak rate of each as `lr`."""
        ...

    def batches(self, epoch: int) -> Sequence[BatchT]:
        """That epoch's batches, the same ones for a seed and an epoch."""
        ...

    def loss(self, batch: BatchT) -> Tensor:
        """One number to bring down; called in training mode, under autocast."""
        ...

    def check(self, batch: BatchT) -> str | None:
        """What is wrong with the weights though the loss is finite; None where all is well."""
        ...


class TrainingLoop:
    """One training run: its optimiser, its schedule and how far it has come."""

    def __init__(
        self,
        task: Task[Any],
        settings: TrainSettings,
        evaluate: Callable[[], float] | None,
        checkpoint: Checkpoint,
        progress: Report | None,
        budget_s: float | None = None,
    ) -> None:
        """`budget_s` is for all parts of the run, those before a kill included; rates fall in time for it."""
        self.device = pick_device(settings.device)
        self.precision = pick_precision(settings.precision, self.device)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        task.module.to(self.device)
        self.task, self.settings, self.evaluate = task, settings, evaluate
        self.checkpoint, self.report, self.budget_s = checkpoint, progress, budget_s
        self.total_steps = task.steps_an_epoch * settings.epochs
        self.optimizer = torch.optim.AdamW(
            task.parameter_groups(), lr=settings.learning_rate, betas=(0.9, 0.98), fused=True
        )
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.peaks = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.state = TrainState()
        self.started, self.first_step, self.seconds_before = time.monotonic(), 0, 0.0
        self.saved = (0, 0)

    def train(self) -> TrainResult:
        """Run to the last step, the end of the budget or of patience; leaves the best weights."""
        resumed = self.checkpoint.load(self.task.module, self.optimizer, self.settings)
        if resumed is not None:
            self.state, self.saved = resumed, (resumed.step, len(resumed.history))
        elif self.evaluate is not None:
            self._validate()
        self.first_step, self.seconds_before = self.state.step, self.state.seconds
        while self.state.step < self.total_steps and not self._is_over():
            self._epoch(self.state.step // self.task.steps_an_epoch)
        if self.state.history and self.state.history[-1][0] != self.state.step:
            self._validate()
        # What follows this run may be killed as well, and should find it as it ended.
        self._save()
        self.checkpoint.restore_best(self.task.module)
        self.task.module.eval()
        state = self.state
        return TrainResult(
            state.step,
            state.best_metric,
            state.best_step,
            tuple(state.history),
            state.step < self.total_steps,
        )

    def _epoch(self, epoch: int) -> None:
        batches = self.task.batches(epoch)
        for batch in batches[self.state.step - epoch * self.task.steps_an_epoch :]:
            self._step(batch)
            if self.evaluate is not None and self._is_due(self.settings.evaluate_every_steps):
                self._validate()
            if self._is_over():
                return
            if self._is_due(self.settings.checkpoint_every_steps):
                self._save()

    def _step(self, batch: Any) -> None:
        # Seeded by the step, so that dropout is the same in a run that was interrupted.
        torch.manual_seed(self.settings.seed * 1_000_003 + self.state.step)
        share = _schedule(self._done(), 1 / self.total_steps, self.settings.warmup_share)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share
        self.task.module.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            loss = self.task.loss(batch)
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
        self.state.seconds = self._seconds()
        self.state.see_loss(float(loss.detach()))
        if self._is_due(0) and (wrong := self.task.check(batch)) is not None:
            raise ModelError(
                f"training broke down: at step {self.state.step} {wrong}; "
                f"lower the learning rate (now {self.settings.learning_rate:g})"
            )
        self._tell()

    def _save(self) -> None:
        """Write the checkpoint, unless nothing came of the run since it was written or read."""
        now = (self.state.step, len(self.state.history))
        if now != self.saved:
            self.state.seconds, self.saved = self._seconds(), now
            self.checkpoint.save(self.task.module, self.optimizer, self.state, self.settings)

    def _validate(self) -> None:
        if self.evaluate is None:
            return
        metric = self.evaluate()
        if self.state.see_metric(metric):
            self.checkpoint.keep_best(self.task.module)

    def _is_over(self) -> bool:
        patience = self.settings.patience
        impatient = bool(patience) and self.state.validations_since_best >= patience
        return impatient or (self.budget_s is not None and self._seconds() >= self.budget_s)

    def _is_due(self, every_steps: int) -> bool:
        ends_epoch = self.state.step % self.task.steps_an_epoch == 0
        return ends_epoch or (every_steps > 0 and self.state.step % every_steps == 0)

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _done(self) -> float:
        """The share of the run that lies behind, 0…1: of its steps, or of its time if that is larger."""
        steps = self.state.step / self.total_steps
        return steps if self.budget_s is None else max(steps, min(1.0, self._seconds() / self.budget_s))

    def _tell(self) -> None:
        if self.report is None:
            return
        state, elapsed = self.state, time.monotonic() - self.started
        left = elapsed / (state.step - self.first_step) * (self.total_steps - state.step)
        if self.budget_s is not None:
            left = min(left, max(0.0, self.budget_s - self._seconds()))
        epoch = (state.step - 1) // self.task.steps_an_epoch
        metric = state.history[-1][1] if state.history else None
        self.report(Progress(state.step, self.total_steps, epoch, state.running_loss, metric, left))


def _schedule(done: float, step_share: float, warmup_share: float) -> float:
    """Linear warm-up from near 0 to 1, then linearly to 0; `done` is the share of the run behind, 0…1."""
    warmup = max(step_share, warmup_share)
    if done < warmup:
        return min(1.0, (done + step_share) / warmup)
    return max(0.0, (1.0 - done) / max(step_share, 1.0 - warmup))
