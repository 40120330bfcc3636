"""Who changed what and when: keys and log-ins, and the promotions, which are a history of their own."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mailroom.store.database import Database
from mailroom.store.packing import storable
from mailroom.store.schema import audit_log, promotions


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change: `target` is what was changed, `detail` a line for people."""

    at: datetime
    actor: str
    action: str
    target: str
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name; times in ISO 8601 UTC."""
        return {
            "at": self.at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "actor": self.actor,
            "action": self.action,
            "target": self.target,
            "detail": self.detail,
        }


class AuditLog:
    """The changes in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(self, limit: int = 100) -> list[AuditEntry]:
        """The newest changes, promotions among them."""
        a, p = audit_log.c, promotions.c
        changes = sa.select(a.at, a.actor, a.action, a.target, a.detail)
        promoted = sa.select(
            p.promoted_at.label("at"),
            p.promoted_by.label("actor"),
            sa.literal("model.promote").label("action"),
            p.version.label("target"),
            p.reason.label("detail"),
        )
        both = sa.union_all(changes, promoted).subquery()
        newest = sa.select(both).order_by(both.c.at.desc()).limit(limit)
        with self._database.read() as connection:
            return [AuditEntry(*row) for row in connection.execute(newest).all()]

    def write(self, actor: str, action: str, target: str, detail: str = "") -> None:
        """Record one change that is made nowhere else in the database."""
        with self._database.write() as connection:
            record_change(connection, actor, action, target, detail)


def record_change(connection: Connection, actor: str, action: str, target: str, detail: str = "") -> None:
    """Record a change within the transaction that makes it: neither is there without the other."""
    row = {
        "at": datetime.now(UTC),
        "actor": storable(actor),
        "action": action,
        "target": storable(target),
        "detail": storable(detail),
    }
    connection.execute(sa.insert(audit_log), row)
