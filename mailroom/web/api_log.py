"""The prediction log over HTTP, people's words on it, the labels, and the figures."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from mailroom.errors import DataError
from mailroom.records import ReviewReason
from mailroom.store.log_query import LogFilter, LoggedPrediction
from mailroom.web import bodies
from mailroom.web.auth import Caller
from mailroom.web.json_response import JsonResponse
from mailroom.web.problems import Problem
from mailroom.web.site import Site
from mailroom.workspace.label_filter import labels_meant

MOST_ROWS = 500
_FEEDBACK_EXAMPLE = {"prediction_id": "0198c5a2-7c1e-7b52-a0ff-1d2a41a5c0de", "label": "order_status"}


class LogQuery:
    """The filters of a list of predictions as query parameters; `before` is what a page gave as `next`."""

    def __init__(
        self,
        label: Annotated[
            str | None, Query(description="A label, or a group of them", max_length=1000)
        ] = None,
        since: Annotated[
            bodies.Moment | None, Query(description="From this moment on, UTC unless it says")
        ] = None,
        until: Annotated[bodies.Moment | None, Query(description="Before this moment")] = None,
        review: Annotated[
            bool | None,
            Query(
                description="Waits for a person, or not: marked for review, the newest answer on its email, "
                "and nobody has corrected or confirmed it"
            ),
        ] = None,
        reason: Annotated[ReviewReason | None, Query(description="Marked for review for this reason")] = None,
        margin_below: Annotated[float | None, Query(allow_inf_nan=False)] = None,
        margin_above: Annotated[float | None, Query(allow_inf_nan=False)] = None,
        model: Annotated[str | None, Query(max_length=200)] = None,
        email_id: Annotated[str | None, Query(max_length=1100)] = None,
        subject: Annotated[str | None, Query(description="The subject contains this", max_length=200)] = None,
        before: Annotated[str | None, Query(description="`next` of the page before", max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 50,
    ) -> None:
        self.label = label
        self.fields: dict[str, Any] = {
            "since": _utc(since),
            "until": _utc(until),
            "waiting": review,
            "reason": reason,
            "margin_below": margin_below,
            "margin_above": margin_above,
            "model": model,
            "email_id": email_id,
            "subject_contains": subject,
            "beyond": before,
            "limit": limit,
        }

    def to_filter(self, site: Site) -> LogFilter:
        """The filter, with the label as the taxonomy knows it; DataError where it does not."""
        workspace = site.service.live.current.workspace
        labels = labels_meant(self.label, workspace) if self.label else None
        return LogFilter(labels=labels, **self.fields)


def routes(site: Site) -> APIRouter:
    """The routes that read the log, and the one that adds people's words."""
    router = APIRouter(prefix="/v1", tags=["log"])
    _add_predictions(router, site)
    _add_feedback(router, site)
    _add_counts(router, site)
    return router


def _add_predictions(router: APIRouter, site: Site) -> None:
    may_review, log = site.caller("review"), site.service.workspace.log

    @router.get("/predictions", summary="List predictions, newest first", responses=bodies.problems(404, 422))
    def predictions(
        query: Annotated[LogQuery, Depends()], caller: Annotated[Caller, Depends(may_review)]
    ) -> Response:
        del caller
        with _naming():
            wanted = query.to_filter(site)
        rows = list(log.query(wanted))
        full = len(rows) == query.fields["limit"]
        return JsonResponse(
            {"predictions": list(map(to_dict, rows)), "next": rows[-1].prediction.id if full else None}
        )

    @router.get(
        "/predictions/{prediction_id}",
        summary="One prediction, and every word on its email",
        responses=bodies.problems(404),
    )
    def prediction(prediction_id: str, caller: Annotated[Caller, Depends(may_review)]) -> Response:
        del caller
        found = log.get(prediction_id)
        if found is None:
            raise Problem(404, "expected the id of a prediction of the log")
        [row] = [
            row for row in log.query(LogFilter(email_id=found.email_id)) if row.prediction.id == found.id
        ]
        words = [word.to_dict() for word in site.service.workspace.feedback.history(found.email_id)]
        return JsonResponse(to_dict(row) | {"text": log.text_of(found.email_id), "feedback": words})


def _add_feedback(router: APIRouter, site: Site) -> None:
    may_review = site.caller("review")

    @router.post(
        "/feedback",
        summary="Say which label is right",
        description="A correction or a confirmation under the key's name. History only grows: the latest "
        "word on an email is in force.",
        responses=bodies.problems(404, 408, 413, 415, 422),
        openapi_extra=bodies.described(bodies.FeedbackIn, _FEEDBACK_EXAMPLE),
    )
    async def feedback(request: Request, caller: Annotated[Caller, Depends(may_review)]) -> Response:
        word = await bodies.json_body(bodies.FeedbackIn, site.settings.max_body_bytes)(request)
        return JsonResponse(await run_in_threadpool(_record, site, word, caller.name))


def _add_counts(router: APIRouter, site: Site) -> None:
    may_read, log = site.caller(None), site.service.workspace.log

    @router.get(
        "/labels",
        summary="The label tree, with how many predictions and words each label has",
        responses=bodies.problems(),
    )
    def labels(caller: Annotated[Caller, Depends(may_read)]) -> Response:
        del caller
        taxonomy = site.service.live.current.taxonomy
        predicted, said = log.count_by_label(), site.service.workspace.feedback.count_by_label()
        rows = [
            {
                "id": label.id,
                "path": list(label.path),
                "description": label.description,
                "assignable": label.assignable,
                "parent": label.parent,
                "overlaps": list(label.overlaps),
                "predictions": predicted.get(label.id, 0),
                "feedback": said.get(label.id, 0),
            }
            for label in taxonomy.labels
        ]
        return JsonResponse({"taxonomy": taxonomy.revision, "labels": rows})

    @router.get(
        "/metrics/summary",
        summary="How much mail, how fast, how sure, how right",
        responses=bodies.problems(),
    )
    def summary(caller: Annotated[Caller, Depends(may_read)]) -> Response:
        del caller
        return JsonResponse(site.summary())


def to_dict(row: LoggedPrediction) -> dict[str, Any]:
    """A prediction with what is known of its email, as JSON-ready values."""
    return row.prediction.to_dict() | {
        "subject": row.subject,
        "sender": row.sender,
        "received_at": row.received_at.isoformat() if row.received_at else None,
        "origin": row.origin,
    }


def _record(site: Site, word: bodies.FeedbackIn, reviewer: str) -> dict[str, Any]:
    corrections = site.service.live.current.corrections
    with _naming():
        if word.prediction_id is not None:
            prediction = corrections.prediction(word.prediction_id)
        else:
            newest = corrections.newest_prediction(word.email_id or "")
            if newest is None:
                raise Problem(404, "expected an email with a prediction")
            prediction = newest
        label = corrections.label(word.label)
    done = corrections.record(prediction.email_id, prediction, label, reviewer, word.source)
    site.metrics.feedback.labels(done.state).inc()
    return done.to_dict()


@contextmanager
def _naming() -> Iterator[None]:
    """Names that the log or the taxonomy does not know now are not found; the request itself is well made."""
    try:
        yield
    except DataError as exc:
        raise Problem(404, str(exc)) from exc


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
