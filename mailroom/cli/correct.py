"""`mailroom correct`: a person's word on one email → the feedback that the next learning cycle reads."""

from typing import TYPE_CHECKING, Annotated

import typer

from mailroom.cli.context import AsJson, Context, to_json_line
from mailroom.cli.tables import visible

if TYPE_CHECKING:
    from mailroom.taxonomy import Taxonomy
    from mailroom.workspace.corrections import Correction

Reviewer = Annotated[str | None, typer.Option(metavar="NAME", help="Whose word it is; else your user name.")]


def correct(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="[PREDICTION] LABEL",
            help="A prediction's id or its last 8 digits, then the right label: id, name or path.",
        ),
    ],
    email: Annotated[
        str | None, typer.Option("--email", metavar="ID", help="The email, in place of a prediction.")
    ] = None,
    reviewer: Reviewer = None,
    as_json: AsJson = False,
) -> None:
    """Say which label an email should have had, or confirm the one that it got.

    A label that equals the answer confirms it, which teaches as well. Nothing is overwritten: a later word
    supersedes an earlier one. `mailroom log --ids` shows what to name.

    Example:  mailroom correct 4f2a91c0 "Billing > Refund"
    """
    from mailroom.workspace.corrections import Corrections
    from mailroom.workspace.user import current_user

    wanted = 1 if email is not None else 2
    if len(what) != wanted:
        expected = "LABEL alone beside --email" if email is not None else "PREDICTION and LABEL"
        raise typer.BadParameter(f"expected {expected}, got {' '.join(map(repr, what))}")
    settings: Context = context.obj
    with settings.open_workspace() as workspace:
        corrections = Corrections(workspace)
        label = corrections.label(what[-1])
        if email is not None:
            prediction = corrections.newest_prediction(email)
        else:
            prediction = corrections.prediction(what[0])
            email = prediction.email_id
        done = corrections.record(email, prediction, label, reviewer or current_user())
        typer.echo(to_json_line(done.to_dict()) if as_json else visible(sentence(done, workspace.taxonomy)))


def sentence(done: "Correction", taxonomy: "Taxonomy") -> str:
    """What became of a word, in one line."""
    from mailroom.workspace.corrections import label_path

    word = done.feedback
    given = label_path(word.label, taxonomy)
    if done.state == "known":
        return f"known already: {given} (your word is in force; nothing was written)"
    said = f"{done.state}: {given}"
    if word.wrong_label:
        said += f" (the answer was {label_path(word.wrong_label, taxonomy)})"
    if done.before and done.before.label != word.label:
        said += f"; supersedes {label_path(done.before.label, taxonomy)}, the word of {done.before.reviewer}"
    return said
