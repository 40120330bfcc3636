"""`mailroom evaluate`: labelled emails → figures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mailroom.cli.context import AsJson, Context, say, stderr_console, stdout_console, to_json_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mailroom.evaluate.report import Evaluation

# More of them say the same thing; the count is always given.
PROBLEMS_SHOWN = 10


def evaluate(
    context: typer.Context,
    gold: Annotated[
        Path, typer.Argument(metavar="GOLD.jsonl", readable=False, help="Rows with subject, body and label.")
    ],
    as_json: AsJson = False,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=1024, help="Emails side by side; else the workspace's setting."),
    ] = None,
) -> None:
    """Measure the workspace on labelled emails; writes nothing to the log.

    Rows whose label is not in the taxonomy are reported and left out of the figures.

    Example:  mailroom evaluate gold.jsonl --json
    """
    from mailroom.cli.progress import MailProgress
    from mailroom.mail.sources import source_size_bytes

    settings: Context = context.obj
    path: Path | Literal["-"] = "-" if str(gold) == "-" else gold
    console = stderr_console()
    with settings.open_workspace(read_only=True) as workspace:
        for notice in workspace.notices():
            say(console, notice)
        run, version = workspace.gold_run(threads), workspace.version.id
        with MailProgress(console, source_size_bytes(path)) as progress:
            evaluation = run.run(path, progress.advance)
    _report_problems(run.problems, console)
    if as_json:
        record = evaluation.to_dict() | {
            "left_out": len(run.problems),
            "decided_by": run.classifier.decided_by,
            "model": version,
        }
        typer.echo(to_json_line(record))
    else:
        _print_report(evaluation, version, len(run.problems), run.classifier.decided_by == "cross_encoder")
    if run.unreadable:
        raise typer.Exit(1)


def _report_problems(problems: list[str], console: "Console") -> None:
    for problem in problems[:PROBLEMS_SHOWN]:
        say(console, problem, "yellow")
    if len(problems) > PROBLEMS_SHOWN:
        say(console, f"… {len(problems):,} rows were left out in all", "yellow")


def _print_report(evaluation: "Evaluation", version: str, left_out: int, reranked: bool) -> None:
    console = stdout_console()
    beside = f", {left_out:,} rows left out" if left_out else ""
    console.print(
        f"[bold]{evaluation.emails:,} emails[/]{beside}, answered by {version}, "
        f"{evaluation.emails_per_second:,.1f} a second"
    )
    tables = (
        _recall_table(evaluation, reranked),
        _review_table(evaluation),
        _confusion_table(evaluation),
        _latency_table(evaluation),
    )
    for table in tables:
        if table.row_count:
            console.print(table)


def _recall_table(evaluation: "Evaluation", reranked: bool) -> "Table":
    from rich.table import Table

    table = Table("figure", "answer", title="Quality", title_justify="left")
    if reranked:
        table.add_column("retrieval alone")
    for column in table.columns[1:]:
        column.justify = "right"
    for key, value in evaluation.recall.items():
        name = "top-1 (recall@1)" if key == "recall_at_1" else key.replace("_at_", "@")
        alone = [f"{evaluation.retrieval[key]:.1%}"] if reranked else []
        table.add_row(name, f"{value:.1%}", *alone)
    table.add_row("macro-F1 (every label counts the same)", f"{evaluation.macro_f1:.1%}")
    table.add_row("sibling confusion rate", f"{evaluation.sibling_confusion_rate:.1%}")
    table.add_row("expected calibration error", f"{evaluation.expected_calibration_error:.3f}")
    return table


def _review_table(evaluation: "Evaluation") -> "Table":
    from rich.table import Table

    table = Table("figure", "", title="What the review mark is worth", title_justify="left")
    table.columns[1].justify = "right"
    review = evaluation.review
    table.add_row("emails marked for review", f"{review.review_rate:.1%}")
    table.add_row("wrong answers that are marked", _share(review.mistakes_caught))
    table.add_row("top-1 of what is not marked", _share(review.unmarked_accuracy))
    coverage = evaluation.coverage
    above = "" if coverage.threshold is None else f", at a probability of {coverage.threshold:.2f} and above"
    table.add_row(f"may be automated at {coverage.wanted:.0%} precision{above}", f"{coverage.coverage:.1%}")
    return table


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"


def _latency_table(evaluation: "Evaluation") -> "Table":
    from rich.table import Table

    table = Table("step", "p50", "p95", "p99", title="Latency, ms an email", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for step, shares in evaluation.latency_ms.items():
        table.add_row(step, *(f"{shares[share]:.2f}" for share in ("p50", "p95", "p99")))
    return table


def _confusion_table(evaluation: "Evaluation") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table("emails", "true label", "answered as", "", title="Worst confusions", title_justify="left")
    table.columns[0].justify = "right"
    for confusion in evaluation.worst_confusions:
        table.add_row(
            str(confusion.count),
            escape(confusion.truth),
            escape(confusion.predicted),
            "siblings" if confusion.siblings else "",
        )
    return table
