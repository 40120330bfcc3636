"""The tree of commands, the options that all share, and errors → exit codes.

0 done, 1 failure, 2 usage, 130 interrupted (143 where it was SIGTERM, 141 where the reader went away).
"""

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from mailroom import __version__
from mailroom.cli import (
    adapt,
    api_keys,
    classify,
    correct,
    curate,
    drift,
    evaluate,
    feedback,
    init,
    learn,
    log,
    models,
    replay,
    review,
    serve,
    show,
    taxonomy,
)
from mailroom.cli.context import Context
from mailroom.cli.tables import visible
from mailroom.errors import MailroomError

EXAMPLE = """\b
Example:  mailroom init desk --taxonomy labels.yaml
          mailroom -w desk classify inbox.mbox"""

# typer has brought click as a package of its own or inside itself; the base class is the same by descent.
ClickException = cast(type[Exception], typer.BadParameter.__mro__[2])

app = typer.Typer(
    name="mailroom",
    help="Every email to the one right desk: exactly one label of your taxonomy on every email.",
    epilog=EXAMPLE,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("init", short_help="Make a workspace from a taxonomy.")(init.init)
app.command("classify")(classify.classify)
app.command("evaluate", short_help="Measure the workspace on labelled emails.")(evaluate.evaluate)
app.command("curate", short_help="Say what the next cycle would learn from.")(curate.curate)
app.command("learn", short_help="Learn from corrections, and promote what is no worse.")(learn.learn)
app.command("adapt", short_help="Use the encoder to unlabelled mail.")(adapt.adapt)
app.command("replay", short_help="Play labelled mail as weeks of learning.")(replay.replay)
app.command("show", short_help="Print what is kept of a message, and what is not.")(show.show)
app.command("log")(log.log)
app.command("drift", short_help="Has the mail moved since the weeks before?")(drift.drift)
app.add_typer(models.app, name="models")
app.command("correct", short_help="Say which label an email should have had.")(correct.correct)
app.command("review", short_help="Judge the emails most worth a person's time.")(review.review)
app.add_typer(feedback.app, name="feedback")
app.add_typer(taxonomy.app, name="taxonomy")
app.command("serve", short_help="Answer mail over HTTP.")(serve.serve)
app.add_typer(api_keys.app, name="keys")
app.command("audit", short_help="List who changed what.")(api_keys.audit)


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command, by default the process's own, and exit; an error is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is shown by its code, and is no reason to stop.
        with contextlib.suppress(AttributeError):
            cast(Any, stream).reconfigure(errors="backslashreplace")
    code = _exit_code(sys.argv[1:] if arguments is None else list(arguments))
    if arguments is None:
        # The work is done and its outcome said; a late Ctrl-C must not turn it into another one.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    try:
        _run(arguments)
    except typer.Exit as exc:
        return exc.exit_code
    except ClickException as exc:
        return _explain_usage(exc)
    except MailroomError as exc:
        _say(str(exc))
        return 1
    except KeyboardInterrupt:
        _say("interrupted")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # A reader that stops early (`| head`) ends the run quietly, as it does for every Unix filter.
        _drop_stdout()
        return 128 + signal.SIGPIPE
    except OSError as exc:
        _drop_stdout()
        place = exc.filename or "standard output"
        _say(f"{place}: cannot be read or written: {exc.strerror}; check it and the space on its disk")
        return 1
    return 0


def _workspace_first(arguments: list[str]) -> list[str]:
    """The arguments with `--workspace DIR` in front, where it is read; people write it at the end too."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for place, argument in enumerate(arguments[:end]):
        if argument in ("-w", "--workspace") and place + 1 < end:
            return [*arguments[place : place + 2], *arguments[:place], *arguments[place + 2 :]]
        if argument.startswith("--workspace="):
            return [argument, *arguments[:place], *arguments[place + 1 :]]
    return arguments


def _run(arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    with command.make_context("mailroom", _workspace_first(arguments)) as context:
        command.invoke(context)
    sys.stdout.flush()


def _explain_usage(exc: Any) -> int:
    message = exc.format_message()
    if "\n" in message:  # no command at all: the help is the answer
        print(message, file=sys.stderr)
    else:
        command = exc.ctx.command_path if exc.ctx is not None else "mailroom"
        _say(f"{message} (`{command} --help` shows what it takes)")
    return int(exc.exit_code)


def _say(message: str) -> None:
    print(f"mailroom: {visible(message)}", file=sys.stderr)


def _drop_stdout() -> None:
    """Keep the interpreter from flushing at its end what nobody can take any more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
