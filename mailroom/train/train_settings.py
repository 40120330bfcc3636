"""How a cross-encoder is trained: the numbers, and which device and precision they run on."""

from dataclasses import dataclass
from typing import Literal

import torch

from mailroom.errors import ConfigError

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """One run's settings. Rates are peaks of a linear warm-up and decay; 0 steps means at each epoch's end.

    `read_out_learning_rate` is that of the gates, the scale and the head, which start far from where they
    end and are few. `frozen_layers` counts from the bottom. `patience` counts validations, 0 is never.
    """

    epochs: int = 2
    batch_size: int = 16
    learning_rate: float = 3e-5
    read_out_learning_rate: float = 1e-2
    layer_decay: float = 1.0
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    max_gradient_norm: float = 1.0
    dropout: float = 0.1
    frozen_layers: int = 0
    freeze_embeddings: bool = False
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"
    threads: int = 0
    evaluate_every_steps: int = 0
    checkpoint_every_steps: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that cannot train anything; ConfigError names the setting."""
        for name in ("epochs", "batch_size", "learning_rate", "read_out_learning_rate", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)!r}")
        for name in ("warmup_share", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 0 and below 1, got {getattr(self, name)!r}")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay!r}")


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` is the GPU where there is one. ConfigError for one that is absent."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda was asked for and torch finds none; say auto or cpu")
    return device


def pick_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """`auto` is bf16 on a GPU and on CPUs that multiply it, else fp32.

    Measured on linear layers of MiniLM's size: AMX 8 times fp32, AVX512-BF16 2.7 times.
    """
    if precision != "auto":
        return precision
    return "bf16" if device.type == "cuda" or _multiplies_bf16() else "fp32"


def _multiplies_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
