"""A judgement → the cycle's report: figures of champion and challenger, the gate's checks, what was tried."""

from typing import Any

from mailroom.cycle.desk import CycleFolder, Desk
from mailroom.cycle.judge import Judgement
from mailroom.evaluate.answers import Answer
from mailroom.evaluate.compare import Comparison, compare
from mailroom.store.cycles import Cycle


def write_report(folder: CycleFolder, cycle: Cycle, judgement: Judgement, desk: Desk) -> dict[str, Any]:
    """Write the report into the cycle's folder; the figures that the cycle keeps."""
    comparison = judgement.verdict.comparison
    if comparison is None and judgement.champion:
        comparison = compare(judgement.champion, judgement.challenger, desk.are_siblings)
    figures = _figures(judgement.champion, comparison)
    report = {
        "cycle": cycle.id,
        "setup": judgement.setup.to_dict(),
        "figures": figures,
        "rivals": dict(judgement.rivals),
        "verdict": judgement.verdict.to_dict(),
        "calibration": judgement.calibration.to_dict(),
        "steps": dict(cycle.steps),
    }
    folder.write_json("report.json", report)
    return {
        "figures": figures,
        "passed": judgement.verdict.passed,
        "reasons": list(judgement.verdict.reasons),
        "rivals": dict(judgement.rivals),
    }


def _figures(champion: tuple[Answer, ...], comparison: Comparison | None) -> dict[str, Any]:
    if comparison is None:
        return {"emails": 0, "champion": {}, "challenger": {}}
    return {
        "emails": len(champion),
        "champion": {metric.name: round(metric.champion.value, 6) for metric in comparison.metrics},
        "challenger": {metric.name: round(metric.challenger.value, 6) for metric in comparison.metrics},
    }
