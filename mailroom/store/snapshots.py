"""What each cycle learned from and kept apart: examples → rows, so that any model can be traced to them."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mailroom.errors import StoreError
from mailroom.records import Candidate, Example, Prediction
from mailroom.store.cycles import Cycle, CycleLog
from mailroom.store.database import Database
from mailroom.store.examples import THREAD, first_prediction, thread_of
from mailroom.store.packing import id_digest, unpack_text
from mailroom.store.prediction_reader import PredictionReader
from mailroom.store.rows import CHUNK, Names, select_in, uuid_bytes
from mailroom.store.schema import cycles, emails, feedback, names, predictions, training_examples

Part = Literal["train", "validation", "evaluation"]

# Rows that are committed together: a snapshot of a million must not keep the log's writers waiting.
_ROWS_A_COMMIT = 5_000

_label = names.alias("example_label")
_grade = names.alias("grade")
_part = names.alias("part")
_source = names.alias("example_source")


@dataclass(frozen=True, slots=True)
class Use:
    """One cycle's use of an example: as what, with which label, weight and negatives."""

    cycle: Cycle
    part: Part
    label: str
    grade: str
    weight: float


class Snapshots:
    """The training examples of all cycles in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names = Names()
        self._predictions = PredictionReader(database)
        self._cycles = CycleLog(database)

    def save(self, cycle: Cycle, examples: Iterable[Example], part: Part = "train") -> int:
        """Keep what the cycle uses as `part`, in place of what it kept before; returns how many.

        Written in many transactions: it counts once the step that wrote it is saved. Every email must be in
        the store. Texts and candidates are not copied; `load` reads them where they stand.
        """
        key = self._key(cycle.id)
        with self._database.write() as connection:
            part_key = self._names.intern(connection, {part})[part]
            t = training_examples.c
            connection.execute(sa.delete(training_examples).where(t.cycle_key == key, t.part_key == part_key))
        saved, rest = 0, iter(examples)
        while batch := list(islice(rest, _ROWS_A_COMMIT)):
            with self._database.write() as connection:
                connection.execute(sa.insert(training_examples), self._rows(connection, key, batch, part))
            saved += len(batch)
        return saved

    def load(self, cycle_id: str, part: Part | None = None) -> Iterator[Example]:
        """The examples of a cycle in the order in which they were saved, texts and candidates as they stand.

        Candidates are those of the email's first prediction (gold), or of the newest one before the cycle
        began (silver); () where there was none.
        """
        key, last = self._key(cycle_id), 0
        while True:
            with self._database.read() as connection:
                rows = connection.execute(_page(key, part, last)).all()
                loaded = self._examples(connection, rows)
            if not rows:
                return
            yield from loaded
            last = rows[-1].example_key

    def count(self, cycle_id: str) -> dict[tuple[str, str], int]:
        """How many examples a cycle has, by (part, grade)."""
        t = training_examples.c
        counted = (
            sa.select(_part.c.name.label("part"), _grade.c.name.label("grade"), sa.func.count().label("n"))
            .join(_part, t.part_key == _part.c.key)
            .join(_grade, t.grade_key == _grade.c.key)
            .where(t.cycle_key == self._key(cycle_id))
            .group_by(_part.c.name, _grade.c.name)
        )
        with self._database.read() as connection:
            return {(row.part, row.grade): row.n for row in connection.execute(counted)}

    def uses_of(self, feedback_id: str) -> list[Use]:
        """The cycles that had this very word before them, the oldest first."""
        t = training_examples.c
        word = sa.select(feedback.c.key).where(feedback.c.id == (uuid_bytes(feedback_id) or b""))
        found = (
            sa.select(
                cycles.c.id.label("cycle_id"),
                _part.c.name.label("part"),
                _label.c.name.label("label"),
                _grade.c.name.label("grade"),
                t.weight,
            )
            .select_from(training_examples)
            .join(cycles, t.cycle_key == cycles.c.key)
            .join(_part, t.part_key == _part.c.key)
            .join(_label, t.label_key == _label.c.key)
            .join(_grade, t.grade_key == _grade.c.key)
            .where(t.feedback_key == word.scalar_subquery())
            .order_by(cycles.c.key)
        )
        with self._database.read() as connection:
            rows = connection.execute(found).all()
        uses = [(row, self._cycles.get(str(uuid.UUID(bytes=row.cycle_id)))) for row in rows]
        return [Use(cycle, row.part, row.label, row.grade, row.weight) for row, cycle in uses if cycle]

    def _key(self, cycle_id: str) -> int:
        wanted = sa.select(cycles.c.key).where(cycles.c.id == (uuid_bytes(cycle_id) or b""))
        with self._database.read() as connection:
            key: int | None = connection.execute(wanted).scalar_one_or_none()
        if key is None:
            raise StoreError(f"expected a cycle of the store, got the unknown id {cycle_id!r}")
        return key

    def _rows(
        self, connection: Connection, cycle_key: int, examples: Sequence[Example], part: Part
    ) -> list[dict[str, Any]]:
        wanted = {part, *(word for e in examples for word in (e.label, e.grade, e.source, *e.negatives))}
        name_keys = self._names.intern(connection, wanted)
        email_keys = _email_keys(connection, examples)
        words = _words_by_label(connection, sorted(set(email_keys.values())))
        return [
            {
                "cycle_key": cycle_key,
                "email_key": email_keys[example.email_id],
                "feedback_key": words.get((email_keys[example.email_id], name_keys[example.label]))
                if example.grade == "gold"
                else None,
                "label_key": name_keys[example.label],
                "grade_key": name_keys[example.grade],
                "part_key": name_keys[part],
                "source_key": name_keys[example.source],
                "weight": example.weight,
                "negatives": np.array([name_keys[label] for label in example.negatives], "<u4").tobytes(),
            }
            for example in examples
        ]

    def _examples(self, connection: Connection, rows: Sequence[Any]) -> list[Example]:
        packed = [np.frombuffer(row.negatives, "<u4").tolist() for row in rows]
        wanted = sorted({key for keys in packed for key in keys})
        labels = {row.key: row.name for row in select_in(connection, names.c.key, wanted, names.c.name)}
        found = self._predictions.by_key(
            connection, [row.prediction_key for row in rows if row.prediction_key]
        )
        return [
            Example(
                email_id=row.email_id,
                text="" if row.text is None else unpack_text(row.text),
                label=row.label,
                grade=row.grade,
                source=row.source,
                weight=row.weight,
                negatives=tuple(labels[key] for key in negatives),
                thread=thread_of(row),
                candidates=_candidates(found, row.prediction_key),
            )
            for row, negatives in zip(rows, packed, strict=True)
        ]


def _candidates(found: dict[int, Prediction], key: int | None) -> tuple[Candidate, ...]:
    return found[key].candidates if key is not None else ()


def _page(cycle_key: int, part: Part | None, after: int) -> sa.Select[Any]:
    t = training_examples.c
    before = sa.select(sa.func.max(predictions.c.key)).where(
        predictions.c.email_key == t.email_key, predictions.c.created_at <= cycles.c.started_at
    )
    candidates_of = sa.case(
        (_grade.c.name == "gold", first_prediction(t.email_key)), else_=before.scalar_subquery()
    )
    page = (
        sa.select(
            *(t.key.label("example_key"), t.weight, t.negatives, candidates_of.label("prediction_key")),
            *(emails.c.id.label("email_id"), emails.c.text, *THREAD),
            *(_label.c.name.label("label"), _grade.c.name.label("grade"), _source.c.name.label("source")),
        )
        .select_from(training_examples)
        .join(cycles, t.cycle_key == cycles.c.key)
        .join(emails, t.email_key == emails.c.key)
        .join(_label, t.label_key == _label.c.key)
        .join(_grade, t.grade_key == _grade.c.key)
        .join(_source, t.source_key == _source.c.key)
        .where(t.cycle_key == cycle_key, t.key > after)
    )
    if part is not None:
        page = page.join(_part, t.part_key == _part.c.key).where(_part.c.name == part)
    return page.order_by(t.key).limit(CHUNK)


def _email_keys(connection: Connection, examples: Sequence[Example]) -> dict[str, int]:
    asked = {id_digest(example.email_id): example.email_id for example in examples}
    rows = select_in(connection, emails.c.id_digest, list(asked), emails.c.key)
    keys = {asked[row.id_digest]: row.key for row in rows}
    missing = next((email_id for email_id in asked.values() if email_id not in keys), None)
    if missing is not None:
        raise StoreError(f"expected examples of emails of the store, got the unknown id {missing!r}")
    return keys


def _words_by_label(connection: Connection, email_keys: Sequence[int]) -> dict[tuple[int, int], int]:
    """The last word by (email, label): the one that an example with that label was made of."""
    columns = (feedback.c.label_key, feedback.c.key, feedback.c.created_at)
    rows = select_in(connection, feedback.c.email_key, email_keys, *columns)
    rows.sort(key=lambda row: (row.created_at, row.key))
    return {(row.email_key, row.label_key): row.key for row in rows}
