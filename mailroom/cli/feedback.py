"""`mailroom feedback import`, `list` and `show`: people's words on emails, in bulk and one by one."""

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import typer

from mailroom.cli.context import AsJson, Context, output, say, stderr_console, to_json_line
from mailroom.cli.feedback_show import feedback_show
from mailroom.cli.log import When, labels_meant, moment
from mailroom.cli.tables import DIM, ID_WIDTH, RESET, fit, printable, row_widths

if TYPE_CHECKING:
    from rich.console import Console

    from mailroom.records import FeedbackSource
    from mailroom.store.feedback import LoggedFeedback
    from mailroom.taxonomy import Taxonomy
    from mailroom.workspace.feedback_import import ImportReport

# More of them say the same thing; --json and --set-aside have them all.
PROBLEMS_SHOWN = 20
ROWS_SHOWN = 20
# What a row of the list takes beside label and subject.
_FIXED_WIDTH = 8 + 1 + 10 + 1 + 1 + 12 + 1 + 6 + 1 + 10 + 1
CSV_FIELDS = (
    "id", "email_id", "subject", "label", "wrong_label", "prediction_id", "reviewer", "source", "created_at"
)  # fmt: skip

app = typer.Typer(help="Import, list and trace what people said about labels.", no_args_is_help=True)

Source = Annotated[
    str,
    typer.Option(metavar="WORD", help="How it was said: import, review, audit (drawn at random) or move."),
]


@app.command("import", short_help="Take labelled history or corrections from a file.")
def import_command(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", readable=False, help="JSON lines or CSV; - is stdin.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every row and write nothing.")] = False,
    reviewer: Annotated[
        str, typer.Option(metavar="NAME", help="Whose word it is where a row does not tell.")
    ] = "import",
    source: Source = "import",
    set_aside: Annotated[
        Path | None,
        typer.Option(
            "--set-aside", metavar="FILE", help="Write the rows that were not taken here, to mend them."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take labelled emails from a file: rows with a label, and the email.

    The email is a `prediction_id`, an `email_id`, or the text itself (`subject`, `body`); `reviewer` and
    `created_at` are optional. Labels that are unknown, retired or groups, rows that repeat, and texts with
    two labels are reported with their lines and set aside: they are never learned from. Exits with 1 if any
    row but a repeated one was set aside. Importing a file again adds nothing.

    Example:  mailroom feedback import history.csv --dry-run
    """
    from mailroom.cli.progress import MailProgress
    from mailroom.mail.sources import source_size_bytes
    from mailroom.workspace.feedback_import import FeedbackImport

    settings: Context = context.obj
    console = stderr_console()
    path: Path | Literal["-"] = "-" if str(file) == "-" else file
    with settings.open_workspace(read_only=dry_run) as workspace:
        if not dry_run:
            workspace.register_taxonomy()
        run = FeedbackImport(workspace, reviewer, _source(source), dry_run)
        with MailProgress(console, source_size_bytes(path), "rows") as progress:
            report = run.run(path, progress.advance)
    if set_aside is not None:
        _write_set_aside(report, set_aside)
    if as_json:
        typer.echo(to_json_line(report.to_dict() | {"dry_run": dry_run}))
    else:
        _report(report, str(file), dry_run, set_aside, console)
    if report.failed:
        raise typer.Exit(1)


@app.command("list", short_help="List, filter and export what people said.")
def list_command(
    context: typer.Context,
    label: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Given this label, or one below it.")
    ] = None,
    reviewer: Annotated[str | None, typer.Option(metavar="NAME", help="Said by this person.")] = None,
    source: Annotated[
        str | None, typer.Option(metavar="WORD", help="Said by import, review, audit or move.")
    ] = None,
    corrections: Annotated[
        bool | None, typer.Option("--corrections/--confirmations", help="The answer was wrong, or was not.")
    ] = None,
    email: Annotated[str | None, typer.Option(metavar="ID", help="About the email with this id.")] = None,
    since: When = None,
    until: When = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="Only what no later word on the email supersedes.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", metavar="N", min=1, help=f"Rows at most; {ROWS_SHOWN} for the table."),
    ] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Else the newest come first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON record a row, all that fit.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values, all that fit.")] = False,
    target: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write here instead of stdout.")
    ] = None,
) -> None:
    """List what people said, the newest first.

    Example:  mailroom feedback list --corrections --since 2026-03-01 --csv -o corrections.csv
    """
    from mailroom.store.feedback import FeedbackFilter

    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    settings: Context = context.obj
    with settings.open_workspace(read_only=True) as workspace, output(target) as stream:
        wanted = FeedbackFilter(
            labels=labels_meant(label, workspace) if label is not None else None,
            reviewer=reviewer,
            source=_source(source) if source is not None else None,
            corrections=corrections,
            email_id=email,
            since=moment(since),
            until=moment(until),
            latest_only=latest,
            limit=limit if limit or as_json or as_csv else ROWS_SHOWN,
            newest_first=not oldest_first,
        )
        rows = workspace.feedback.query(wanted)
        if as_json:
            for row in rows:
                print(to_json_line(_record(row)), file=stream)
        elif as_csv:
            _print_csv(rows, stream)
        else:
            shown = _print_table(rows, workspace.taxonomy, stream)
            words = "1 row" if shown == 1 else f"{shown:,} rows"
            more = "; more may fit (--limit, --json or --csv show them)" if shown == wanted.limit else ""
            stderr_console().print(f"{words}{more}", markup=False)


app.command("show", short_help="Trace a correction: who was wrong, what learned it, is it right today.")(
    feedback_show
)


def _source(text: str) -> "FeedbackSource":
    from mailroom.records import FeedbackSource

    if text not in get_args(FeedbackSource):
        raise typer.BadParameter(
            f"--source: expected one of {', '.join(get_args(FeedbackSource))}, got {text!r}"
        )
    return cast("FeedbackSource", text)


def _report(
    report: "ImportReport", place: str, dry_run: bool, set_aside: Path | None, console: "Console"
) -> None:
    for row in report.set_aside[:PROBLEMS_SHOWN]:
        say(console, f"{place}:{row.line}: {row.problem}", "yellow" if row.reason == "duplicate" else "red")
    left = len(report.set_aside) - PROBLEMS_SHOWN
    if left > 0:
        say(console, f"… and {left:,} more rows (--json or --set-aside FILE has them all)", "yellow")
    rows = "1 row" if report.rows == 1 else f"{report.rows:,} rows"
    verb = "would be added" if dry_run else "added"
    parts = [f"{rows}: {report.added:,} {verb}"]
    details = [
        f"{report.new_emails:,} new emails" if report.new_emails else "",
        f"{report.corrections:,} corrections" if report.corrections else "",
    ]
    if any(details):
        parts[0] += f" ({', '.join(filter(None, details))})"
    if report.known:
        parts.append(f"{report.known:,} known already")
    reasons = Counter(row.reason for row in report.set_aside)
    parts += [f"{count:,} set aside ({reason})" for reason, count in reasons.most_common()]
    where = f"; those rows are in {set_aside}" if set_aside is not None and report.set_aside else ""
    console.print(f"{', '.join(parts)}{where}", markup=False, soft_wrap=True)


def _write_set_aside(report: "ImportReport", target: Path) -> None:
    with output(target) as stream:
        for row in report.set_aside:
            print(to_json_line({**row.values, "line": row.line, "problem": row.problem}), file=stream)


def _record(row: "LoggedFeedback") -> dict[str, Any]:
    return row.feedback.to_dict() | {"subject": row.subject}


def _print_csv(rows: "Iterable[LoggedFeedback]", stream: IO[str]) -> None:
    writer = csv.DictWriter(stream, CSV_FIELDS)
    writer.writeheader()
    writer.writerows(_record(row) for row in rows)


def _print_table(rows: "Iterable[LoggedFeedback]", taxonomy: "Taxonomy", stream: IO[str]) -> int:
    """Print the words as rows, with the digits that `feedback show` takes; returns how many."""
    label_width, rest = row_widths(_FIXED_WIDTH)
    if stream.isatty():
        columns = f"{'id':8} {'said':10} {fit('label', label_width)} {fit('reviewer', 12)} {'how':6}"
        print(f"{DIM}{columns}           subject{RESET}", file=stream)
    shown = 0
    for row in rows:
        shown += 1
        word = row.feedback
        path = fit(" › ".join(_path(word.label, taxonomy)), label_width, keep_end=True)
        judged = "correction" if word.wrong_label else ""
        subject = fit(printable(row.subject) or "(no subject)", rest).rstrip()
        line = f"{word.id[-ID_WIDTH:]} {word.created_at:%Y-%m-%d} {path} {fit(printable(word.reviewer), 12)} "
        print(f"{line}{word.source:6} {judged:10} {subject}", file=stream)
    return shown


def _path(label_id: str, taxonomy: "Taxonomy") -> tuple[str, ...]:
    label = taxonomy.get(label_id)
    return label.path if label else (label_id,)
