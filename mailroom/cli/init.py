"""`mailroom init`: a taxonomy and a base model → a workspace."""

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from mailroom.cli.context import say, stderr_console
from mailroom.config import workspace_of_environment
from mailroom.errors import ConfigError


def init(
    context: typer.Context,
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="The folder to make; else what `-w` or $MAILROOM_WORKSPACE names, else the current one.",
        ),
    ] = None,
    taxonomy: Annotated[
        Path,
        typer.Option("--taxonomy", metavar="FILE", readable=False, help="The label tree: YAML, JSON or CSV."),
    ] = ...,  # type: ignore[assignment]
    bi_encoder: Annotated[
        str, typer.Option(metavar="NAME", help="`embedded`, a model directory, or a hub id.")
    ] = "embedded",
    cross_encoder: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="`late-interaction` (compares the bi-encoder's tokens one by one), `none`, a model "
            "directory, or a hub id; `auto` is late interaction behind the embedded bi-encoder, none behind "
            "others.",
        ),
    ] = "auto",
    store: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where predictions are kept; postgresql://user@host/name for several machines.",
        ),
    ] = "sqlite:///mailroom.db",
) -> None:
    """Make a workspace: check the taxonomy, export the models, open the prediction log.

    Never asks a question and never touches a workspace that exists.

    Example:  mailroom init desk --taxonomy labels.yaml
    """
    from mailroom.workspace import create_workspace

    directory = _folder(directory, context.obj.workspace)
    console = stderr_console()
    started = time.monotonic()
    with console.status("Making the workspace") as status:
        workspace = create_workspace(
            directory, taxonomy, bi_encoder, cross_encoder, lambda step: status.update(step), store
        )
    with workspace:
        for notice in workspace.notices():
            say(console, notice)
        for encoder in workspace.slower_encoders():
            say(
                console,
                f"in int8 the {encoder} answers differently too often (figures in the manifest): fp32 is "
                "used, which takes about twice as long; there is nothing you need to do",
            )
        labels = len(workspace.taxonomy.assignable)
        typer.echo(
            f"{workspace.root}: {labels:,} labels, model {workspace.version.id} ({workspace.precision()}), "
            f"made in {time.monotonic() - started:.1f} s"
        )
        typer.echo(f"Next:  mailroom --workspace {shlex.quote(str(directory))} classify MAILBOX")


def _folder(directory: Path | None, workspace: Path | None) -> Path:
    """The one folder that was named, as DIR or by `-w`; ConfigError where they name two."""
    if directory and workspace and directory.resolve() != workspace.resolve():
        raise ConfigError(
            f"expected one folder to make, got {directory} and, by --workspace, {workspace}; leave one out"
        )
    return directory or workspace or workspace_of_environment() or Path()
