"""Texts and labels → token ids → batches of like length: what the training loop eats."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mailroom.errors import DataError
from mailroom.models.one_pass_config import OnePassConfig
from mailroom.models.tokens import TextTokenizer
from mailroom.train.one_pass_model import Batch
from mailroom.train.train_settings import TrainSettings

# Batches that are sorted by length together: enough for little padding, few enough to stay random.
BATCHES_A_POOL = 32


@dataclass(frozen=True, slots=True)
class RankingExample:
    """An email, the texts of its candidates, and which one is right: an index, or a share for each."""

    text: str
    candidates: tuple[str, ...]
    target: int | tuple[float, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse targets that do not fit the candidates; DataError says how."""
        if isinstance(self.target, int):
            if not 0 <= self.target < len(self.candidates):
                raise DataError(f"target {self.target} is none of the {len(self.candidates)} candidates")
        elif len(self.target) != len(self.candidates) or abs(sum(self.target) - 1) > 1e-3:
            raise DataError(
                f"soft targets must be one share for each of {len(self.candidates)} candidates and sum to 1, "
                f"got {len(self.target)} that sum to {sum(self.target):.3f}"
            )


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """A RankingExample as token ids."""

    email: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]
    target: int | tuple[float, ...]
    weight: float = 1.0

    @property
    def tokens(self) -> int:
        """Tokens that the model reads for this example."""
        return len(self.email) + sum(map(len, self.candidates))


class ExampleEncoder:
    """Turns texts into ids with the model's tokenizer, prompts and limits; label texts are cached."""

    def __init__(self, tokenizer_path: Path, config: OnePassConfig) -> None:
        self._config = config
        self._emails = TextTokenizer(tokenizer_path, config.max_email_tokens)
        self._labels = TextTokenizer(tokenizer_path, config.max_label_tokens)
        self.label_ids = lru_cache(maxsize=100_000)(self._encode_label)
        self.email_ids = lru_cache(maxsize=100_000)(self._encode_email)

    def encode(self, example: RankingExample) -> EncodedExample:
        """The example's token ids."""
        candidates = tuple(self.label_ids(label) for label in example.candidates)
        return EncodedExample(self.email_ids(example.text), candidates, example.target, example.weight)

    def _encode_label(self, label: str) -> tuple[int, ...]:
        return tuple(self._labels.ids(self._config.label_prompt + label).tolist())

    def _encode_email(self, text: str) -> tuple[int, ...]:
        return tuple(self._emails.ids(self._config.email_prompt + text).tolist())


@dataclass(slots=True)
class RankingBatch:
    """Inputs with either hard (B,) or soft (B, K) targets, and weights (B,)."""

    inputs: Batch
    hard_target: Tensor | None
    soft_target: Tensor | None
    weight: Tensor


def collate(examples: Sequence[EncodedExample]) -> RankingBatch:
    """Examples as padded tensors; where any target is soft, all become shares."""
    labels = [[token for candidate in example.candidates for token in candidate] for example in examples]
    counts = [[len(candidate) for candidate in example.candidates] for example in examples]
    inputs = Batch(
        _padded([example.email for example in examples]),
        torch.tensor([len(example.email) for example in examples]),
        _padded(labels),
        _padded(counts),
    )
    weight = torch.tensor([example.weight for example in examples], dtype=torch.float32)
    hard = [example.target for example in examples if isinstance(example.target, int)]
    if len(hard) == len(examples):
        return RankingBatch(inputs, torch.tensor(hard), None, weight)
    soft = torch.zeros(inputs.label_lengths.shape, dtype=torch.float32)
    for row, example in enumerate(examples):
        if isinstance(example.target, int):
            soft[row, example.target] = 1.0
        else:
            soft[row, : len(example.target)] = torch.tensor(example.target)
    return RankingBatch(inputs, None, soft, weight)


def plan_batches(lengths: Sequence[int], settings: TrainSettings, epoch: int) -> list[list[int]]:
    """Row numbers of an epoch's batches: shuffled, like lengths together, the same for a seed and epoch."""
    generator = np.random.default_rng([settings.seed, epoch])
    order = generator.permutation(len(lengths))
    pool = settings.batch_size * BATCHES_A_POOL
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        rows = sorted(order[start : start + pool].tolist(), key=lambda row: lengths[row])
        batches += [rows[i : i + settings.batch_size] for i in range(0, len(rows), settings.batch_size)]
    return [batches[index] for index in generator.permutation(len(batches))]


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    width = max(len(row) for row in rows)
    table = np.zeros((len(rows), width), dtype=np.int64)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return torch.from_numpy(table)
