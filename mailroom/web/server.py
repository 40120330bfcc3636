"""The application on a socket, until a signal ends it: what was taken is answered first."""

import ipaddress
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from mailroom.errors import ConfigError
from mailroom.web.app import make_app
from mailroom.workspace.service import Service

# Connections that are open at once; each costs some memory, whatever it asks for.
_MOST_CONNECTIONS = 1000
_KEEP_ALIVE_SECONDS = 30
_END_SECONDS = 30


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; ConfigError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    except OSError as exc:
        raise ConfigError(
            f"{host}:{port}: cannot be listened on: {exc.strerror}; choose another with --host and --port"
        ) from exc


def run(service: Service, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM."""
    make_server(service, listener.getsockname()[0]).run(sockets=[listener])


def make_server(service: Service, host: str) -> uvicorn.Server:
    """The server for a socket on this address; `should_exit` ends it."""
    config = uvicorn.Config(
        make_app(service, loopback_only=is_loopback(host)),
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
