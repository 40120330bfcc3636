"""Unlabelled texts → a bi-encoder that is used to their words, its vectors held where they were.

Two losses: hidden words are to be said (`masking`), by a head that starts fresh and is thrown away, since an
encoder of sentences has none; and each whole text's vector is to stay what the untrained encoder made of it.
Without the second the first takes the vectors apart (docs/experiments-training.md). Knows no labels' ranking.
"""

import copy
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mailroom.errors import ConfigError, DataError
from mailroom.train.checkpoints import Checkpoint
from mailroom.train.loop import Report, TrainingLoop, TrainResult
from mailroom.train.masking import MASKED_SHARE, Vocabulary, mask_words
from mailroom.train.ranking_batches import plan_batches
from mailroom.train.retrieval_task import COLLAPSED_SPREAD
from mailroom.train.text_encoder import TextEncoder, TokenIds
from mailroom.train.train_settings import TrainSettings, pick_device

# Texts read in a whole run, by turns over few of them within these bounds.
_TEXTS = 6_000
_MOST_EPOCHS = 4
# Texts by which the result is described.
_DESCRIBED = 200


def _training() -> TrainSettings:
    return TrainSettings(
        epochs=1,
        batch_size=16,
        learning_rate=5e-5,
        read_out_learning_rate=1e-3,
        dropout=0.0,
        freeze_embeddings=True,
        checkpoint_every_steps=50,
    )


@dataclass(frozen=True, slots=True)
class AdaptationSettings:
    """One run's settings; `training.read_out_learning_rate` is that of the head.

    `geometry_weight` multiplies 1 − cosine to the start beside the log loss of a hidden word; `max_tokens`
    are read of a text.
    """

    training: TrainSettings = field(default_factory=_training)
    max_tokens: int = 128
    geometry_weight: float = 100.0
    masked_share: float = MASKED_SHARE

    def __post_init__(self) -> None:
        """Refuse numbers that cannot train anything; ConfigError names the setting."""
        if not self.geometry_weight >= 0:
            raise ConfigError(f"geometry_weight must be at least 0, got {self.geometry_weight!r}")
        if self.max_tokens < 8:
            raise ConfigError(f"max_tokens must be at least 8, got {self.max_tokens!r}")
        if not 0 < self.masked_share < 1:
            raise ConfigError(f"masked_share must be above 0 and below 1, got {self.masked_share!r}")


@dataclass(frozen=True, slots=True)
class AdaptationResult:
    """What a run came to; `directory` holds the encoder.

    On some of the texts, shares 0…1: `words_said` of the hidden words were right, `likeness` is the mean
    cosine of their vectors to those of the start.
    """

    directory: Path
    training: TrainResult
    texts: int
    words_said: float
    likeness: float


class MaskedWordHead(nn.Module):
    """A token's state (…, h) → logits (…, V), by the encoder's own word embeddings."""

    def __init__(self, states: int, embeddings: Tensor) -> None:
        super().__init__()
        size, width = embeddings.shape
        self.transform = nn.Linear(states, width)
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """`embeddings` (V, e) are given anew each time, so that they stay one with the encoder's."""
        found = self.norm(functional.gelu(self.transform(states)))
        return functional.linear(found, embeddings, self.bias)


class AdaptationModel(nn.Module):
    """The encoder, and the head that goes when it has been trained."""

    def __init__(self, encoder: TextEncoder, vocabulary: Vocabulary, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = encoder
        states = int(encoder.model[0].auto_model.config.hidden_size)
        self.head = MaskedWordHead(states, vocabulary.embeddings)


class AdaptationTask:
    """Texts as the loop trains on them; `start` is the untrained encoder, which is asked batch by batch."""

    def __init__(
        self,
        model: AdaptationModel,
        vocabulary: Vocabulary,
        rows: Sequence[TokenIds],
        start: TextEncoder,
        settings: AdaptationSettings,
    ) -> None:
        self.module, self._vocabulary, self._rows = model, vocabulary, rows
        self._start, self._settings = start.eval(), settings
        self.steps_an_epoch = math.ceil(len(rows) / settings.training.batch_size)

    def parameter_groups(self) -> Iterator[dict[str, Any]]:
        yield from self.module.encoder.parameter_groups(self._settings.training)
        rate = self._settings.training.read_out_learning_rate
        yield {"params": list(self.module.head.parameters()), "lr": rate, "weight_decay": 0.0}

    def batches(self, epoch: int) -> list[list[int]]:
        return plan_batches([len(row) for row in self._rows], self._settings.training, epoch)

    def loss(self, batch: Sequence[int]) -> Tensor:
        rows = [self._rows[row] for row in batch]
        words = self.word_loss(rows)
        if not self._settings.geometry_weight:
            return words
        return words + self._settings.geometry_weight * self.moved(rows)

    def word_loss(self, rows: Sequence[TokenIds]) -> Tensor:
        """The log loss of the hidden words of these texts; 0 where none was hidden."""
        logits, truth = self._say(rows, None)
        total = functional.cross_entropy(logits, truth, reduction="sum")
        return total / max(1, len(truth))

    def moved(self, rows: Sequence[TokenIds]) -> Tensor:
        """How far the vectors of whole texts lie from where they began: the mean of 1 − cosine."""
        vectors: Tensor = self.module.encoder(rows)  # (B, d)
        with torch.no_grad():
            start: Tensor = self._start(rows)
        # In fp32 whatever the encoder runs in: what is left of a cosine near 1 would be rounding.
        with torch.autocast(vectors.device.type, enabled=False):
            return (1 - (vectors.float() * start.float()).sum(dim=-1)).mean()

    def check(self, batch: Sequence[int]) -> str | None:
        rows = [self._rows[row] for row in batch]
        vectors = self.module.encoder.encode(rows)
        collapsed = float(np.ptp(vectors, axis=0).max()) < COLLAPSED_SPREAD
        return "all texts have the same vector" if collapsed and len(set(rows)) > 1 else None

    @torch.no_grad()
    def words_said(self, rows: Sequence[TokenIds]) -> float:
        """The share of hidden words that is said right, the same ones at every call; NaN for none."""
        right = asked = 0
        generator = torch.Generator().manual_seed(self._settings.training.seed)
        size = self._settings.training.batch_size
        for first in range(0, len(rows), size):
            logits, truth = self._say(rows[first : first + size], generator)
            right += int((logits.argmax(dim=-1) == truth).sum())
            asked += len(truth)
        return right / asked if asked else math.nan

    def _say(self, rows: Sequence[TokenIds], generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Logits (n, V) for the hidden words of the texts, and what stood there (n,)."""
        masked = mask_words(rows, self._vocabulary, self._settings.masked_share, generator)
        states = self.module.encoder.token_states(masked.rows)
        asked = states[masked.asked.to(states.device)]
        return self.module.head(asked, self._vocabulary.embeddings), masked.truth.to(states.device)


def adapt_encoder(
    source: Path,
    out: Path,
    emails: Sequence[str],
    labels: Sequence[str],
    settings: AdaptationSettings,
    checkpoint_dir: Path | None = None,
    progress: Report | None = None,
    budget_s: float | None = None,
) -> AdaptationResult:
    """Train the encoder in the folder `source` on the texts, and write it, exportable as that is, into `out`.

    `labels` are texts that are read as labels are. A killed run goes on from `checkpoint_dir`. Raises
    DataError where there are no emails, ModelError for an encoder that cannot say hidden words, and where
    training breaks down.
    """
    if not emails:
        raise DataError("expected emails to adapt the encoder to, got none")
    encoder = TextEncoder(source, settings.max_tokens)
    vocabulary = Vocabulary.of(encoder, source)
    rows = [*map(encoder.email_ids, emails), *map(encoder.label_ids, labels)]
    start = copy.deepcopy(encoder).to(pick_device(settings.training.device))
    model = AdaptationModel(encoder, vocabulary, settings.training.seed)
    task = AdaptationTask(model, vocabulary, rows, start, settings)
    checkpoint = Checkpoint(checkpoint_dir, _digest(emails, labels, settings))
    encoder.prepare(settings.training)
    result = TrainingLoop(task, settings.training, None, checkpoint, progress, budget_s).train()
    encoder.save(out)
    described = rows[:: max(1, len(rows) // _DESCRIBED)]
    likeness = (encoder.encode(described) * start.encode(described)).sum(axis=1).mean()
    return AdaptationResult(out, result, len(rows), task.words_said(described), float(likeness))


def epochs_for(texts: int) -> int:
    """Epochs for so many texts: few are read more often."""
    return max(1, min(_MOST_EPOCHS, round(_TEXTS / max(1, texts))))


def _digest(emails: Sequence[str], labels: Sequence[str], settings: AdaptationSettings) -> str:
    """What a checkpoint belongs to: any change of text or setting makes another run of it."""
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    for part in (emails, labels):
        for text in part:
            digest.update(json.dumps(text).encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()
