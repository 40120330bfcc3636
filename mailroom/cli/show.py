"""`mailroom show`: what of a message the models read, what was taken out, and why."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from mailroom.cli.context import AsJson, Context, stdout_console, to_json_line
from mailroom.errors import ConfigError


def show(
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(metavar="FILE", readable=False, help="A message or a mailbox; - is stdin.")
    ],
    number: Annotated[
        int,
        typer.Option(
            "--number", "-n", metavar="N", min=1, help="Which message of a mailbox, counted from 1."
        ),
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Print what was kept of a message and what was taken out, with reasons.

    Example:  mailroom show inbox.mbox --number 17
    """
    from mailroom.mail.read import read_email
    from mailroom.mail.show import render, to_dict
    from mailroom.mail.sources import iter_messages

    settings: Context = context.obj
    limits = settings.settings().mail
    message = next(islice(iter_messages("-" if str(path) == "-" else path, limits), number - 1, None), None)
    if message is None:
        raise ConfigError(f"{path}: expected at least {number} message(s); choose a smaller --number")
    read = read_email(message, limits)
    if as_json:
        typer.echo(to_json_line(to_dict(read)))
    else:
        stdout_console().print(render(read, message.origin))
