"""Emails → their rows, stored once each: predictions and feedback refer to them by key."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from mailroom.config import StoreSettings
from mailroom.errors import StoreError
from mailroom.records import Aside, Email
from mailroom.store import packing
from mailroom.store.packing import id_digest, storable
from mailroom.store.rows import insert_missing, select_in
from mailroom.store.schema import MAX_SENDER_CHARS, MAX_SUBJECT_CHARS, emails


@dataclass(frozen=True, slots=True)
class StoredEmails:
    """The keys of emails by `id_digest`, and which of them were surely not there before."""

    keys: dict[bytes, int]
    new: frozenset[int]


def store_emails(
    connection: Connection, found: Iterable[tuple[Email, str, Sequence[Aside]]], settings: StoreSettings
) -> StoredEmails:
    """Store the emails that are new, with where they were found and what they say aside; returns all keys.

    StoreError where an id stands for other content already: give the second email a `distinct_id`.
    """
    rows: dict[bytes, dict[str, Any]] = {}
    for email, origin, asides in found:
        row = _email_row(email, origin, asides, settings)
        _check_same_content(rows.setdefault(row["id_digest"], row)["content_sha256"], row)
    new = {
        row.id_digest: row.key for row in insert_missing(connection, emails, [*rows.values()], "id_digest")
    }
    others = [digest for digest in rows if digest not in new]
    known = select_in(connection, emails.c.id_digest, others, emails.c.key, emails.c.content_sha256)
    for row in known:
        _check_same_content(row.content_sha256, rows[row.id_digest])
    return StoredEmails(new | {row.id_digest: row.key for row in known}, frozenset(new.values()))


def distinct_id(email: Email) -> str:
    """An id for an email whose own id another content has taken; the same email always gets the same one."""
    return f"{email.id}#{email.content_sha256[:16]}"


def _email_row(email: Email, origin: str, asides: Sequence[Aside], settings: StoreSettings) -> dict[str, Any]:
    text = email.text[: settings.max_text_chars] if settings.keep_text else None
    return {
        "id": storable(email.id),
        "id_digest": id_digest(email.id),
        "content_sha256": bytes.fromhex(email.content_sha256),
        "subject": storable(email.subject[:MAX_SUBJECT_CHARS]),
        "sender": storable(_sender(email)[:MAX_SENDER_CHARS]),
        "received_at": email.received_at,
        "origin": storable(origin),
        "text": None if text is None else packing.pack_text(text),
        "thread_digest": _thread_digest(email),
        "asides": packing.pack_asides(asides, settings.max_aside_chars) if settings.keep_text else None,
    }


def _thread_digest(email: Email) -> bytes | None:
    """What the email's thread is known by, or None where the email itself starts it."""
    thread = email.metadata.get("thread_id")
    if not isinstance(thread, str) or thread in ("", email.id):
        return None
    return id_digest(thread)


def _check_same_content(content_sha256: bytes, row: Mapping[str, Any]) -> None:
    if content_sha256 != row["content_sha256"]:
        raise StoreError(
            f"expected one content for email {row['id']!r}, got a second one; log it under its `distinct_id`"
        )


def _sender(email: Email) -> str:
    sender = email.metadata.get("from", "")
    return sender if isinstance(sender, str) else ", ".join(map(str, sender or ()))
