"""People's words on emails → a history that only grows; the latest word on an email is the one in force.

Knows nothing of the taxonomy: whether a label may still be given is the caller's to check.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mailroom.config import StoreSettings
from mailroom.errors import StoreError
from mailroom.records import OUTSIDE, Email, Feedback
from mailroom.store.database import Database
from mailroom.store.email_rows import store_emails
from mailroom.store.packing import id_digest, storable
from mailroom.store.rows import CHUNK, ROWS_AT_ONCE, Names, new_uuid_bytes, select_in, uuid_bytes
from mailroom.store.schema import emails, feedback, names, predictions, review_draws

_label = names.alias("given_label")
_wrong_label = names.alias("wrong_label")
_reviewer = names.alias("reviewer")
_source = names.alias("source")


@dataclass(frozen=True, slots=True)
class FeedbackFilter:
    """Which words are wanted; None asks for all. `since` is inclusive, `until` exclusive."""

    labels: tuple[str, ...] | None = None
    reviewer: str | None = None
    source: str | None = None
    corrections: bool | None = None
    email_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    latest_only: bool = False
    limit: int | None = None
    newest_first: bool = True


@dataclass(frozen=True, slots=True)
class LoggedFeedback:
    """A word, and the subject of the email it is about."""

    feedback: Feedback
    subject: str


@dataclass(frozen=True, slots=True)
class _Spoken:
    """What of a word decides whether another one repeats it."""

    label: str
    reviewer: str
    source: str
    created_at: datetime


class FeedbackLog:
    """The history of feedback in one database; safe to share between threads and processes."""

    def __init__(self, database: Database, settings: StoreSettings | None = None) -> None:
        self._database = database
        self._settings = settings or StoreSettings()
        self._names = Names()

    def append(
        self, words: Sequence[Feedback], new_emails: Iterable[tuple[Email, str]] = ()
    ) -> list[Feedback]:
        """Write all words in one transaction, durable when this returns; on StoreError none is written.

        `new_emails` (email, origin) are stored first where the store lacks them: imported history has no
        prediction. Returns the words that were new. One that only repeats is left out: an imported word,
        where its reviewer's last imported word on the email says the same, or the same was said at the same
        moment; any other, where the latest word on the email is the same reviewer's and says the same.
        """
        if not words:
            return []
        with self._database.write() as connection:
            name_keys = self._names.intern(connection, _names_of(words))
            found = [(email, origin, ()) for email, origin in new_emails]
            store_emails(connection, found, self._settings)
            email_keys = _email_keys(connection, words)
            prediction_keys = _prediction_keys(connection, words)
            fresh = _without_repeats(connection, words, email_keys)
            rows = [_row(word, name_keys, email_keys, prediction_keys) for word in fresh]
            if rows:
                connection.execute(sa.insert(feedback), rows)
                _answer_draws(connection, rows)
        self._names.remember(name_keys)
        return fresh

    def without_repeats(self, words: Sequence[Feedback]) -> list[Feedback]:
        """Those of the words that `append` would write; emails that the store lacks are new ones."""
        asked = {id_digest(word.email_id): word.email_id for word in words}
        with self._database.read() as connection:
            rows = select_in(connection, emails.c.id_digest, list(asked), emails.c.key)
            keys = {asked[row.id_digest]: row.key for row in rows}
            # Below zero, where no row's key is.
            keys |= {email_id: -n for n, email_id in enumerate(set(asked.values()) - keys.keys(), 1)}
            return _without_repeats(connection, words, keys)

    def get(self, feedback_id: str) -> Feedback | None:
        """The word with this id, or None."""
        key = uuid_bytes(feedback_id)
        if key is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(select_feedback().where(feedback.c.id == key)).first()
        return None if row is None else feedback_from_row(row)

    def by_ending(self, ending: str) -> list[Feedback]:
        """The words whose ids end in these hexadecimal digits; mostly one, or none."""
        tail = bytes.fromhex(ending)
        ends = sa.func.substr(feedback.c.id, 17 - len(tail)) == tail
        with self._database.read() as connection:
            rows = connection.execute(select_feedback().where(ends).limit(CHUNK)).all()
        return [feedback_from_row(row) for row in rows]

    def latest_for(self, email_id: str) -> Feedback | None:
        """The word in force on an email, or None."""
        history = self.history(email_id)
        return history[-1] if history else None

    def history(self, email_id: str) -> list[Feedback]:
        """Every word on an email, in the order in which they were said."""
        statement = select_feedback().where(emails.c.id_digest == id_digest(email_id))
        with self._database.read() as connection:
            rows = connection.execute(statement.order_by(feedback.c.created_at, feedback.c.key)).all()
        return [feedback_from_row(row) for row in rows]

    def latest_of(self, email_ids: Sequence[str]) -> dict[str, Feedback]:
        """The words in force on those of the emails that have one, by email id."""
        asked = {id_digest(email_id): email_id for email_id in email_ids}
        found: dict[str, Feedback] = {}
        with self._database.read() as connection:
            for start in range(0, len(asked), CHUNK):
                chunk = list(asked)[start : start + CHUNK]
                statement = select_feedback().where(emails.c.id_digest.in_(chunk), is_latest())
                for row in connection.execute(statement):
                    found[row.email_id] = feedback_from_row(row)
        return found

    def query(self, wanted: FeedbackFilter | None = None) -> Iterator[LoggedFeedback]:
        """The words that fit, in the order they were recorded, read as they are asked for."""
        wanted = wanted or FeedbackFilter()
        order = feedback.c.key.desc() if wanted.newest_first else feedback.c.key
        statement = select_feedback(emails.c.subject).where(*_conditions(wanted))
        statement = statement.order_by(order).limit(wanted.limit)
        with self._database.read() as connection:
            for row in connection.execution_options(yield_per=ROWS_AT_ONCE).execute(statement):
                yield LoggedFeedback(feedback_from_row(row), row.subject)

    def count(self, wanted: FeedbackFilter | None = None) -> int:
        """How many words fit; `limit` bounds the count too."""
        wanted = wanted or FeedbackFilter()
        fitting = select_feedback().where(*_conditions(wanted)).limit(wanted.limit).subquery()
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(fitting)).scalar_one()

    def count_by_label(self) -> dict[str, int]:
        """How many emails each label holds by the words in force; labels without any are left out."""
        latest = select_feedback().where(is_latest(), _label.c.name != OUTSIDE).subquery()
        counted = sa.select(latest.c.label, sa.func.count().label("emails")).group_by(latest.c.label)
        with self._database.read() as connection:
            return {row.label: row.emails for row in connection.execute(counted)}


def select_feedback(*others: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """All words in no order, with names in place of keys, and `others` (columns of `emails`) beside them."""
    f = feedback.c
    tables = (
        feedback.join(emails, f.email_key == emails.c.key)
        .join(_label, f.label_key == _label.c.key)
        .join(_reviewer, f.reviewer_key == _reviewer.c.key)
        .join(_source, f.source_key == _source.c.key)
        .outerjoin(_wrong_label, f.wrong_label_key == _wrong_label.c.key)
        .outerjoin(predictions, f.prediction_key == predictions.c.key)
    )
    columns = (
        f.id.label("feedback_id"),
        f.created_at.label("said_at"),
        emails.c.id.label("email_id"),
        _label.c.name.label("label"),
        _wrong_label.c.name.label("wrong_label"),
        predictions.c.id.label("prediction_id"),
        _reviewer.c.name.label("reviewer"),
        _source.c.name.label("source"),
    )
    return sa.select(*columns, *others).select_from(tables)


def is_latest() -> sa.ColumnElement[bool]:
    """True of a word that no later one on the same email supersedes."""
    later = feedback.alias("later")
    f = feedback.c
    supersedes = sa.or_(
        later.c.created_at > f.created_at,
        sa.and_(later.c.created_at == f.created_at, later.c.key > f.key),
    )
    return ~sa.exists().where(later.c.email_key == f.email_key, supersedes)


def feedback_from_row(row: Any) -> Feedback:
    """A row of `select_feedback` as the record."""
    return Feedback(
        id=str(uuid.UUID(bytes=row.feedback_id)),
        email_id=row.email_id,
        label=row.label,
        wrong_label=row.wrong_label,
        prediction_id=None if row.prediction_id is None else str(uuid.UUID(bytes=row.prediction_id)),
        reviewer=row.reviewer,
        source=row.source,
        created_at=row.said_at,
    )


def _conditions(wanted: FeedbackFilter) -> list[sa.ColumnElement[bool]]:
    f = feedback.c
    candidates: list[tuple[Any, Any]] = [
        (wanted.labels, lambda: _label.c.name.in_(wanted.labels or ())),
        (wanted.reviewer, lambda: _reviewer.c.name == wanted.reviewer),
        (wanted.source, lambda: _source.c.name == wanted.source),
        (wanted.corrections, lambda: f.wrong_label_key.is_not(None) == wanted.corrections),
        (wanted.email_id, lambda: emails.c.id_digest == id_digest(wanted.email_id or "")),
        (wanted.since, lambda: f.created_at >= wanted.since),
        (wanted.until, lambda: f.created_at < wanted.until),
        (wanted.latest_only or None, is_latest),
    ]
    return [condition() for value, condition in candidates if value is not None]


def _names_of(words: Sequence[Feedback]) -> set[str]:
    wanted: set[str] = set()
    for word in words:
        wanted |= {word.label, storable(word.reviewer), word.source}
        wanted |= {word.wrong_label} if word.wrong_label is not None else set()
    return wanted


def _email_keys(connection: Connection, words: Sequence[Feedback]) -> dict[str, int]:
    asked = {id_digest(word.email_id): word.email_id for word in words}
    rows = select_in(connection, emails.c.id_digest, list(asked), emails.c.key)
    keys = {asked[row.id_digest]: row.key for row in rows}
    missing = next((word.email_id for word in words if word.email_id not in keys), None)
    if missing is not None:
        raise StoreError(f"expected feedback on an email of the store, got the unknown id {missing!r}")
    return keys


def _prediction_keys(connection: Connection, words: Sequence[Feedback]) -> dict[str, int]:
    judged = {word.prediction_id: word for word in words if word.prediction_id is not None}
    ids = {new_uuid_bytes(prediction_id, "prediction"): prediction_id for prediction_id in judged}
    rows = select_in(connection, predictions.c.id, list(ids), predictions.c.key)
    keys = {ids[row.id]: row.key for row in rows}
    missing = next((prediction_id for prediction_id in judged if prediction_id not in keys), None)
    if missing is not None:
        raise StoreError(f"expected feedback on a prediction of the log, got the unknown id {missing!r}")
    return keys


def _without_repeats(
    connection: Connection, words: Sequence[Feedback], email_keys: Mapping[str, int]
) -> list[Feedback]:
    said = _said_before(connection, email_keys)
    fresh: list[Feedback] = []
    for word in words:
        before = said.setdefault(email_keys[word.email_id], [])
        new = _Spoken(word.label, storable(word.reviewer), word.source, word.created_at)
        if not _repeats(new, before):
            before.append(new)
            before.sort(key=lambda spoken: spoken.created_at)
            fresh.append(word)
    return fresh


def _said_before(connection: Connection, email_keys: Mapping[str, int]) -> dict[int, list[_Spoken]]:
    """Every earlier word by email, in the order in which they were said."""
    said: dict[int, list[_Spoken]] = {}
    keys = sorted(set(email_keys.values()))
    for start in range(0, len(keys), CHUNK):
        statement = select_feedback(feedback.c.email_key).where(
            feedback.c.email_key.in_(keys[start : start + CHUNK])
        )
        for row in connection.execute(statement.order_by(feedback.c.created_at, feedback.c.key)):
            spoken = _Spoken(row.label, row.reviewer, row.source, row.said_at)
            said.setdefault(row.email_key, []).append(spoken)
    return said


def _repeats(new: _Spoken, before: Sequence[_Spoken]) -> bool:
    if new.source != "import":
        last = before[-1] if before else None
        return last is not None and (last.label, last.reviewer) == (new.label, new.reviewer)
    own = [spoken for spoken in before if (spoken.reviewer, spoken.source) == (new.reviewer, new.source)]
    return any(spoken == new for spoken in own) or (bool(own) and own[-1].label == new.label)


def _row(
    word: Feedback,
    name_keys: Mapping[str, int],
    email_keys: Mapping[str, int],
    prediction_keys: Mapping[str, int],
) -> dict[str, Any]:
    return {
        "id": new_uuid_bytes(word.id, "feedback"),
        "email_key": email_keys[word.email_id],
        "label_key": name_keys[word.label],
        "wrong_label_key": None if word.wrong_label is None else name_keys[word.wrong_label],
        "prediction_key": None if word.prediction_id is None else prediction_keys[word.prediction_id],
        "reviewer_key": name_keys[storable(word.reviewer)],
        "source_key": name_keys[word.source],
        "created_at": word.created_at,
        "recorded_at": datetime.now(UTC),
    }


def _answer_draws(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """An email that a person has spoken on waits for no reviewer any more."""
    answered = (
        sa.update(review_draws)
        .where(review_draws.c.email_key == sa.bindparam("email"), review_draws.c.answered_at.is_(None))
        .values(answered_at=sa.bindparam("said_at"))
    )
    connection.execute(answered, [{"email": row["email_key"], "said_at": row["created_at"]} for row in rows])
