"""What a cycle came to, for people and for programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mailroom.cycle.novelty import NOTHING_NEW, PROMOTED, REFUSED


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a cycle: `outcome` is promoted, refused or nothing_new; `summary` one line.

    `version` is the promoted one, or the refused one where it was kept; `figures` holds the champion's and
    the challenger's, 0…1; `notes` are further lines for people.
    """

    cycle: str | None
    outcome: str
    summary: str
    champion: str
    version: str | None = None
    reasons: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def promoted(self) -> bool:
        """Whether another version answers now."""
        return self.outcome == PROMOTED

    @property
    def refused(self) -> bool:
        """Whether something was learned that the gate did not let through."""
        return self.outcome == REFUSED

    @property
    def nothing_new(self) -> bool:
        """Whether there was too little to learn from."""
        return self.outcome == NOTHING_NEW

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name."""
        return {
            **asdict(self),
            "reasons": list(self.reasons),
            "figures": dict(self.figures),
            "notes": list(self.notes),
        }
