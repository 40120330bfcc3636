"""A person's word on one email → feedback that is durable: a correction, a confirmation, or a first label."""

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import uuid_utils

from mailroom.errors import DataError
from mailroom.records import OUTSIDE, Feedback, FeedbackSource, Prediction
from mailroom.store.email_reader import EmailReader
from mailroom.store.label_sets import LabelSets
from mailroom.store.prediction_reader import ENDING_DIGITS, PredictionReader
from mailroom.store.review_draws import ReviewDraws
from mailroom.taxonomy import NO_LABEL, PATH_SEPARATOR, Label, Taxonomy
from mailroom.workspace.workspace import Workspace

State = Literal["corrected", "confirmed", "labelled", "outside", "known"]

_ENDING = re.compile(rf"[0-9a-fA-F]{{{ENDING_DIGITS}}}")
_CHOICES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Correction:
    """What became of a word: `known` means that it was in force already, and nothing was written.

    `labelled` is a word on an email without prediction, `outside` one that no label fits; `before` the word
    that was in force till now.
    """

    feedback: Feedback
    state: State
    prediction: Prediction | None
    before: Feedback | None

    def to_dict(self) -> dict[str, Any]:
        """The word as JSON-ready values, with its `state`."""
        return self.feedback.to_dict() | {"state": self.state}


class Corrections:
    """Takes people's words on emails of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._taxonomy = workspace.taxonomy
        self._log, self._feedback = workspace.log, workspace.feedback
        self._predictions = PredictionReader(workspace.database)
        self._emails = EmailReader(workspace.database)
        self._draws = ReviewDraws(workspace.database)
        self._ever_known = LabelSets(workspace.database).ever_known()

    def label(self, text: str) -> Label:
        """The label that a person means; DataError says what is wrong with it."""
        return given_label(text, self._taxonomy, self._ever_known)

    def prediction(self, text: str) -> Prediction:
        """The prediction with this id, or with an id that ends in these digits; DataError where none is."""
        if _ENDING.fullmatch(text):
            found = self._predictions.by_ending(text)
            if len(found) > 1:
                ids = ", ".join(prediction.id for prediction in found)
                raise DataError(f"{len(found)} predictions end in {text}; name one in full: {ids}")
        else:
            prediction = self._log.get(text)
            found = [prediction] if prediction else []
        if not found:
            raise DataError(
                f"expected the id of a prediction or its last {ENDING_DIGITS} digits, got {text!r}, which is "
                "none; `mailroom log --ids` shows them"
            )
        return found[0]

    def newest_prediction(self, email_id: str) -> Prediction | None:
        """The newest answer for an email, None where there is none; DataError for an unknown email."""
        if self._emails.get(email_id) is None:
            raise DataError(
                f"expected the id of an email of the log, got {email_id!r}; `mailroom log --json` shows them"
            )
        return self._log.latest_for(email_id)

    def record(
        self,
        email_id: str,
        prediction: Prediction | None,
        label: Label,
        reviewer: str,
        source: FeedbackSource = "review",
        now: datetime | None = None,
    ) -> Correction:
        """Write one word. On an email that was drawn at random a review is an `audit`, now and later."""
        if source == "review" and self._draws.kinds_of([email_id]).get(email_id) == "audit":
            source = "audit"
        before = self._feedback.latest_for(email_id)
        word = make_word(email_id, prediction, label.id, reviewer, source, now or datetime.now(UTC))
        fresh = self._feedback.append([word])
        return Correction(word, _state(word) if fresh else "known", prediction, before)


def _state(word: Feedback) -> State:
    if word.is_outside:
        return "outside"
    return "corrected" if word.wrong_label else "confirmed" if word.prediction_id else "labelled"


def make_word(
    email_id: str,
    prediction: Prediction | None,
    label: str,
    reviewer: str,
    source: FeedbackSource,
    created_at: datetime,
) -> Feedback:
    """A new word on an email, with what it says of the prediction that was judged."""
    return Feedback(
        id=str(uuid_utils.uuid7()),
        email_id=email_id,
        label=label,
        wrong_label=prediction.label if prediction and prediction.label != label else None,
        prediction_id=prediction.id if prediction else None,
        reviewer=reviewer,
        source=source,
        created_at=created_at,
    )


def given_label(text: str, taxonomy: Taxonomy, ever_known: Collection[str]) -> Label:
    """The assignable label that a text names, or NO_LABEL; DataError for an unknown, retired or group one."""
    if text == OUTSIDE:
        return NO_LABEL
    found = taxonomy.resolve(text)
    if found is not None and found.assignable:
        return found
    if found is not None:
        below = [label.id for label in taxonomy.assignable if found in taxonomy.ancestors(label.id)]
        choices = ", ".join(below[:_CHOICES_SHOWN]) + (", …" if len(below) > _CHOICES_SHOWN else "")
        raise DataError(f"label {text!r} is a group and cannot be given; choose one below it: {choices}")
    if text in ever_known:
        raise DataError(
            f"label {text!r} is retired: the taxonomy had it once and has it no more; choose another"
        )
    names = {name: label for label in taxonomy.assignable for name in (label.id, label.name)}
    close = difflib.get_close_matches(text, names, 1, 0.7)
    hint = f"; did you mean {names[close[0]].id!r}?" if close else "; `mailroom taxonomy tree` shows all"
    raise DataError(f"label {text!r} is not in the taxonomy{hint}")


def label_path(label_id: str, taxonomy: Taxonomy) -> str:
    """A label's place in the tree for people; the id alone where the tree has it no more."""
    label = NO_LABEL if label_id == OUTSIDE else taxonomy.get(label_id)
    return PATH_SEPARATOR.join(label.path) if label else label_id
