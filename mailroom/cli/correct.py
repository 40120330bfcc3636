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
        list[str] | None,
        typer.Argument(
            metavar="[PREDICTION] [LABEL]",
            help="A prediction's id or its last 8 digits, then the right label: id, name or path.",
        ),
    ] = None,
    email: Annotated[
        str | None, typer.Option("--email", metavar="ID", help="The email, in place of a prediction.")
    ] = None,
    outside: Annotated[
        bool, typer.Option("--outside", help="No label of the taxonomy fits; in place of LABEL.")
    ] = False,
    reviewer: Reviewer = None,
    as_json: AsJson = False,
) -> None:
    """Say which label an email should have had, or confirm the one that it got.

    A label that equals the answer confirms it, which teaches as well. Nothing is overwritten: a later word
    supersedes an earlier one. `mailroom log --ids` shows what to name. Nothing is learned from an email that
    is said to be --outside; when the taxonomy has a label for it, say so.

    Example:  mailroom correct 4f2a91c0 "Billing > Refund"
    """
    from mailroom.taxonomy import NO_LABEL
    from mailroom.workspace.corrections import Corrections
    from mailroom.workspace.user import current_user

    given = _given(what or [], email is None, outside)
    settings: Context = context.obj
    with settings.open_workspace() as workspace:
        corrections = Corrections(workspace)
        label = NO_LABEL if outside else corrections.label(given[-1])
        if email is not None:
            prediction = corrections.newest_prediction(email)
        else:
            prediction = corrections.prediction(given[0])
            email = prediction.email_id
        done = corrections.record(email, prediction, label, reviewer or current_user())
        typer.echo(to_json_line(done.to_dict()) if as_json else visible(sentence(done, workspace.taxonomy)))


def _given(what: list[str], names_prediction: bool, outside: bool) -> list[str]:
    """The arguments, which must be PREDICTION unless an email is named, and LABEL unless none fits."""
    expected = [*(["PREDICTION"] if names_prediction else []), *([] if outside else ["LABEL"])]
    if len(what) != len(expected):
        given = " and ".join(["--email"] * (not names_prediction) + ["--outside"] * outside)
        wanted = (
            " and ".join(expected) + f" alone beside {given}" * bool(given) if expected else "no argument"
        )
        raise typer.BadParameter(f"expected {wanted}, got {' '.join(map(repr, what)) or 'nothing'}")
    return what


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
