"""A simulated reviewer: draws from the real queue, answers late, and is wrong now and then."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mailroom.taxonomy import Taxonomy
from mailroom.workspace.corrections import Corrections
from mailroom.workspace.review import ReviewItem, ReviewQueue
from mailroom.workspace.workspace import Workspace

# Emails drawn at a time: the queue sees what was answered before it hands out more.
_AT_ONCE = 50
# The share of the answers that come only after the week's cycle.
LATE_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Answer:
    """What the reviewer will say of a prediction."""

    email_id: str
    prediction_id: str
    label: str
    kind: str
    reviewer: str

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values."""
        return asdict(self)


class Reviewer:
    """Answers with the truth, and with a near miss at the noise rate; all by seed and email."""

    def __init__(
        self, workspace: Workspace, truth: Mapping[str, str], noise: float, seed: int, name: str
    ) -> None:
        self._workspace, self._truth, self._noise, self._seed = workspace, truth, noise, seed
        self._name = name

    def draw(self, count: int) -> list[Answer]:
        """Take up to `count` emails from the queue, and make up an answer for each."""
        queue = ReviewQueue(self._workspace)
        found: list[Answer] = []
        while len(found) < count:
            items = queue.take(min(_AT_ONCE, count - len(found)), self._name)
            if not items:
                break
            found += [self._answer(item) for item in items if item.email.id in self._truth]
        return found

    def say(self, answers: list[Answer]) -> None:
        """Write the answers as a person's."""
        corrections = Corrections(self._workspace)
        for answer in answers:
            corrections.record(
                answer.email_id,
                corrections.prediction(answer.prediction_id),
                self._workspace.taxonomy[answer.label],
                answer.reviewer,
                "audit" if answer.kind == "audit" else "review",
            )

    def is_late(self, answer: Answer) -> bool:
        """Whether the answer comes after the week's cycle."""
        return self._chance("late", answer.email_id).random() < LATE_SHARE

    def _answer(self, item: ReviewItem) -> Answer:
        truth = self._truth[item.email.id]
        chance = self._chance("noise", item.email.id)
        label = truth
        if chance.random() < self._noise:
            misses = _near_misses(item, truth, self._workspace.taxonomy) or [truth]
            label = misses[int(chance.integers(len(misses)))]
        return Answer(item.email.id, item.prediction.id, label, item.kind, self._name)

    def _chance(self, kind: str, email_id: str) -> np.random.Generator:
        """The same draws for a seed and an email, in whatever order emails come."""
        text = f"{self._seed}\0{kind}\0{email_id}".encode("utf-8", "surrogatepass")
        return np.random.default_rng(list(hashlib.sha256(text).digest()))


def _near_misses(item: ReviewItem, truth: str, taxonomy: Taxonomy) -> list[str]:
    """What a person in a hurry takes for the truth: the first candidates that are wrong."""
    labels = [candidate.label for candidate in item.prediction.candidates[:5]]
    known = (taxonomy.get(label) for label in labels if label != truth)
    return [label.id for label in known if label is not None and label.assignable]
