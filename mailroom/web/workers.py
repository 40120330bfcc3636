"""Several processes on one socket: a keeper that starts them, replaces those that die, and ends them all.

The keeper answers nothing itself and loads no model. Each worker is the same command with one more option,
which names what it inherits; a worker whose keeper is gone ends by itself.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mailroom.errors import ConfigError

# Time for what was taken to be answered, and some more, before a worker is ended by force.
_END_SECONDS = 40
_LOOK_SECONDS = 0.1
# A worker that dies so often before it was ever ready will not get ready.
_MOST_FAILURES = 3
_DESK = "desk"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a worker takes over from its keeper: descriptors of open sockets, and where the desk is.

    `control` tells the keeper that the worker is ready, and the worker that the keeper is gone. The worker
    with `desk` serves the review desk on that socket; the others pass the desk's requests on to `desk_path`.
    All of them keep their figures in `folder`.
    """

    listener: int
    control: int
    desk: int | None
    folder: Path
    workers: int

    @property
    def desk_path(self) -> Path:
        """Where the desk listens."""
        return self.folder / _DESK

    def to_option(self) -> str:
        """The value of the worker's option."""
        values = (self.listener, self.control, self.desk, str(self.folder), self.workers)
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def from_option(cls, text: str) -> Self:
        """What `to_option` made."""
        listener, control, desk, folder, workers = json.loads(text)
        return cls(listener, control, desk, Path(folder), workers)


@dataclass(slots=True)
class _Worker:
    process: "subprocess.Popen[bytes]"
    control: socket.socket
    ready: bool = False

    def look(self) -> None:
        """Find out whether it is ready."""
        if not self.ready:
            try:
                self.ready = bool(self.control.recv(1))
            except BlockingIOError:
                return


@dataclass(slots=True)
class _Place:
    """A worker's place, whoever fills it."""

    number: int
    worker: _Worker
    failures: int = 0


class Keeper:
    """Keeps so many workers on a listening socket until it is told to end."""

    def __init__(self, command: Sequence[str], listener: socket.socket, workers: int, say: Say) -> None:
        self._command, self._listener, self._count, self._say = list(command), listener, workers, say
        self._ending = False

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until SIGINT or SIGTERM; `ready` is called once, when all workers take mail.

        ConfigError where a worker cannot be started.
        """
        with tempfile.TemporaryDirectory(prefix="mailroom-") as name:
            folder = Path(name)
            with socket.socket(socket.AF_UNIX) as desk:
                desk.bind(str(folder / _DESK))
                desk.listen()
                self._keep(folder, desk, ready)

    def _keep(self, folder: Path, desk: socket.socket, ready: Callable[[], None]) -> None:
        previous = {number: signal.signal(number, self._end) for number in (signal.SIGINT, signal.SIGTERM)}
        places: list[_Place] = []
        try:
            places.extend(_Place(number, self._start(number, folder, desk)) for number in range(self._count))
            all_ready = False
            while not self._ending:
                for place in places:
                    self._look(place, folder, desk)
                if not all_ready and all(place.worker.ready for place in places):
                    all_ready = True
                    ready()
                time.sleep(_LOOK_SECONDS)
        finally:
            _end_all([place.worker for place in places])
            for signal_number, handler in previous.items():
                signal.signal(signal_number, handler)

    def _look(self, place: _Place, folder: Path, desk: socket.socket) -> None:
        worker = place.worker
        worker.look()
        code = worker.process.poll()
        if code is None or self._ending:
            return
        place.failures = 0 if worker.ready else place.failures + 1
        if place.failures >= _MOST_FAILURES:
            raise ConfigError(
                f"worker {place.number + 1} ended with code {code} before it was ready, "
                f"{place.failures} times; what it said stands above"
            )
        self._say(f"worker {place.number + 1} ended with code {code}; another one takes its place")
        _forget(worker.process.pid, folder)
        worker.control.close()
        place.worker = self._start(place.number, folder, desk)

    def _start(self, number: int, folder: Path, desk: socket.socket) -> _Worker:
        own, other = socket.socketpair()
        own.setblocking(False)
        inherited = Inherited(
            self._listener.fileno(),
            other.fileno(),
            desk.fileno() if number == 0 else None,
            folder,
            self._count,
        )
        kept = [self._listener.fileno(), other.fileno(), *([desk.fileno()] if number == 0 else [])]
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
        with other:
            process = subprocess.Popen(  # noqa: S603 - the command line that this process was started with
                [*self._command, "--as-worker", inherited.to_option()], pass_fds=kept, env=environment
            )
        return _Worker(process, own)

    def _end(self, *_: object) -> None:
        self._ending = True


def own_command() -> list[str]:
    """The command line of this process, to be run again with one more option."""
    return [sys.executable, *sys.orig_argv[1:]]


def _end_all(workers: Sequence[_Worker]) -> None:
    """Have all end when what they took is answered; by force where one does not."""
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _END_SECONDS
    for worker in workers:
        try:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        worker.control.close()


def _forget(pid: int, folder: Path) -> None:
    """Leave a dead worker out of the gauges; what it counted stays counted."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
