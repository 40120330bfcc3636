"""Champion, challenger and rivals on evaluation gold → may the challenger be promoted, and why or why not.

Knows answers, not models: what is promoted, and how, is the caller's business.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mailroom.config import GateSettings
from mailroom.errors import DataError, PromotionRefused
from mailroom.evaluate.answers import Answer
from mailroom.evaluate.compare import Comparison, Metric, MetricComparison, compare
from mailroom.evaluate.intervals import normal_quantile

Kind = Literal["retrieval", "logistic_regression", "two_stage"]
# The cheaper first: of equals the cheaper is taken.
KINDS: tuple[Kind, ...] = ("retrieval", "logistic_regression", "two_stage")
GATED: tuple[Metric, ...] = ("top_1", "recall_at_5", "sibling_confusion_rate")
# A loss is said to be within sight where four challengers of five that have it would be refused.
_POWER = 0.8

_WORDS = {
    "top_1": "top-1",
    "recall_at_5": "Recall@5",
    "sibling_confusion_rate": "sibling confusion",
    "retrieval": "the bi-encoder alone",
    "logistic_regression": "a logistic regression on the same embeddings",
    "two_stage": "both stages",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One condition: whether it held, in words, with its figures where it has any.

    `smallest_loss_seen` is the loss that this gold would show four times in five, as a share of the emails;
    a smaller one may pass. None where the condition is no comparison.
    """

    name: str
    passed: bool
    reason: str
    champion: float | None = None
    challenger: float | None = None
    smallest_loss_seen: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """May the challenger be promoted; if so as `chosen`, the kind of model that answers best."""

    passed: bool
    chosen: Kind
    emails: int
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    comparison: Comparison | None

    def require(self) -> None:
        """PromotionRefused, with every reason, unless the challenger passed."""
        if not self.passed:
            raise PromotionRefused("the challenger is not promoted: " + "; ".join(self.reasons))

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Contender:
    """The challenger in one of its kinds; `servable` is False for one that can only be measured."""

    kind: Kind
    answers: Sequence[Answer]
    servable: bool = True


@dataclass(frozen=True, slots=True)
class Parity:
    """What the int8 gate said of one encoder: did the champion's pass, does the challenger's."""

    champion_passed: bool
    challenger_passed: bool


def judge(
    champion: Sequence[Answer],
    contenders: Sequence[Contender],
    parity: Mapping[str, Parity],
    are_siblings: Callable[[str, str], bool],
    settings: GateSettings | None = None,
) -> Verdict:
    """Choose the best contender, hold it to the champion on the same gold, and say why.

    All answers are about the same emails. DataError without a servable contender. Too little gold is a
    refusal, not an error.
    """
    settings = settings or GateSettings()
    chosen, choice = choose(contenders)
    checks = [choice, *(_parity_check(encoder, one) for encoder, one in parity.items())]
    comparison = None
    if len(champion) < settings.min_emails:
        checks.append(_too_few(len(champion), settings.min_emails))
    else:
        comparison = compare(champion, chosen.answers, are_siblings)
        checks += [_not_worse(comparison, name, settings) for name in GATED]
    return Verdict(
        passed=all(check.passed for check in checks),
        chosen=chosen.kind,
        emails=len(champion),
        checks=tuple(checks),
        reasons=tuple(check.reason for check in checks if not check.passed),
        comparison=comparison,
    )


def choose(contenders: Sequence[Contender]) -> tuple[Contender, Check]:
    """The contender with the highest top-1, the cheapest of equals; and the check that it is one that serves.

    Two stages are therefore never promoted where one of their rivals does as well.
    """
    servable = [contender for contender in contenders if contender.servable]
    if not servable:
        raise DataError("expected at least one contender that can serve, got none")
    chosen = _best(servable)
    best = _best(contenders)
    shown = ", ".join(f"{_WORDS[c.kind]} {top_1(c.answers):.1%}" for c in contenders)
    if best is chosen:
        return chosen, Check("best_kind", True, f"of the kinds tried the best can serve: {shown}")
    return chosen, Check(
        "best_kind",
        False,
        f"the best of the kinds tried, {_WORDS[best.kind]}, cannot serve: {shown}; "
        "train longer, or leave the champion",
    )


def _best(contenders: Sequence[Contender]) -> Contender:
    return max(contenders, key=lambda contender: (top_1(contender.answers), -KINDS.index(contender.kind)))


def top_1(answers: Sequence[Answer]) -> float:
    """The share of right answers; 0 without any."""
    return sum(answer.correct for answer in answers) / len(answers) if answers else 0.0


def _not_worse(comparison: Comparison, name: Metric, settings: GateSettings) -> Check:
    """Fails where the loss is beyond the tolerance, and beyond what chance would do to equals."""
    metric = comparison.metric(name)
    beyond_tolerance = metric.gain < -settings.tolerance
    beyond_chance = metric.not_worse < 1 - settings.confidence
    worse = beyond_tolerance and beyond_chance
    return Check(
        name,
        not worse,
        _reason(metric, comparison.emails, settings, worse),
        metric.champion.value,
        metric.challenger.value,
        smallest_loss_seen(metric, settings),
    )


def _reason(metric: MetricComparison, emails: int, settings: GateSettings, worse: bool) -> str:
    change = f"{metric.champion.value:.1%} → {metric.challenger.value:.1%} on {emails:,} emails"
    if worse:
        return (
            f"{_WORDS[metric.name]} got worse, {change}: beyond the tolerance of {settings.tolerance:.1%}, "
            f"and in {1 - metric.not_worse:.0%} of the resamples"
        )
    if metric.gain < -settings.tolerance:
        return f"{_WORDS[metric.name]} {change}: beyond the tolerance, but no more than chance explains"
    return f"{_WORDS[metric.name]} {change}"


def smallest_loss_seen(metric: MetricComparison, settings: GateSettings) -> float:
    """The loss that would be refused four times in five, by the width of the paired interval.

    The normal approximation: the observed loss must pass both bounds, and scatters by its standard error.
    """
    width = metric.difference.high - metric.difference.low
    error = width / (2 * normal_quantile(0.975))
    bound = max(settings.tolerance, normal_quantile(settings.confidence) * error)
    return min(1.0, bound + normal_quantile(_POWER) * error)


def _parity_check(encoder: str, parity: Parity) -> Check:
    name = f"int8_parity_{encoder}"
    if parity.challenger_passed:
        return Check(name, True, f"int8 agrees with fp32 for the {encoder}")
    if not parity.champion_passed:
        return Check(name, True, f"int8 disagrees with fp32 for the {encoder}, as it did; fp32 serves")
    return Check(name, False, f"int8 no longer agrees with fp32 for the {encoder}: export it again")


def _too_few(emails: int, wanted: int) -> Check:
    reason = f"expected at least {wanted} gold emails to judge by, got {emails}: review more mail"
    return Check("gold", False, reason)
