"""What the store keeps of emails: by id, or by what they say."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mailroom.records import Aside
from mailroom.store.database import Database
from mailroom.store.packing import id_digest, unpack_asides, unpack_text
from mailroom.store.rows import CHUNK, ROWS_AT_ONCE
from mailroom.store.schema import emails


@dataclass(frozen=True, slots=True)
class StoredEmail:
    """An email as the store keeps it; `text` is None where texts are not kept.

    `asides` are what people see of it and the models do not.
    """

    id: str
    subject: str
    sender: str
    received_at: datetime | None
    origin: str
    content_sha256: str
    text: str | None
    asides: tuple[Aside, ...] = ()


class EmailReader:
    """The emails of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, email_id: str) -> StoredEmail | None:
        """The email with this id, or None."""
        return self.by_id([email_id]).get(email_id)

    def by_id(self, email_ids: Sequence[str]) -> dict[str, StoredEmail]:
        """Those of the emails that the store has, by the id as it was asked for."""
        asked = {id_digest(email_id): email_id for email_id in email_ids}
        digests = list(asked)
        found: dict[str, StoredEmail] = {}
        with self._database.read() as connection:
            for start in range(0, len(digests), CHUNK):
                chunk = digests[start : start + CHUNK]
                for row in connection.execute(sa.select(emails).where(emails.c.id_digest.in_(chunk))):
                    found[asked[row.id_digest]] = _stored(row)
        return found

    def ids_by_content(self, hashes: Collection[str]) -> dict[str, str]:
        """The id of the first email with each of these content hashes, where there is one.

        Reads through all emails: content has no index, since nothing but an import asks for it.
        """
        wanted = {bytes.fromhex(content): content for content in hashes}
        found: dict[str, str] = {}
        if not wanted:
            return found
        statement = sa.select(emails.c.id, emails.c.content_sha256).order_by(emails.c.key)
        with self._database.read() as connection:
            for row in connection.execution_options(yield_per=ROWS_AT_ONCE).execute(statement):
                if row.content_sha256 in wanted:
                    found.setdefault(wanted[row.content_sha256], row.id)
        return found


def _stored(row: Any) -> StoredEmail:
    return StoredEmail(
        id=row.id,
        subject=row.subject,
        sender=row.sender,
        received_at=row.received_at,
        origin=row.origin,
        content_sha256=row.content_sha256.hex(),
        text=None if row.text is None else unpack_text(row.text),
        asides=unpack_asides(row.asides),
    )
