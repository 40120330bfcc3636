"""`mailroom serve`: the service over HTTP, until a signal ends it."""

from typing import Annotated

import typer

from mailroom.cli.context import Context, say, stderr_console
from mailroom.errors import ConfigError


def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on; else the setting serve.host.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=65535, help="Port; 0 takes a free one; else serve.port."),
    ] = None,
) -> None:
    """Answer mail over HTTP; ends on Ctrl-C or SIGTERM, when what it took is answered.

    Several may run on one workspace; each follows promotions within a second.

    Example:  mailroom -w desk serve --port 8025
    """
    settings: Context = context.obj
    console = stderr_console()
    with settings.open_workspace() as workspace:
        _check_extra()
        from mailroom.web.server import is_loopback, listen, run
        from mailroom.workspace.service import Service

        chosen = host or workspace.settings.serve.host
        with Service(workspace) as service:
            if not is_loopback(chosen) and all(key.revoked_at for key in service.keys.all()):
                raise ConfigError(
                    f"{chosen}: expected an API key before others can reach the service, found none; make "
                    "one with `mailroom keys create NAME --scope admin`, or listen on 127.0.0.1"
                )
            listener = listen(chosen, workspace.settings.serve.port if port is None else port)
            for notice in workspace.notices():
                say(console, notice)
            address, chosen_port = listener.getsockname()[:2]
            shown = f"[{address}]" if ":" in address else address
            say(console, f"listening on http://{shown}:{chosen_port} with {service.live.current.version}")
            run(service, listener)
    say(console, "ended; everything that was taken is answered")


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
