"""A filter → the statement that reads the prediction log, and the rows that come back."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mailroom.records import Prediction, ReviewReason
from mailroom.store import packing
from mailroom.store.label_sets import LabelSet
from mailroom.store.packing import id_digest, storable
from mailroom.store.rows import uuid_bytes
from mailroom.store.schema import emails, feedback, names, predictions, taxonomies

_label = names.alias("label_names")
_model = names.alias("model_names")
_decided_by = names.alias("decided_by_names")
_steps = names.alias("step_names")


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which predictions are wanted; None asks for all.

    `since` is inclusive, `until` exclusive, and so are `margin_above` and `margin_below`.
    `every` keeps one prediction in so many, the same ones at each reading: a sample of a long log.
    `subject_contains` ignores case (in SQLite that of ASCII letters alone). `beyond` asks for what comes
    after the prediction with this id in the order asked for, so that a list can be read page by page.
    `review` asks for the mark, whatever became of it; `waiting` for marked answers that a person has still
    to look at: the newest on its email, on which nobody has said a word.
    """

    labels: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    review: bool | None = None
    margin_below: float | None = None
    margin_above: float | None = None
    model: str | None = None
    email_id: str | None = None
    subject_contains: str | None = None
    every: int | None = None
    beyond: str | None = None
    limit: int | None = None
    newest_first: bool = True
    reason: ReviewReason | None = None
    waiting: bool | None = None


@dataclass(frozen=True, slots=True)
class LoggedPrediction:
    """A prediction with what is known of its email."""

    prediction: Prediction
    subject: str
    sender: str
    received_at: datetime | None
    origin: str


def select_statement(log_filter: LogFilter) -> sa.Select[Any]:
    """The predictions that fit, in the order they were recorded, with names in place of keys."""
    p = predictions.c
    statement = select_predictions().where(*_conditions(log_filter))
    return statement.order_by(p.key.desc() if log_filter.newest_first else p.key).limit(log_filter.limit)


def select_predictions(*others: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """All predictions in no order, with `others` (columns of `emails` or `predictions`) beside them."""
    p = predictions.c
    tables = (
        predictions.join(emails, p.email_key == emails.c.key)
        .join(taxonomies, p.taxonomy_key == taxonomies.c.key)
        .join(_label, p.label_key == _label.c.key)
        .join(_model, p.model_key == _model.c.key)
        .join(_decided_by, p.decided_by_key == _decided_by.c.key)
        .join(_steps, p.latency_steps_key == _steps.c.key)
    )
    columns = (
        *(p.id, p.probability, p.margin, p.needs_review, p.review_reasons),
        *(p.candidates, p.created_at, p.latency_ms),
        emails.c.id.label("email_id"),
        *(emails.c.subject, emails.c.sender, emails.c.received_at, emails.c.origin),
        taxonomies.c.revision.label("taxonomy"),
        _label.c.name.label("label"),
        _model.c.name.label("model"),
        _decided_by.c.name.label("decided_by"),
        _steps.c.name.label("latency_steps"),
    )
    return sa.select(*columns, *others).select_from(tables)


def prediction_from_row(row: Any, labels: LabelSet) -> Prediction:
    """A row of `select_predictions` as the record, read with the labels of its taxonomy."""
    return Prediction(
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
        review_reasons=packing.unpack_reasons(row.review_reasons),
    )


def count_statement(log_filter: LogFilter) -> sa.Select[int]:
    """How many predictions fit."""
    tables = predictions.join(emails, predictions.c.email_key == emails.c.key)
    fitting = sa.select(predictions.c.key).select_from(tables).where(*_conditions(log_filter))
    return sa.select(sa.func.count()).select_from(fitting.limit(log_filter.limit).subquery())


def _conditions(log_filter: LogFilter) -> list[sa.ColumnElement[bool]]:
    p, wanted = predictions.c, log_filter
    candidates: list[tuple[Any, Any]] = [
        (wanted.labels, lambda: _has_label(wanted.labels or ())),
        (wanted.model, lambda: p.model_key == _key_of(wanted.model)),
        (wanted.since, lambda: p.created_at >= wanted.since),
        (wanted.until, lambda: p.created_at < wanted.until),
        (wanted.review, lambda: p.needs_review if wanted.review else sa.not_(p.needs_review)),
        (wanted.reason, lambda: _has_reason(wanted.reason)),
        (wanted.waiting, lambda: _waits() if wanted.waiting else sa.not_(_waits())),
        (wanted.margin_below, lambda: p.margin < wanted.margin_below),
        (wanted.margin_above, lambda: p.margin > wanted.margin_above),
        (wanted.every, lambda: p.key % wanted.every == 0),
        (wanted.email_id, lambda: emails.c.id_digest == id_digest(wanted.email_id or "")),
        (
            wanted.subject_contains,
            lambda: emails.c.subject.icontains(storable(wanted.subject_contains or ""), autoescape=True),
        ),
        (wanted.beyond, lambda: _is_beyond(wanted.beyond or "", wanted.newest_first)),
    ]
    return [condition() for value, condition in candidates if value is not None]


def _waits() -> sa.ColumnElement[bool]:
    p, newer = predictions.c, predictions.alias("newer")
    superseded = sa.exists().where(newer.c.email_key == p.email_key, newer.c.key > p.key)
    judged = sa.exists().where(feedback.c.email_key == p.email_key)
    return sa.and_(p.needs_review, ~superseded, ~judged)


def _has_reason(reason: ReviewReason | None) -> sa.ColumnElement[bool]:
    # The index holds marked rows alone, and only where the statement says so is it used.
    bits = packing.pack_reasons([] if reason is None else [reason])
    return sa.and_(predictions.c.needs_review, predictions.c.review_reasons.bitwise_and(bits) == bits)


def _is_beyond(prediction_id: str, newest_first: bool) -> sa.ColumnElement[bool]:
    last = sa.select(predictions.c.key).where(predictions.c.id == (uuid_bytes(prediction_id) or b""))
    key = predictions.c.key
    return key < last.scalar_subquery() if newest_first else key > last.scalar_subquery()


def _has_label(wanted: tuple[str, ...]) -> sa.ColumnElement[bool]:
    # One label is asked for most, and only by equality does SQLite take its index for it.
    if len(wanted) == 1:
        return predictions.c.label_key == _key_of(wanted[0])
    return predictions.c.label_key.in_(sa.select(names.c.key).where(names.c.name.in_(wanted)))


def _key_of(name: str | None) -> sa.ScalarSelect[int]:
    return sa.select(names.c.key).where(names.c.name == name).scalar_subquery()
