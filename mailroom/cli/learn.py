"""`mailroom learn`: one turn of the learning loop."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailroom.cli.context import AsJson, Context, goes_on, say, stderr_console, to_json_line
from mailroom.errors import ConfigError

if TYPE_CHECKING:
    from mailroom.cycle.outcome import Outcome

# Learned, and not promoted: neither a success nor a failure of the run.
REFUSED = 3

Budget = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Such as 30m or 2h; else the setting `learning.budget_minutes`."),
]


def learn(
    context: typer.Context,
    budget: Budget = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be used, and stop.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Learn though little was labelled since the last time.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="For whatever is drawn.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Learn from what people said, and promote what was learned if it is no worse than what answers now.

    A cycle whose process was killed goes on where it stopped. Exit codes: 0 promoted, or nothing to learn
    yet; 3 learned, but the gate refused it and the model that answers stays; 1 a failure, after which it
    stays too.

    Example:  mailroom learn --budget 30m
    """
    from mailroom.cli.progress import StepProgress
    from mailroom.cycle.run import Options
    from mailroom.workspace.learning import learn_workspace, preview_workspace
    from mailroom.workspace.user import current_user

    settings: Context = context.obj
    console = stderr_console()
    budget_s = budget_seconds(budget)
    if dry_run:
        with settings.open_workspace(read_only=True) as workspace, StepProgress(console) as progress:
            record = preview_workspace(workspace, seed, progress.tell)
            least = workspace.settings.learning.min_new_gold
        typer.echo(to_json_line(record) if as_json else _preview(record, least, force))
        return
    with settings.open_workspace() as workspace:
        minutes = workspace.settings.learning.budget_minutes
        options = Options(current_user(), budget_s if budget_s is not None else minutes * 60, seed, force)
        with goes_on(console), StepProgress(console) as progress:
            outcome = learn_workspace(workspace, options, progress.tell)
    typer.echo(to_json_line(outcome.to_dict()) if as_json else outcome.summary)
    if not as_json:
        _say_more(outcome)
    if outcome.refused:
        raise typer.Exit(REFUSED)


def budget_seconds(text: str | None) -> float | None:
    """Seconds; a duration that cannot be read, or that is none, is wrong usage."""
    from mailroom.cycle.budget import parse_duration

    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ConfigError as exc:
        raise typer.BadParameter(str(exc), param_hint="--budget") from exc
    if seconds <= 0:
        raise typer.BadParameter(f"expected some time to work in, got {text!r}", param_hint="--budget")
    return seconds


def _say_more(outcome: "Outcome") -> None:
    from mailroom.cycle.budget import duration_words

    console = stderr_console()
    page = Path(outcome.folder or "") / "report.html"
    report = f"; report: {page}" if page.is_file() else ""
    for note in outcome.notes:
        say(console, note)
    say(console, f"took {duration_words(outcome.seconds)}{report}")
    if outcome.promoted:
        say(console, "`mailroom models rollback` takes it back")
    elif outcome.refused:
        say(console, f"{outcome.champion} goes on answering; more reviewed mail is what helps most")
        if outcome.version is not None:
            say(console, f"what was refused is kept as {outcome.version} (`mailroom models list --all`)")


def _preview(record: dict[str, Any], least: int, force: bool) -> str:
    gold, silver, new = record["gold"], record["silver"], record["new_gold"]
    if record["would_learn"]:
        verdict = "enough to learn from"
    else:
        verdict = f"{least:,} are needed, {'--force learns all the same' if force else 'so it would wait'}"
    lines = [
        f"{new:,} newly labelled email{'' if new == 1 else 's'}: {verdict}",
        f"to train on: {gold['train']:,} emails that people labelled (gold), {silver['taken']:,} of the "
        "model's own surest answers (silver)",
        f"what is trained: {record['why_not_train'] or 'the encoder and the label vectors'}",
        f"kept apart: {gold['validation']:,} gold emails to choose between what was trained, "
        f"{gold['evaluation']:,} to judge whether that may answer",
    ]
    if gold["evaluation"] < record["judges_alone_from"]:
        lines.append(
            f"below {record['judges_alone_from']:,} to judge by, those trained on judge too, each by label "
            "vectors that were learned without it"
        )
    if gold["set_aside"]:
        lines.append(
            f"set aside: {len(gold['set_aside']):,} labelled emails; `mailroom curate --dry-run` says why"
        )
    return "\n".join(lines)
