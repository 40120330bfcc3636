"""Every error → one RFC 9457 problem document: what was expected, what came, what to do.

{"type": "urn:mailroom:problem:busy", "title": "Too many emails are waiting", "status": 429, "detail": …}
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from mailroom.errors import (
    BusyError,
    ConfigError,
    DataError,
    DeadlineError,
    MailParseError,
    MailroomError,
    ModelError,
    PromotionRefused,
    StoreError,
    TaxonomyError,
)
from mailroom.web.json_response import to_json

MEDIA_TYPE = "application/problem+json"

_logger = logging.getLogger("mailroom.web")

# Error → (status, type, title); the first that fits.
_KINDS: tuple[tuple[type[MailroomError], int, str, str], ...] = (
    (BusyError, 429, "busy", "Too many emails are waiting"),
    (DeadlineError, 503, "deadline", "Not answered in time"),
    (MailParseError, 422, "unreadable-mail", "The message cannot be read"),
    (DataError, 422, "unusable-data", "The data cannot be used"),
    (ConfigError, 422, "unusable-argument", "An argument cannot be used"),
    (TaxonomyError, 422, "taxonomy", "The taxonomy does not allow this"),
    (PromotionRefused, 409, "promotion-refused", "The promotion was refused"),
    (ModelError, 409, "model", "The model cannot be used"),
    (StoreError, 503, "store", "The store does not answer"),
)
_TITLES = {
    400: ("bad-request", "The request cannot be understood"),
    401: ("unauthenticated", "A key is needed"),
    403: ("forbidden", "The key does not allow this"),
    404: ("not-found", "There is nothing here"),
    405: ("method-not-allowed", "This method is not offered here"),
    408: ("timeout", "The request did not arrive in time"),
    413: ("too-large", "The request is too large"),
    415: ("unsupported-media-type", "This kind of content is not taken"),
    422: ("invalid", "The request is invalid"),
}


class Problem(Exception):  # noqa: N818 - RFC 9457 names it so
    """An answer that is an error; `type_name` is the last part of the problem's type."""

    def __init__(
        self,
        status: int,
        detail: str,
        type_name: str | None = None,
        title: str | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        known_type, known_title = _TITLES.get(status, ("error", "Error"))
        self.status = status
        self.type_name, self.title = type_name or known_type, title or known_title
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def to_dict(self) -> dict[str, Any]:
        """The problem document."""
        return {
            "type": f"urn:mailroom:problem:{self.type_name}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }

    def response(self) -> Response:
        """The problem document as an answer."""
        return Response(to_json(self.to_dict()), self.status, self.headers, MEDIA_TYPE)


def problem_of(error: BaseException) -> Problem:
    """The problem that an error is to the caller; what nobody foresaw is a 500 without its details."""
    if isinstance(error, Problem):
        return error
    for kind, status, type_name, title in _KINDS:
        if isinstance(error, kind):
            retry = getattr(error, "retry_after_s", 1 if status == 503 else None)
            headers = {} if retry is None else {"Retry-After": str(retry)}
            return Problem(status, str(error), type_name, title, headers)
    if isinstance(error, HTTPException):
        return Problem(error.status_code, str(error.detail), headers=error.headers)
    if isinstance(error, RequestValidationError):
        return _invalid(error.errors())
    _logger.error("a request ended in an error that nobody foresaw", exc_info=error)
    return Problem(500, "the service made a mistake; its log says more", "internal", "Internal error")


def invalid_body(errors: list[Any]) -> Problem:
    """The problem of a body that pydantic refused; `errors` is what it says, without the input."""
    return _invalid(errors)


def _invalid(errors: Any) -> Problem:
    listed = [
        {"at": "/".join(str(part) for part in error.get("loc", ())), "problem": error.get("msg", "")}
        for error in errors
    ]
    first = listed[0] if listed else {"at": "", "problem": "invalid"}
    place = f"{first['at']}: " if first["at"] else ""
    return Problem(422, f"{place}{first['problem']}", errors=listed)


def install(app: FastAPI, page: Callable[[Request, Problem], Response]) -> None:
    """Have the errors that are foreseen answered as problem documents; a browser gets a `page` instead."""

    async def answer(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        wants_page = "text/html" in request.headers.get("accept", "")
        return page(request, problem) if wants_page else problem.response()

    for kind in (Problem, MailroomError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer)
