"""Requests for the review desk → the one worker that serves it: what reviewers have in hand is kept there."""

import asyncio

import h11
from starlette.types import ASGIApp, Receive, Scope, Send

from mailroom.web.pages import MOST_FORM_BYTES
from mailroom.web.problems import Problem

_DESK = "/review"
_CHUNK_BYTES = 65536
# A worker that died has another one in its place within seconds; its socket takes requests all the while.
_MOST_SECONDS = 30
_HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"))


class DeskElsewhere:
    """An application whose desk another process serves, on a Unix socket."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == _DESK or path.startswith(f"{_DESK}/")):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                response, answer = await self._ask(scope, body)
        except (OSError, TimeoutError, h11.ProtocolError):
            problem = Problem(503, "the review desk is starting; try again in a moment", "starting")
            await problem.response()(scope, receive, send)
            return
        headers = [(name, value) for name, value in response.headers if name not in _HOP_BY_HOP]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _ask(self, scope: Scope, body: bytes) -> tuple[h11.Response, bytes]:
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            connection = h11.Connection(h11.CLIENT)
            target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
            dropped = _HOP_BY_HOP | {b"content-length"}
            headers = [(name, value) for name, value in scope["headers"] if name not in dropped]
            headers += [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
            request = h11.Request(method=scope["method"], target=target, headers=headers)
            for event in (request, h11.Data(data=body), h11.EndOfMessage()):
                writer.write(connection.send(event) or b"")
            await writer.drain()
            return await _answer(connection, reader)
        finally:
            writer.close()


async def _read(receive: Receive) -> bytes:
    """The body, no more of it than shows the desk that it is too long."""
    body = b""
    while len(body) <= MOST_FORM_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body[: MOST_FORM_BYTES + 1]


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Response, bytes]:
    response: h11.Response | None = None
    answer = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK_BYTES))
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            answer += event.data
        elif isinstance(event, h11.EndOfMessage) and response is not None:
            return response, answer
        else:
            raise h11.RemoteProtocolError("expected the desk's answer, got the end of the connection")
