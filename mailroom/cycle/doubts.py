"""People's labels and what all other labelled mail teaches → the labels that a person should look at again.

Nothing is dropped and nothing changed: a label that everything else contradicts is more often wrong than
others, and sometimes the one that is right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mailroom.cycle.choose import calibrated_factor
from mailroom.evaluate.answers import Answer
from mailroom.evaluate.calibration import recalibrated
from mailroom.evaluate.learning_report import Doubt, excerpt

# With less gold nothing stands beyond doubt, and so nothing can be doubted.
LEAST_TO_DOUBT = 100
MOST_KEPT = 200


@dataclass(frozen=True, slots=True)
class Doubts:
    """How many labels are doubted, out of how many; the first MOST_KEPT, the most doubtful first."""

    emails: int
    count: int
    shown: tuple[Doubt, ...]

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values."""
        return asdict(self)


def find_doubts(answers: Sequence[Answer], texts: Mapping[str, str]) -> Doubts:
    """The labels that are contradicted with as much confidence as right labels of that kind have.

    `answers` must come from a model that did not learn from the email. The rule is that of confident learning
    (Northcutt et al., 2021): another label is given at least the probability that it has on average where
    people gave it, and more than the label in question.
    """
    if len(answers) < LEAST_TO_DOUBT:
        return Doubts(len(answers), 0, ())
    stated = recalibrated(answers, calibrated_factor(answers))
    usual = _usual_confidence(stated)
    found = []
    for answer in stated:
        least = usual.get(answer.label)
        given = _probability(answer, answer.truth)
        if not answer.correct and least is not None and answer.probabilities[0] >= max(0.5, least):
            text = excerpt(texts.get(answer.email_id, ""))
            doubt = Doubt(answer.email_id, answer.truth, answer.label, answer.probabilities[0], given, text)
            found.append(doubt)
    found.sort(key=lambda doubt: (doubt.given_probability - doubt.probability, doubt.email_id))
    return Doubts(len(answers), len(found), tuple(found[:MOST_KEPT]))


def _usual_confidence(answers: Sequence[Answer]) -> dict[str, float]:
    """The mean probability of each label on the emails that people gave it."""
    by_label: dict[str, list[float]] = {}
    for answer in answers:
        by_label.setdefault(answer.truth, []).append(_probability(answer, answer.truth))
    return {label: float(np.mean(found)) for label, found in by_label.items()}


def _probability(answer: Answer, label: str) -> float:
    return answer.probabilities[answer.ranked.index(label)] if label in answer.ranked else 0.0
