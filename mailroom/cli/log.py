"""`mailroom log`: the prediction log as a table, JSON lines or CSV."""

import csv
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from mailroom.cli.context import Context, output, stderr_console, to_json_line
from mailroom.errors import ConfigError, DataError
from mailroom.records import REVIEW_REASONS, ReviewReason

if TYPE_CHECKING:
    from mailroom.store.log_query import LogFilter, LoggedPrediction
    from mailroom.workspace import Workspace

# A screenful; an export has no limit.
ROWS_SHOWN = 20

When = Annotated[
    str | None, typer.Option(metavar="TIME", help="ISO date or time, UTC unless it says otherwise.")
]


def log(
    context: typer.Context,
    label: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Answered with this label, or one below it.")
    ] = None,
    since: When = None,
    until: When = None,
    review: Annotated[
        bool | None,
        typer.Option(
            "--review/--no-review",
            help="Waits for a person, or not: marked for review, the newest answer on its email, and nobody "
            "has corrected or confirmed it.",
        ),
    ] = None,
    reason: Annotated[
        ReviewReason | None,
        typer.Option(metavar="REASON", help=f"Marked for it: {', '.join(REVIEW_REASONS)}."),
    ] = None,
    margin_below: Annotated[float | None, typer.Option(metavar="M", help="Margin smaller than this.")] = None,
    margin_above: Annotated[float | None, typer.Option(metavar="M", help="Margin greater than this.")] = None,
    model: Annotated[str | None, typer.Option(metavar="VERSION", help="Made by this model version.")] = None,
    email: Annotated[str | None, typer.Option(metavar="ID", help="About the email with this id.")] = None,
    subject: Annotated[str | None, typer.Option(metavar="TEXT", help="Subject contains this text.")] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", metavar="N", min=1, help=f"Rows at most; {ROWS_SHOWN} for the table."),
    ] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Else the newest come first.")] = False,
    ids: Annotated[
        bool, typer.Option("--ids", help="Begin each row with the digits that `mailroom correct` takes.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON record a prediction, all that fit.")
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Comma-separated values with a header, all that fit.")
    ] = False,
    target: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write here instead of stdout.")
    ] = None,
) -> None:
    """List, filter and export predictions.

    Example:  mailroom log --review --margin-below 0.1 --csv -o unsure.csv
    """
    from mailroom.store.log_query import LogFilter

    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    settings: Context = context.obj
    wanted = LogFilter(
        since=moment(since),
        until=moment(until),
        waiting=review,
        reason=reason,
        margin_below=margin_below,
        margin_above=margin_above,
        model=model,
        email_id=email,
        subject_contains=subject,
        limit=limit if limit or as_json or as_csv else ROWS_SHOWN,
        newest_first=not oldest_first,
    )
    with settings.open_workspace(read_only=True) as workspace, output(target) as stream:
        if label is not None:
            wanted = replace(wanted, labels=labels_meant(label, workspace))
        rows = workspace.log.query(wanted)
        if as_json:
            _print_json(rows, stream)
        elif as_csv:
            _print_csv(rows, stream)
        else:
            _print_table(rows, stream, ids)
            _say_what_is_left(workspace.log.count(_without_limit(wanted)), wanted)


def moment(text: str | None) -> datetime | None:
    """A time as an option names it, UTC unless it says otherwise."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as exc:
        raise typer.BadParameter(f"expected a date such as 2026-03-31, got {text!r}") from exc
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def labels_meant(text: str, workspace: "Workspace") -> tuple[str, ...]:
    """The labels that `--label` means, of the taxonomy or of the log; ConfigError where there is none."""
    from mailroom.workspace.label_filter import labels_meant

    try:
        return labels_meant(text, workspace)
    except DataError as exc:
        raise ConfigError(f"--label: {exc}") from exc


def _without_limit(wanted: "LogFilter") -> "LogFilter":
    return replace(wanted, limit=None)


def _record(row: "LoggedPrediction") -> dict[str, Any]:
    return {
        **row.prediction.to_dict(),
        "subject": row.subject,
        "sender": row.sender,
        "received_at": row.received_at.isoformat() if row.received_at else None,
        "origin": row.origin,
    }


def _print_json(rows: "Iterable[LoggedPrediction]", stream: IO[str]) -> None:
    for row in rows:
        print(to_json_line(_record(row)), file=stream)


def _print_csv(rows: "Iterable[LoggedPrediction]", stream: IO[str]) -> None:
    from mailroom.cli.classify import CSV_FIELDS, csv_row

    extra = ("subject", "sender", "received_at", "origin")
    writer = csv.DictWriter(stream, CSV_FIELDS, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        record = _record(row)
        writer.writerow(csv_row(row.prediction) | {name: record[name] for name in extra})


def _print_table(rows: "Iterable[LoggedPrediction]", stream: IO[str], with_ids: bool) -> None:
    from mailroom.cli.tables import prediction_rows, print_heading

    print_heading(stream, with_ids)
    line = prediction_rows(stream, with_ids)
    for row in rows:
        print(line(row.prediction, row.subject), file=stream)


def _say_what_is_left(count: int, wanted: "LogFilter") -> None:
    if wanted.limit is None:
        raise ConfigError("a table has a limit")
    shown = min(count, wanted.limit)
    more = f"; {count - shown:,} more fit (--limit, --json or --csv show them)" if count > shown else ""
    stderr_console().print(
        f"{shown:,} prediction{'' if shown == 1 else 's'}{more}", markup=False, soft_wrap=True
    )
