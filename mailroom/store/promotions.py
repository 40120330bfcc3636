"""Which model version answers, and every change of it: an append-only list whose last line is in force."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from mailroom.errors import PromotionRefused
from mailroom.store.database import Database
from mailroom.store.schema import promotions

_NEWEST = sa.select(promotions.c.version).order_by(promotions.c.key.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class Promotion:
    """One change of the current version: to which, when, by whom, and why."""

    version: str
    promoted_at: datetime
    promoted_by: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name; times in ISO 8601 UTC."""
        return {
            "version": self.version,
            "promoted_at": self.promoted_at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "promoted_by": self.promoted_by,
            "reason": self.reason,
        }


class PromotionLog:
    """The promotions in one database; every process that shares it sees the same current version."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def promote(
        self, version: str, promoted_by: str, reason: str, *, instead_of: str | None = None
    ) -> Promotion:
        """Make `version` the current one, durably and in one step.

        `instead_of` names the version that must be current until then: PromotionRefused where another one
        was promoted meanwhile, with which `version` was never compared.
        """
        promotion = Promotion(version, datetime.now(UTC), promoted_by, reason)
        row = {
            "version": version,
            "promoted_at": promotion.promoted_at,
            "promoted_by": promoted_by,
            "reason": reason,
        }
        with self._database.write() as connection:
            if instead_of is not None:
                current = connection.execute(_NEWEST).scalar_one_or_none()
                if current != instead_of:
                    raise PromotionRefused(
                        f"{version} was to replace {instead_of}, but {current} has become the current "
                        "version meanwhile; nothing was promoted"
                    )
            connection.execute(sa.insert(promotions), row)
        return promotion

    def current(self) -> str | None:
        """The version that answers, or None before the first promotion."""
        with self._database.read() as connection:
            version: str | None = connection.execute(_NEWEST).scalar_one_or_none()
        return version

    def history(self) -> list[Promotion]:
        """Every promotion, oldest first."""
        columns = (
            promotions.c.version,
            promotions.c.promoted_at,
            promotions.c.promoted_by,
            promotions.c.reason,
        )
        with self._database.read() as connection:
            rows = connection.execute(sa.select(*columns).order_by(promotions.c.key)).all()
        return [Promotion(*row) for row in rows]


def before_current(history: Sequence[Promotion]) -> str | None:
    """The version that a rollback restores, or None; `history` is oldest first.

    Going back to an earlier version takes back all that came between: rolling back twice goes back two
    versions, not forth again.
    """
    line: list[str] = []
    for promotion in history:
        if promotion.version in line:
            del line[line.index(promotion.version) + 1 :]
        else:
            line.append(promotion.version)
    return line[-2] if len(line) > 1 else None
