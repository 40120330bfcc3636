"""An answer's figures → why a person should look at it, if anybody should.

An unsure answer and a foreign email are two things: several labels may fit well, or none may fit at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mailroom.config import ClassifySettings
from mailroom.errors import DataError
from mailroom.records import ReviewReason

# Chosen on validation parts, where it did better than the highest probability, the margin and the highest
# cosine (docs/metrics.md). It is the temperature of retrieval, so that the energy is the softmax's own.
ENERGY_TEMPERATURE = 0.05


@dataclass(frozen=True, slots=True)
class ReviewRules:
    """When an answer is marked: below a probability or a margin, or where the email is too foreign.

    `outside_above` is a score of `foreignness`; None marks nothing as foreign.
    """

    below_probability: float
    below_margin: float
    outside_above: float | None = None

    @classmethod
    def of(
        cls, settings: ClassifySettings, learned_below: float | None, outside_above: float | None
    ) -> "ReviewRules":
        """The settings', and what a version learned: its probability counts where it is the stricter one."""
        if not settings.review_by_version:
            learned_below = outside_above = None
        below = max(settings.review_below_probability, learned_below or 0.0)
        return cls(below, settings.review_below_margin, outside_above)

    def reasons(
        self, probability: float, margin: float, similarities: Sequence[float]
    ) -> tuple[ReviewReason, ...]:
        """Why a person should look, () where nothing says so; `similarities` are the candidates' cosines."""
        found: list[ReviewReason] = []
        if probability < self.below_probability:
            found.append("low_probability")
        if margin < self.below_margin:
            found.append("small_margin")
        if self.outside_above is not None and foreignness(similarities) > self.outside_above:
            found.append("out_of_taxonomy")
        return tuple(found)


def foreignness(similarities: Sequence[float], temperature: float = ENERGY_TEMPERATURE) -> float:
    """How foreign an email is by the cosines of its candidates: the higher, the more so; about −1…1.

    The negative free energy −T log Σ exp(s / T) of Liu et al., Energy-based Out-of-distribution Detection,
    2020: near the negative of the best cosine, less where several labels fit. DataError without candidates.
    """
    if not len(similarities):
        raise DataError("expected at least one candidate's similarity, got none")
    scaled = np.asarray(similarities, dtype=np.float64) / temperature
    best = scaled.max()
    return float(-temperature * (best + np.log(np.exp(scaled - best).sum())))
