"""Predictions → a history that only grows, and can be asked.

One transaction appends many predictions or none. Nothing is ever overwritten: a second prediction for
an email stands beside the first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mailroom.config import StoreSettings
from mailroom.errors import StoreError
from mailroom.records import Aside, Email, Prediction
from mailroom.store import packing
from mailroom.store.database import Database
from mailroom.store.email_rows import StoredEmails, distinct_id, store_emails
from mailroom.store.label_sets import LabelSet, LabelSets
from mailroom.store.log_query import (
    LogFilter,
    LoggedPrediction,
    count_statement,
    prediction_from_row,
    select_predictions,
    select_statement,
)
from mailroom.store.packing import id_digest
from mailroom.store.rows import ROWS_AT_ONCE, Names, new_uuid_bytes, select_in, uuid_bytes
from mailroom.store.schema import emails, names, predictions

__all__ = ["KnownEmail", "LogEntry", "PredictionLog", "distinct_id"]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A prediction, the email it is about, and where that email was found (a path, a mailbox).

    `asides` are what people see of the email and the models do not.
    """

    prediction: Prediction
    email: Email
    origin: str
    asides: tuple[Aside, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownEmail:
    """An email of the store; without a prediction where it came as labelled history alone."""

    content_sha256: str
    predicted: bool


class PredictionLog:
    """The history of predictions in one database; safe to share between threads and processes."""

    def __init__(self, database: Database, settings: StoreSettings | None = None) -> None:
        self._database = database
        self._settings = settings or StoreSettings()
        self._names = Names()
        self._label_sets = LabelSets(database)

    def register_taxonomy(self, revision: str, labels: packing.LabelPaths) -> None:
        """Make a revision known with its assignable labels (id, path), in order; once is enough.

        Predictions refer to labels by their place in this list.
        """
        self._label_sets.register(revision, labels)

    def append(self, entries: Sequence[LogEntry]) -> None:
        """Write all entries in one transaction, durable when this returns; on StoreError none is written.

        Every taxonomy revision must be registered. An email that is known already is not stored
        again; if its id stands for other content, StoreError: give the second one a `distinct_id`.
        """
        if not entries:
            return
        with self._database.write() as connection:
            name_keys, stored = self._keys(connection, entries)
            self._insert(connection, entries, name_keys, stored.keys)
        self._names.remember(name_keys)

    def append_once(self, entries: Sequence[LogEntry]) -> list[Prediction]:
        """As `append`, but an email that has a prediction keeps it; returns each entry's answer, in order.

        Two processes that answer one email at the same moment so give the same answer: the first's.
        """
        if not entries:
            return []
        with self._database.write() as connection:
            name_keys, stored = self._keys(connection, entries)
            # Nobody else writes meanwhile: the transaction holds the only write lock.
            answers = self._newest(connection, sorted(set(stored.keys.values()) - stored.new))
            fresh = [entry for entry in entries if _is_first(entry, stored.keys, answers)]
            self._insert(connection, fresh, name_keys, stored.keys)
        self._names.remember(name_keys)
        return [answers[stored.keys[id_digest(entry.email.id)]] for entry in entries]

    def known(self, email_ids: Sequence[str]) -> dict[str, KnownEmail]:
        """What is known of those emails that the store has, by id."""
        asked = {id_digest(email_id): email_id for email_id in email_ids}
        predicted = sa.exists().where(predictions.c.email_key == emails.c.key).label("predicted")
        columns = (emails.c.content_sha256, predicted)
        with self._database.read() as connection:
            rows = select_in(connection, emails.c.id_digest, list(asked), *columns)
        return {asked[row.id_digest]: KnownEmail(row.content_sha256.hex(), row.predicted) for row in rows}

    def get(self, prediction_id: str) -> Prediction | None:
        """The prediction with this id, or None."""
        key = uuid_bytes(prediction_id)
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
            for row in connection.execution_options(yield_per=ROWS_AT_ONCE).execute(statement):
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

    def _keys(
        self, connection: Connection, entries: Sequence[LogEntry]
    ) -> tuple[dict[str, int], StoredEmails]:
        name_keys = self._names.intern(connection, _names_of(entries))
        found = [(entry.email, entry.origin, entry.asides) for entry in entries]
        return name_keys, store_emails(connection, found, self._settings)

    def _insert(
        self,
        connection: Connection,
        entries: Sequence[LogEntry],
        name_keys: Mapping[str, int],
        email_keys: Mapping[bytes, int],
    ) -> None:
        rows = [self._prediction_row(connection, entry, name_keys, email_keys) for entry in entries]
        if rows:
            connection.execute(sa.insert(predictions), rows)

    def _newest(self, connection: Connection, email_keys: Sequence[int]) -> dict[int, Prediction]:
        """The newest prediction of those of the emails that have one, by the email's key."""
        if not email_keys:
            return {}
        p = predictions.c
        newest = sa.select(sa.func.max(p.key)).where(p.email_key.in_(email_keys)).group_by(p.email_key)
        rows = connection.execute(select_predictions(p.email_key).where(p.key.in_(newest))).all()
        return {row.email_key: self._logged(connection, row).prediction for row in rows}

    def _first(self, statement: sa.Select[Any]) -> Prediction | None:
        with self._database.read() as connection:
            row = connection.execute(statement).first()
            return None if row is None else self._logged(connection, row).prediction

    def _prediction_row(
        self,
        connection: Connection,
        entry: LogEntry,
        name_keys: Mapping[str, int],
        email_keys: Mapping[bytes, int],
    ) -> dict[str, Any]:
        prediction = entry.prediction
        labels = self._label_sets.get(connection, prediction.taxonomy)
        steps, latency = packing.pack_latency(prediction.latency_ms)
        return {
            "id": new_uuid_bytes(prediction.id, "prediction"),
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
            "review_reasons": packing.pack_reasons(prediction.review_reasons),
        }

    def _logged(self, connection: Connection, row: Any) -> LoggedPrediction:
        prediction = prediction_from_row(row, self._label_sets.get(connection, row.taxonomy))
        return LoggedPrediction(prediction, row.subject, row.sender, row.received_at, row.origin)


def _is_first(entry: LogEntry, email_keys: Mapping[bytes, int], answers: dict[int, Prediction]) -> bool:
    """Whether the entry's email has no answer yet; it has this one then."""
    key = email_keys[id_digest(entry.email.id)]
    return answers.setdefault(key, entry.prediction) is entry.prediction


def _names_of(entries: Sequence[LogEntry]) -> set[str]:
    wanted: set[str] = set()
    for entry in entries:
        prediction = entry.prediction
        wanted |= {prediction.label, prediction.model, prediction.decided_by}
        wanted.add(packing.pack_latency(prediction.latency_ms)[0])
    return wanted


def _pack_candidates(prediction: Prediction, labels: LabelSet) -> bytes:
    try:
        labels.ordinals[prediction.label]
        return packing.pack_candidates(prediction.candidates, labels.ordinals)
    except KeyError as exc:
        raise StoreError(
            f"expected labels of taxonomy {prediction.taxonomy}, got {exc.args[0]!r} "
            f"in prediction {prediction.id}"
        ) from exc
