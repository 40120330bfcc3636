"""Mail in, answers out: one email as JSON or as it was sent, or a stream of JSON lines."""

import asyncio
import json
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from mailroom.errors import BusyError, DeadlineError
from mailroom.mail.sources import Message, given_message
from mailroom.web import bodies
from mailroom.web.auth import Caller
from mailroom.web.batch import BatchResponse
from mailroom.web.json_response import JsonResponse
from mailroom.web.problems import Problem
from mailroom.web.site import Site
from mailroom.workspace.intake import Answer

_WINDOW_PER_THREAD = 8
_RETRY_SECONDS = 0.02
_MESSAGE_CONTENT = {
    bodies.JSON: {"schema": bodies.EmailIn.model_json_schema(), "example": bodies.EMAIL_EXAMPLE},
    bodies.MESSAGE: {"schema": {"type": "string"}, "example": bodies.MESSAGE_EXAMPLE},
}
_LINES_CONTENT = {
    bodies.LINES[0]: {"schema": {"type": "string"}, "example": json.dumps(bodies.EMAIL_EXAMPLE) + "\n"}
}


def routes(site: Site) -> APIRouter:
    """The routes that take mail."""
    router = APIRouter(prefix="/v1", tags=["classify"])
    may = site.caller("classify")
    batches = _Turnstile(site.settings.max_batches)

    @router.post(
        "/classify",
        summary="Put one label on one email",
        description="Answered once it is durable. The same email again has the same answer (`known`). An "
        "email is known by its id: `id`, the Message-ID, else a hash of what was sent. What begins as "
        "something else than mail does (an image, an archive, binary data) is refused with 422.",
        response_model=bodies.AnswerOut,
        responses=bodies.problems(408, 413, 415, 422, 429, 503),
        openapi_extra={"requestBody": {"required": True, "content": _MESSAGE_CONTENT}},
    )
    async def classify(request: Request, caller: Annotated[Caller, Depends(may)]) -> Response:
        data = await bodies.read_body(request, site.settings.max_body_bytes)
        message = _message(bodies.content_type(request), data, caller)
        return JsonResponse(_to_dict(await _answer(site, message)))

    @router.post(
        "/classify/batch",
        summary="Put one label on each of many emails",
        description="One email as JSON a line; answers come a line each, in the same order and while the "
        "request is under way, with the number of the `line`. A line without an answer has a `problem`.",
        responses=bodies.problems(413, 415, 429)
        | {200: {"content": {bodies.LINES[0]: {}}, "description": "One answer a line"}},
        openapi_extra={"requestBody": {"required": True, "content": _LINES_CONTENT}},
    )
    async def classify_batch(request: Request, caller: Annotated[Caller, Depends(may)]) -> Response:
        if bodies.content_type(request) not in bodies.LINES:
            raise Problem(415, f"expected one of {', '.join(bodies.LINES)}")
        batches.enter()

        async def start(line: bytes, number: int) -> dict[str, Any]:
            message = _message(bodies.JSON, line, caller, f":{number}")
            return _to_dict(await _answer_when_there_is_room(site, message))

        window = site.service.workspace.threads * _WINDOW_PER_THREAD
        limits = (site.settings.max_body_bytes, site.settings.max_batch_bytes)
        return BatchResponse(request, start, window, limits, batches.leave)

    return router


class _Turnstile:
    """Lets so many in at once, and no more."""

    def __init__(self, most: int) -> None:
        self._most, self._inside = most, 0

    def enter(self) -> None:
        if self._inside >= self._most:
            raise BusyError(f"{self._most} batches are under way, which is the limit; send it again later", 5)
        self._inside += 1

    def leave(self) -> None:
        self._inside -= 1


def _message(content_type: str, data: bytes, caller: Caller, place: str = "") -> Message:
    origin = f"api:{caller.name}{place}"
    if content_type == bodies.MESSAGE:
        return given_message(data, origin)
    if content_type != bodies.JSON:
        raise Problem(415, f"expected {bodies.JSON} or {bodies.MESSAGE}, got {content_type[:100]!r}")
    email = bodies.parse(bodies.EmailIn, data)
    # In one form, whatever the order of the keys: without an id its hash is what the email is known by.
    row = email.model_dump(mode="json", exclude_defaults=True)
    canonical = json.dumps(row, sort_keys=True).encode()
    return Message(origin, "json", canonical, len(canonical), cut=False)


async def _answer(site: Site, message: Message) -> Answer:
    within_s = site.settings.deadline_ms / 1000
    future = asyncio.wrap_future(site.service.intake.submit(message, within_s))
    try:
        async with asyncio.timeout(within_s):
            return await future
    except TimeoutError as exc:
        raise DeadlineError(
            f"expected an answer within {site.settings.deadline_ms} ms; send it again later: under the same "
            "id it is answered once"
        ) from exc


async def _answer_when_there_is_room(site: Site, message: Message) -> Answer:
    while True:
        with suppress(BusyError):
            # A batch waits for its turn: it is the stream that is slow then, and no single answer.
            return await asyncio.wrap_future(site.service.intake.submit(message, float("inf")))
        await asyncio.sleep(_RETRY_SECONDS)


def _to_dict(answer: Answer) -> dict[str, Any]:
    return answer.prediction.to_dict() | {"known": answer.known, "warnings": list(answer.warnings)}
