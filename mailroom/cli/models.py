"""`mailroom models`: the versions, what tells them apart, and which one answers."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailroom.cli.context import AsJson, Context, say, stderr_console, stdout_console, to_json_line
from mailroom.cli.tables import visible

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from mailroom.store.promotions import Promotion
    from mailroom.workspace.versions import Difference, VersionRow

app = typer.Typer(help="List, compare, promote and move model versions.", no_args_is_help=True)

MIB = 1024 * 1024

Version = Annotated[
    str,
    typer.Argument(metavar="VERSION", help="An id, a number, the beginning of an id, `current`, `previous`."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it is logged.")]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who; else your user name.")]


@app.command("list", short_help="The versions, oldest first.")
def list_command(
    context: typer.Context,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that the gate refused and nobody promoted.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the model versions; `*` marks the one that answers.

    Example:  mailroom models list --all
    """
    from mailroom.workspace.versions import Versions

    settings: Context = context.obj
    with settings.open_workspace(read_only=True) as workspace:
        found = Versions(workspace).rows()
    rows = [row for row in found if every or not row.is_refused]
    if as_json:
        for row in rows:
            typer.echo(to_json_line(row.to_dict()))
    else:
        stdout_console().print(_list_table(rows))
        if len(rows) < len(found):
            say(stderr_console(), f"{len(found) - len(rows)} refused by the gate (`--all` shows them)")


@app.command("show", short_help="One version: what it is made of, and when it answered.")
def show(
    context: typer.Context,
    version: Version = "current",
    verify: Annotated[bool, typer.Option("--verify", help="Check the sha256 of every file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a version: parent, base models, figures, what it learned from, and its promotions.

    Example:  mailroom models show current --verify
    """
    from dataclasses import asdict

    from mailroom.models.registry import load_version
    from mailroom.workspace.versions import Versions

    settings: Context = context.obj
    with settings.open_workspace(read_only=True) as workspace:
        versions = Versions(workspace)
        found = versions.find(version)
        if verify:
            load_version(found.directory, verify=True)
        current = versions.current()
        promotions = [entry for entry in versions.history() if entry.version == found.id]
    record: dict[str, Any] = {
        "id": found.id,
        "is_current": found.id == current,
        **asdict(found.manifest),
        "promotions": [entry.to_dict() for entry in promotions],
        "verified": verify,
    }
    if as_json:
        typer.echo(to_json_line(record))
    else:
        stdout_console().print(_show_table(record))


@app.command("diff", short_help="What tells two versions apart.")
def diff(
    context: typer.Context,
    one: Annotated[str, typer.Argument(metavar="VERSION", help="The one, as in `models show`.")],
    other: Annotated[str, typer.Argument(metavar="[OTHER]", help="The other.")] = "current",
    as_json: AsJson = False,
) -> None:
    """Compare two versions: figures, files, precision, and what they learned from.

    Example:  mailroom models diff previous current
    """
    from mailroom.workspace.versions import Versions

    settings: Context = context.obj
    with settings.open_workspace(read_only=True) as workspace:
        difference = Versions(workspace).diff(one, other)
    if as_json:
        typer.echo(to_json_line(difference.to_dict()))
    else:
        stdout_console().print(_diff_table(difference))


@app.command("history", short_help="Every promotion and rollback.")
def history(context: typer.Context, as_json: AsJson = False) -> None:
    """List every change of the version that answers: when, by whom, and why.

    Example:  mailroom models history
    """
    from mailroom.workspace.versions import Versions

    settings: Context = context.obj
    with settings.open_workspace(read_only=True) as workspace:
        entries = Versions(workspace).history()
    for entry in entries:
        if as_json:
            typer.echo(to_json_line(entry.to_dict()))
        else:
            typer.echo(visible(_promotion_line(entry)))


@app.command("promote", short_help="Let another version answer.")
def promote(
    context: typer.Context,
    version: Version,
    reason: Reason = None,
    by: By = None,
    force: Annotated[bool, typer.Option("--force", help="One that the gate refused, too.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make a version the one that answers, once all its files were checked.

    Runs that are under way finish with the version they began with.

    Example:  mailroom models promote v0003 --reason "measured on last week's mail"
    """
    from mailroom.workspace.user import current_user
    from mailroom.workspace.versions import Versions

    settings: Context = context.obj
    with settings.open_workspace() as workspace:
        versions = Versions(workspace)
        found = versions.find(version)
        _ask(f"Promote {found.id} in place of {versions.current()}?", yes)
        done = versions.promote(found.id, by or current_user(), reason or "promoted by hand", force)
    _print_promotion(done, as_json)


@app.command("rollback", short_help="Let the version before answer again.")
def rollback(
    context: typer.Context,
    reason: Reason = None,
    by: By = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Go back to the version that answered before the current one; a second time, to the one before that.

    Example:  mailroom models rollback --reason "refunds go to the wrong desk"
    """
    from mailroom.workspace.user import current_user
    from mailroom.workspace.versions import PREVIOUS, Versions

    settings: Context = context.obj
    with settings.open_workspace() as workspace:
        versions = Versions(workspace)
        target = versions.find(PREVIOUS)
        _ask(f"Go back from {versions.current()} to {target.id}?", yes)
        done = versions.rollback(by or current_user(), reason or "rolled back")
    _print_promotion(done, as_json)


@app.command("export", short_help="Write a version into one archive file.")
def export(
    context: typer.Context,
    version: Version,
    target: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Else VERSION.tar, here.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace a file that exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a version, every file checked, into one archive that `models import` takes.

    Example:  mailroom models export current -o desk.tar
    """
    from mailroom.workspace.versions import Versions

    settings: Context = context.obj
    with settings.open_workspace(read_only=True) as workspace:
        versions = Versions(workspace)
        found = versions.find(version)
        path = target or Path(f"{found.id}.tar")
        version_id, size = versions.export(found.id, path, replace=yes)
    record = {"version": version_id, "file": str(path), "size_bytes": size}
    typer.echo(to_json_line(record) if as_json else visible(f"{path}: {version_id}, {size / MIB:.1f} MiB"))


@app.command("import", short_help="Take a version from an archive.")
def import_command(
    context: typer.Context,
    archive: Annotated[
        Path, typer.Argument(metavar="FILE", readable=False, help="What `models export` wrote.")
    ],
    as_json: AsJson = False,
) -> None:
    """Take a version from an archive, every file checked; it answers nothing until it is promoted.

    Example:  mailroom models import desk.tar
    """
    from mailroom.workspace.versions import Versions

    settings: Context = context.obj
    with settings.open_workspace() as workspace:
        version, is_new = Versions(workspace).import_(archive)
    if as_json:
        typer.echo(to_json_line({"version": version.id, "is_new": is_new}))
    else:
        typer.echo(f"{version.id}: {'imported' if is_new else 'is here already'}")
        print(f"mailroom: `mailroom models promote {version.id}` lets it answer", file=sys.stderr)


@app.command("prune", short_help="Remove old versions.")
def prune(
    context: typer.Context,
    keep: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Newest versions that stay; else the setting `models.keep_versions`."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove old versions, never the current one, its parent, or the one that a rollback restores.

    Example:  mailroom models prune --keep 3 --dry-run
    """
    from mailroom.workspace.versions import Versions

    settings: Context = context.obj
    with settings.open_workspace(read_only=dry_run) as workspace:
        versions = Versions(workspace)
        wanted = versions.prunable(keep)
        if wanted and not dry_run:
            _ask(f"Remove {', '.join(wanted)}?", yes)
            wanted = versions.prune(keep)
    if as_json:
        typer.echo(to_json_line({"removed": [] if dry_run else wanted, "prunable": wanted}))
    else:
        verb = "would be removed" if dry_run else "removed"
        typer.echo("\n".join(f"{version}: {verb}" for version in wanted) or "nothing to remove")


def _ask(question: str, yes: bool) -> None:
    """Go on after a yes; without a terminal to ask on, the answer must stand in the command."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("expected --yes, since there is no terminal to ask on")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def _print_promotion(done: "Promotion", as_json: bool) -> None:
    typer.echo(to_json_line(done.to_dict()) if as_json else f"{done.version} answers from now on")


def _promotion_line(entry: "Promotion") -> str:
    return f"{entry.promoted_at:%Y-%m-%d %H:%M:%S}  {entry.version}  {entry.promoted_by}: {entry.reason}"


def _list_table(rows: "list[VersionRow]") -> "Table":
    from rich.table import Table

    table = Table("", "version", "made (UTC)", "decides by", "MiB", "from", "last promoted", box=None)
    table.columns[4].justify = "right"
    # Where the screen is narrow the reason is cut, and nothing else: an id is there to be copied.
    for column in table.columns[:-1]:
        column.no_wrap = True
    for row in rows:
        facts = row.to_dict()
        promoted = row.promotion
        table.add_row(
            "*" if row.is_current else "",
            row.id,
            (facts["created_at"] or "")[2:16].replace("T", " "),
            _stages(facts["cross_encoder_kind"]) if facts["decided_by"] else "",
            f"{row.size_bytes / MIB:.0f}",
            (facts["parent"] or "").partition("-")[0],
            _cut(visible(row.problem or _last_promoted(row.id, promoted, facts["refused"]))),
        )
    return table


def _cut(text: str) -> "Text":
    from rich.text import Text

    return Text(text, no_wrap=True, overflow="ellipsis")


def _stages(kind: str | None) -> str:
    """What decides, in a word or two."""
    return "retrieval" if kind is None else kind.replace("-", " ")


def _last_promoted(version: str, promotion: "Promotion | None", refused: list[str]) -> str:
    if promotion is not None:
        return f"{promotion.promoted_by}: {promotion.reason.replace(f'{version} promoted: ', '')}"
    return f"refused: {'; '.join(refused)}" if refused else "never"


def _show_table(record: dict[str, Any]) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from mailroom.workspace.versions import flat_rows, ranked_by

    table = Table(show_header=False, box=None)
    mark = " (current)" if record["is_current"] else ""
    table.add_row("version", f"{record['id']}{mark}{', every file checked' if record['verified'] else ''}")
    for name in (
        "created_at",
        "parent",
        "mailroom",
        "base_models",
        "precision",
        "metrics",
        "trained_from",
        "parity",
    ):
        for key, value in flat_rows(name, record[name]):
            table.add_row(key.replace("_", " "), escape(visible(value)))
    table.add_row("ranks by", ranked_by(record["files"]))
    total = sum(entry["bytes"] for entry in record["files"].values())
    table.add_row("files", f"{len(record['files'])}, {total / MIB:.1f} MiB")
    for entry in record["promotions"]:
        said = f"{entry['promoted_at'][:19].replace('T', ' ')} by {entry['promoted_by']}: {entry['reason']}"
        table.add_row("promoted", escape(visible(said)))
    return table


def _diff_table(difference: "Difference") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table("", difference.one, difference.other, box=None)
    for name, one, other in difference.rows():
        table.add_row(name, escape(visible(one)), escape(visible(other)))
    return table
