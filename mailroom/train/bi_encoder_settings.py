"""How a bi-encoder is trained: the numbers, and how many epochs a number of examples deserves."""

from dataclasses import dataclass, field

from mailroom.errors import ConfigError
from mailroom.train.train_settings import TrainSettings

# Texts read in a whole run: three epochs of 15,000, but as many more of fewer as are within these bounds.
_TEXTS = 45_000
_FEWEST_EPOCHS, _MOST_EPOCHS = 2, 8


def _training() -> TrainSettings:
    return TrainSettings(
        epochs=3,
        batch_size=32,
        learning_rate=1e-4,
        read_out_learning_rate=3e-3,
        dropout=0.0,
        freeze_embeddings=True,
        patience=2,
    )


@dataclass(frozen=True, slots=True)
class BiEncoderSettings:
    """One run's settings; chosen on validation parts (docs/experiments-training.md).

    `training.read_out_learning_rate` is that of the label vectors. `scale` multiplies cosines before the
    softmax. `max_tokens` are read of a text. `wordings_weight` ≥ 0 adds ranking of the labels' texts as a
    second loss, which keeps labels without examples retrievable by their texts. `text_kappa` is what a
    label's texts count, in emails, in label vectors made behind the trained encoder; None lets the examples
    choose by the untrained one, which must not have learned them before. `runs` are trained at most, the
    second and further ones with the next seeds and only as the budget allows; their weights are averaged.
    """

    training: TrainSettings = field(default_factory=_training)
    scale: float = 20.0
    max_tokens: int = 128
    wordings_weight: float = 0.5
    text_kappa: float | None = None
    runs: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers that cannot train anything; ConfigError names the setting."""
        if not self.scale > 0:
            raise ConfigError(f"scale must be above 0, got {self.scale!r}")
        if self.max_tokens < 8:
            raise ConfigError(f"max_tokens must be at least 8, got {self.max_tokens!r}")
        if self.wordings_weight < 0:
            raise ConfigError(f"wordings_weight must be at least 0, got {self.wordings_weight!r}")
        if self.text_kappa is not None and not self.text_kappa > 0:
            raise ConfigError(f"text_kappa must be above 0, got {self.text_kappa!r}")
        if self.runs < 1:
            raise ConfigError(f"runs must be at least 1, got {self.runs!r}")


def epochs_for(examples: int) -> int:
    """Epochs for so many training examples: few examples are read more often."""
    return max(_FEWEST_EPOCHS, min(_MOST_EPOCHS, round(_TEXTS / max(1, examples))))
