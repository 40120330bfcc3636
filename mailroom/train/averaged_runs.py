"""Runs from one start whose weights are averaged: better than each, and as fast as one to answer with.

Runs that differ in the order of their batches end in one valley of the loss, whose middle errs less than its
edges do (Wortsman et al., Model soups: averaging weights of multiple fine-tuned models, 2022).
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from mailroom.errors import ModelError
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
    another begins where one that takes as long is over in time. One that breaks down ends it with those that
    are there, but for the first, whose ModelError is the caller's.
    """
    average, results, spent_s = _Mean(), list[TrainResult](), 0.0
    module: ModuleT | None = None
    while module is None or (len(results) < runs and _further(spent_s / len(results), budget_s, spent_s)):
        try:
            run = train(len(results), None if budget_s is None else budget_s - spent_s)
        except ModelError:
            if module is None:
                raise
            break
        module, spent_s = run.module, spent_s + run.seconds
        results.append(run.result)
        average.add(module)
    average.put_into(module)
    return module, results


def _further(a_run_s: float, budget_s: float | None, spent_s: float) -> int:
    """How many runs more, of so many seconds, there is time for; without a budget a great many."""
    if budget_s is None:
        return sys.maxsize
    return int(max(0.0, budget_s - spent_s) / max(_SLACK * a_run_s, 1e-9))


def folder_of(run: int, first: Path | None) -> Path | None:
    """Where a run keeps its checkpoint: `first` is the folder of the first one."""
    return first.with_name(f"{first.name}_{run + 1}") if first and run else first


def report_of(
    run: int, runs: int, report: Report | None, budget_s: float | None, seconds: Callable[[], float]
) -> Report | None:
    """What tells where all runs stand when it is told where that one does.

    `budget_s` is what this run and the later ones have, `seconds` what this one has taken so far. Of `runs`
    count those that there is time for.
    """

    if report is None:
        return None

    def told(one: Progress) -> None:
        a_run_s = seconds() + one.seconds_left
        later = min(runs - run - 1, _further(a_run_s, budget_s, a_run_s))
        done, total = run * one.total_steps + one.step, (run + 1 + later) * one.total_steps
        left = one.seconds_left + later * a_run_s
        report(replace(one, step=done, total_steps=total, seconds_left=left))

    return told


class _Mean:
    """The mean of what was trained of the modules that were added; all have the same parameters."""

    def __init__(self) -> None:
        self._modules = 0
        self._sums: dict[str, Tensor] = {}

    def add(self, module: nn.Module) -> None:
        for name, parameter in _trained(module):
            weights = parameter.detach().to("cpu", torch.float32, copy=True)
            self._sums[name] = self._sums[name] + weights if self._modules else weights
        self._modules += 1

    @torch.no_grad()
    def put_into(self, module: nn.Module) -> None:
        """Make the module the mean; a single one stays as it is."""
        for name, parameter in _trained(module) if self._modules > 1 else ():
            parameter.copy_(self._sums[name] / self._modules)


def _trained(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """What the runs may differ in; frozen parameters are where they all began."""
    return ((name, value) for name, value in module.named_parameters() if value.requires_grad)
