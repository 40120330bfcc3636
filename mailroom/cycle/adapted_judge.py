"""Champion and adapted setup on held-out gold → whether it may answer, by what is served and by retrieval.

Both must be no worse: a second stage could hide what retrieval lost, which the next cycle builds on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mailroom.cycle.adapted import Adapted
from mailroom.cycle.desk import Desk
from mailroom.cycle.review_fit import fit_review
from mailroom.cycle.setup import Advance, Answering, Setup
from mailroom.evaluate.answers import Answer
from mailroom.evaluate.gate import Contender, Parity, Verdict, judge
from mailroom.records import Example


@dataclass(frozen=True, slots=True)
class AdaptedJudgement:
    """The setup to serve, why it may not be promoted (() where it may), and both models' figures, 0…1."""

    setup: Setup
    reasons: tuple[str, ...]
    figures: dict[str, Any]


def judge_adapted(
    desk: Desk,
    answering: Answering,
    champion: Setup,
    adapted: Adapted,
    judged: Sequence[Example],
    advance: Advance,
) -> AdaptedJudgement:
    """Hold the adapted setup to the champion; at least `gate.min_emails` are `judged`."""
    setup = adapted.setup
    verdict, after = _verdict(
        desk, answering, (champion, setup), judged, adapted.parity_checks(desk), advance
    )
    reasons, figures = list(verdict.reasons), _figures(verdict)
    if setup.kind == "two_stage":
        alone = (champion.without_cross_encoder(), setup.without_cross_encoder())
        retrieval, _ = _verdict(desk, answering, alone, judged, {}, advance)
        reasons += [f"by retrieval alone, {reason}" for reason in retrieval.reasons]
        figures["retrieval"] = _figures(retrieval)
    return AdaptedJudgement(_with_marks(desk, setup, after), tuple(reasons), figures)


def _verdict(
    desk: Desk,
    answering: Answering,
    setups: tuple[Setup, Setup],
    judged: Sequence[Example],
    parity: Mapping[str, Parity],
    advance: Advance,
) -> tuple[Verdict, list[Answer]]:
    """The gate's word on (champion, challenger), and the challenger's answers."""
    before, after = (answering.answers(setup, judged, advance) for setup in setups)
    contender = Contender(setups[1].kind, after)
    return judge(before, [contender], parity, desk.are_siblings, desk.settings.gate), after


def _with_marks(desk: Desk, setup: Setup, answers: Sequence[Answer]) -> Setup:
    """The thresholds that the champion's cycle had fitted, fitted anew; those of the settings stay alone."""
    if setup.review_below is None and setup.outside_above is None:
        return setup
    fit = fit_review(answers, answers, desk.settings.learning)
    return replace(setup, review_below=fit.below_probability, outside_above=fit.outside_above)


def _figures(verdict: Verdict) -> dict[str, Any]:
    metrics = verdict.comparison.metrics if verdict.comparison is not None else ()
    gain = None
    if verdict.comparison is not None:
        difference = verdict.comparison.metric("top_1").difference
        gain = [round(difference.low, 6), round(difference.high, 6)]
    return {
        "emails": verdict.emails,
        "champion": {metric.name: round(metric.champion.value, 6) for metric in metrics},
        "challenger": {metric.name: round(metric.challenger.value, 6) for metric in metrics},
        "top_1_gain": gain,
    }
