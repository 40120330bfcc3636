"""The application on a socket, until a signal ends it: what was taken is answered first."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from mailroom.web.app import make_app
from mailroom.web.desk_elsewhere import DeskElsewhere
from mailroom.web.listening import is_loopback
from mailroom.web.workers import Inherited
from mailroom.workspace.service import Service

# Connections that are open at once; each costs some memory, whatever it asks for.
_MOST_CONNECTIONS = 1000
_KEEP_ALIVE_SECONDS = 30
_END_SECONDS = 30


def run(service: Service, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM."""
    make_server(service, listener.getsockname()[0]).run(sockets=[listener])


def run_worker(service: Service, inherited: Inherited) -> None:
    """Serve as one of several workers, until a signal, or until the keeper is gone."""
    listener = socket.socket(fileno=inherited.listener)
    control = socket.socket(fileno=inherited.control)
    sockets = [listener]
    if inherited.desk is not None:
        sockets.append(socket.socket(fileno=inherited.desk))
    server = make_server(service, listener.getsockname()[0], inherited)

    def end_with_keeper() -> None:
        control.recv(1)
        server.should_exit = True

    threading.Thread(target=end_with_keeper, name="mailroom-keeper", daemon=True).start()
    control.send(b"r")
    server.run(sockets=sockets)


def make_server(service: Service, host: str, inherited: Inherited | None = None) -> uvicorn.Server:
    """The server for a socket on this address, `inherited` where it is a worker; `should_exit` ends it."""
    loopback_only = is_loopback(host)
    if inherited is None:
        app: ASGIApp = make_app(service, loopback_only=loopback_only)
    else:
        app = make_app(service, loopback_only=loopback_only, figures=inherited.folder)
        if inherited.desk is None:
            app = DeskElsewhere(app, str(inherited.desk_path))
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_END_SECONDS,
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """Ends on a signal and returns: what was taken must be answered before the process goes."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Have the signals end the serving, and nothing else."""
        # Python takes signals in its main thread alone; elsewhere nobody but the caller ends the serving.
        in_main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if in_main else ()
        previous = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
