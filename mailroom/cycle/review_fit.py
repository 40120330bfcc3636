"""Held-back gold → the probability and the foreignness beyond which a new version's answers are marked.

After a promotion probabilities rise, while fixed thresholds stay: less would be marked, and what passes
unmarked would be right less often. So each version brings a mark of its own.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from mailroom.classify.marks import ReviewRules, foreignness
from mailroom.config import LearningSettings
from mailroom.curate.precision import Cut, find_trusted
from mailroom.curate.thresholds import SHARES
from mailroom.evaluate.answers import Answer, certainty
from mailroom.evaluate.metrics import ReviewFigures, review_figures
from mailroom.evaluate.outside import threshold_at

Basis = Literal["proven", "observed", "unreached", "none"]

# Below so many emails nothing is fitted: the thresholds of the settings stay alone.
LEAST_TO_FIT = 30
# A precision that was merely observed must have been so on as many.
_LEAST_OBSERVED = 10
# Of a model that errs nowhere all probabilities are 1, but for rounding, which must not decide.
_HIGHEST = 0.999


@dataclass(frozen=True, slots=True)
class ReviewFit:
    """What was found: thresholds, None where there were none to fit, and what they rest on.

    `precision` is a lower bound where `basis` is `proven`, else what was seen. `unreached` means that no
    threshold reached `wanted`, and that the one that came nearest was taken.
    """

    wanted: float
    emails: int
    basis: Basis
    below_probability: float | None
    precision: float | None
    outside_above: float | None
    outside_emails: int

    def words(self) -> str:
        """One sentence for people."""
        if self.below_probability is None:
            return (
                f"{self.emails:,} emails to fit the review mark by, {LEAST_TO_FIT} are needed: "
                "the settings' thresholds stay alone"
            )
        at = f"marked below a probability of {self.below_probability:.2f}"
        on = f"of {self.emails:,} held-back emails"
        precision = self.precision or 0.0
        if self.basis == "proven":
            return f"{at}: what is not marked is right in at least {precision:.1%}, by a lower bound ({on})"
        if self.basis == "observed":
            return f"{at}: {precision:.1%} were right above it, as seen and not yet proven ({on})"
        return f"{at}: the best that was seen is {precision:.1%}; {self.wanted:.0%} was never reached ({on})"

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, with `words`."""
        return {**asdict(self), "words": self.words()}


def fit_review(held_back: Sequence[Answer], known: Sequence[Answer], settings: LearningSettings) -> ReviewFit:
    """Fit the mark to answers on emails that the model did not learn from.

    `held_back` says how right answers are by their probability; `known` is mail that has a label, whose
    similarities say how foreign known mail may look.
    """
    wanted, error_rate = settings.unmarked_precision, settings.silver_error_rate
    basis, below, precision = _fit_probability(held_back, wanted, error_rate)
    scores = [foreignness(answer.similarities) for answer in known if answer.similarities]
    fits = settings.outside_false_alarms > 0 and len(scores) >= LEAST_TO_FIT
    outside = threshold_at(np.array(scores), settings.outside_false_alarms) if fits else None
    return ReviewFit(wanted, len(held_back), basis, below, precision, outside, len(scores))


def _fit_probability(
    answers: Sequence[Answer], wanted: float, error_rate: float
) -> tuple[Basis, float | None, float | None]:
    """The laxest threshold above which the answers are right often enough; and on what that rests."""
    if wanted <= 0 or len(answers) < LEAST_TO_FIT:
        return "none", None, None
    stated, correct = certainty(answers)
    ranked = np.sort(stated)[::-1]
    cuts, floors = [], {}
    for share in SHARES:
        floor = min(_HIGHEST, float(ranked[max(1, round(share * len(ranked))) - 1]))
        inside = stated >= floor
        cuts.append(Cut(share, share * len(ranked), int(inside.sum()), int(correct[inside].sum())))
        floors[share] = floor
    trusted = find_trusted(cuts, wanted, error_rate)
    if trusted is not None:
        return "proven", floors[trusted.cut.share], trusted.lower_bound
    seen = [cut for cut in cuts if cut.audited >= _LEAST_OBSERVED]
    enough = [cut for cut in seen if cut.correct >= wanted * cut.audited]
    if enough:
        return "observed", floors[enough[-1].share], enough[-1].correct / enough[-1].audited
    best = max(seen, key=lambda cut: (cut.correct / cut.audited, cut.share))
    return "unreached", floors[best.share], best.correct / best.audited


def review_of(answers: Sequence[Answer], rules: ReviewRules) -> ReviewFigures:
    """What the rules' mark is worth on answered gold."""
    marked = [
        bool(rules.reasons(answer.probabilities[0], _margin(answer), answer.similarities or (1.0,)))
        for answer in answers
    ]
    return review_figures(marked, [answer.correct for answer in answers])


def _margin(answer: Answer) -> float:
    first, *others = answer.probabilities[:2]
    return first - others[0] if others else first
