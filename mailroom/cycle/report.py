"""A judgement → the cycle's report in its folder: a page, plain text, JSON; and what the store keeps."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mailroom.cycle.desk import CycleFolder, Desk
from mailroom.cycle.judge import Judgement
from mailroom.cycle.novelty import PROMOTED, REFUSED
from mailroom.cycle.parts import Parts
from mailroom.evaluate.compare import Comparison
from mailroom.evaluate.learning_report import (
    CyclePoint,
    Doubt,
    Heading,
    LearningReport,
    ReviewMarks,
    learning_report,
)
from mailroom.evaluate.render import render_html, render_text
from mailroom.store.cycles import Cycle, CycleLog


def write_report(
    folder: CycleFolder, cycle: Cycle, judgement: Judgement, desk: Desk, parts: Parts
) -> dict[str, Any]:
    """Write `report.html`, `report.txt` and `report.json`; returns what the cycle's judge step keeps."""
    figures = _figures(judgement)
    report = _report(cycle, judgement, desk, parts, figures)
    folder.write_text("report.html", render_html(report))
    folder.write_text("report.txt", render_text(report))
    folder.write_json(
        "report.json",
        {
            **report.to_dict(),
            "figures": figures,
            "setup": judgement.setup.to_dict(),
            "steps": dict(cycle.steps),
        },
    )
    return {
        "figures": figures,
        "passed": judgement.verdict.passed,
        "reasons": list(judgement.verdict.reasons),
        "rivals": dict(judgement.rivals),
    }


def _report(
    cycle: Cycle, judgement: Judgement, desk: Desk, parts: Parts, figures: Mapping[str, Any]
) -> LearningReport:
    champion = desk.champion
    heading = Heading(
        workspace=desk.models.parent.name,
        cycle=cycle.id,
        created_at=datetime.now(UTC),
        champion=champion.id,
        challenger=judgement.setup.name.replace("_", " "),
        champion_kind="two_stage" if champion.has_cross_encoder else "retrieval",
        taxonomy=desk.taxonomy.revision,
    )
    texts = {one.email_id: one.text for part in (parts.train, parts.evaluation) for one in part}
    return learning_report(
        heading,
        judgement.verdict,
        (judgement.champion, judgement.challenger),
        desk.are_siblings,
        desk.settings.gate.tolerance,
        texts,
        rivals=judgement.rivals,
        data={name: cycle.steps["curate"][name] for name in _DATA},
        review=_review_marks(judgement),
        doubts=tuple(Doubt(**one) for one in cycle.steps.get("doubts", {}).get("shown", ())),
        judged_by=judged_by(len(judgement.champion), judgement.cross_fitted),
        curve=(*_curve(CycleLog(desk.database)), _point(cycle, judgement, figures)),
    )


def _review_marks(judgement: Judgement) -> ReviewMarks | None:
    if judgement.marks is None:
        return None
    return ReviewMarks(*judgement.marks, judgement.review.words())


def judged_by(emails: int, cross_fitted: int) -> str:
    """What the gold that judged consists of, where that is more than one thing."""
    if not cross_fitted:
        return ""
    return (
        f"{emails - cross_fitted:,} were held back from all learning; {cross_fitted:,} are training gold, "
        "each answered by label vectors that learned from the other four fifths alone (cross-fitted)"
    )


_DATA = ("gold_train", "silver", "validation", "evaluation", "set_aside")


def _curve(log: CycleLog) -> list[CyclePoint]:
    """The cycles that were judged before, oldest first."""
    judged = [cycle for cycle in log.history() if cycle.outcome in (PROMOTED, REFUSED)]
    return [
        _stored_point(cycle, cycle.steps["judge"]["figures"])
        for cycle in reversed(judged)
        if cycle.steps.get("judge", {}).get("figures", {}).get("challenger")
    ]


def _stored_point(cycle: Cycle, figures: Mapping[str, Any]) -> CyclePoint:
    return CyclePoint(
        cycle=f"{cycle.started_at:%b %d}",
        version=cycle.model or "",
        decision="promoted" if cycle.outcome == PROMOTED else "refused",
        emails=figures["emails"],
        labels_used=cycle.steps["curate"]["gold_train"],
        top_1=figures["challenger"]["top_1"],
        recall_at_5=figures["challenger"]["recall_at_5"],
    )


def _point(cycle: Cycle, judgement: Judgement, figures: Mapping[str, Any]) -> CyclePoint:
    return CyclePoint(
        cycle=f"{cycle.started_at:%b %d}",
        version="",
        decision="promoted" if judgement.verdict.passed else "refused",
        emails=figures["emails"],
        labels_used=cycle.steps["curate"]["gold_train"],
        top_1=figures["challenger"].get("top_1", 0.0),
        recall_at_5=figures["challenger"].get("recall_at_5", 0.0),
    )


def _gain(comparison: Comparison) -> list[float]:
    """The interval of the challenger's lead."""
    difference = comparison.metric("top_1").difference
    return [round(difference.low, 6), round(difference.high, 6)]


def _figures(judgement: Judgement) -> dict[str, Any]:
    """The figures of both models; {} for each where nothing was compared."""
    comparison = judgement.verdict.comparison
    metrics = comparison.metrics if comparison is not None else ()
    champion: dict[str, float] = {metric.name: round(metric.champion.value, 6) for metric in metrics}
    challenger: dict[str, float] = {metric.name: round(metric.challenger.value, 6) for metric in metrics}
    if metrics and judgement.marks is not None:
        for figures, marks in zip((champion, challenger), judgement.marks, strict=True):
            figures |= {
                name: round(value, 6)
                for name, value in asdict(marks).items()
                if name != "mistakes_caught" and value is not None
            }
    return {
        "emails": len(judgement.champion),
        "champion": champion,
        "challenger": challenger,
        "review": judgement.review.to_dict(),
        "cross_fitted": judgement.cross_fitted,
        "top_1_gain": None if comparison is None else _gain(comparison),
    }
