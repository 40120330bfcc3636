"""Which model version answers, and every change of it: an append-only list whose last line is in force."""

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from mailroom.store.database import Database
from mailroom.store.schema import promotions


@dataclass(frozen=True, slots=True)
class Promotion:
    """One change of the current version: to which, when, by whom, and why."""

    version: str
    promoted_at: datetime
    promoted_by: str
    reason: str


class PromotionLog:
    """The promotions in one database; every process that shares it sees the same current version."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def promote(self, version: str, promoted_by: str, reason: str) -> Promotion:
        """Make `version` the current one, durably and in one step."""
        promotion = Promotion(version, datetime.now(UTC), promoted_by, reason)
        row = {
            "version": version,
            "promoted_at": promotion.promoted_at,
            "promoted_by": promoted_by,
            "reason": reason,
        }
        with self._database.write() as connection:
            connection.execute(sa.insert(promotions), row)
        return promotion

    def current(self) -> str | None:
        """The version that answers, or None before the first promotion."""
        newest = sa.select(promotions.c.version).order_by(promotions.c.key.desc()).limit(1)
        with self._database.read() as connection:
            version: str | None = connection.execute(newest).scalar_one_or_none()
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
