"""`mailroom adapt`: the encoder is used to unlabelled mail, and answers where it is no worse."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mailroom.cli.context import AsJson, Context, say, stderr_console, to_json_line
from mailroom.cli.learn import REFUSED, Budget, budget_seconds

if TYPE_CHECKING:
    from mailroom.cycle.outcome import Outcome


def adapt(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            readable=False,
            help="Mail as `classify` reads it; else the log's unlabelled emails.",
        ),
    ] = None,
    budget: Budget = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be used, and stop.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Promote it though too little gold can judge it.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="For whatever is drawn.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train the encoder to say hidden words of unlabelled mail, its vectors held where they are.

    What comes of it answers only if it is no worse on gold that it did not learn from. A run that was killed
    goes on where it stopped. Exit codes: 0 promoted; 3 refused, and the model that answers stays; 1 a
    failure, after which it stays too. On two public sets it won nothing (docs/experiments-training.md).

    Example:  mailroom adapt archive.mbox --budget 30m
    """
    from mailroom.cli.progress import StepProgress
    from mailroom.cycle.adapt import AdaptOptions
    from mailroom.workspace.adapting import adapt_workspace, preview_adaptation
    from mailroom.workspace.user import current_user

    settings: Context = context.obj
    console = stderr_console()
    budget_s = budget_seconds(budget)
    sources = [_source(path) for path in paths or ()]

    def problem(message: str) -> None:
        say(console, message, "red")

    if dry_run:
        with settings.open_workspace(read_only=True) as workspace:
            record = preview_adaptation(workspace, sources, problem)
        typer.echo(to_json_line(record) if as_json else _preview(record, force))
        return
    with settings.open_workspace() as workspace:
        minutes = workspace.settings.learning.budget_minutes
        options = AdaptOptions(
            current_user(), budget_s if budget_s is not None else minutes * 60, seed, force
        )
        with StepProgress(console) as progress:
            outcome = adapt_workspace(workspace, sources, options, progress.tell, problem)
    typer.echo(to_json_line(outcome.to_dict()) if as_json else outcome.summary)
    if not as_json:
        _say_more(outcome)
    if outcome.refused:
        raise typer.Exit(REFUSED)


def _source(path: Path) -> Path | Literal["-"]:
    return "-" if str(path) == "-" else path


def _say_more(outcome: "Outcome") -> None:
    from mailroom.cycle.budget import duration_words

    console = stderr_console()
    for note in outcome.notes:
        say(console, note)
    say(console, f"took {duration_words(outcome.seconds)}")
    if outcome.promoted:
        say(console, "`mailroom models rollback` takes it back")
        return
    say(console, f"{outcome.champion} goes on answering")
    if outcome.version is not None:
        say(console, f"what was refused is kept as {outcome.version} (`mailroom models list --all`)")


def _preview(record: dict[str, Any], force: bool) -> str:
    lines = [f"to adapt to: {record['emails']:,} emails and {record['label_texts']:,} texts of labels"]
    judged, least = record["judged_by"], record["least_to_judge"]
    if record["would_judge"]:
        lines.append(f"to judge by: {judged:,} gold emails that the labels did not learn from")
    else:
        verdict = "would be promoted unjudged" if force else "would not run (--force promotes it unjudged)"
        lines.append(f"to judge by: {judged:,} gold emails, {least:,} are needed: {verdict}")
    if record["label_vectors_from"]:
        lines.append(f"label vectors would be made anew from {record['label_vectors_from']:,} examples")
    return "\n".join(lines)
