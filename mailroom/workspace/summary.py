"""The store → the figures that tell how a workspace does: how much mail, how fast, how sure, how right."""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
class Quality:
    """How often the models were right on emails that a person has spoken on; shares are 0…1.

    `of` is `audit` where enough of them were drawn at random: only then the shares are those of all mail.
    Else it is `review`, and the emails are the hard ones.
    """

    of: str
    emails: int
    top_1: float
    recall_at_5: float
    sibling_confusion_rate: float


def summarise(workspace: Workspace, now: datetime | None = None) -> dict[str, Any]:
    """The figures as JSON-ready values."""
    now = now or datetime.now(UTC)
    day = now - _DAY
    log, feedback = workspace.log, workspace.feedback
    latest = [row.prediction for row in log.query(LogFilter(limit=_LATEST))]
    quality = quality_of(workspace)
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


def quality_of(workspace: Workspace) -> Quality | None:
    """Quality by the newest words in force that judged a prediction; None where there is none."""
    words = workspace.feedback.query(FeedbackFilter(latest_only=True, limit=_LATEST))
    judged = list(_with_predictions((row.feedback for row in words), workspace.log.get))
    audits = [pair for pair in judged if pair[0].source == "audit"]
    of, used = ("audit", audits) if len(audits) >= _ENOUGH_AUDITS else ("review", judged)
    if not used:
        return None
    count = len(used)
    return Quality(
        of=of,
        emails=count,
        top_1=sum(word.label == prediction.label for word, prediction in used) / count,
        recall_at_5=sum(word.label in _nearest(prediction, 5) for word, prediction in used) / count,
        sibling_confusion_rate=sum(
            _are_siblings(word.label, prediction.label, workspace.taxonomy) for word, prediction in used
        )
        / count,
    )


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


def _are_siblings(one: str, other: str, taxonomy: Taxonomy) -> bool:
    labels: Mapping[str, Any] = {name: taxonomy.get(name) for name in (one, other)}
    if one == other or None in labels.values():
        return False
    return bool(labels[one].parent == labels[other].parent)
