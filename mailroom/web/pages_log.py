"""Explore the log: a list that can be filtered, and the full story of one prediction."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from mailroom.errors import DataError
from mailroom.store.email_reader import EmailReader
from mailroom.store.log_query import LogFilter
from mailroom.store.snapshots import Snapshots
from mailroom.taxonomy import PATH_SEPARATOR
from mailroom.web.api_log import LogQuery
from mailroom.web.auth import Caller
from mailroom.web.pages import Pages
from mailroom.web.problems import Problem

_ROWS = 50
_FIELDS = ("label", "subject", "since", "until", "review", "margin_below", "model")


def routes(pages: Pages) -> APIRouter:
    """The routes of the log's pages."""
    router = APIRouter(include_in_schema=False)
    may = pages.viewer("review")
    workspace = pages.site.service.workspace

    @router.get("/log")
    def log(request: Request, caller: Annotated[Caller, Depends(may)]) -> Response:
        given = {name: request.query_params.get(name, "").strip()[:200] for name in _FIELDS}
        problem, rows, total = "", [], 0
        try:
            wanted = _filter(pages, given, request.query_params.get("before", "")[:100])
            rows, total = list(workspace.log.query(wanted)), workspace.log.count(_all_of(wanted))
        except DataError as exc:
            problem = str(exc)
        after = {name: value for name, value in given.items() if value}
        following = urlencode(after | {"before": rows[-1].prediction.id}) if len(rows) == _ROWS else ""
        return pages.render(
            request,
            caller,
            "log.html",
            given=given,
            problem=problem,
            rows=rows,
            total=total,
            following=following,
            labels=pages.site.service.live.current.taxonomy.labels,
            separator=PATH_SEPARATOR,
        )

    @router.get("/log/{prediction_id}")
    def story(request: Request, prediction_id: str, caller: Annotated[Caller, Depends(may)]) -> Response:
        return _story(pages, request, caller, prediction_id)

    return router


def _story(pages: Pages, request: Request, caller: Caller, prediction_id: str) -> Response:
    workspace = pages.site.service.live.current.workspace
    prediction = workspace.log.get(prediction_id)
    if prediction is None:
        raise Problem(404, "expected the id of a prediction of the log")
    rows = list(workspace.log.query(LogFilter(email_id=prediction.email_id)))
    [row] = [row for row in rows if row.prediction.id == prediction.id]
    words = workspace.feedback.history(prediction.email_id)
    snapshots = Snapshots(workspace.database)
    return pages.render(
        request,
        caller,
        "prediction.html",
        row=row,
        prediction=prediction,
        others=[other.prediction for other in rows if other.prediction.id != prediction.id],
        email=EmailReader(workspace.database).get(prediction.email_id),
        words=[(word, snapshots.uses_of(word.id)) for word in words],
        paths={
            name: label.path
            for name in {*(candidate.label for candidate in prediction.candidates), *(w.label for w in words)}
            if (label := workspace.taxonomy.get(name)) is not None
        },
    )


def _filter(pages: Pages, given: dict[str, str], before: str) -> LogFilter:
    """The filter that a form's texts mean; DataError says which of them cannot be read."""
    values: dict[str, Any] = {"limit": _ROWS, "before": before or None}
    for name in ("label", "subject", "model"):
        values[name] = given[name] or None
    for name in ("since", "until"):
        values[name] = _read(datetime.fromisoformat, given[name], name, "a date such as 2026-03-31")
    values["margin_below"] = _read(_number, given["margin_below"], "margin below", "a number such as 0.1")
    values["review"] = {"true": True, "false": False}.get(given["review"])
    return LogQuery(**values).to_filter(pages.site)


def _all_of(wanted: LogFilter) -> LogFilter:
    return replace(wanted, limit=None, beyond=None)


def _read(convert: Callable[[str], Any], text: str, name: str, expected: str) -> Any:
    if not text:
        return None
    try:
        return convert(text)
    except ValueError as exc:
        raise DataError(f"{name}: expected {expected}, got {text!r}") from exc


def _number(text: str) -> float:
    number = float(text.replace(",", "."))
    if not math.isfinite(number):
        raise ValueError(text)
    return number
