"""Runs from one start whose weights are averaged: better than each, and as fast as one to answer with.

Runs that differ in the order of their batches end in one valley of the loss, whose middle errs less than its
edges do (Wortsman et al., Model soups: averaging weights of multiple fine-tuned models, 2022).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from mailroom.train.loop import Progress, Report, TrainResult

ModuleT = TypeVar("ModuleT", bound=nn.Module)

# Of what a run took, the time that has to be left before another one begins.
_SLACK = 1.1


@dataclass(frozen=True, slots=True)
class Run(Generic[ModuleT]):
    """A finished run; `seconds` are those of all its parts, before and after a kill."""

    module: ModuleT
    result: TrainResult
    seconds: float


def averaged(
    train: Callable[[int, float | None], Run[ModuleT]], runs: int, budget_s: float | None
) -> tuple[ModuleT, list[TrainResult]]:
    """The mean of at most `runs` runs, and what each came to.

    `train` makes the run of a number, from 0 on, within what is left of the budget. The first is cut to fit;
    another begins where one that takes as long is over in time.
    """
    average, results, spent_s = _Mean(), list[TrainResult](), 0.0
    while True:
        run = train(len(results), None if budget_s is None else budget_s - spent_s)
        average.add(run.module)
        results.append(run.result)
        spent_s += run.seconds
        late = budget_s is not None and budget_s - spent_s < _SLACK * spent_s / len(results)
        if late or len(results) == runs:
            average.put_into(run.module)
            return run.module, results


def folder_of(run: int, first: Path | None) -> Path | None:
    """Where a run keeps its checkpoint: `first` is the folder of the first one."""
    return first.with_name(f"{first.name}_{run + 1}") if first and run else first


def report_of(run: int, runs: int, report: Report | None, budget_s: float | None) -> Report | None:
    """What tells where all of `runs` stand when it is told where that one does, `budget_s` being left."""
    begun = time.monotonic()

    def told(one: Progress) -> None:
        gone = time.monotonic() - begun
        left = one.seconds_left + (runs - run - 1) * (gone + one.seconds_left)
        if budget_s is not None:
            left = min(left, max(0.0, budget_s - gone))
        done, total = run * one.total_steps + one.step, runs * one.total_steps
        if report is not None:
            report(replace(one, step=done, total_steps=total, seconds_left=left))

    return told if report is not None else None


class _Mean:
    """The mean of the weights of the modules that were added, which all have the same."""

    def __init__(self) -> None:
        self._modules = 0
        self._sums: dict[str, Tensor] = {}

    def add(self, module: nn.Module) -> None:
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                weights = value.detach().to("cpu", torch.float64, copy=True)
                self._sums[name] = self._sums[name] + weights if self._modules else weights
        self._modules += 1

    def put_into(self, module: nn.Module) -> None:
        """Counters and the like stay the module's own, and a single module as it is."""
        if self._modules > 1:
            own = module.state_dict()
            mean = {name: (total / self._modules).to(own[name].dtype) for name, total in self._sums.items()}
            module.load_state_dict({**own, **mean})
