"""Mailboxes → committed predictions: what `mailroom classify` runs.

An outcome is handed on only after its commit, so whatever a caller has printed is in the log.
"""

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Literal

from mailroom.classify.classifier import Classifier
from mailroom.classify.stream import Outcome, Steps, answer
from mailroom.config import Settings
from mailroom.errors import MailParseError
from mailroom.mail.read import ReadEmail, read_email
from mailroom.mail.sources import Message, iter_messages
from mailroom.records import Email
from mailroom.store.prediction_log import KnownEmail, LogEntry, PredictionLog, distinct_id

# Emails of this run that are remembered: more than can be under way between two commits, so that a copy is
# found either here or in the log, and few enough that a mailbox of any size runs in constant memory.
REMEMBERED = 100_000


@dataclass(slots=True)
class Tally:
    """What a run has done so far."""

    classified: int = 0
    skipped: int = 0
    failed: int = 0
    for_review: int = 0
    outside: int = 0

    def count(self, outcome: Outcome) -> None:
        """Add one outcome."""
        if outcome.error is not None:
            self.failed += 1
        elif outcome.prediction is None:
            self.skipped += 1
        else:
            self.classified += 1
            self.for_review += outcome.prediction.needs_review
            self.outside += "out_of_taxonomy" in outcome.prediction.review_reasons

    @property
    def seen(self) -> int:
        """Messages that came to an end, whichever."""
        return self.classified + self.skipped + self.failed


class ClassificationRun:
    """One pass over some mailboxes; iterate it for batches of outcomes that are committed."""

    def __init__(
        self,
        classifier: Classifier,
        log: PredictionLog,
        settings: Settings,
        threads: int,
        again: bool = False,
    ) -> None:
        self.tally = Tally()
        self._classifier, self._log, self._settings = classifier, log, settings
        self._threads, self._again = threads, again
        self._seen: OrderedDict[str, str] = OrderedDict()
        self._stopped = False

    def stop(self) -> None:
        """Take no further message: what is under way is finished and handed on, then the run ends."""
        self._stopped = True

    def outcomes(self, paths: Sequence[Path | Literal["-"]]) -> Iterator[list[Outcome]]:
        """Outcomes of every message in order, in batches; predictions in a batch are durable.

        A path that cannot be used at all is one outcome with an error, and the next path follows.
        """
        for path in paths:
            messages = takewhile(lambda _: not self._stopped, self._messages(path))
            steps = Steps(self._read, self._admit, self._classifier.classify)
            with closing(answer(messages, steps, self._threads)) as stream:
                yield from self._committed(stream)

    def _messages(self, path: Path | Literal["-"]) -> Iterator[Message]:
        try:
            yield from iter_messages(path, self._settings.mail)
        except MailParseError as exc:
            yield Message(str(path), "rfc822", b"", 0, False, str(exc))

    def _committed(self, stream: Iterator[Outcome]) -> Iterator[list[Outcome]]:
        limits = self._settings.store
        batch: list[Outcome] = []
        deadline = time.monotonic() + limits.commit_every_ms / 1000
        try:
            for outcome in stream:
                batch.append(outcome)
                if len(batch) >= limits.commit_every_predictions or time.monotonic() >= deadline:
                    full, batch = batch, []
                    yield self._commit(full)
                    deadline = time.monotonic() + limits.commit_every_ms / 1000
        except (Exception, KeyboardInterrupt):
            # What was decided before the run broke off is kept and handed on: nobody pays for it twice.
            if batch:
                yield self._commit(batch)
            raise
        if batch:
            yield self._commit(batch)

    def _commit(self, batch: list[Outcome]) -> list[Outcome]:
        entries = [
            LogEntry(
                outcome.prediction,
                outcome.email,
                outcome.message.origin,
                outcome.read.asides if outcome.read is not None else (),
            )
            for outcome in batch
            if outcome.prediction is not None and outcome.email is not None
        ]
        if entries:
            self._log.append(entries)
        for outcome in batch:
            self.tally.count(outcome)
        return batch

    def _read(self, message: Message) -> ReadEmail:
        return read_email(message, self._settings.mail)

    def _admit(self, batch: Sequence[ReadEmail]) -> list[Email | None]:
        emails = [read.email for read in batch]
        known = self._log.known([name for email in emails for name in (email.id, distinct_id(email))])
        return [self._admit_one(email, known) for email in emails]

    def _admit_one(self, email: Email, known: dict[str, KnownEmail]) -> Email | None:
        """The email if it wants an answer: under its own id, or under a distinct one if that is taken."""
        content = email.content_sha256
        for candidate in (email, replace(email, id=distinct_id(email))):
            if candidate.id in self._seen:
                if self._seen[candidate.id] == content:
                    return None
                continue
            stored = known.get(candidate.id)
            if stored is None or stored.content_sha256 == content:
                self._remember(candidate.id, content)
                answered = stored is not None and stored.predicted
                return candidate if self._again or not answered else None
        return None

    def _remember(self, email_id: str, content: str) -> None:
        self._seen[email_id] = content
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
