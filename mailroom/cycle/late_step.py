"""Ways to answer by learned label vectors → the same with late interaction behind, counting as gold says.

On the first day its weight is what other taxonomies suggest; labels that have learned from mail need it less,
on short mail not at all. So each cycle chooses the weight anew, on gold that the labels did not learn from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mailroom.classify.decide import softmax
from mailroom.classify.wordings import competitor_text
from mailroom.cycle.desk import Desk
from mailroom.cycle.setup import Setup
from mailroom.evaluate.answers import Answer
from mailroom.models.late_interaction import LateInteraction, reweighed
from mailroom.models.lexical_weight import TEMPERATURES, log_losses
from mailroom.models.registry import CROSS_ENCODER
from mailroom.records import Example

LATE = "+late_interaction"
# Chosen on training parts of four sets (docs/experiments-cross-encoder.md).
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6)
# With fewer emails the champion's weight stays.
_LEAST_JUDGED = 30

Scores = NDArray[np.float32]


class HeldBack(Protocol):
    """What answers gold that its label vectors did not learn from."""

    def held_back(self, setup: Setup) -> Sequence[Answer]:
        """The setup's answers to it, best first, with similarities."""
        ...


@dataclass(frozen=True, slots=True)
class Counted:
    """What late interaction counts beside the cosine, and what their sum is divided by."""

    weight: float
    temperature: float


class LateScores:
    """Late interaction of emails and labels, read once each, by what stands behind the reader's encoder."""

    def __init__(self, desk: Desk, reader: Setup, examples: Sequence[Example]) -> None:
        self._late = LateInteraction.load(Path(reader.cross_encoder or ""), reader.cross_precision or "fp32")
        self._counted = counted_by(reader)
        self._labels = {label.id: competitor_text(label, desk.taxonomy) for label in desk.taxonomy.assignable}
        self._texts = {example.email_id: example.text for example in examples}
        self._known: dict[str, dict[str, float]] = {}

    @property
    def counted(self) -> Counted:
        """As the reader has it; nothing where that was not chosen yet."""
        return self._counted

    def of(self, answer: Answer) -> Scores:
        """Between its email and each label that it ranked (k,), without any weight."""
        known = self._known.setdefault(answer.email_id, {})
        missing = [label for label in answer.ranked if label not in known]
        if missing:
            found = self._late.score(self._texts[answer.email_id], [self._labels[label] for label in missing])
            known |= zip(missing, (found / self._late.weight).tolist(), strict=True)
        return np.array([known[label] for label in answer.ranked], dtype=np.float32)

    def rerank(self, answer: Answer, counted: Counted) -> Answer:
        """The answer of retrieval, ranked by its similarities and late interaction."""
        similarities = np.array(answer.similarities, dtype=np.float32)
        sums = similarities + np.float32(counted.weight) * self.of(answer)
        order = np.argsort(-sums, kind="stable")
        return Answer(
            answer.email_id,
            answer.truth,
            tuple(answer.ranked[place] for place in order.tolist()),
            tuple(softmax(sums, counted.temperature)[order].tolist()),
            tuple(similarities[order].tolist()),
        )


def late_step(
    reader: Setup, scores: LateScores, judge: HeldBack, work: Path, setups: Sequence[Setup]
) -> dict[str, Any]:
    """Put late interaction behind each setup that decides by retrieval, where held-back gold says it helps.

    `setups` has those, `weights` what was chosen for each.
    """
    found, weights = [], {}
    for setup in setups:
        if setup.kind != "retrieval":
            continue
        counted = choose(judge.held_back(setup), scores)
        weights[setup.name] = counted.weight
        if counted.weight > 0:
            found.append(behind(setup, reader, counted, work).to_dict())
    return {"setups": found, "weights": weights}


def choose(answers: Sequence[Answer], scores: LateScores) -> Counted:
    """The weight and temperature of the least log loss on these answers of retrieval."""
    judged = [answer for answer in answers if answer.truth in answer.ranked]
    if len(judged) < _LEAST_JUDGED:
        return scores.counted
    targets = np.array([answer.ranked.index(answer.truth) for answer in judged], dtype=np.intp)
    cosines = np.array([answer.similarities for answer in judged], dtype=np.float32)
    late = np.stack([scores.of(answer) for answer in judged])
    even = np.ones(len(judged), dtype=np.float32)
    losses = np.array([log_losses(cosines + np.float32(w) * late, targets, even) for w in WEIGHTS])
    weight, temperature = np.unravel_index(int(losses.argmin()), losses.shape)
    return Counted(WEIGHTS[int(weight)], float(TEMPERATURES[int(temperature)]))


def counted_by(setup: Setup) -> Counted:
    """What a setup with late interaction counts it."""
    return Counted(setup.late_weight, setup.late_temperature)


def behind(setup: Setup, reader: Setup, counted: Counted, work: Path) -> Setup:
    """The setup with the late interaction of `reader` behind it, which then decides."""
    name = setup.name + LATE
    target = work / name / CROSS_ENCODER
    reweighed(Path(reader.cross_encoder or ""), target, counted.weight, counted.temperature)
    return replace(
        setup,
        name=name,
        cross_encoder=str(target),
        cross_precision=reader.cross_precision,
        late_weight=counted.weight,
        late_temperature=counted.temperature,
    )
