"""What requests carry and answers hold, as the OpenAPI document describes it; and the reading of a body.

A body is read here and not by the framework, so that its size and the time it may take are limited.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import SkipJsonSchema

from mailroom.records import OUTSIDE, ReviewReason
from mailroom.web.problems import Problem, invalid_body

JSON = "application/json"
MESSAGE = "message/rfc822"
LINES = ("application/x-ndjson", "application/jsonl", "application/json-lines")
FORM = "application/x-www-form-urlencoded"

BODY_SECONDS = 30.0

_NUMBER = re.compile(r"[-+]?[\d._]*")

Body = TypeVar("Body", bound=BaseModel)


def _no_number(value: Any) -> Any:
    """Refuse what pydantic would take for seconds since 1970: a year that somebody typed may be meant."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value.strip()):
        raise ValueError("expected a time in ISO 8601, such as 2026-03-31T09:00:00Z")
    return value


Moment = Annotated[datetime, BeforeValidator(_no_number)]


class EmailIn(BaseModel):
    """One email as JSON; `id` is its Message-ID, or whatever it shall be known by."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"anyOf": [{"required": ["subject"]}, {"required": ["body"]}]}
    )

    id: str | None = Field(None, max_length=998)
    subject: str = ""
    body: str = ""
    metadata: dict[str, Any] = Field(default_factory=dict)
    received_at: Moment | None = None

    @model_validator(mode="after")
    def _has_text(self) -> "EmailIn":
        if not self.model_fields_set & {"subject", "body"}:
            raise ValueError("expected `subject` or `body`, got neither")
        return self


class FeedbackIn(BaseModel):
    """A person's word: on a prediction, or on an email that has one."""

    # As the validator below says it.
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"oneOf": [{"required": ["prediction_id"]}, {"required": ["email_id"]}]},
    )

    label: str = Field(
        min_length=1,
        max_length=1000,
        description=f"The right label: id, name, path or alias; or `{OUTSIDE}` where none of them fits",
    )
    prediction_id: Annotated[str, Field(max_length=100)] | SkipJsonSchema[None] = None
    email_id: Annotated[str, Field(max_length=1100)] | SkipJsonSchema[None] = None
    source: Literal["review", "move"] = "review"

    @model_validator(mode="after")
    def _has_target(self) -> "FeedbackIn":
        given = {"prediction_id", "email_id"} & self.model_fields_set
        if len(given) != 1 or self.prediction_id is self.email_id is None:
            raise ValueError("expected one of `prediction_id` and `email_id`")
        return self


class ReasonIn(BaseModel):
    """Why a model version is made the current one."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=1000)


class CandidateOut(BaseModel):
    """One label that was considered."""

    label: str
    similarity: float
    score: float | None
    probability: float


class PredictionOut(BaseModel):
    """A prediction; `candidates` are best first."""

    id: str
    email_id: str
    label: str
    path: list[str]
    probability: float
    margin: float
    needs_review: bool
    review_reasons: list[ReviewReason]
    candidates: list[CandidateOut]
    model: str
    taxonomy: str
    decided_by: str
    created_at: datetime
    latency_ms: dict[str, float]


class AnswerOut(PredictionOut):
    """The answer for an email; `known` where it had this answer before."""

    known: bool
    warnings: list[str]


class ProblemOut(BaseModel):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str


EMAIL_EXAMPLE = {
    "id": "<5f1c@example.org>",
    "subject": "Where is my parcel?",
    "body": "It was sent ten days ago, and the tracking page has not changed since.",
    "metadata": {"from": "ann@example.org"},
}
MESSAGE_EXAMPLE = (
    "From: ann@example.org\r\nMessage-ID: <5f1c@example.org>\r\nSubject: Where is my parcel?\r\n\r\n"
    "It was sent ten days ago.\r\n"
)


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body; Problem 413 where it is longer than the limit, 408 where it does not come."""
    _check_length(request, limit_bytes)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(request, limit_bytes)
    except TimeoutError as exc:
        raise Problem(408, f"expected the whole body within {BODY_SECONDS:.0f} s") from exc


async def _read(request: Request, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            raise too_large(limit_bytes)
        parts.append(part)
    return b"".join(parts)


def _check_length(request: Request, limit_bytes: int) -> None:
    length = request.headers.get("content-length", "0")
    if not length.isdecimal():
        raise Problem(400, "expected a number as Content-Length")
    if int(length) > limit_bytes:
        raise too_large(limit_bytes)


def too_large(limit_bytes: int) -> Problem:
    """The problem of a body over the limit."""
    return Problem(413, f"expected at most {limit_bytes} bytes", headers={"Connection": "close"})


def content_type(request: Request) -> str:
    """The media type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parse(model: type[Body], data: bytes) -> Body:
    """A body as the model; a Problem (422) says where it is wrong, never what it holds."""
    try:
        return model.model_validate_json(data)
    except ValidationError as exc:
        raise invalid_body(exc.errors(include_input=False, include_context=False, include_url=False)) from exc


def json_body(
    model: type[Body], limit_bytes: int, default: Body | None = None
) -> Callable[[Request], Awaitable[Body]]:
    """A dependency that reads a JSON body as the model; `default` serves where there is no body."""

    async def read(request: Request) -> Body:
        data = await read_body(request, limit_bytes)
        if not data and default is not None:
            return default
        if content_type(request) != JSON:
            raise Problem(415, f"expected {JSON}, got {content_type(request)[:100]!r}")
        return parse(model, data)

    return read


def described(model: type[BaseModel], example: Any, required: bool = True) -> dict[str, Any]:
    """The body of a request for the OpenAPI document."""
    content = {JSON: {"schema": model.model_json_schema(), "example": example}}
    return {"requestBody": {"required": required, "content": content}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route for the OpenAPI document."""
    content = {"application/problem+json": {"schema": ProblemOut.model_json_schema()}}
    always = (401, 403)
    return {status: {"description": "Problem", "content": content} for status in (*always, *statuses)}
