"""The store → the figures that tell how a workspace does: how much mail, how fast, how sure, how right."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from mailroom.records import Feedback, Prediction
from mailroom.store.feedback import FeedbackFilter
from mailroom.store.log_query import LogFilter
from mailroom.taxonomy import Taxonomy
from mailroom.workspace.workspace import Workspace

# Percentiles come from this many of the newest predictions, quality from this many of the newest words.
_LATEST = 500
# Fewer audited emails say too little by themselves: 30 right ones of 30 still allow for 10 % of errors.
_ENOUGH_AUDITS = 30
_PERCENTILES = (50, 95, 99)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class JudgedEmails:
    """What people said last, each with the prediction that they judged; `of` as in `Quality`."""

    of: str
    pairs: tuple[tuple[Feedback, Prediction], ...]


@dataclass(frozen=True, slots=True)
class Quality:
    """How often the models were right on emails that a person has spoken on; shares are 0…1.

    `of` is `audit` where enough of them were drawn at random: only then the shares are those of all mail.
    Else it is `review`, and the emails are what people labelled for other reasons. `outside` of the emails
    fit no label, and whatever was answered there counts as wrong.
    """

    of: str
    emails: int
    outside: int
    top_1: float
    recall_at_5: float
    sibling_confusion_rate: float


def summarise(workspace: Workspace, now: datetime | None = None) -> dict[str, Any]:
    """The figures as JSON-ready values."""
    now = now or datetime.now(UTC)
    day = now - _DAY
    log, feedback = workspace.log, workspace.feedback
    latest = [row.prediction for row in log.query(LogFilter(limit=_LATEST))]
    quality = quality_of(judged_emails(workspace), workspace.taxonomy)
    return {
        "at": now.isoformat(timespec="seconds"),
        "predictions": {
            "total": log.count(),
            "last_24_hours": log.count(LogFilter(since=day)),
            "last_hour": log.count(LogFilter(since=now - timedelta(hours=1))),
            "for_review_last_24_hours": log.count(LogFilter(since=day, review=True)),
        },
        "predictions_by_label": log.count_by_label(),
        "latency_ms": latency_percentiles(latest),
        "feedback": {
            "total": feedback.count(),
            "corrections": feedback.count(FeedbackFilter(corrections=True)),
            "last_24_hours": feedback.count(FeedbackFilter(since=day)),
        },
        "quality": None
        if quality is None
        else {
            "of": quality.of,
            "emails": quality.emails,
            "outside": quality.outside,
            "top_1": quality.top_1,
            "recall_at_5": quality.recall_at_5,
            "sibling_confusion_rate": quality.sibling_confusion_rate,
        },
    }


def latency_percentiles(predictions: Sequence[Prediction]) -> dict[str, dict[str, float]]:
    """Milliseconds by step of the way, as p50, p95 and p99 over these predictions."""
    by_step: dict[str, list[float]] = {}
    for prediction in predictions:
        for step, milliseconds in prediction.latency_ms.items():
            by_step.setdefault(step, []).append(milliseconds)
    return {
        step: {
            f"p{q}": round(float(value), 3)
            for q, value in zip(_PERCENTILES, np.percentile(values, _PERCENTILES), strict=True)
        }
        for step, values in by_step.items()
    }


def judged_emails(workspace: Workspace, most: int = _LATEST) -> JudgedEmails:
    """The newest emails that people judged an answer of; only the random ones where they are enough."""
    words = workspace.feedback.query(FeedbackFilter(latest_only=True, limit=most))
    judged = tuple(_with_predictions((row.feedback for row in words), workspace.log.get))
    audits = tuple(pair for pair in judged if pair[0].source == "audit")
    if len(audits) >= _ENOUGH_AUDITS:
        return JudgedEmails("audit", audits)
    return JudgedEmails("review", judged)


def quality_of(judged: JudgedEmails, taxonomy: Taxonomy) -> Quality | None:
    """The shares over what people judged; None where that is nothing."""
    if not judged.pairs:
        return None
    count = len(judged.pairs)
    return Quality(
        of=judged.of,
        emails=count,
        outside=sum(word.is_outside for word, _ in judged.pairs),
        top_1=sum(word.label == prediction.label for word, prediction in judged.pairs) / count,
        recall_at_5=sum(word.label in _nearest(prediction, 5) for word, prediction in judged.pairs) / count,
        sibling_confusion_rate=sum(
            are_siblings(word.label, prediction.label, taxonomy) for word, prediction in judged.pairs
        )
        / count,
    )


def are_siblings(one: str, other: str, taxonomy: Taxonomy) -> bool:
    """Whether two different labels stand under one parent; False where the taxonomy lacks one of them."""
    first, second = taxonomy.get(one), taxonomy.get(other)
    return one != other and first is not None and second is not None and first.parent == second.parent


def _with_predictions(
    words: Iterable[Feedback], prediction_of: Callable[[str], Prediction | None]
) -> Iterable[tuple[Feedback, Prediction]]:
    for word in words:
        prediction = prediction_of(word.prediction_id) if word.prediction_id is not None else None
        if prediction is not None:
            yield word, prediction


def _nearest(prediction: Prediction, k: int) -> set[str]:
    """The first k labels by similarity: what retrieval proposed, before they were reranked."""
    ranked = sorted(prediction.candidates, key=lambda candidate: -candidate.similarity)
    return {candidate.label for candidate in ranked[:k]}
