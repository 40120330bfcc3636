"""`mailroom drift`: has the mail, or what the models make of it, moved?"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailroom.cli.context import AsJson, Context, say, stderr_console, stdout_console, to_json_line

if TYPE_CHECKING:
    from rich.table import Table

    from mailroom.evaluate.drift import Drift, Finding
    from mailroom.workspace.drift import DriftRun, Span

# Measured, and moved too far: neither a success nor a failure of the run.
ALARM = 3


def _moment(help_line: str) -> Any:
    return typer.Option(
        metavar="TIME", help=f"{help_line}; an ISO date or time, UTC unless it says otherwise."
    )


Since = Annotated[str | None, _moment("The window begins; else some days before its end")]
Until = Annotated[str | None, _moment("The window ends; else now")]
ReferenceSince = Annotated[str | None, _moment("The reference begins; it ends where the window begins")]

STYLES = {"alarm": "bold red", "watch": "yellow", "steady": "green", "unknown": "dim"}


def drift(
    context: typer.Context,
    since: Since = None,
    until: Until = None,
    reference_since: ReferenceSince = None,
    embedded: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Kept texts of each window to embed; else the setting."),
    ] = None,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with 3 on an alarm.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the last days of the prediction log with the weeks before them; writes nothing.

    Example:  mailroom drift --since 2026-03-01 --until 2026-03-08 --json
    """
    from mailroom.cli.log import moment
    from mailroom.cli.progress import MailProgress
    from mailroom.workspace.drift import NothingToCompareError, run_drift

    settings: Context = context.obj
    console = stderr_console()
    run: DriftRun | None
    with settings.open_workspace(read_only=True) as workspace:
        wanted = workspace.settings.drift
        dates = (moment(since), moment(until), moment(reference_since))
        reference, window = _spans(*dates, wanted.window_days, wanted.reference_days)
        texts = wanted.embedded_emails if embedded is None else embedded
        with MailProgress(console, 2 * texts) as progress:
            try:
                run = run_drift(
                    workspace, reference, window, texts, lambda done, _: progress.advance(done, done)
                )
            except NothingToCompareError as exc:
                if any(dates):
                    raise
                run, nothing = None, str(exc)
    if run is None:
        _say_nothing_yet(nothing, as_json)
        return
    for notice in run.notices():
        say(console, notice)
    if as_json:
        typer.echo(to_json_line(run.to_dict()))
    else:
        _print(run)
    if fail and run.drift.level == "alarm":
        raise typer.Exit(ALARM)


def _spans(
    since: datetime | None,
    until: datetime | None,
    reference_since: datetime | None,
    window_days: int,
    reference_days: int,
) -> "tuple[Span, Span]":
    from mailroom.workspace.drift import Span, spans

    end = until or datetime.now(UTC)
    start = since or end - timedelta(days=window_days)
    return spans(Span(start, end), reference_since, reference_days)


def _say_nothing_yet(why: str, as_json: bool) -> None:
    """A desk that is younger than its first reference has no drift, and no failure either."""
    if as_json:
        typer.echo(to_json_line({"level": "unknown", "nothing_to_compare": why}))
        return
    typer.echo(f"nothing to compare yet: {why}")


def _print(run: "DriftRun") -> None:
    console = stdout_console()
    for name, sample in (("reference", run.reference), ("window", run.current)):
        span = f"{sample.span.since:%Y-%m-%d %H:%M} to {sample.span.until:%Y-%m-%d %H:%M}"
        read = len(sample.window.labels)
        of = f" of {sample.logged:,}" if sample.logged > read else ""
        outside = f" ({sample.audits_outside:,} fit no label)" if sample.audits_outside else ""
        audited = f"{sample.window.audited[1]:,} audited{outside}"
        console.print(f"{name:9}  {span}  {read:,}{of} emails, {audited}")
    level = run.drift.level
    console.print(f"[{STYLES[level]}]{level}[/]")
    console.print(_findings_table(run.drift))
    if run.drift.moved_labels:
        console.print(_labels_table(run.drift))


def _findings_table(drift: "Drift") -> "Table":
    from rich.table import Table

    from mailroom.workspace.drift import MEASURES

    table = Table("measure", "before", "now", "size", "by chance", "watch", "alarm", "")
    for column in table.columns[1:7]:
        column.justify = "right"
    for finding in drift.findings:
        table.add_row(
            MEASURES[finding.name],
            _share(finding.before),
            _share(finding.now),
            _size(finding, finding.size),
            _size(finding, finding.chance),
            _size(finding, finding.watch),
            _size(finding, finding.alarm),
            f"[{STYLES[finding.level]}]{finding.level}[/]",
        )
    return table


def _labels_table(drift: "Drift") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table("label", "before", "now", title="Labels that moved most", title_justify="left")
    for moved in drift.moved_labels:
        table.add_row(escape(moved.label), f"{moved.before:.1%}", f"{moved.now:.1%}")
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _size(finding: "Finding", value: float | None) -> str:
    from mailroom.workspace.drift import SHARES

    if value is None:
        return "–"
    return f"{value:.1%}" if finding.name in SHARES else f"{value:.3f}"
