"""Raw messages → answers, several emails side by side, in the order in which they came.

Two steps a message, both in the pool: read (parse and clean), then classify. Between them the caller's
`admit` says which emails are new, many at a time, so that one look into the log serves a batch. At most a
window of messages is held, so a mailbox of any size runs in constant memory.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

from mailroom.errors import MailroomError
from mailroom.mail.read import ReadEmail
from mailroom.mail.sources import Message
from mailroom.records import Email, Prediction

# Enough to keep every thread busy while one long email is being read, small enough to stop quickly.
WINDOW_PER_THREAD = 16
# Below this many emails under way the next batch is admitted; above it, read messages gather, so that
# one look into the log serves several.
LOW_WATER_PER_THREAD = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message: a prediction, an email that needed none, or an error; never two of them."""

    message: Message
    read: ReadEmail | None = None
    email: Email | None = None
    prediction: Prediction | None = None
    error: str | None = None

    @property
    def skipped(self) -> bool:
        """True where the email already has its answer."""
        return self.prediction is None and self.error is None


@dataclass(frozen=True, slots=True)
class Steps:
    """The three things done with a message; `admit` gives the email to classify, or None to skip it."""

    read: Callable[[Message], ReadEmail]
    admit: Callable[[Sequence[ReadEmail]], list[Email | None]]
    classify: Callable[[Email], Prediction]


def answer(messages: Iterable[Message], steps: Steps, threads: int) -> Generator[Outcome, None, None]:
    """Yield one Outcome a message, in order. An error of reading is an Outcome; one of a model is raised."""
    with ThreadPoolExecutor(threads, thread_name_prefix="mailroom") as pool:
        pipeline = _Pipeline(pool, iter(messages), steps, threads)
        try:
            yield from pipeline.outcomes()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Pipeline:
    """The two queues of one run: messages being read, and admitted emails being classified."""

    def __init__(
        self, pool: ThreadPoolExecutor, messages: Iterator[Message], steps: Steps, threads: int
    ) -> None:
        self._pool, self._messages, self._steps = pool, messages, steps
        self._window, self._low_water = threads * WINDOW_PER_THREAD, threads * LOW_WATER_PER_THREAD
        self._reading: deque[tuple[Message, Future[ReadEmail]]] = deque()
        self._answering: deque[tuple[Outcome, Future[Prediction] | None]] = deque()

    def outcomes(self) -> Iterator[Outcome]:
        while True:
            self._start_reading()
            if not self._reading and not self._answering:
                return
            hungry = len(self._answering) < self._low_water
            self._wait(hungry)
            if hungry:
                self._admit()
            yield from self._finished()

    def _start_reading(self) -> None:
        free = self._window - len(self._reading) - len(self._answering)
        for message in islice(self._messages, max(free, 0)):
            self._reading.append((message, self._pool.submit(self._steps.read, message)))

    def _wait(self, hungry: bool) -> None:
        heads: list[Future[Any]] = []
        if self._answering:
            if (future := self._answering[0][1]) is None:
                return
            heads.append(future)
        if self._reading and hungry:
            heads.append(self._reading[0][1])
        wait(heads, return_when=FIRST_COMPLETED)

    def _admit(self) -> None:
        """Move every message at the head that has been read on to classification, in one batch."""
        batch: list[tuple[Message, ReadEmail | None, str | None]] = []
        while self._reading and self._reading[0][1].done():
            message, future = self._reading.popleft()
            batch.append((message, *_read_result(message, future)))
        admitted = iter(self._steps.admit([read for _, read, _ in batch if read is not None]))
        for message, read, error in batch:
            email = next(admitted) if read is not None else None
            outcome = Outcome(message, read, email, error=error)
            self._answering.append((outcome, self._submit(email)))

    def _submit(self, email: Email | None) -> Future[Prediction] | None:
        return None if email is None else self._pool.submit(self._steps.classify, email)

    def _finished(self) -> Iterator[Outcome]:
        while self._answering:
            outcome, future = self._answering[0]
            if future is not None and not future.done():
                return
            self._answering.popleft()
            if future is not None:
                outcome = Outcome(outcome.message, outcome.read, outcome.email, future.result())
            yield outcome


def _read_result(message: Message, future: Future[ReadEmail]) -> tuple[ReadEmail | None, str | None]:
    try:
        return future.result(), None
    except MailroomError as exc:
        return None, str(exc)
    except Exception as exc:  # noqa: BLE001 - a fault in reading one message must not cost the others
        return None, f"{message.origin}: could not be read ({type(exc).__name__}); please report this message"
