"""One word → its story: which model was wrong, who corrected it, who learned it, is it right today."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mailroom.errors import DataError
from mailroom.records import Email, Feedback, Prediction
from mailroom.store.email_reader import EmailReader, StoredEmail
from mailroom.store.log_query import LogFilter
from mailroom.store.prediction_reader import ENDING_DIGITS
from mailroom.store.snapshots import Snapshots, Use
from mailroom.workspace.corrections import Corrections
from mailroom.workspace.workspace import Workspace

_ENDING = re.compile(rf"[0-9a-fA-F]{{{ENDING_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything about an email that people have spoken on.

    `words` and `predictions` stand in the order of time; `uses` tells for each word (by id) the cycles that
    had it before them. `today` is what the current model answers; None where that was not asked for, or where
    the email's text was not kept.
    """

    email: StoredEmail
    words: Sequence[Feedback]
    predictions: Sequence[Prediction]
    uses: dict[str, list[Use]]
    today: Prediction | None

    @property
    def is_right_today(self) -> bool | None:
        """Whether the current model gives the label that is in force; None where it was not asked."""
        return None if self.today is None else self.today.label == self.words[-1].label

    def to_dict(self) -> dict[str, Any]:
        """The story as JSON-ready values; the text of the email is left out."""
        return {
            "email_id": self.email.id,
            "subject": self.email.subject,
            "words": [
                word.to_dict() | {"learned_by": [_use(use) for use in self.uses[word.id]]}
                for word in self.words
            ],
            "predictions": [prediction.to_dict() for prediction in self.predictions],
            "today": None if self.today is None else self.today.to_dict(),
            "is_right_today": self.is_right_today,
        }


def trace_feedback(workspace: Workspace, name: str, ask_model: bool) -> Trace:
    """The story of what `name` names: a word, a prediction, or an email, by id or by its last digits.

    `ask_model` loads the current model and asks it; nothing is written. DataError where `name` is none of
    these, or nobody has spoken on that email.
    """
    email_id = _email_meant(workspace, name)
    email = EmailReader(workspace.database).get(email_id)
    words = workspace.feedback.history(email_id)
    if email is None or not words:
        raise DataError(f"nobody has said anything about {name!r} yet; `mailroom correct` does")
    snapshots = Snapshots(workspace.database)
    rows = workspace.log.query(LogFilter(email_id=email_id, newest_first=False))
    today = None
    if ask_model and email.text:
        today = workspace.classifier().classify(Email(email.id, "", email.text))
    return Trace(
        email,
        words,
        [row.prediction for row in rows],
        {word.id: snapshots.uses_of(word.id) for word in words},
        today,
    )


def _email_meant(workspace: Workspace, name: str) -> str:
    word = workspace.feedback.get(name)
    if word is not None:
        return word.email_id
    if EmailReader(workspace.database).get(name) is not None:
        return name
    if _ENDING.fullmatch(name):
        found = workspace.feedback.by_ending(name)
        if len(found) > 1:
            ids = ", ".join(word.id for word in found)
            raise DataError(f"{len(found)} words end in {name}; name one in full: {ids}")
        if found:
            return found[0].email_id
    try:
        return Corrections(workspace).prediction(name).email_id
    except DataError as exc:
        raise DataError(
            f"expected the id of a word, an email or a prediction, got {name!r}, which is none; "
            "`mailroom feedback list` shows the words"
        ) from exc


def _use(use: Use) -> dict[str, Any]:
    return {
        "cycle": use.cycle.id,
        "started_at": use.cycle.to_dict()["started_at"],
        "part": use.part,
        "label": use.label,
        "weight": use.weight,
        "model": use.cycle.model,
        "outcome": use.cycle.outcome,
    }
