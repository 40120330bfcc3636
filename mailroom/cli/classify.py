"""`mailroom classify`: mailboxes → one label an email, printed once it is in the log."""

import csv
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from mailroom.cli.context import Context, output, say, stderr_console, to_json_line
from mailroom.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from mailroom.classify.stream import Outcome
    from mailroom.records import Prediction
    from mailroom.workspace import ClassificationRun

Form = Literal["json", "csv", "table"]
_FORM_NAMES = {"json": "JSON lines", "csv": "CSV", "table": "a table"}
CSV_FIELDS = (
    "id", "email_id", "subject", "sender", "received_at", "origin", "label", "path", "probability", "margin",
    "needs_review", "review_reasons", "decided_by", "model", "taxonomy", "created_at", "candidates",
)  # fmt: skip


def classify(
    context: typer.Context,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            readable=False,
            help="mbox, Maildir, .eml, .jsonl, a folder of messages; - is stdin.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON record a prediction.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values with a header.")] = False,
    target: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write here instead of stdout; a file is continued."
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Classify emails that have a prediction, too.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=1024, help="Emails side by side; else the workspace's setting."),
    ] = None,
) -> None:
    """Put one label on every email of the given mailboxes.

    An email that is in the log already is skipped, so an interrupted run goes on where it stopped.

    Example:  mailroom classify inbox.mbox --json > labels.jsonl
    """
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    settings: Context = context.obj
    with settings.open_workspace() as workspace:
        run = workspace.classification_run(threads=threads, again=again)
        console = stderr_console()
        for notice in workspace.notices():
            say(console, notice)
        form = _form(as_json, as_csv, target)
        _check_continuation(target, form)
        with output(target, append=True) as stream:
            writer = _writer(stream, form)
            caught = _drive(run, [_source(path) for path in paths], writer, stream, console)
    if caught:
        raise typer.Exit(128 + caught)
    if run.tally.failed:
        raise typer.Exit(1)


def _source(path: Path) -> Path | Literal["-"]:
    return "-" if str(path) == "-" else path


def _drive(
    run: "ClassificationRun",
    paths: list[Path | Literal["-"]],
    write: Callable[["Outcome"], None],
    stream: IO[str],
    console: "Console",
) -> int:
    """Write every outcome; returns the signal that stopped the run, or 0."""
    started = time.monotonic()
    with _stop_on_signals(run) as caught:
        try:
            for batch in _with_progress(run, paths, console):
                for outcome in batch:
                    _write_outcome(outcome, write, console)
                stream.flush()
            if not run.tally.seen and not caught:
                say(console, "no messages were found there")
        finally:
            if caught:
                say(console, "stopped; the same command goes on from here")
            _summarise(run, time.monotonic() - started, console)
    return caught[0] if caught else 0


@contextmanager
def _stop_on_signals(run: "ClassificationRun") -> Iterator[list[int]]:
    """The first Ctrl-C (or SIGTERM) lets the emails under way end; the second stops at once."""
    caught: list[int] = []

    def stop(number: int, _frame: object) -> None:
        caught.append(number)
        signal.signal(number, previous[number])
        run.stop()

    previous: dict[int, Any] = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    for number, handler in previous.items():
        # A shell starts background jobs with SIGINT ignored, and so it stays.
        if handler not in (signal.SIG_IGN, None):
            signal.signal(number, stop)
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            if handler is not None:
                signal.signal(number, handler)


def _write_outcome(outcome: "Outcome", write: Callable[["Outcome"], None], console: "Console") -> None:
    if outcome.error is not None:
        say(console, outcome.error, "red")
    if outcome.prediction is None:
        return
    for warning in outcome.read.warnings if outcome.read is not None else ():
        say(console, f"{outcome.message.origin}: {warning}", "yellow")
    write(outcome)


def _with_progress(
    run: "ClassificationRun", paths: list[Path | Literal["-"]], console: "Console"
) -> Iterator[list["Outcome"]]:
    from mailroom.cli.progress import MailProgress
    from mailroom.mail.sources import source_size_bytes

    sizes = [source_size_bytes(path) for path in paths]
    done_before = 0
    total = None if None in sizes else sum(size or 0 for size in sizes)
    with MailProgress(console, total) as progress:
        for path, size in zip(paths, sizes, strict=True):
            for batch in run.outcomes([path]):
                progress.advance(done_before + batch[-1].message.position_bytes, run.tally.seen)
                with progress.out_of_the_way():
                    yield batch
            done_before += size or 0


def _summarise(run: "ClassificationRun", seconds: float, console: "Console") -> None:
    tally = run.tally
    parts = [f"{tally.classified:,} classified"]
    if tally.classified:
        outside = f", {tally.outside:,} of them perhaps outside the taxonomy" if tally.outside else ""
        parts[0] += f" ({tally.for_review:,} for review{outside})"
    if tally.skipped:
        parts.append(f"{tally.skipped:,} already in the log (--again redoes them)")
    if tally.failed:
        parts.append(f"{tally.failed:,} could not be read")
    rate = f"{tally.classified / max(seconds, 1e-9):,.1f} emails/s"
    if not tally.classified:
        rate = "nothing new" + (" (`mailroom log --csv` exports what is there)" if tally.skipped else "")
    emails = "1 email" if tally.seen == 1 else f"{tally.seen:,} emails"
    summary = f"{emails} in {seconds:,.1f} s: {', '.join(parts)}; {rate}"
    console.print(summary, markup=False, soft_wrap=True)


def _writer(stream: IO[str], form: Form) -> Callable[["Outcome"], None]:
    if form == "json":
        return lambda outcome: print(to_json_line(_prediction(outcome).to_dict()), file=stream)
    if form == "csv":
        rows = csv.DictWriter(stream, CSV_FIELDS, extrasaction="ignore")
        if not _is_continued(stream):
            rows.writeheader()
        return lambda outcome: rows.writerow(_csv_row(outcome))
    from mailroom.cli.tables import prediction_rows, print_heading

    print_heading(stream)
    row = prediction_rows(stream)
    return lambda outcome: print(
        row(_prediction(outcome), outcome.email.subject if outcome.email else ""), file=stream
    )


def _form(as_json: bool, as_csv: bool, target: Path | None) -> Form:
    """What was asked for; without a word about it, what the file's name promises."""
    if as_json or as_csv:
        return "json" if as_json else "csv"
    suffix = target.suffix.lower() if target is not None else ""
    return "csv" if suffix == ".csv" else "json" if suffix in (".json", ".jsonl") else "table"


def _check_continuation(target: Path | None, form: Form) -> None:
    """ConfigError where a file that exists holds something else than what would be added to it."""
    if target is None or not target.is_file() or not target.stat().st_size:
        return
    try:
        with target.open(encoding="utf-8") as file:
            first = file.readline(4096)
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{target}: exists and cannot be continued; name another file with -o") from exc
    held = "json" if first.startswith("{") else "csv" if first.startswith("id,email_id,") else "table"
    if held != form:
        raise ConfigError(
            f"{target}: holds {_FORM_NAMES[held]}, and {_FORM_NAMES[form]} would be added to it; "
            "name another file with -o, or remove it"
        )


def _is_continued(stream: IO[str]) -> bool:
    return stream is not sys.stdout and stream.seekable() and stream.tell() > 0


def _prediction(outcome: "Outcome") -> "Prediction":
    if outcome.prediction is None:
        raise ValueError("only answered emails are written")
    return outcome.prediction


def _csv_row(outcome: "Outcome") -> dict[str, object]:
    email = outcome.email
    if email is None:
        raise ValueError("only answered emails are written")
    received = email.received_at.isoformat() if email.received_at else ""
    return csv_row(_prediction(outcome)) | {
        "subject": email.subject,
        "sender": email.metadata.get("from") or "",
        "received_at": received,
        "origin": outcome.message.origin,
    }


def csv_row(prediction: "Prediction") -> dict[str, object]:
    """One prediction as CSV cells: the path joined, the candidates as JSON."""
    record = prediction.to_dict()
    record["path"] = " > ".join(prediction.path)
    record["needs_review"] = str(prediction.needs_review).lower()
    record["review_reasons"] = " ".join(prediction.review_reasons)
    record["candidates"] = json.dumps(record["candidates"], ensure_ascii=False)
    return record
