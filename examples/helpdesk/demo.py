"""The bundled example from end to end: make a workspace, sort its mailbox, learn from corrections.

    make demo            or            python examples/helpdesk/demo.py [FOLDER]

Every step is a `mailroom` command, printed before it runs. A second run finds its workspace again, and says so.
"""

import json
import shlex
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

HERE = Path(__file__).resolve().parent
Record = dict[str, Any]
# What fits on a screen beside the summary.
EMAILS_SHOWN, REVIEWS_SHOWN, CHANGES_SHOWN = 14, 5, 5
BAR_CELLS = 24
# What `mailroom learn` ends with where it learned something that is no better than what answers.
REFUSED = 3


def main() -> None:
    """Run the commands and print the tables."""
    console = Console(highlight=False)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("demo")
    desk = ["--workspace", str(folder)]
    console.print("\n[bold]mailroom[/]: exactly one label of your taxonomy on every email\n")
    is_new = not (folder / "mailroom.toml").exists()
    if not is_new:
        say_what_is_there(console, folder)
    else:
        run(console, "init", str(folder), "--taxonomy", relative(HERE / "taxonomy.yaml"))
    run(console, *desk, "classify", relative(HERE / "mailbox.mbox"), "-o", str(folder / "labels.txt"))
    records = [json.loads(line) for line in run(None, *desk, "log", "--json", "--oldest-first").splitlines()]
    if not is_new:
        console.print("\n[bold]The answers in the log[/], each by the model that answered then")
    console.print(areas(records))
    console.print(sample(records))
    console.print(reviews(records))
    console.print(reranked(records, truths()))
    judged, told = split_gold(folder)
    before, first = figures_of(desk, judged), answering(desk)
    console.print(quality(before, "today's answers" if not is_new else "the answers"))
    console.print("\n[bold]People say what two thirds of these emails should have been; the rest judges[/]\n")
    run(console, *desk, "feedback", "import", str(told))
    console.print(run(console, *desk, "learn").strip(), style="bold green", soft_wrap=True)
    if answering(desk) == first:
        console.print(f"\n{first} goes on answering: the figures above stand.", soft_wrap=True)
    else:
        console.print(change(before, figures_of(desk, judged)))
    say_what_next(console, folder)


def say_what_is_there(console: Console, folder: Path) -> None:
    """What a second run does otherwise, before it shows figures that a first one would not."""
    text = (
        f"{folder} is there from an earlier run: emails that have an answer keep it, corrections that were "
        f"given are known, and there may be nothing new to learn. To see it all happen again: rm -r {folder}"
    )
    console.print(f"[yellow]{escape(text)}[/]\n", soft_wrap=True)


def run(console: Console | None, *arguments: str) -> str:
    """Run one mailroom command; with a console its line and its messages are shown."""
    if console is not None:
        console.print(f"[cyan]$ mailroom {escape(shlex.join(arguments))}[/]", soft_wrap=True)
    done = subprocess.run(
        [sys.executable, "-m", "mailroom", *arguments],
        stdout=subprocess.PIPE,
        stderr=None if console is not None else subprocess.DEVNULL,
        text=True,
        check=False,
    )
    if done.returncode not in (0, REFUSED):
        sys.exit(f"mailroom {shlex.join(arguments)} ended with exit code {done.returncode}")
    return done.stdout


def split_gold(folder: Path) -> tuple[Path, Path]:
    """Every third labelled email judges and is never learned from; the others are told to the model."""
    rows = (HERE / "gold.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    judged, told = folder / "judged.jsonl", folder / "told.jsonl"
    judged.write_text("".join(rows[2::3]), encoding="utf-8")
    told.write_text("".join(row for place, row in enumerate(rows) if place % 3 != 2), encoding="utf-8")
    return judged, told


def figures_of(desk: list[str], gold: Path) -> Record:
    """What `mailroom evaluate` measures on labelled emails."""
    figures: Record = json.loads(run(None, *desk, "evaluate", str(gold), "--json"))
    return figures


def answering(desk: list[str]) -> str:
    """The model version that answers now."""
    return str(json.loads(run(None, *desk, "models", "show", "--json"))["id"])


def relative(path: Path) -> str:
    """The path as a person would type it from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def areas(records: list[Record]) -> Table:
    """How the mailbox divides over the top of the tree."""
    table = Table("area", "emails", "", "for review", title="\nWhere the mail went", title_justify="left")
    table.columns[1].justify = table.columns[3].justify = "right"
    by_area: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_area[record["path"][0]].append(record)
    most = max(len(members) for members in by_area.values())
    for area, members in sorted(by_area.items(), key=lambda item: -len(item[1])):
        bar = "█" * round(BAR_CELLS * len(members) / most)
        unsure = sum(member["needs_review"] for member in members)
        table.add_row(escape(area), str(len(members)), f"[blue]{bar}[/]", str(unsure))
    return table


def sample(records: list[Record]) -> Table:
    """A walk through the mailbox: every so many emails, one."""
    table = Table("subject", "area", "label", "probability", title="\nSome of them", title_justify="left")
    table.columns[3].justify = "right"
    for record in records[:: max(1, len(records) // EMAILS_SHOWN)][:EMAILS_SHOWN]:
        tone = "yellow" if record["needs_review"] else "green"
        share = f"[{tone}]{record['probability']:.0%}[/]"
        table.add_row(subject(record), escape(record["path"][0]), escape(record["path"][-1]), share)
    return table


def reviews(records: list[Record]) -> Table:
    """The closest calls: what a person should look at first."""
    table = Table("subject", "answered", "or rather", "margin", title="\nClosest calls", title_justify="left")
    table.columns[3].justify = "right"
    for record in sorted(records, key=lambda record: record["margin"])[:REVIEWS_SHOWN]:
        first, second = record["candidates"][:2]
        margin = f"{record['margin']:.3f}"
        table.add_row(subject(record), escape(first["label"]), escape(second["label"]), margin)
    return table


def subject(record: Record) -> str:
    """The subject in at most half a line, safe to print."""
    text = " ".join("".join(char if char.isprintable() else " " for char in record["subject"]).split())
    return escape(text if len(text) <= 44 else text[:43] + "…") or "[dim](no subject)[/]"


def quality(figures: Record, whose: str) -> Table:
    """The answers against the true labels that come with the example."""
    title = f"\nHow right {whose} are on every third email, {figures['emails']} in all"
    table = Table("figure", "", title=title, title_justify="left")
    table.columns[1].justify = "right"
    table.add_row("top-1", f"{figures['recall_at_1']:.1%}")
    table.add_row("true label among the first 5", f"{figures['recall_at_5']:.1%}")
    table.add_row("wrong, but a sibling of the true label", f"{figures['sibling_confusion_rate']:.1%}")
    table.add_row("emails a second", f"{figures['emails_per_second']:.0f}")
    worst: Counter[str] = Counter()
    for pair in figures["worst_confusions"][:3]:
        worst[f"{pair['truth']} → {pair['predicted']}"] = pair["count"]
    for pair, count in worst.items():
        table.add_row(f"[dim]answered wrong: {escape(pair)}[/]", f"[dim]{count} email{'s' * (count > 1)}[/]")
    return table


def truths() -> dict[str, str]:
    """The true label of every email of the mailbox, by its id."""
    rows = [json.loads(line) for line in (HERE / "gold.jsonl").read_text(encoding="utf-8").splitlines()]
    return {row["id"]: row["label"] for row in rows}


def reranked(records: list[Record], truth: dict[str, str]) -> Table:
    """What the second stage made of the first one's candidates, against the true labels of all emails."""
    title = f"\nWhat reranking changed: {len(records)} emails"
    table = Table("", "retrieval", "both stages", "", title=title, title_justify="left")
    right = [truth[record["email_id"]] for record in records]
    pairs = list(zip(records, right, strict=True))
    firsts = sum(nearest(record)[0] == label for record, label in pairs)
    fives = sum(label in nearest(record)[:5] for record, label in pairs)
    table.add_row("right", str(firsts), str(sum(record["label"] == label for record, label in pairs)), "")
    among = sum(label in [c["label"] for c in record["candidates"][:5]] for record, label in pairs)
    table.add_row("right label among the first 5", str(fives), str(among), "")
    changed = [(record, nearest(record)[0], label) for record, label in pairs]
    changed = [(record, first, label) for record, first, label in changed if first != record["label"]]
    table.add_row("answered otherwise", "", str(len(changed)), "")
    for record, first, label in changed[:: max(1, len(changed) // CHANGES_SHOWN)][:CHANGES_SHOWN]:
        mark = "[green]now right[/]" if record["label"] == label else "[red]now wrong[/]" * (first == label)
        table.add_row(f"[dim]{subject(record)}[/]", escape(first), escape(record["label"]), mark)
    return table


def nearest(record: Record) -> list[str]:
    """The labels in retrieval's own order: the first is what it would have answered alone."""
    ranked = sorted(record["candidates"], key=lambda candidate: -candidate["similarity"])
    return [candidate["label"] for candidate in ranked]


def change(before: Record, after: Record) -> Table:
    """What learning changed on emails that it never saw; at least as important: that nothing got worse."""
    title = f"\nWhat that changed on the other {after['emails']}"
    table = Table("figure", "before", "after", title=title, title_justify="left")
    table.columns[1].justify = table.columns[2].justify = "right"
    for name, meaning in (
        ("recall_at_1", "top-1"),
        ("recall_at_5", "true label among the first 5"),
        ("sibling_confusion_rate", "wrong, but a sibling of the true label"),
        ("expected_calibration_error", "stated probabilities are off by"),
    ):
        table.add_row(meaning, f"{before[name]:.1%}", f"{after[name]:.1%}")
    for name, meaning in (
        ("review_rate", "marked for a person"),
        ("unmarked_accuracy", "right among the unmarked"),
    ):
        table.add_row(meaning, share(before["review"][name]), share(after["review"][name]))
    table.caption = "few emails: chance alone moves these figures by several points"
    table.caption_justify = "left"
    return table


def share(value: float | None) -> str:
    """A share as per cent; a dash where there is none."""
    return "–" if value is None else f"{value:.1%}"


def say_what_next(console: Console, folder: Path) -> None:
    """Commands worth trying, as they can be typed."""
    mailbox = relative(HERE / "mailbox.mbox")
    console.print("\n[bold]Try next[/] (with [cyan]. .venv/bin/activate[/] first)")
    for command, reason in (
        (f"mailroom show {mailbox} -n 7", "what the models read of an email, and what was taken out"),
        (f"mailroom -w {folder} log --review", "the emails that a person should look at"),
        (f"mailroom -w {folder} review", "say what they are, one key each"),
        (f"mailroom -w {folder} models list", "the model versions, which one answers, and why"),
        (f"mailroom -w {folder} taxonomy tree", "the label tree, with how many emails went where"),
        (f"mailroom -w {folder} taxonomy check", "labels that the model cannot tell apart"),
        ("mailroom init desk --taxonomy YOURS.yaml", "your own labels: names are enough to begin with"),
    ):
        console.print(f"  [cyan]{escape(command)}[/]\n      [dim]{reason}[/]", soft_wrap=True)


if __name__ == "__main__":
    main()
