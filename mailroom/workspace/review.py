"""The review queue of a workspace: which emails a person sees next, and what becomes of the answers.

Knows no screen. An answer is written when the next one is given, so that the last can be taken back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from mailroom.curate.near_duplicates import find_near_duplicates
from mailroom.curate.queue import Kind, Spoken, Waiting, choose
from mailroom.records import FeedbackSource, Prediction
from mailroom.store.email_reader import EmailReader, StoredEmail
from mailroom.store.feedback import FeedbackFilter
from mailroom.store.prediction_reader import PredictionReader
from mailroom.store.review_draws import Draw, ReviewDraws
from mailroom.taxonomy import NO_LABEL, Label
from mailroom.workspace.corrections import Corrections, State
from mailroom.workspace.workspace import Workspace

# Unsure emails that are looked at to choose a few: enough to see where the heaps are, and soon read.
_POOL = 500
# Words said last whose emails are not asked about again in other words.
_RECENT = 500
# And those that need not be asked about since these tell of them.
_KNOWN = 1000


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """An email for a person, the newest answer for it, and why it was chosen."""

    email: StoredEmail
    prediction: Prediction
    kind: Kind

    def to_dict(self) -> dict[str, Any]:
        """The item as JSON-ready values: the prediction, its id as `prediction_id`, and the email."""
        prediction = self.prediction.to_dict()
        return {
            "kind": self.kind,
            "prediction_id": prediction.pop("id"),
            **prediction,
            "subject": self.email.subject,
            "sender": self.email.sender,
            "received_at": self.email.received_at.isoformat() if self.email.received_at else None,
            "text": self.email.text,
        }


class ReviewQueue:
    """Chooses emails for reviewers; several people may draw from it at once."""

    def __init__(self, workspace: Workspace) -> None:
        self._settings = workspace.settings.review
        self._feedback = workspace.feedback
        self._draws = ReviewDraws(workspace.database)
        self._emails = EmailReader(workspace.database)
        self._predictions = PredictionReader(workspace.database)
        self._labels = len(workspace.taxonomy.assignable)

    def peek(self, size: int) -> list[ReviewItem]:
        """The next emails, left where they are: somebody else may get the same ones."""
        unsure, audits = self._draws.unsure(_POOL), self._draws.audits(size)
        if len(unsure) < _POOL:
            # Whoever asks for more than is marked gets the closest calls among the rest.
            unsure += self._draws.unsure(size, marked=False)
        answers = {prediction.email_id: prediction for prediction in (*unsure, *audits)}
        emails = self._emails.by_id(list(answers))
        picks = choose(
            self._waiting(unsure, emails),
            [Waiting(answer.email_id, answer.label, answer.margin) for answer in audits],
            size,
            self._settings.audit_share,
            self._spoken(),
        )
        return [ReviewItem(emails[pick.email_id], answers[pick.email_id], pick.kind) for pick in picks]

    def take(self, size: int, reviewer: str) -> list[ReviewItem]:
        """The next emails, in this reviewer's hands till they are answered, given back, or the lease ends."""
        lease = timedelta(minutes=self._settings.lease_minutes)
        items = self.peek(size)
        draws = [Draw(item.email.id, item.kind) for item in items]
        taken = {draw.email_id for draw in self._draws.take(draws, reviewer, lease)} if draws else set()
        return [item for item in items if item.email.id in taken]

    def give_back(self, items: Sequence[ReviewItem]) -> None:
        """Let others have these."""
        self._draws.give_back([item.email.id for item in items])

    def _waiting(self, unsure: Sequence[Prediction], emails: dict[str, StoredEmail]) -> list[Waiting]:
        """The unsure emails by what they resemble, less those that resemble one just spoken on."""
        recent = [row.feedback.email_id for row in self._feedback.query(FeedbackFilter(limit=_RECENT))]
        spoken = [email.text or "" for email in self._emails.by_id(recent).values()]
        texts = [emails[answer.email_id].text or "" for answer in unsure]
        groups = find_near_duplicates([*spoken, *texts]).groups().tolist()
        asked = set(groups[: len(spoken)])
        return [
            Waiting(answer.email_id, answer.label, answer.margin, _likeness(answer), group)
            for answer, group in zip(unsure, groups[len(spoken) :], strict=True)
            if group not in asked
        ]

    def _spoken(self) -> Spoken:
        """What people said, and what the newest emails with a word, and those in hand, are like."""
        said = Spoken(self._feedback.count_by_label(), self._labels)
        if not said.little:
            return said
        spoken = [row.feedback.email_id for row in self._feedback.query(FeedbackFilter(limit=_KNOWN))]
        answers = self._predictions.newest_of([*spoken, *self._draws.in_hand()])
        return replace(said, known=[_likeness(answer) for answer in answers.values()])


def _likeness(answer: Prediction) -> dict[str, float]:
    return {candidate.label: candidate.similarity for candidate in answer.candidates}


@dataclass(slots=True)
class ReviewTally:
    """What a session has done so far, less what was taken back."""

    confirmed: int = 0
    corrected: int = 0
    outside: int = 0
    skipped: int = 0

    @property
    def answered(self) -> int:
        """Emails with a word."""
        return self.confirmed + self.corrected + self.outside


class ReviewSession:
    """One person at the queue: `current` is the email to judge, None when nothing waits any more."""

    def __init__(self, workspace: Workspace, reviewer: str, limit: int | None = None) -> None:
        self.reviewer = reviewer
        self._queue = ReviewQueue(workspace)
        self._corrections = Corrections(workspace)
        self._batch = workspace.settings.review.batch
        self._limit = limit
        self._items: list[ReviewItem] = []
        self._answers: dict[int, Label | None] = {}
        self._position = 0
        self._unwritten: int | None = None
        self._fetch()

    @property
    def current(self) -> ReviewItem | None:
        """The email to judge now."""
        return self._items[self._position] if self._position < len(self._items) else None

    @property
    def left_in_hand(self) -> int:
        """Emails of this batch that wait, the current one among them."""
        return len(self._items) - self._position

    @property
    def earlier_answer(self) -> Label | None:
        """What was said of the current email before it was gone back to."""
        return self._answers.get(self._position)

    @property
    def tally(self) -> ReviewTally:
        """What has been done so far."""
        tally = ReviewTally()
        for place, label in self._answers.items():
            if label is None:
                tally.skipped += 1
            elif label.id == self._items[place].prediction.label:
                tally.confirmed += 1
            elif label is NO_LABEL:
                tally.outside += 1
            else:
                tally.corrected += 1
        return tally

    def answer(self, label: Label) -> None:
        """Give the current email a label, which may be the one that it has, or NO_LABEL, and go on."""
        self._write()
        self._answers[self._position] = label
        self._unwritten = self._position
        self._go_on()

    def skip(self) -> None:
        """Leave the current email, to others or for later, and go on."""
        self._answers.setdefault(self._position, None)
        self._go_on()

    def undo(self) -> bool:
        """Go back to the email before; False where there is none.

        Its answer is taken back where it is not written yet; else the next one supersedes it.
        """
        if self._position == 0:
            return False
        self._position -= 1
        if self._unwritten == self._position:
            self._unwritten = None
            del self._answers[self._position]
        elif self._answers.get(self._position) is None:
            self._answers.pop(self._position, None)
        return True

    def close(self) -> None:
        """Write the last answer and give back what was not seen; what was skipped rests for the lease."""
        self._write()
        unseen = [item for place, item in enumerate(self._items) if place not in self._answers]
        if unseen:
            self._queue.give_back(unseen)

    def _write(self) -> State | None:
        if self._unwritten is None:
            return None
        place, self._unwritten = self._unwritten, None
        item, label = self._items[place], self._answers[place]
        if label is None:
            return None
        source: FeedbackSource = "audit" if item.kind == "audit" else "review"
        done = self._corrections.record(item.email.id, item.prediction, label, self.reviewer, source)
        return done.state

    def _go_on(self) -> None:
        self._position += 1
        if self._position == len(self._items):
            self._fetch()

    def _fetch(self) -> None:
        room = self._batch if self._limit is None else min(self._batch, self._limit - len(self._items))
        if room > 0:
            # The last answer must be in the store, or its near-duplicates would come again.
            self._write()
            self._items += self._queue.take(room, self.reviewer)
