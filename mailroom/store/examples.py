"""Store → what learning reads in bulk: labelled emails, and unlabelled ones with the newest answer.

Read in pages, each in a transaction of its own: a million emails hold neither memory nor writers up. An
email whose text was not kept is nothing to learn from, and is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mailroom.records import Candidate, Feedback, Prediction
from mailroom.store.database import Database
from mailroom.store.feedback import feedback_from_row, select_feedback
from mailroom.store.packing import unpack_text
from mailroom.store.prediction_reader import PredictionReader
from mailroom.store.rows import CHUNK
from mailroom.store.schema import emails, feedback, predictions


@dataclass(frozen=True, slots=True)
class LabelledEmail:
    """An email that people have spoken on, and the model's first answer where that came before any word.

    `words` are all of people's words on it, at least one, in the order in which they were said. An answer
    from before them is out of sample: no model had learned the email's label. `thread` is never empty.
    """

    email_id: str
    text: str
    thread: str
    words: tuple[Feedback, ...]
    first_prediction: Prediction | None

    @property
    def feedback(self) -> Feedback:
        """The word in force."""
        return self.words[-1]

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """What retrieval proposed before the label was known, best first; () where nothing was logged."""
        return () if self.first_prediction is None else self.first_prediction.candidates


@dataclass(frozen=True, slots=True)
class UnlabelledEmail:
    """An email that nobody has spoken on, and the newest answer for it. `thread` is never empty."""

    email_id: str
    text: str
    thread: str
    prediction: Prediction


class ExampleReader:
    """The emails of one database as learning wants them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._predictions = PredictionReader(database)

    def labelled(self) -> Iterator[LabelledEmail]:
        """Every email that a person has spoken on, in the order in which they first got a word."""
        last = 0
        while rows := self._labelled_page(last):
            yield from (labelled for _, labelled in rows)
            last = rows[-1][0]

    def unlabelled(self, limit: int | None = None) -> Iterator[UnlabelledEmail]:
        """Emails with a prediction and no feedback, those stored last first; `limit` of them at most."""
        last: int | None = None
        left = limit
        while left is None or left > 0:
            rows = self._unlabelled_page(last, CHUNK if left is None else min(CHUNK, left))
            if not rows:
                return
            yield from (unlabelled for _, unlabelled in rows)
            last = rows[-1][0]
            left = None if left is None else left - len(rows)

    def labelled_without_text(self) -> int:
        """How many labelled emails cannot be learned from, since their text was not kept."""
        labelled = sa.exists().where(feedback.c.email_key == emails.c.key)
        counted = sa.select(sa.func.count()).where(labelled, emails.c.text.is_(None))
        with self._database.read() as connection:
            return connection.execute(counted.select_from(emails)).scalar_one()

    def _labelled_page(self, after: int) -> list[tuple[int, LabelledEmail]]:
        """The next emails by the key of their first word, which stays what it is whatever is said later."""
        first_key = first_prediction(feedback.c.email_key).label("first_key")
        columns = (feedback.c.key, feedback.c.email_key, emails.c.id, emails.c.text, first_key)
        page = (
            sa.select(*columns, *THREAD)
            .join(emails, feedback.c.email_key == emails.c.key)
            .where(feedback.c.key > after, emails.c.text.is_not(None), _is_first())
            .order_by(feedback.c.key)
            .limit(CHUNK)
        )
        with self._database.read() as connection:
            rows = connection.execute(page).all()
            first = self._predictions.by_key(connection, [row.first_key for row in rows if row.first_key])
            words = _words(connection, [row.email_key for row in rows])
        return [
            (
                row.key,
                LabelledEmail(
                    row.id,
                    unpack_text(row.text),
                    thread_of(row),
                    tuple(words[row.email_key]),
                    first.get(row.first_key),
                ),
            )
            for row in rows
        ]

    def _unlabelled_page(self, before: int | None, size: int) -> list[tuple[int, UnlabelledEmail]]:
        newest = sa.select(sa.func.max(predictions.c.key)).where(predictions.c.email_key == emails.c.key)
        newest_key = newest.scalar_subquery()
        page = (
            sa.select(emails.c.key, emails.c.id, emails.c.text, newest_key.label("newest_key"), *THREAD)
            .where(
                emails.c.text.is_not(None),
                ~sa.exists().where(feedback.c.email_key == emails.c.key),
                sa.exists().where(predictions.c.email_key == emails.c.key),
            )
            .order_by(emails.c.key.desc())
            .limit(size)
        )
        if before is not None:
            page = page.where(emails.c.key < before)
        with self._database.read() as connection:
            rows = connection.execute(page).all()
            newest_of = self._predictions.by_key(connection, [row.newest_key for row in rows])
        return [
            (
                row.key,
                UnlabelledEmail(row.id, unpack_text(row.text), thread_of(row), newest_of[row.newest_key]),
            )
            for row in rows
        ]


# What `thread_of` needs of a row.
THREAD: tuple[sa.Column[Any], ...] = (emails.c.id_digest, emails.c.thread_digest)


def thread_of(row: Any) -> str:
    """The thread of an email: the same for all mails of one conversation, the email's own where it is alone.

    Threads go by References, else In-Reply-To; equal subjects alone make no thread, since "Question" would
    hold half of a mailbox together.
    """
    digest: bytes = row.thread_digest or row.id_digest
    return digest.hex()


def _is_first() -> sa.ColumnElement[bool]:
    """True of the word that was written down first on its email."""
    earlier = feedback.alias("earlier")
    return ~sa.exists().where(earlier.c.email_key == feedback.c.email_key, earlier.c.key < feedback.c.key)


def _words(connection: Connection, email_keys: Sequence[int]) -> dict[int, list[Feedback]]:
    """Every word on these emails (CHUNK of them at most), in the order in which they were said."""
    said = (
        select_feedback(feedback.c.email_key)
        .where(feedback.c.email_key.in_(email_keys))
        .order_by(feedback.c.email_key, feedback.c.created_at, feedback.c.key)
    )
    words: dict[int, list[Feedback]] = {}
    for row in connection.execute(said):
        words.setdefault(row.email_key, []).append(feedback_from_row(row))
    return words


def first_prediction(email_key: sa.Column[Any]) -> sa.ScalarSelect[int]:
    """The key of an email's first prediction, where that was made before anybody spoke on the email."""
    # Two levels below the statement that asks, SQLAlchemy would read the table anew rather than its row.
    asking = email_key.table
    first = sa.select(sa.func.min(predictions.c.key)).where(predictions.c.email_key == email_key)
    word = feedback.alias("word")
    spoken_at = sa.select(sa.func.min(word.c.recorded_at)).where(word.c.email_key == email_key)
    found = predictions.alias("first_prediction")
    return (
        sa.select(found.c.key)
        .where(
            found.c.key == first.correlate(asking).scalar_subquery(),
            found.c.created_at <= spoken_at.correlate(asking).scalar_subquery(),
        )
        .scalar_subquery()
    )
