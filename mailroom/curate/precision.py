"""Audited answers → how far down a confidence may be trusted, with an error rate for the whole search.

An audited answer was drawn at random and judged by a person. Looking through many thresholds for one whose
precision seems high enough finds one by luck sooner or later; here the thresholds are fixed before an outcome
is seen, and the chance that any accepted one falls short of the target is bounded for all of them together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# The search starts afresh at these cuts, each time with its part of the error rate: one unlucky answer among
# the first ones does not end it. More starts, or starts spread evenly, accepted less in simulations.
STARTS = (0, 1, 3, 7)


@dataclass(frozen=True, slots=True)
class Cut:
    """The surest `share` of mail (0…1); of its answers `audited` were judged, `correct` of them right.

    `expected` is how many audited answers it should hold, which must not depend on the audit.
    """

    share: float
    expected: float
    audited: int
    correct: int


@dataclass(frozen=True, slots=True)
class Trusted:
    """A cut whose precision is at least `lower_bound`, shown at `error_rate`."""

    cut: Cut
    lower_bound: float
    error_rate: float


def lower_bound(correct: int, audited: int, error_rate: float) -> float:
    """Clopper-Pearson: the least precision (0…1) under which so many right answers have `error_rate`."""
    # scipy takes a while to import, and only learning needs it.
    from scipy.special import betaincinv

    if correct == 0:
        return 0.0
    return float(betaincinv(correct, audited - correct + 1, error_rate))


def upper_bound(correct: int, audited: int, error_rate: float) -> float:
    """Clopper-Pearson: the greatest precision (0…1) under which so few right answers have `error_rate`."""
    return 1.0 - lower_bound(audited - correct, audited, error_rate)


def fewest_audited(target: float, error_rate: float) -> int:
    """How many answers, all of them right, it takes to show a precision of `target` at `error_rate`."""
    return math.ceil(math.log(error_rate) / math.log(target)) if target < 1 else 10**9


def find_trusted(cuts: Sequence[Cut], target: float, error_rate: float) -> Trusted | None:
    """The laxest cut whose precision is shown to be `target` or more, None where none is.

    `cuts` go from strict to lax and were chosen without a look at any outcome. The chance of returning one
    whose true precision is below `target` is at most `error_rate`: a fallback procedure, which hands the
    error rate of an accepted cut on to the next and loses that of a refused one. Cuts that are expected to
    hold too few answers to show anything are passed over.
    """
    fewest = fewest_audited(target, error_rate / len(STARTS))
    tested = [cut for cut in cuts if cut.expected >= fewest] or list(cuts[-1:])
    starts = [place for place in STARTS if place < len(tested)]
    found: Trusted | None = None
    carried = 0.0
    for place, cut in enumerate(tested):
        level = carried + (error_rate / len(starts) if place in starts else 0.0)
        bound = lower_bound(cut.correct, cut.audited, level) if level else 0.0
        carried = level if bound >= target else 0.0
        if carried:
            found = Trusted(cut, bound, level)
    return found
