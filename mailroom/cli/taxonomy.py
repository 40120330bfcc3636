"""`mailroom taxonomy check` and `mailroom taxonomy tree`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailroom.cli.context import AsJson, Context, stdout_console, to_json_line

if TYPE_CHECKING:
    from mailroom.taxonomy import Problem

app = typer.Typer(help="Check or draw a label tree.", no_args_is_help=True)

TaxonomyFile = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", readable=False, help="A taxonomy file; else the workspace's own."),
]


@app.command("check", short_help="Find what is wrong or unclear in a label tree.")
def check_command(context: typer.Context, file: TaxonomyFile = None, as_json: AsJson = False) -> None:
    """Find duplicates, cycles, unknown overlaps, and labels that the embedder cannot tell apart.

    Exits with 1 if there is an error; warnings alone exit with 0. Without a workspace the texts are compared
    as written; in one, by its bi-encoder as well.

    Example:  mailroom taxonomy check labels.yaml
    """
    from mailroom.taxonomy import format_problem
    from mailroom.workspace.taxonomy_check import check_taxonomy

    settings: Context = context.obj
    path, problems, labels = check_taxonomy(file, settings.workspace)
    if as_json:
        typer.echo(to_json_line({"file": str(path), "labels": labels, "problems": _records(problems)}))
    else:
        for problem in problems:
            typer.echo(format_problem(path, problem))
        verdict = "no problems" if not problems else f"{len(problems)} problem(s)"
        print(f"{path}: {labels:,} assignable labels, {verdict}", file=sys.stderr)
    if any(problem.severity == "error" for problem in problems):
        raise typer.Exit(1)


@app.command("tree", short_help="Draw a label tree.")
def tree(context: typer.Context, file: TaxonomyFile = None) -> None:
    """Draw the tree, in a workspace with the number of predictions of each label.

    Example:  mailroom taxonomy tree labels.yaml
    """
    from mailroom.taxonomy import load_taxonomy, render_tree

    settings: Context = context.obj
    if file is not None:
        stdout_console().print(render_tree(load_taxonomy(file)))
        return
    with settings.open_workspace(read_only=True) as workspace:
        stdout_console().print(render_tree(workspace.taxonomy, workspace.log.count_by_label()))


def _records(problems: "list[Problem]") -> list[dict[str, object]]:
    return [
        {"severity": problem.severity, "line": problem.line, "message": problem.message}
        for problem in problems
    ]
