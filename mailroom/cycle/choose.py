"""Several ways to answer, and held-back gold → the one that is worth judging, and how sure it may sound."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mailroom.cycle.setup import Setup
from mailroom.evaluate.answers import Answer
from mailroom.evaluate.calibration import temperature_factor
from mailroom.evaluate.gate import KINDS, top_1

# With fewer emails a fitted temperature says more about them than about the model.
LEAST_TO_CALIBRATE = 30
# How often luck alone may look like a lead.
_BY_LUCK = 0.05


@dataclass(frozen=True, slots=True)
class Tried:
    """A way to answer, and what it did on the emails that choose: top-1 and Recall@5, 0…1."""

    setup: Setup
    emails: int
    top_1: float
    recall_at_5: float

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values."""
        return asdict(self)


def tried(setup: Setup, answers: Sequence[Answer]) -> Tried:
    """The figures of one way to answer."""
    hits = sum(answer.truth in answer.ranked[:5] for answer in answers)
    return Tried(setup, len(answers), top_1(answers), hits / max(1, len(answers)))


def best_of(found: Sequence[Tried], simplest_first: Sequence[str]) -> Tried:
    """The highest top-1; of equals the kind that costs least to serve, then the one named first."""
    return max(
        found,
        key=lambda one: (
            one.top_1,
            -KINDS.index(one.setup.kind),
            -simplest_first.index(one.setup.name),
        ),
    )


def fullest_unless_worse(setups: Sequence[Setup], answered: Mapping[str, Sequence[Answer]]) -> list[Setup]:
    """The setups; of those that differ in silver and unlabelled mail alone the fullest, unless it is worse.

    Worse means beyond chance, by the emails that change sides. Gold is mail that was asked about because it
    is hard, and the rest teaches the rest: a small lead on gold would give away more than it shows.
    """
    kept = list(setups)
    for fuller in sorted(setups, key=_fullness, reverse=True):
        for twin in [
            one for one in kept if _alike(one) == _alike(fuller) and _fullness(one) < _fullness(fuller)
        ]:
            if fuller in kept:
                lead = leads_beyond_chance(answered[twin.name], answered[fuller.name])
                kept.remove(fuller if lead else twin)
    return kept


def _fullness(setup: Setup) -> tuple[bool, bool]:
    return setup.mail_weight > 0, setup.uses_silver


def _alike(setup: Setup) -> tuple[Setup, bool]:
    """The setup without what it learned from, and whether it has words."""
    plain = replace(setup, name="", prototypes=None, lexical=None, uses_silver=False, mail_weight=0.0)
    if setup.late_weight:
        plain = replace(plain, cross_encoder=None, late_weight=1.0, late_temperature=1.0)
    return plain, setup.lexical is not None


def leads_beyond_chance(one: Sequence[Answer], other: Sequence[Answer]) -> bool:
    """Whether `one` wins more of the emails that change sides than luck gives it once in twenty times."""
    pairs = [(a.correct, b.correct) for a, b in zip(one, other, strict=True)]
    return beyond_chance(pairs.count((True, False)), pairs.count((False, True)))


def beyond_chance(won: int, lost: int, by_luck: float = _BY_LUCK) -> bool:
    """Whether of so many emails that change sides more are won than luck gives so often, once in twenty.

    The exact test of McNemar (1947), one-sided: three to none is luck, five to none is not.
    """
    # scipy takes a while to import, and only learning needs it.
    from scipy.special import bdtrc

    # The probability of as many wins or more, where each email is as likely to be won as lost.
    return won > lost and float(bdtrc(won - 1, won + lost, 0.5)) <= by_luck


def calibrated_factor(answers: Sequence[Answer], before: float = 1.0) -> float:
    """What the setup's temperature should be multiplied by; `before` where there is too little to tell.

    `answers` were given under a factor of `before`.
    """
    if len(answers) < LEAST_TO_CALIBRATE:
        return before
    return before * temperature_factor(answers)


def figures(found: Mapping[str, Sequence[Answer]]) -> dict[str, float]:
    """Top-1 of every named way to answer."""
    return {name: round(top_1(answers), 6) for name, answers in found.items()}
