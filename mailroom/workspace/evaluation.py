"""Labelled emails → the figures of one evaluation; nothing is written to the log."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

from mailroom.classify.classifier import Classifier
from mailroom.classify.stream import Outcome, Steps, answer
from mailroom.config import MailSettings
from mailroom.errors import DataError
from mailroom.evaluate.metrics import Judged
from mailroom.evaluate.report import Evaluation, evaluate
from mailroom.mail.read import ReadEmail, read_email
from mailroom.mail.sources import Message, iter_messages
from mailroom.records import Candidate, Email
from mailroom.taxonomy import Taxonomy


@dataclass(slots=True)
class GoldRun:
    """One evaluation under way: what was judged, and which rows could not be used and why."""

    classifier: Classifier
    taxonomy: Taxonomy
    limits: MailSettings
    threads: int
    judged: list[Judged] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unreadable: int = 0

    def run(self, path: Path | Literal["-"], advance: Callable[[int, int], None]) -> Evaluation:
        """Judge every row of a labelled file; DataError where no row could be used."""
        steps = Steps(lambda message: read_email(message, self.limits), self._admit, self.classifier.classify)
        messages = iter_messages(path, self.limits)
        # Models are loaded lazily by the first answer of a process; the clock starts at the first message.
        first = next(messages, None)
        started = time.perf_counter()
        for outcome in answer(chain([first] if first else [], messages), steps, self.threads):
            self._judge(outcome)
            advance(outcome.message.position_bytes, len(self.judged))
        seconds = time.perf_counter() - started
        if not self.judged:
            reason = f"; the first problem: {self.problems[0]}" if self.problems else ""
            raise DataError(
                f"{path}: expected rows with text and a label of the taxonomy, found none{reason}"
            )
        return evaluate(self.judged, seconds, self._are_siblings)

    def _admit(self, batch: Sequence[ReadEmail]) -> list[Email | None]:
        return [read.email if self._truth(read) is not None else None for read in batch]

    def _truth(self, read: ReadEmail) -> str | None:
        label = self.taxonomy.resolve(read.label) if read.label else None
        return label.id if label is not None and label.assignable else None

    def _judge(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self.unreadable += 1
            self.problems.append(outcome.error)
        elif outcome.prediction is None or outcome.read is None:
            self.problems.append(self._why_not(outcome.message, outcome.read))
        else:
            candidates = outcome.prediction.candidates
            self.judged.append(
                Judged(
                    truth=self._truth(outcome.read) or "",
                    ranked=tuple(candidate.label for candidate in candidates),
                    retrieved=tuple(candidate.label for candidate in _by_similarity(candidates)),
                    probability=outcome.prediction.probability,
                    needs_review=outcome.prediction.needs_review,
                    latency_ms=outcome.prediction.latency_ms,
                )
            )

    def _why_not(self, message: Message, read: ReadEmail | None) -> str:
        if read is None or not read.label:
            return f"{message.origin}: expected a label, found none"
        known = self.taxonomy.resolve(read.label)
        reason = "is not assignable" if known else "is not in the taxonomy"
        return f"{message.origin}: label {read.label!r} {reason}"

    def _are_siblings(self, one: str, other: str) -> bool:
        return one != other and self.taxonomy[one].parent == self.taxonomy[other].parent


def _by_similarity(candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    # sorted() is stable, and equal cosines were handed over in the order of retrieval.
    return iter(sorted(candidates, key=lambda candidate: -candidate.similarity))
