"""`mailroom curate`: what the next cycle would learn from."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailroom.cli.context import AsJson, Context, output, say, stderr_console, stdout_console, to_json_line

if TYPE_CHECKING:
    from rich.table import Table

    from mailroom.curate.thresholds import Threshold
    from mailroom.cycle.aggregate import Curated
    from mailroom.records import Example

# The full list is in --json.
LABELS_SHOWN = 30

_BASIS = {
    "audited": "shown by audits",
    "unproven": "unproven: too few audits",
    "refuted": "refuted by audits",
    "doubtful": "doubtful, by labelled answers",
}

# What the basis means for whoever asks why there is so much silver, or none.
_MEANING = {
    "audited": "Audits prove how right answers are that are as sure as these.",
    "unproven": "Too few audits (emails drawn at random; `mailroom review` mixes them in) to prove anything: "
    "the surest answers are taken on credit. 59 audits, all right, are the fewest that prove 95%.",
    "refuted": "Audits show that even the surest answers are not right often enough: none is taken.",
    "doubtful": "Labelled answers as sure as these were often wrong: none is taken till audits prove better.",
}


def curate(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the report and write no example anywhere.")
    ] = False,
    examples: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the examples as JSON lines; - is stdout."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what the next cycle would learn from: how much gold and silver, of which labels, how precise.

    Answers of an older model are given anew, which takes a while, and not logged. With -o the examples are
    written, texts included. `mailroom learn` curates by itself; this shows or exports it.

    Example:  mailroom curate --dry-run
    """
    from mailroom.cli.progress import MailProgress
    from mailroom.workspace.curation import curate as curate_workspace

    if dry_run == (examples is not None):
        raise typer.BadParameter("expected --dry-run for the report, or -o FILE to write the examples")
    settings: Context = context.obj
    console = stderr_console()
    with settings.open_workspace(read_only=True) as workspace, MailProgress(console, None) as progress:
        curated = curate_workspace(workspace, lambda done, _: progress.advance(0, done))
    if examples is not None:
        with output(examples) as file:
            file.writelines(to_json_line(record) + "\n" for record in _records(curated))
        say(console, f"{len(curated.train):,} examples to train on, {examples}")
    elif as_json:
        typer.echo(to_json_line(curated.to_dict()))
    else:
        _print_report(curated)


def _records(curated: "Curated") -> list[dict[str, Any]]:
    return [
        {"part": part, **_record(example)}
        for part, examples in curated.parts().items()
        for example in examples
    ]


def _record(example: "Example") -> dict[str, Any]:
    return {
        "email_id": example.email_id,
        "text": example.text,
        "label": example.label,
        "grade": example.grade,
        "source": example.source,
        "weight": round(example.weight, 4),
        "negatives": list(example.negatives),
        "thread": example.thread,
    }


def _print_report(curated: "Curated") -> None:
    console = stdout_console()
    silver = curated.silver.report
    console.print(
        f"[bold]{len(curated.gold.train):,} gold and {silver.taken:,} silver examples[/] to train on"
    )
    tables = (
        _gold_table(curated),
        _threshold_table(silver.thresholds),
        _count_table("Not silver", "reason", silver.left_out),
        _label_table(curated),
        _negative_table(curated),
    )
    for table in tables:
        if table.row_count:
            console.print(table)


def _gold_table(curated: "Curated") -> "Table":
    gold = curated.gold
    counts = {
        "train": len(gold.train),
        "validation": len(gold.validation),
        "evaluation": len(gold.evaluation),
        "  of which audits": len(gold.audited),
    }
    reasons = Counter(item.reason for item in gold.set_aside)
    counts |= {f"set aside: {reason}": count for reason, count in reasons.most_common()}
    counts["set aside: text was not kept"] = curated.without_text
    return _count_table("Gold", "use", {name: count for name, count in counts.items() if count})


def _count_table(title: str, head: str, counts: "dict[str, int] | Any") -> "Table":
    from rich.table import Table

    table = Table(head, "emails", title=title, title_justify="left")
    table.columns[1].justify = "right"
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    return table


def _threshold_table(thresholds: "tuple[Threshold, ...]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    heads = ("answers", "basis", "surest", "audits right", "proven right", "expected right")
    marks = ("from probability", "from margin", "labels refused")
    table = Table(*heads, *marks, title="Silver", title_justify="left")
    table.caption = " ".join(dict.fromkeys(_MEANING[found.basis] for found in thresholds))
    table.caption_justify = "left"
    for column in table.columns[2:8]:
        column.justify = "right"
    rest = "all others" if len(thresholds) > 1 else "all"
    for found in thresholds:
        table.add_row(
            rest if found.label is None else escape(found.label),
            _BASIS[found.basis],
            f"{found.share:.0%}",
            f"{found.correct:,} of {found.audited:,}",
            _figure(found.precision, ".1%"),
            _figure(found.expected, ".1%"),
            _figure(found.min_probability, ".3f"),
            _figure(found.min_margin, ".3f"),
            escape(", ".join(found.refused)),
        )
    return table


def _label_table(curated: "Curated") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    gold = Counter(example.label for example in curated.gold.train)
    silver = curated.silver.report.labels
    table = Table("label", "gold", "silver", title="To train on", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    ranked = sorted({*gold, *silver}, key=lambda label: (-gold[label] - silver.get(label, 0), label))
    for label in ranked[:LABELS_SHOWN]:
        table.add_row(escape(label), f"{gold[label]:,}", f"{silver.get(label, 0):,}")
    if len(ranked) > LABELS_SHOWN:
        table.add_row(f"… {len(ranked):,} labels in all", "", "")
    return table


def _negative_table(curated: "Curated") -> "Table":
    from rich.table import Table

    table = Table("kind", "share", title="Negatives", title_justify="left")
    table.columns[1].justify = "right"
    for kind, share in curated.negative_shares.items():
        if share:
            table.add_row(kind, f"{share:.1%}")
    return table


def _figure(value: float | None, form: str) -> str:
    return "none" if value is None else format(value, form)
