"""The training loop by itself: its schedule, its budget, and what it says of the time left."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mailroom.errors import ModelError
from mailroom.train.checkpoints import Checkpoint
from mailroom.train.loop import Progress, TrainingLoop, _schedule
from mailroom.train.train_settings import TrainSettings

SETTINGS = TrainSettings(epochs=2, learning_rate=0.1, warmup_share=0.2, precision="fp32")


class Line:
    """One weight that is pulled towards 1; `wrong` is what `check` finds."""

    steps_an_epoch = 5

    def __init__(self, wrong: str | None = None) -> None:
        self.module: nn.Module = nn.Linear(1, 1, bias=False)
        self._wrong = wrong

    def parameter_groups(self) -> Iterator[dict[str, Any]]:
        yield {"params": list(self.module.parameters()), "lr": 0.1, "weight_decay": 0.0}

    def batches(self, epoch: int) -> list[int]:
        return [epoch] * self.steps_an_epoch

    def loss(self, batch: int) -> Tensor:
        output: Tensor = self.module(torch.ones(1, 1))
        return (output - 1).square().mean()

    def check(self, batch: int) -> str | None:
        return self._wrong


class Clock:
    """Each look at it takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


def test_rates_rise_to_the_peak_and_fall_to_nothing() -> None:
    rates = [_schedule(step / 100, 0.01, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[9] == pytest.approx(1.0)
    assert rates[11:] == sorted(rates[11:], reverse=True)
    assert rates[99] == pytest.approx(1 / 90)


def test_a_budget_ends_the_run_at_a_low_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailroom.train.loop.time", Clock())
    rates: list[float] = []
    seen: list[Progress] = []

    def note(progress: Progress) -> None:
        seen.append(progress)
        rates.append(float(loop.optimizer.param_groups[0]["lr"]))

    settings = TrainSettings(epochs=1000, learning_rate=0.1, warmup_share=0.2, precision="fp32")
    loop = TrainingLoop(Line(), settings, None, Checkpoint(None), note, budget_s=100.0)
    result = loop.train()
    assert result.stopped_early
    assert 5 < result.steps < 100
    assert max(rates) > 0.08
    assert rates[-1] < 0.02
    assert all(progress.seconds_left <= 100 for progress in seen)


def test_the_parts_of_a_run_share_one_budget(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailroom.train.loop.time", Clock())
    settings = TrainSettings(epochs=1000, learning_rate=0.1, precision="fp32", checkpoint_every_steps=1)

    def kill(progress: Progress) -> None:
        if progress.step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TrainingLoop(Line(), settings, None, Checkpoint(tmp_path / "run"), kill, budget_s=100.0).train()
    again = TrainingLoop(Line(), settings, None, Checkpoint(tmp_path / "run"), None, budget_s=100.0)
    again.train()
    assert again.seconds_before > 10
    assert again.state.seconds <= 110


def test_the_last_step_is_validated_where_a_budget_cuts_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailroom.train.loop.time", Clock())
    settings = TrainSettings(epochs=1000, learning_rate=0.1, precision="fp32")
    loop = TrainingLoop(Line(), settings, lambda: 0.5, Checkpoint(None), None, budget_s=30.0)
    result = loop.train()
    assert result.history[-1][0] == result.steps


def test_what_a_task_finds_wrong_ends_the_run() -> None:
    loop = TrainingLoop(Line("all is lost"), SETTINGS, None, Checkpoint(None), None)
    with pytest.raises(ModelError, match="at step 5 all is lost"):
        loop.train()


def test_without_a_budget_every_step_is_made() -> None:
    result = TrainingLoop(Line(), SETTINGS, None, Checkpoint(None), None).train()
    assert (result.steps, result.stopped_early) == (10, False)
