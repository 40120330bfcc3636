"""What a cycle learns from, chooses by and is judged by."""

from dataclasses import dataclass

from mailroom.records import Example


@dataclass(frozen=True, slots=True)
class Parts:
    """A cycle's examples; `fresh` are ids of training gold that the champion never learned.

    `seen` are ids of examples that the champion's encoder was trained on, none where it never was: whatever
    stands behind it answers those too well to choose anything by.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    evaluation: tuple[Example, ...]
    fresh: frozenset[str]
    seen: frozenset[str] = frozenset()

    @property
    def gold(self) -> tuple[Example, ...]:
        """What people labelled, of the training part."""
        return tuple(example for example in self.train if example.grade == "gold")
