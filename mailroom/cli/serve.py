"""`mailroom serve`: the service over HTTP, until a signal ends it."""

import socket
from typing import TYPE_CHECKING, Annotated

import typer

from mailroom.cli.context import Context, say, stderr_console
from mailroom.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from mailroom.workspace import Workspace


def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on; else the setting serve.host.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=65535, help="Port; 0 takes a free one; else serve.port."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=64, help="Processes that answer; else serve.workers."),
    ] = None,
    as_worker: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Answer mail over HTTP; ends on Ctrl-C or SIGTERM, when what it took is answered.

    Several may run on one workspace; each follows promotions within a second. With --workers, several
    processes answer on one socket, and one that dies is replaced.

    Example:  mailroom -w desk serve --port 8025
    """
    settings: Context = context.obj
    _check_extra()
    if as_worker is not None:
        _work(settings, as_worker)
        return
    with settings.open_workspace() as workspace:
        count = workers or workspace.settings.serve.workers
        listener = _listen(workspace, host, port)
        if count == 1:
            _serve_alone(workspace, listener)
        else:
            version = workspace.version.id
            for notice in workspace.notices():
                say(stderr_console(), notice)
    if count > 1:
        _keep_workers(listener, count, version)
    say(stderr_console(), "ended; everything that was taken is answered")


def _serve_alone(workspace: "Workspace", listener: socket.socket) -> None:
    from mailroom.web.server import run
    from mailroom.workspace.service import Service

    console = stderr_console()
    with Service(workspace) as service:
        for notice in workspace.notices():
            say(console, notice)
        if not service.keys.any():
            say(console, "no keys yet: open to this machine alone; `mailroom keys create` makes one")
        _say_where(console, listener, service.live.current.version)
        run(service, listener)


def _keep_workers(listener: socket.socket, count: int, version: str) -> None:
    from mailroom.web.workers import Keeper, own_command

    console = stderr_console()
    keeper = Keeper(own_command(), listener, count, lambda line: say(console, line))
    keeper.run(lambda: _say_where(console, listener, f"{version} in {count} processes"))


def _work(settings: Context, inheritance: str) -> None:
    from mailroom.web.server import run_worker
    from mailroom.web.workers import Inherited
    from mailroom.workspace.service import Service

    inherited = Inherited.from_option(inheritance)
    with settings.open_workspace() as workspace, Service(workspace, inherited.workers) as service:
        run_worker(service, inherited)


def _listen(workspace: "Workspace", host: str | None, port: int | None) -> socket.socket:
    """A socket that listens, where the workspace's keys allow it."""
    from mailroom.store.keys import ApiKeys
    from mailroom.web.listening import is_loopback, listen

    chosen = host or workspace.settings.serve.host
    if not is_loopback(chosen) and all(key.revoked_at for key in ApiKeys(workspace.database).all()):
        raise ConfigError(
            f"{chosen}: expected an API key before others can reach the service, found none; make "
            "one with `mailroom keys create NAME --scope admin`, or listen on 127.0.0.1"
        )
    return listen(chosen, workspace.settings.serve.port if port is None else port)


def _say_where(console: "Console", listener: socket.socket, version: str) -> None:
    address, port = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    say(console, f"listening on http://{shown}:{port} with {version}")


def _check_extra() -> None:
    try:
        import fastapi  # noqa: F401
        import jinja2  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as exc:
        raise ConfigError(
            f"expected the packages of the service, found no {exc.name}; `pip install 'mailroom[serve]'`"
        ) from exc
