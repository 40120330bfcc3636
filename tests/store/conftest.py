"""Prediction logs to test, on every kind of database, and what goes into them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import uuid_utils

from mailroom.records import Candidate, Email, Feedback, FeedbackSource, Prediction
from mailroom.store.database import Database, open_database
from mailroom.store.prediction_log import LogEntry, PredictionLog

LABELS = [(f"label-{i}", ("Root", f"Label {i}")) for i in range(30)]
TAXONOMY = "abcdef012345"
NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with open_database(url) as opened:
        yield opened


@pytest.fixture
def log(database: Database) -> PredictionLog:
    log = PredictionLog(database)
    log.register_taxonomy(TAXONOMY, LABELS)
    return log


def make_entry(
    number: int = 0,
    *,
    label: int = 3,
    margin: float = 0.25,
    needs_review: bool = False,
    created_at: datetime = NOON,
    email_id: str | None = None,
    subject: str = "A subject",
    body: str = "A body",
    model: str = "v1",
    score: float | None = 1.5,
) -> LogEntry:
    """An entry whose numbers are exact in float32, so that what comes back can be compared."""
    email = Email(
        id=email_id or f"<{number}@example.org>",
        subject=subject,
        body=body,
        metadata={"from": "ann@example.org"},
        received_at=created_at,
    )
    candidates = (
        Candidate(f"label-{label}", 0.75, score, 0.5),
        Candidate("label-29", 0.5, None, 0.25),
    )
    prediction = Prediction(
        id=str(uuid_utils.uuid7()),
        email_id=email.id,
        label=f"label-{label}",
        path=("Root", f"Label {label}"),
        probability=0.5,
        margin=margin,
        needs_review=needs_review,
        candidates=candidates,
        model=model,
        taxonomy=TAXONOMY,
        decided_by="retrieval",
        created_at=created_at,
        latency_ms={"parse": 0.5, "embed": 12.25},
    )
    return LogEntry(prediction, email, f"box.mbox:{number}")


def make_word(
    email_id: str = "<0@example.org>",
    label: str = "label-1",
    *,
    wrong_label: str | None = None,
    prediction_id: str | None = None,
    reviewer: str = "ann",
    source: FeedbackSource = "review",
    minutes: float = 0,
) -> Feedback:
    """A word that was said `minutes` after noon."""
    return Feedback(
        id=str(uuid_utils.uuid7()),
        email_id=email_id,
        label=label,
        wrong_label=wrong_label,
        prediction_id=prediction_id,
        reviewer=reviewer,
        source=source,
        created_at=NOON + timedelta(minutes=minutes),
    )
