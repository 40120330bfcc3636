"""Predictions → a history that only grows, and can be asked.

One transaction appends many predictions or none. Nothing is ever overwritten: a second prediction for
an email stands beside the first.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from mailroom.config import StoreSettings
from mailroom.errors import StoreError
from mailroom.records import Email, Prediction
from mailroom.store import packing
from mailroom.store.database import Database
from mailroom.store.log_query import LogFilter, LoggedPrediction, count_statement, select_statement
from mailroom.store.packing import id_digest, storable
from mailroom.store.schema import (
    MAX_SENDER_CHARS,
    MAX_SUBJECT_CHARS,
    emails,
    names,
    predictions,
    taxonomies,
)

# SQLite before 3.32 takes 999 variables in a statement.
_CHUNK = 500
_ROWS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A prediction, the email it is about, and where that email was found (a path, a mailbox)."""

    prediction: Prediction
    email: Email
    origin: str


@dataclass(frozen=True, slots=True)
class _LabelSet:
    """The assignable labels of one taxonomy revision, in its order."""

    key: int
    ids: tuple[str, ...]
    paths: Mapping[str, tuple[str, ...]]
    ordinals: Mapping[str, int]


class PredictionLog:
    """The history of predictions in one database; safe to share between threads and processes."""

    def __init__(self, database: Database, settings: StoreSettings | None = None) -> None:
        self._database = database
        self._settings = settings or StoreSettings()
        self._name_keys: dict[str, int] = {}
        self._label_sets: dict[str, _LabelSet] = {}

    def register_taxonomy(self, revision: str, labels: packing.LabelPaths) -> None:
        """Make a revision known with its assignable labels (id, path), in order; once is enough.

        Predictions refer to labels by their place in this list.
        """
        with self._database.read() as connection:
            if self._load_label_set(connection, revision) is not None:
                return
        row = {
            "revision": revision,
            "labels": packing.pack_labels(labels),
            "created_at": datetime.now(UTC),
        }
        with self._database.write() as connection:
            _insert_missing(connection, taxonomies, [row], "revision")

    def append(self, entries: Sequence[LogEntry]) -> None:
        """Write all entries in one transaction, durable when this returns; on StoreError none is written.

        Every taxonomy revision must be registered. An email that is known already is not stored
        again; if its id stands for other content, StoreError: give the second one a `distinct_id`.
        """
        if not entries:
            return
        with self._database.write() as connection:
            name_keys = self._intern(connection, _names_of(entries))
            email_keys = self._store_emails(connection, entries)
            rows = [self._prediction_row(connection, entry, name_keys, email_keys) for entry in entries]
            connection.execute(sa.insert(predictions), rows)
        # Only what is committed may be remembered.
        self._name_keys.update(name_keys)

    def known(self, email_ids: Sequence[str]) -> dict[str, str]:
        """The content hashes, by id, of those emails that have been predicted."""
        asked = {id_digest(email_id): email_id for email_id in email_ids}
        with self._database.read() as connection:
            rows = _select_in(connection, emails.c.id_digest, list(asked), emails.c.content_sha256)
            return {asked[row.id_digest]: row.content_sha256.hex() for row in rows}

    def get(self, prediction_id: str) -> Prediction | None:
        """The prediction with this id, or None."""
        key = _uuid_bytes(prediction_id)
        if key is None:
            return None
        return self._first(select_statement(LogFilter(limit=1)).where(predictions.c.id == key))

    def latest_for(self, email_id: str) -> Prediction | None:
        """The newest prediction for an email, or None."""
        return self._first(select_statement(LogFilter(email_id=email_id, limit=1)))

    def query(self, log_filter: LogFilter | None = None) -> Iterator[LoggedPrediction]:
        """The predictions that fit, in the order they were recorded, read as they are asked for."""
        statement = select_statement(log_filter or LogFilter())
        with self._database.read() as connection:
            for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(statement):
                yield self._logged(connection, row)

    def count(self, log_filter: LogFilter | None = None) -> int:
        """How many predictions fit; `limit` bounds the count too."""
        with self._database.read() as connection:
            return connection.execute(count_statement(log_filter or LogFilter())).scalar_one()

    def count_by_label(self) -> dict[str, int]:
        """How many predictions each label has, by label id; labels without any are left out."""
        counted = sa.select(names.c.name, sa.func.count().label("predictions")).join(
            predictions, predictions.c.label_key == names.c.key
        )
        with self._database.read() as connection:
            rows = connection.execute(counted.group_by(names.c.name)).all()
        return {row.name: row.predictions for row in rows}

    def text_of(self, email_id: str) -> str | None:
        """What was kept of the text that the models read, or None."""
        query = sa.select(emails.c.text).where(emails.c.id_digest == id_digest(email_id))
        with self._database.read() as connection:
            packed = connection.execute(query).scalar_one_or_none()
        return None if packed is None else packing.unpack_text(packed)

    def _first(self, statement: sa.Select[Any]) -> Prediction | None:
        with self._database.read() as connection:
            row = connection.execute(statement).first()
            return None if row is None else self._logged(connection, row).prediction

    def _intern(self, connection: Connection, wanted: set[str]) -> dict[str, int]:
        keys = {name: self._name_keys[name] for name in wanted if name in self._name_keys}
        missing = sorted(wanted - keys.keys())
        if missing:
            _insert_missing(connection, names, [{"name": name} for name in missing], "name")
            found = _select_in(connection, names.c.name, missing, names.c.key)
            keys.update({row.name: row.key for row in found})
        return keys

    def _store_emails(self, connection: Connection, entries: Sequence[LogEntry]) -> dict[bytes, int]:
        rows: dict[bytes, dict[str, Any]] = {}
        for entry in entries:
            row = self._email_row(entry)
            _check_same_content(rows.setdefault(row["id_digest"], row)["content_sha256"], row)
        _insert_missing(connection, emails, list(rows.values()), "id_digest")
        found = _select_in(connection, emails.c.id_digest, list(rows), emails.c.key, emails.c.content_sha256)
        for known in found:
            _check_same_content(known.content_sha256, rows[known.id_digest])
        return {known.id_digest: known.key for known in found}

    def _email_row(self, entry: LogEntry) -> dict[str, Any]:
        email = entry.email
        text = email.text[: self._settings.max_text_chars] if self._settings.keep_text else None
        return {
            "id": storable(email.id),
            "id_digest": id_digest(email.id),
            "content_sha256": bytes.fromhex(email.content_sha256),
            "subject": storable(email.subject[:MAX_SUBJECT_CHARS]),
            "sender": storable(_sender(email)[:MAX_SENDER_CHARS]),
            "received_at": email.received_at,
            "origin": storable(entry.origin),
            "text": None if text is None else packing.pack_text(text),
        }

    def _prediction_row(
        self,
        connection: Connection,
        entry: LogEntry,
        name_keys: Mapping[str, int],
        email_keys: Mapping[bytes, int],
    ) -> dict[str, Any]:
        prediction = entry.prediction
        labels = self._label_set(connection, prediction.taxonomy)
        steps, latency = packing.pack_latency(prediction.latency_ms)
        return {
            "id": _new_id(prediction),
            "email_key": email_keys[id_digest(entry.email.id)],
            "label_key": name_keys[prediction.label],
            "probability": prediction.probability,
            "margin": prediction.margin,
            "needs_review": prediction.needs_review,
            "candidates": _pack_candidates(prediction, labels),
            "model_key": name_keys[prediction.model],
            "taxonomy_key": labels.key,
            "decided_by_key": name_keys[prediction.decided_by],
            "created_at": prediction.created_at,
            "latency_steps_key": name_keys[steps],
            "latency_ms": latency,
        }

    def _label_set(self, connection: Connection, revision: str) -> _LabelSet:
        labels = self._label_sets.get(revision) or self._load_label_set(connection, revision)
        if labels is None:
            raise StoreError(
                f"{self._database.place}: expected a registered taxonomy, got revision {revision!r}; "
                "register_taxonomy comes before append"
            )
        return labels

    def _load_label_set(self, connection: Connection, revision: str) -> _LabelSet | None:
        query = sa.select(taxonomies.c.key, taxonomies.c.labels).where(taxonomies.c.revision == revision)
        row = connection.execute(query).first()
        if row is None:
            return None
        labels = packing.unpack_labels(row.labels)
        ids = tuple(label_id for label_id, _ in labels)
        loaded = _LabelSet(row.key, ids, dict(labels), {label_id: i for i, label_id in enumerate(ids)})
        self._label_sets[revision] = loaded
        return loaded

    def _logged(self, connection: Connection, row: Any) -> LoggedPrediction:
        labels = self._label_set(connection, row.taxonomy)
        prediction = Prediction(
            id=str(uuid.UUID(bytes=row.id)),
            email_id=row.email_id,
            label=row.label,
            path=labels.paths[row.label],
            probability=row.probability,
            margin=row.margin,
            needs_review=row.needs_review,
            candidates=packing.unpack_candidates(row.candidates, labels.ids),
            model=row.model,
            taxonomy=row.taxonomy,
            decided_by=row.decided_by,
            created_at=row.created_at,
            latency_ms=packing.unpack_latency(row.latency_steps, row.latency_ms),
        )
        return LoggedPrediction(prediction, row.subject, row.sender, row.received_at, row.origin)


def distinct_id(email: Email) -> str:
    """An id for an email whose own id another content has taken; the same email always gets the same one."""
    return f"{email.id}#{email.content_sha256[:16]}"


def _names_of(entries: Sequence[LogEntry]) -> set[str]:
    wanted: set[str] = set()
    for entry in entries:
        prediction = entry.prediction
        wanted |= {prediction.label, prediction.model, prediction.decided_by}
        wanted.add(packing.pack_latency(prediction.latency_ms)[0])
    return wanted


def _new_id(prediction: Prediction) -> bytes:
    key = _uuid_bytes(prediction.id)
    if key is None:
        raise StoreError(f"expected a UUID as id of a prediction, got {prediction.id!r}")
    return key


def _pack_candidates(prediction: Prediction, labels: _LabelSet) -> bytes:
    try:
        labels.ordinals[prediction.label]
        return packing.pack_candidates(prediction.candidates, labels.ordinals)
    except KeyError as exc:
        raise StoreError(
            f"expected labels of taxonomy {prediction.taxonomy}, got {exc.args[0]!r} "
            f"in prediction {prediction.id}"
        ) from exc


def _check_same_content(content_sha256: bytes, row: Mapping[str, Any]) -> None:
    if content_sha256 != row["content_sha256"]:
        raise StoreError(
            f"expected one content for email {row['id']!r}, got a second one; log it under its `distinct_id`"
        )


def _insert_missing(
    connection: Connection, table: sa.Table, rows: list[dict[str, Any]], unique_column: str
) -> None:
    """Insert the rows whose unique column is new; another process may be doing the same."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(table).on_conflict_do_nothing(index_elements=[unique_column]), rows)


def _select_in(
    connection: Connection, column: sa.Column[Any], values: Sequence[Any], *others: sa.Column[Any]
) -> list[Any]:
    rows: list[Any] = []
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        rows += connection.execute(sa.select(column, *others).where(column.in_(chunk))).all()
    return rows


def _uuid_bytes(text: str) -> bytes | None:
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        return None


def _sender(email: Email) -> str:
    sender = email.metadata.get("from", "")
    return sender if isinstance(sender, str) else ", ".join(map(str, sender or ()))
