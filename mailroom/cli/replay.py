"""`mailroom replay`: labelled mail played as weeks of classifying, reviewing and learning."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailroom.cli.context import AsJson, Context, goes_on, say, stderr_console, to_json_line

if TYPE_CHECKING:
    from mailroom.evaluate.replay_curve import WeekFigures


def _share(text: str) -> float:
    """`5%` or `0.05` → 0.05."""
    stripped = text.strip()
    try:
        value = float(stripped.removesuffix("%")) / (100 if stripped.endswith("%") else 1)
    except ValueError as exc:
        raise typer.BadParameter(f"expected a share such as 5% or 0.05, got {text!r}") from exc
    if not 0 <= value <= 1:
        raise typer.BadParameter(f"expected a share from 0 to 100%, got {text!r}")
    return value


def replay(
    context: typer.Context,
    train: Annotated[
        Path, typer.Argument(metavar="TRAIN.jsonl", readable=False, help="Labelled mail to play.")
    ],
    test: Annotated[
        Path,
        typer.Option("--test", metavar="TEST.jsonl", readable=False, help="Mail to measure by."),
    ],
    target: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where it is played.")] = Path(
        "replay"
    ),
    weeks: Annotated[int, typer.Option(metavar="N", min=1, max=520)] = 8,
    review: Annotated[
        float, typer.Option(parser=_share, metavar="SHARE", help="Of each week's mail, the least sure.")
    ] = "5%",  # type: ignore[assignment]
    audit: Annotated[
        float, typer.Option(parser=_share, metavar="SHARE", help="Of each week's mail, at random.")
    ] = "1%",  # type: ignore[assignment]
    noise: Annotated[
        float, typer.Option(parser=_share, metavar="SHARE", help="Of the reviewer's answers, wrong ones.")
    ] = "2%",  # type: ignore[assignment]
    budget: Annotated[str, typer.Option(metavar="TIME", help="Of each week's cycle.")] = "10m",
    seed: Annotated[int, typer.Option(metavar="N", min=0)] = 0,
    bound: Annotated[
        bool, typer.Option("--bound/--no-bound", help="Also learn from all labels at once, to compare.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Play labelled mail as a stream: each week the model classifies, a reviewer answers, a cycle learns.

    Starts from the workspace's labels, settings and first model, in a folder of its own: the workspace stays
    as it is. A quarter of the answers come a week late. A replay that was killed goes on where it stopped.
    Writes replay.json, replay.md and replay.svg.

    Example:  mailroom replay history.jsonl --test recent.jsonl --weeks 8 --review 5%
    """
    from mailroom.cli.progress import StepProgress
    from mailroom.cycle.budget import parse_duration
    from mailroom.workspace.replay.run import Replay, ReplaySettings

    settings: Context = context.obj
    console = stderr_console()
    wanted = ReplaySettings(weeks, review, audit, noise, seed, parse_duration(budget), bound)
    with (
        goes_on(console),
        settings.open_workspace(read_only=True) as workspace,
        StepProgress(console) as progress,
    ):
        run = Replay(workspace, target, train, test, wanted, progress.tell)
        played = run.run(lambda week: say(console, _line(week)))
    if as_json:
        record = {
            "weeks": [week.to_dict() for week in played.weeks],
            "all_labels": played.all_labels.to_dict() if played.all_labels else None,
        }
        typer.echo(to_json_line(record))
    else:
        typer.echo((target / "replay.md").read_text(encoding="utf-8"), nl=False)


def _line(week: "WeekFigures") -> str:
    if not week.week:
        return f"start: top-1 {week.top_1:.1%}, Recall@5 {week.recall_at_5:.1%}"
    why = f" ({week.why})" if week.why else ""
    return (
        f"week {week.week}: {week.outcome.replace('_', ' ')}{why}, {week.labels:,} labels so far, "
        f"top-1 {week.top_1:.1%}, Recall@5 {week.recall_at_5:.1%}"
    )
