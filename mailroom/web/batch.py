"""JSON lines in, JSON lines out, both streamed: one answer a line, in the order of the lines.

What arrives is spooled to disk at once, whether its answers are read or not: a client that sends everything
before it reads anything would otherwise wait for the service while the service waits for it.
"""

import asyncio
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import IO, Any, NamedTuple

from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mailroom.web.json_response import to_json
from mailroom.web.problems import Problem, problem_of

# In memory up to this size, on disk beyond.
_SPOOL_BYTES = 1024 * 1024
_CHUNK = 64 * 1024

# One line → its answer under way; raises what cannot be taken at once.
Start = Callable[[bytes, int], Awaitable[dict[str, Any]]]


class _Line(NamedTuple):
    data: bytes
    too_long: bool = False


_NO_MORE = _Line(b"", too_long=True)


class BatchResponse(Response):
    """Reads the request while it answers."""

    media_type = "application/x-ndjson"

    def __init__(
        self, request: Request, start: Start, window: int, limits: tuple[int, int], ended: Callable[[], None]
    ) -> None:
        """`window` lines are under way at most; `limits` are the bytes of a line and of all of them.

        `ended` is called when the batch is over, however it ended.
        """
        super().__init__()
        self._ended = ended
        del self.headers["content-length"]
        self._request, self._start, self._window = request, start, window
        self._line_bytes, self._all_bytes = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer every line; a request that breaks off ends the answer with a problem line."""
        del scope, receive
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._stream(send)
        finally:
            self._ended()

    async def _stream(self, send: Send) -> None:
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as file:
            spool = _Spool(file, self._all_bytes)
            reading = asyncio.create_task(spool.fill(self._request))
            try:
                async for answer in self._answers(spool):
                    await send(
                        {"type": "http.response.body", "body": to_json(answer) + b"\n", "more_body": True}
                    )
                await reading
            finally:
                reading.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await reading
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _answers(self, spool: "_Spool") -> AsyncIterator[dict[str, Any]]:
        under_way: deque[tuple[int, asyncio.Future[dict[str, Any]]]] = deque()
        lines = spool.lines(self._line_bytes)
        coming: asyncio.Future[_Line] | None = asyncio.ensure_future(_following(lines))
        number = 0
        try:
            while coming is not None or under_way:
                # A client may wait for an answer before it sends the next line, and may send all at once.
                heads = {under_way[0][1]} if under_way else set()
                more = {coming} if coming is not None and len(under_way) < self._window else set()
                await asyncio.wait(heads | more, return_when=asyncio.FIRST_COMPLETED)
                if under_way and under_way[0][1].done():
                    yield await _answered(*under_way.popleft())
                if coming is not None and coming.done():
                    line, coming = coming.result(), None
                    if line is not _NO_MORE:
                        number += 1
                        coming = asyncio.ensure_future(_following(lines))
                        if line.too_long or line.data.strip():
                            under_way.append((number, asyncio.ensure_future(self._one(line, number))))
        finally:
            for task in [coming, *(future for _, future in under_way)]:
                if task is not None:
                    task.cancel()
        if spool.problem is not None:
            yield {"line": number + 1, "problem": spool.problem.to_dict()}

    async def _one(self, line: "_Line", number: int) -> dict[str, Any]:
        if line.too_long:
            raise Problem(413, f"expected a line of at most {self._line_bytes} bytes")
        return await self._start(line.data, number)


async def _following(lines: AsyncIterator[_Line]) -> _Line:
    # anext() with a default ends in a way that a task cannot hold.
    async for line in lines:
        return line
    return _NO_MORE


async def _answered(number: int, answer: "asyncio.Future[dict[str, Any]]") -> dict[str, Any]:
    try:
        return {"line": number, **await answer}
    except Exception as exc:  # noqa: BLE001 - whatever is wrong with one line, the others have their answer
        return {"line": number, "problem": problem_of(exc).to_dict()}


class _Spool:
    """A request's body on its way: written as it comes, read as it can be answered."""

    def __init__(self, file: IO[bytes], limit_bytes: int) -> None:
        self._file, self._limit = file, limit_bytes
        self._written = self._read = 0
        self._ended = False
        self._more = asyncio.Event()
        self.problem: Problem | None = None

    async def fill(self, request: Request) -> None:
        """Write the body; what is wrong with it is `problem`."""
        try:
            async for part in request.stream():
                if self._written + len(part) > self._limit:
                    self.problem = Problem(413, f"expected a batch of at most {self._limit} bytes")
                    return
                self._file.seek(self._written)
                self._file.write(part)
                self._written += len(part)
                self._more.set()
        except Exception as exc:  # noqa: BLE001 - the client went away, or the disk is full
            self.problem = problem_of(exc) if isinstance(exc, OSError) else Problem(400, "the body broke off")
        finally:
            self._ended = True
            self._more.set()

    async def lines(self, limit_bytes: int) -> AsyncIterator[_Line]:
        """Every line without its end; one that is longer than the limit comes without its data."""
        rest, too_long = b"", False
        while True:
            part = await self._next()
            pieces = (rest + part).split(b"\n")
            rest = pieces.pop() if part else b""
            for piece in pieces:
                yield _Line(b"", True) if too_long or len(piece) > limit_bytes else _Line(piece)
                too_long = False
            if len(rest) > limit_bytes:
                rest, too_long = b"", True
            if not part:
                return

    async def _next(self) -> bytes:
        while self._read >= self._written:
            if self._ended:
                return b""
            self._more.clear()
            await self._more.wait()
        self._file.seek(self._read)
        part = self._file.read(min(_CHUNK, self._written - self._read))
        self._read += len(part)
        return part
