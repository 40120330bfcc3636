"""`mailroom keys` and `mailroom audit`: who may use the service, and who changed what."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mailroom.cli.context import AsJson, Context, say, stderr_console, to_json_line
from mailroom.cli.tables import printable

if TYPE_CHECKING:
    from mailroom.store.keys import ApiKey

app = typer.Typer(help="Make, list or revoke keys of the service.", no_args_is_help=True)


@app.command("create", short_help="Make a key and print it, once.")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what uses it: `ann`, `mail gateway`.")],
    scope: Annotated[
        list[str],
        typer.Option(metavar="SCOPE", help="classify (send mail), review (read, correct), admin (all)."),
    ],
    as_json: AsJson = False,
) -> None:
    """Make a key; it is printed now and can never be shown again, since only its hash is kept.

    Feedback and changes are recorded under the key's name.

    Example:  mailroom keys create ann --scope review --scope classify
    """
    from mailroom.store.keys import ApiKeys
    from mailroom.workspace.user import current_user

    settings: Context = context.obj
    with settings.open_workspace() as workspace:
        keys = ApiKeys(workspace.database)
        is_first = not keys.any()
        key, token = keys.create(name, scope, current_user())
    typer.echo(to_json_line(key.to_dict() | {"token": token}) if as_json else token)
    console = stderr_console()
    say(console, f"key {key.id} for {printable(key.name)}; keep it, it is not shown again")
    if is_first:
        say(console, "from now on the service wants a key of everybody, in the browser too")


@app.command("list", short_help="List the keys, without their secrets.")
def list_command(context: typer.Context, as_json: AsJson = False) -> None:
    """List every key that was ever made: id, name, scopes, when it was made, and whether it was revoked.

    Example:  mailroom keys list
    """
    from mailroom.store.keys import ApiKeys

    settings: Context = context.obj
    with settings.open_workspace(read_only=True) as workspace:
        for key in ApiKeys(workspace.database).all():
            typer.echo(to_json_line(key.to_dict()) if as_json else _row(key))


@app.command("revoke", short_help="End a key at once and for good.")
def revoke(
    context: typer.Context,
    key_id: Annotated[
        str, typer.Argument(metavar="ID", help="The key's id, as `mailroom keys list` shows it.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
) -> None:
    """End a key, and every browser session that was begun with it.

    Example:  mailroom keys revoke 3f9c1b2a4d5e --yes
    """
    from mailroom.store.keys import ApiKeys
    from mailroom.workspace.user import current_user

    settings: Context = context.obj
    if not yes and not (sys.stdin.isatty() and typer.confirm(f"Revoke {key_id} for good?", err=True)):
        raise typer.BadParameter("expected --yes, since a revoked key cannot be brought back")
    with settings.open_workspace() as workspace:
        key = ApiKeys(workspace.database).revoke(key_id, current_user())
    say(stderr_console(), f"key {key.id} ({printable(key.name)}) is revoked")


def audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="Rows at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List who changed what: keys, log-ins, promotions; newest first.

    Example:  mailroom audit -n 20
    """
    from mailroom.store.audit import AuditLog

    settings: Context = context.obj
    with settings.open_workspace(read_only=True) as workspace:
        for entry in AuditLog(workspace.database).entries(limit):
            if as_json:
                typer.echo(to_json_line(entry.to_dict()))
                continue
            when = entry.at.strftime("%Y-%m-%d %H:%M:%S")
            who = printable(entry.actor)
            what = printable(f"{entry.action}  {entry.target}  {entry.detail}")
            typer.echo(f"{when}  {who:<16}  {what}")


def _row(key: "ApiKey") -> str:
    scopes = ", ".join(key.to_dict()["scopes"])
    state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "active"
    return f"{key.id}  {printable(key.name):<24}  {scopes:<24}  {key.created_at:%Y-%m-%d}  {state}"
