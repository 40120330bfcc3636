"""What a cycle learns from, chooses by and is judged by."""

from dataclasses import dataclass

from mailroom.models.text_weight import UNPROVEN_KAPPA
from mailroom.records import Example


@dataclass(frozen=True, slots=True)
class Known:
    """Ids of emails that an encoder was trained on, and κ, what a label's texts count behind it, in emails.

    Nothing is chosen by such emails, so κ was chosen before.
    """

    emails: frozenset[str]
    kappa: float


@dataclass(frozen=True, slots=True)
class Parts:
    """A cycle's examples; `fresh` are ids of training gold that the champion never learned.

    `seen` are ids of examples that the champion's encoder was trained on, none where it never was: whatever
    stands behind it answers those too well to choose anything by. `kappa` is what a label's texts count, in
    emails, behind an encoder that was trained on the examples.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    evaluation: tuple[Example, ...]
    fresh: frozenset[str]
    seen: frozenset[str] = frozenset()
    kappa: float = UNPROVEN_KAPPA

    @property
    def gold(self) -> tuple[Example, ...]:
        """What people labelled, of the training part."""
        return tuple(example for example in self.train if example.grade == "gold")

    @property
    def known(self) -> Known | None:
        """What the champion's encoder was trained on, None where it never was."""
        return Known(self.seen, self.kappa) if self.seen else None
