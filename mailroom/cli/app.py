"""The tree of commands, the options that all share, and errors → exit codes (1 failure, 2 usage)."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from mailroom import __version__
from mailroom.cli import classify, evaluate, init, log, show, taxonomy
from mailroom.cli.context import Context
from mailroom.errors import MailroomError

app = typer.Typer(
    name="mailroom",
    help="Every email to the one right desk: exactly one label of your taxonomy on every email.",
    epilog="Example:  mailroom init desk --taxonomy labels.yaml; mailroom -w desk classify inbox.mbox",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("init")(init.init)
app.command("classify")(classify.classify)
app.command("evaluate")(evaluate.evaluate)
app.command("show")(show.show)
app.command("log")(log.log)
app.add_typer(taxonomy.app, name="taxonomy")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mailroom {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            metavar="DIR",
            help="The workspace; else $MAILROOM_WORKSPACE, else the nearest upward with mailroom.toml.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options that stand before the command."""
    del version
    context.obj = Context(workspace)


def main() -> None:
    """Run one command; a MailroomError becomes one line on stderr and exit code 1."""
    # A reader that stops early (`| head`) ends the run quietly, as it does for every Unix filter.
    try:
        app()
    except MailroomError as exc:
        print(f"mailroom: {exc}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("mailroom: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
