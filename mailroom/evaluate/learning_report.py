"""What a learning cycle judged → one record; `render.py` makes a page or text of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from mailroom.evaluate.answers import Answer
from mailroom.evaluate.calibration import TARGET_PRECISION, Calibration, calibrate
from mailroom.evaluate.compare import ChangedSide
from mailroom.evaluate.drift import Drift
from mailroom.evaluate.gate import Verdict
from mailroom.evaluate.metrics import (
    Confusion,
    ReviewFigures,
    macro_f1,
    recall_at,
    sibling_confusion_rate,
    worst_confusions,
)

Decision = Literal["promoted", "refused"]
EXCERPT_CHARS = 160
CONFUSIONS_KEPT = 50


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One model on the evaluation gold; shares are 0…1, `recall` is keyed `recall_at_K`."""

    version: str
    kind: str
    recall: Mapping[str, float]
    macro_f1: float
    sibling_confusion_rate: float
    calibration: Calibration
    confusions: tuple[Confusion, ...]


@dataclass(frozen=True, slots=True)
class ChangedEmail:
    """An email that changed sides, and the beginning of its text; "" where none was kept."""

    side: ChangedSide
    excerpt: str


@dataclass(frozen=True, slots=True)
class CyclePoint:
    """One cycle of the learning curve: what its challenger reached on the gold of its time."""

    cycle: str
    version: str
    decision: Decision
    emails: int
    labels_used: int
    top_1: float
    recall_at_5: float


@dataclass(frozen=True, slots=True)
class Heading:
    """Which cycle of which workspace this is about."""

    workspace: str
    cycle: str
    created_at: datetime
    champion: str
    challenger: str
    champion_kind: str
    taxonomy: str = ""


@dataclass(frozen=True, slots=True)
class ReviewMarks:
    """What each model's review mark is worth on the evaluation gold, and what the challenger's rests on."""

    champion: ReviewFigures
    challenger: ReviewFigures
    basis: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """A person's label that all other labelled mail contradicts: what was said, and what is likelier."""

    email_id: str
    given: str
    suggested: str
    probability: float
    given_probability: float
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class LearningReport:
    """Everything that a cycle's page shows; figures are None where there was no gold to judge by.

    `rivals` maps what was tried to its top-1, `data` what was learned from to a count, both in their order;
    `judged_by` says what the gold consists of, where that needs saying.
    """

    heading: Heading
    verdict: Verdict
    tolerance: float
    champion: ModelFigures | None
    challenger: ModelFigures | None
    won: tuple[ChangedEmail, ...] = ()
    lost: tuple[ChangedEmail, ...] = ()
    rivals: Mapping[str, float] = field(default_factory=dict)
    data: Mapping[str, int] = field(default_factory=dict)
    curve: tuple[CyclePoint, ...] = ()
    drift: Drift | None = None
    review: ReviewMarks | None = None
    judged_by: str = ""
    doubts: tuple[Doubt, ...] = ()

    @property
    def decision(self) -> Decision:
        """What became of the challenger."""
        return "promoted" if self.verdict.passed else "refused"

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name; times in ISO 8601."""
        record = asdict(self)
        record["heading"]["created_at"] = self.heading.created_at.isoformat()
        return {"decision": self.decision, **record}


def learning_report(
    heading: Heading,
    verdict: Verdict,
    answers: tuple[Sequence[Answer], Sequence[Answer]],
    are_siblings: Callable[[str, str], bool],
    tolerance: float,
    texts: Mapping[str, str] | None = None,
    **rest: Any,
) -> LearningReport:
    """The report of one cycle from its verdict and both models' `answers` (champion, challenger) to gold.

    `texts` maps email ids to what was read of them; `rest` are `rivals`, `data`, `curve`, `drift`,
    `review`, `judged_by` and `doubts`.
    """
    champion, challenger = answers
    comparison = verdict.comparison
    return LearningReport(
        heading,
        verdict,
        tolerance,
        _figures(heading.champion, heading.champion_kind, champion, are_siblings),
        _figures(heading.challenger, verdict.chosen, challenger, are_siblings),
        _changed(comparison.won if comparison else (), texts or {}),
        _changed(comparison.lost if comparison else (), texts or {}),
        **rest,
    )


def _figures(
    version: str, kind: str, answers: Sequence[Answer], are_siblings: Callable[[str, str], bool]
) -> ModelFigures | None:
    if not answers:
        return None
    labels, truths = [answer.label for answer in answers], [answer.truth for answer in answers]
    return ModelFigures(
        version=version,
        kind=kind,
        recall=recall_at([answer.ranked for answer in answers], truths),
        macro_f1=macro_f1(labels, truths),
        sibling_confusion_rate=sibling_confusion_rate(labels, truths, are_siblings),
        calibration=calibrate(answers, TARGET_PRECISION),
        confusions=tuple(worst_confusions(labels, truths, are_siblings, CONFUSIONS_KEPT)),
    )


def _changed(sides: Sequence[ChangedSide], texts: Mapping[str, str]) -> tuple[ChangedEmail, ...]:
    return tuple(ChangedEmail(side, excerpt(texts.get(side.email_id, ""))) for side in sides)


def excerpt(text: str) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT_CHARS else line[: EXCERPT_CHARS - 1].rstrip() + "…"
