"""Champion and what a cycle learned → the way of answering that is worth promoting, and the gate's word.

Validation gold chooses among the ways to answer and calibrates; evaluation gold alone decides on promotion.
Where there is little of either, label vectors are judged on emails that they learned from, each fold by what
the others taught, and only on such as the champion never learned.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mailroom.cycle.choose import (
    LEAST_TO_CALIBRATE,
    Tried,
    best_of,
    calibrated_factor,
    fullest_unless_worse,
    leads_beyond_chance,
    tried,
)
from mailroom.cycle.desk import Desk
from mailroom.cycle.doubts import Doubts, find_doubts
from mailroom.cycle.label_learning import cross_fitted_answers
from mailroom.cycle.late_step import LATE, LateScores, counted_by
from mailroom.cycle.parts import Parts
from mailroom.cycle.review_fit import ReviewFit, fit_review, review_of
from mailroom.cycle.setup import Advance, Answering, Setup, rules_of
from mailroom.cycle.unlabelled_mail import Vectors, weighed
from mailroom.evaluate.answers import Answer
from mailroom.evaluate.baseline import logistic_regression_answers
from mailroom.evaluate.calibration import recalibrated
from mailroom.evaluate.gate import Contender, Parity, Verdict, judge, top_1
from mailroom.evaluate.metrics import ReviewFigures
from mailroom.records import Example

# From so many held-back emails on they choose and judge alone; below, cross-fitted answers stand beside. With
# 100 a challenger that is two points worse is found out three times in ten, with 500 in three of four
# (docs/gate.md).
ENOUGH = 500
# From so many audits on they alone say how far off known mail may be.
ENOUGH_AUDITS = 100
# Trained encoders cannot be cross-fitted: from so many validation emails on these choose alone all the same.
LEAST_TO_CHOOSE = 100
# Two stages with a cross-encoder of their own would else be left out: so few must do.
_LEAST_FOR_TWO_STAGES = 30
# What a choice rests on where validation gold is too little: that training paid on other sets.
PRESUMED = "presumed"


@dataclass(frozen=True, slots=True)
class Choice:
    """The way of answering that validation chose, calibrated, and what all of them did.

    `fallback` is what is judged where the gate refuses a trained encoder: the best that learned labels alone.
    """

    setup: Setup
    tried: tuple[Tried, ...]
    on: str
    fallback: Setup | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values."""
        return {
            "setup": self.setup.to_dict(),
            "tried": [one.to_dict() for one in self.tried],
            "on": self.on,
            "fallback": self.fallback.to_dict() if self.fallback is not None else None,
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """The gate's verdict on `setup`, and the answers that it rests on.

    `marks` say what the review mark of (champion, challenger) is worth on these emails, None without any;
    `cross_fitted` of them are training gold.
    """

    setup: Setup
    verdict: Verdict
    champion: tuple[Answer, ...]
    challenger: tuple[Answer, ...]
    rivals: Mapping[str, float]
    review: ReviewFit
    marks: tuple[ReviewFigures, ReviewFigures] | None
    cross_fitted: int = 0


class Judge:
    """Lets setups answer the parts of one cycle."""

    def __init__(
        self,
        desk: Desk,
        answering: Answering,
        parts: Parts,
        seed: int,
        mail: Vectors | None = None,
        late: LateScores | None = None,
    ) -> None:
        """`mail` (m, d) is unlabelled mail that setups with a `mail_weight` were drawn to.

        `late` says what setups with a `late_weight` count.
        """
        self._desk, self._answering, self._parts, self._seed = desk, answering, parts, seed
        self._mail, self._late = mail, late
        # Without late interaction, by what cross-fitting depends on.
        self._cross_fitted: dict[tuple[bool, float, bool, bool], list[Answer]] = {}
        self._audited = {one.email_id for one in parts.evaluation if one.source == "audit"}

    def choose(self, setups: Sequence[Setup], advance: Advance | None = None) -> Choice:
        """The best of `setups`, the simplest first, on validation gold.

        Where that is little, those that only learned label vectors are tried by cross-fitting, and a trained
        encoder is taken instead of the best of them unless validation shows it to be worse beyond chance.
        """
        validation = self._parts.validation
        cheap = [setup for setup in setups if _is_cheap(setup, self._desk)]
        others = [setup for setup in setups if setup not in cheap]
        if len(validation) >= _least_to_choose(others) or not cheap:
            answered = {setup.name: self._answering.answers(setup, validation, advance) for setup in setups}
            found = _choice(setups, answered, "validation")
            if cheap and found.setup.name not in {one.name for one in cheap}:
                found = replace(found, fallback=_choice(cheap, answered, "validation").setup)
            return found
        found = _choice(cheap, {one.name: self.held_back(one, advance) for one in cheap}, "cross-fitted")
        return self._unless_worse(others, found, advance)

    def _unless_worse(self, others: Sequence[Setup], cheap: Choice, advance: Advance | None) -> Choice:
        """The best trained encoder of `others` instead of the `cheap` choice, unless it loses beyond chance.

        With late interaction behind it, on the same terms.
        """
        trained = [one for one in others if one.kind == "retrieval"]
        if not trained:
            return cheap
        validation = self._parts.validation
        answered = {one.name: self._answering.answers(one, validation, advance) for one in trained}
        found = _choice(trained, answered, PRESUMED)
        tried = [*cheap.tried, *found.tried]
        for twin in [one for one in others if one.name == found.setup.name + LATE]:
            answered[twin.name] = self._answering.answers(twin, validation, advance)
            with_late = _choice([twin], answered, PRESUMED)
            tried += with_late.tried
            if not leads_beyond_chance(answered[found.setup.name], answered[twin.name]):
                found = with_late
        rival = self._answering.answers(cheap.setup, validation, advance)
        if leads_beyond_chance(rival, answered[found.setup.name]):
            return replace(cheap, tried=tuple(tried))
        return replace(found, tried=tuple(tried), fallback=cheap.setup)

    def held_back(self, setup: Setup, advance: Advance | None = None) -> list[Answer]:
        """Answers of a setup that learned label vectors alone to all gold that these did not learn from.

        Validation gold, and cross-fitted training gold.
        """
        return [*self._answering.answers(setup, self._parts.validation, advance), *self._cross_fit(setup)]

    def judge(
        self,
        champion: Setup,
        challenger: Setup,
        parity: Mapping[str, Parity],
        advance: Advance | None = None,
    ) -> Judgement:
        """Hold the challenger to the champion on evaluation gold."""
        judging = list(self._parts.evaluation)
        extra: list[Answer] = []
        if len(judging) < ENOUGH and _is_cheap(challenger, self._desk):
            extra = [a for a in self._cross_fit(challenger) if a.email_id in self._parts.fresh]
        ids = {answer.email_id for answer in extra}
        asked = [*judging, *(example for example in self._parts.gold if example.email_id in ids)]
        before = self._answering.answers(champion, asked, advance)
        contenders, rivals = self._contenders(challenger, judging, extra, advance)
        verdict = judge(before, contenders, parity, self._desk.are_siblings, self._desk.settings.gate)
        chosen = next(one for one in contenders if one.kind == verdict.chosen)
        setup = challenger if chosen.kind == challenger.kind else _alone(challenger)
        answers = tuple(chosen.answers)
        factor = self._factor(setup, answers)
        served = recalibrated(answers, factor / setup.temperature_factor)
        setup = replace(setup, temperature_factor=factor)
        fit = self._fit_review(setup, served)
        setup = replace(setup, review_below=fit.below_probability, outside_above=fit.outside_above)
        return Judgement(
            setup,
            verdict,
            tuple(before),
            answers,
            rivals,
            fit,
            self._marks(champion, before, setup, served),
            cross_fitted=len(extra),
        )

    def _factor(self, setup: Setup, judged: Sequence[Answer]) -> float:
        """The factor of the setup's temperature, by audits where there are enough.

        Most gold is mail that was asked about because it is hard; only audits tell how right the rest is. A
        trained encoder has the evaluation gold where validation was too little to fit it by.
        """
        audited = [answer for answer in judged if answer.email_id in self._audited]
        little = len(self._parts.validation) < LEAST_TO_CALIBRATE and not _is_cheap(setup, self._desk)
        by = judged if little and len(audited) < LEAST_TO_CALIBRATE else audited
        return calibrated_factor(by, setup.temperature_factor)

    def _fit_review(self, setup: Setup, judged: Sequence[Answer]) -> ReviewFit:
        """The setup's review mark: how sure by held-back gold, how foreign by audits, or by all gold.

        A trained encoder with little validation has the evaluation gold beside it: it learned from neither.
        """
        held_back = self._answering.answers(setup, self._parts.validation)
        if _is_cheap(setup, self._desk):
            held_back += self._cross_fit(setup) if len(held_back) < ENOUGH else []
        elif len(held_back) < LEAST_TO_CHOOSE:
            held_back += judged
        audited = [answer for answer in judged if answer.email_id in self._audited]
        # Gold that was asked about is more foreign than the rest; audits alone are all mail in small.
        known = (
            audited
            if len(audited) >= ENOUGH_AUDITS
            else list({a.email_id: a for a in (*held_back, *judged)}.values())
        )
        return fit_review(held_back, known, self._desk.settings.learning)

    def _marks(
        self, champion: Setup, before: Sequence[Answer], challenger: Setup, after: Sequence[Answer]
    ) -> tuple[ReviewFigures, ReviewFigures] | None:
        if not before:
            return None
        return (
            review_of(before, rules_of(self._desk, champion)),
            review_of(after, rules_of(self._desk, challenger)),
        )

    def _contenders(
        self, challenger: Setup, judging: Sequence[Example], extra: Sequence[Answer], advance: Advance | None
    ) -> tuple[list[Contender], dict[str, float]]:
        """The challenger, and retrieval alone beside two stages; two stages that lose to a rival are out."""
        own = [*self._answering.answers(challenger, judging, advance), *extra]
        contenders = [Contender(challenger.kind, own)]
        rivals = {challenger.name: top_1(own)}
        regression = self._regression(challenger, judging)
        if regression is not None:
            rivals["logistic_regression"] = top_1(regression)
        if challenger.kind == "two_stage":
            retriever, ids = challenger.without_cross_encoder(), {answer.email_id for answer in extra}
            alone = self._answering.answers(retriever, judging, advance)
            if ids:
                alone += [answer for answer in self._cross_fit(retriever) if answer.email_id in ids]
            rivals["retrieval_alone"] = top_1(alone)
            beaten = regression is not None and top_1(regression) >= top_1(own)
            retrieval = Contender("retrieval", alone)
            contenders = [retrieval] if beaten else [retrieval, *contenders]
        return contenders, {name: round(value, 6) for name, value in rivals.items()}

    def _regression(self, setup: Setup, judging: Sequence[Example]) -> list[Answer] | None:
        """A logistic regression on the same embeddings; None where there is nothing to fit or to judge."""
        gold = self._parts.gold
        if len({example.label for example in gold}) < 2 or not judging:
            return None
        embeddings = self._answering.embeddings(setup)
        fitted = embeddings.unit([example.text for example in gold])
        asked = embeddings.unit([example.text for example in judging])
        truths = [(example.email_id, example.label) for example in judging]
        with warnings.catch_warnings():
            # Few emails for many labels is how a workspace starts, and nothing to warn of.
            warnings.filterwarnings("ignore", module="sklearn")
            return logistic_regression_answers((fitted, [example.label for example in gold]), (asked, truths))

    def doubts(self, setup: Setup, advance: Advance | None = None) -> Doubts:
        """People's labels that label vectors contradict, which learned from other gold than the email."""
        held_back = (*self._parts.validation, *self._parts.evaluation)
        # Where even an encoder that was trained on a label contradicts it, that is all the more telling.
        answers = [
            *self._cross_fit(setup, seen_too=True),
            *self._answering.answers(setup, held_back, advance),
        ]
        texts = {one.email_id: one.text for one in (*self._parts.gold, *held_back)}
        return find_doubts(answers, texts)

    def _cross_fit(self, setup: Setup, seen_too: bool = False) -> list[Answer]:
        """Cross-fitted answers to the training gold under the setup's temperature.

        To what the encoder itself was not trained on, unless `seen_too`.
        """
        seen_too = seen_too or not self._parts.seen
        key = (setup.uses_silver, setup.mail_weight, setup.lexical is not None, seen_too)
        if key not in self._cross_fitted:
            train = self._parts.train if setup.uses_silver else self._parts.gold
            texts = self._answering.text_vectors(setup)
            vectors = self._answering.embeddings(setup).unit([example.text for example in train])
            self._cross_fitted[key] = cross_fitted_answers(
                self._desk.label_ids,
                texts,
                train,
                vectors,
                self._desk.settings.classify.top_k,
                self._seed,
                words=setup.lexical is not None,
                mail=weighed(self._mail, setup),
                known=None if seen_too else self._parts.known,
            )
        answers = self._cross_fitted[key]
        if self._late is not None and setup.late_weight:
            answers = [self._late.rerank(answer, counted_by(setup)) for answer in answers]
        return recalibrated(answers, setup.temperature_factor)


def _least_to_choose(others: Sequence[Setup]) -> int:
    """From how many validation emails on these choose alone, with `others` that cannot be cross-fitted."""
    if not others:
        return ENOUGH
    two_stages = any(_has_learned_cross_encoder(one) for one in others)
    return _LEAST_FOR_TWO_STAGES if two_stages else LEAST_TO_CHOOSE


def _choice(setups: Sequence[Setup], answered: Mapping[str, Sequence[Answer]], on: str) -> Choice:
    """The best of setups by what they answered, and the factor of its temperature."""
    found = [tried(setup, answered[setup.name]) for setup in setups]
    allowed = {setup.name for setup in fullest_unless_worse(setups, answered)}
    names = [setup.name for setup in setups]
    best = best_of([one for one in found if one.setup.name in allowed], names).setup
    factor = calibrated_factor(answered[best.name])
    return Choice(replace(best, temperature_factor=factor), tuple(found), on)


def _is_cheap(setup: Setup, desk: Desk) -> bool:
    """Whether the setup differs from the champion in learned label vectors alone: it can be cross-fitted.

    Late interaction behind them has learned nothing.
    """
    return not _has_learned_cross_encoder(setup) and setup.bi_encoder.startswith(str(desk.champion.directory))


def _has_learned_cross_encoder(setup: Setup) -> bool:
    return setup.kind == "two_stage" and not setup.late_weight


def _alone(setup: Setup) -> Setup:
    """The setup deciding by retrieval, under the name of that."""
    return replace(setup.without_cross_encoder(), name=setup.name.removesuffix(LATE))
