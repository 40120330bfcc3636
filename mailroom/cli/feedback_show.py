"""`mailroom feedback show`: the story of one email that people have spoken on, in the order of time."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mailroom.cli.context import AsJson, Context, to_json_line
from mailroom.cli.tables import printable
from mailroom.records import OUTSIDE

if TYPE_CHECKING:
    from mailroom.records import Prediction
    from mailroom.store.snapshots import Use
    from mailroom.taxonomy import Taxonomy
    from mailroom.workspace.feedback_trace import Trace

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def feedback_show(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A row of `feedback list`, a prediction (8 last digits do), or an email."
        ),
    ],
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Ask today's model, which takes a moment to load.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Trace a correction: which model answered wrong, which cycle learned it, and is it right today.

    Nothing is written, and today's answer does not go to the log.

    Example:  mailroom feedback show 4f2a91c0
    """
    from mailroom.workspace.feedback_trace import trace_feedback

    settings: Context = context.obj
    with settings.open_workspace(read_only=True) as workspace:
        trace = trace_feedback(workspace, name, check)
        if as_json:
            typer.echo(to_json_line(trace.to_dict()))
            return
        typer.echo(f"{printable(trace.email.subject) or '(no subject)'}")
        typer.echo(f"email {printable(trace.email.id)}, found at {printable(trace.email.origin)}")
        for line in _story(trace, workspace.taxonomy):
            typer.echo(line)


def _story(trace: "Trace", taxonomy: "Taxonomy") -> list[str]:
    """One line an event, in the order of time; what is true today stands last."""
    from mailroom.workspace.corrections import label_path

    truth = trace.words[-1]
    events: list[tuple[datetime, str]] = [
        (prediction.created_at, f"{prediction.model} answered {_answer(prediction, truth.label, taxonomy)}")
        for prediction in trace.predictions
    ]
    for word in trace.words:
        note = ", in force" if word is truth else ""
        said = f"{printable(word.reviewer)} said {label_path(word.label, taxonomy)} ({word.source}{note})"
        events.append((word.created_at, said))
        events += [(use.cycle.started_at, _learned(use)) for use in trace.uses[word.id]]
    lines = [
        f"{moment:%Y-%m-%d %H:%M}  {text}" for moment, text in sorted(events, key=lambda event: event[0])
    ]
    if truth.is_outside:
        lines.append(f"{'':16}  nothing is learned from an email that no label fits")
    elif not trace.uses[truth.id]:
        lines.append(f"{'':16}  no cycle has learned from it yet; `mailroom learn` runs one")
    if trace.today is not None:
        answer = _answer(trace.today, truth.label, taxonomy)
        lines.append(f"{'today':16}  {trace.today.model} answers {answer}")
    elif trace.email.text is None:
        lines.append(f"{'today':16}  unknown: the email's text was not kept (store.keep_text)")
    return lines


def _answer(prediction: "Prediction", truth: str, taxonomy: "Taxonomy") -> str:
    from mailroom.workspace.corrections import label_path

    label = label_path(prediction.label, taxonomy)
    if prediction.label == truth:
        return f"{label} ({prediction.probability:.0%}): right"
    if truth == OUTSIDE:
        return f"{label} ({prediction.probability:.0%}): wrong, no label fits"
    labels = [candidate.label for candidate in prediction.candidates]
    place = (
        f"the right label came {_ordinal(labels.index(truth) + 1)}"
        if truth in labels
        else (f"the right label was not among its {len(labels)}")
    )
    return f"{label} ({prediction.probability:.0%}): wrong, {place}"


def _learned(use: "Use") -> str:
    if use.part == "train":
        did = f"learned it as {use.grade} (weight {use.weight:g})"
    else:
        did = f"kept it for {use.part}: judged by it, not trained on it"
    made = f", made {use.cycle.model}" if use.cycle.model else ""
    ended = f", {use.cycle.outcome}" if use.cycle.outcome else ", not ended"
    return f"cycle {use.cycle.id[-8:]} {did}{made}{ended}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
