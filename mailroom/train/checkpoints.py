"""A training run ↔ a folder, so that a killed run goes on: safetensors and JSON, never a pickle.

A checkpoint is written beside the old one and renamed over it: at any moment one of them is whole.
"""

import dataclasses
import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mailroom.errors import ModelError
from mailroom.train.train_settings import TrainSettings

_LOSS_MEMORY = 0.98


@dataclass(slots=True)
class TrainState:
    """How far a run has come; `seconds` counts the time of all its parts."""

    step: int = 0
    seconds: float = 0.0
    running_loss: float = math.nan
    best_metric: float = -math.inf
    best_step: int = 0
    validations_since_best: int = 0
    history: list[tuple[int, float]] = field(default_factory=list)

    def see_loss(self, loss: float) -> None:
        """Fold one batch's loss into the running mean."""
        fresh = math.isnan(self.running_loss)
        self.running_loss = loss if fresh else _LOSS_MEMORY * self.running_loss + (1 - _LOSS_MEMORY) * loss

    def see_metric(self, metric: float) -> bool:
        """Note one validation; True when it is the best so far."""
        self.history.append((self.step, metric))
        if metric <= self.best_metric:
            self.validations_since_best += 1
            return False
        self.best_metric, self.best_step, self.validations_since_best = metric, self.step, 0
        return True


class Checkpoint:
    """The folder of one run; without a folder, only the best weights are kept, in memory.

    `key` says what is trained on what, beside the settings: a checkpoint of another key is refused.
    """

    def __init__(self, directory: Path | None, key: str = "") -> None:
        self.directory = directory
        self._key = key
        self._best: dict[str, Tensor] | None = None

    def save(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        state: TrainState,
        settings: TrainSettings,
    ) -> None:
        """Write everything that the next step needs."""
        if self.directory is None:
            return
        fresh = self.directory.with_name(self.directory.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        save_file(_copy(model.state_dict()), fresh / "model.safetensors")
        save_file(_moments(optimizer), fresh / "optimizer.safetensors")
        if self._best is not None:
            save_file(self._best, fresh / "best.safetensors")
        content = {
            "state": dataclasses.asdict(state),
            "settings": dataclasses.asdict(settings),
            "key": self._key,
        }
        (fresh / "state.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
        shutil.rmtree(self.directory, ignore_errors=True)
        fresh.rename(self.directory)

    def load(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, settings: TrainSettings
    ) -> TrainState | None:
        """Put the saved run back into model and optimiser; None where there is none.

        Raises ModelError when the run had other settings, or its files are damaged.
        """
        if self.directory is None or not (self.directory / "state.json").is_file():
            return None
        try:
            content = json.loads((self.directory / "state.json").read_text(encoding="utf-8"))
            weights = load_file(self.directory / "model.safetensors")
            moments = load_file(self.directory / "optimizer.safetensors")
            best = self.directory / "best.safetensors"
            self._best = load_file(best) if best.is_file() else None
        except (OSError, ValueError, SafetensorError) as exc:
            raise ModelError(f"{self.directory} is a damaged checkpoint; remove it to start again") from exc
        if content["settings"] != json.loads(json.dumps(dataclasses.asdict(settings))):
            raise ModelError(f"{self.directory} was made with other settings; remove it to start again")
        if content.get("key", "") != self._key:
            raise ModelError(f"{self.directory} was made from other examples; remove it to start again")
        model.load_state_dict(weights)
        _restore_moments(optimizer, moments)
        saved = content["state"]
        history = [(int(step), float(metric)) for step, metric in saved.pop("history")]
        return TrainState(**saved, history=history)

    def keep_best(self, model: nn.Module) -> None:
        """Remember these weights as the best so far."""
        self._best = _copy(model.state_dict())

    def restore_best(self, model: nn.Module) -> None:
        """Put the best weights into the model; the last ones stay where nothing was validated."""
        if self._best is not None:
            model.load_state_dict(self._best)


def _copy(tensors: dict[str, Any]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's state by `<parameter number>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value).detach().to("cpu", copy=True).contiguous()
        for number, values in state.items()
        for name, value in values.items()
    }


def _restore_moments(optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in moments.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    content = optimizer.state_dict()
    content["state"] = state
    optimizer.load_state_dict(content)
