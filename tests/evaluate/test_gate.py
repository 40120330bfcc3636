"""The gate by simulation: what is worse is refused, what is harmless passes, and too little gold is said."""

from dataclasses import replace

import numpy as np
import pytest

from mailroom.config import GateSettings
from mailroom.errors import DataError, PromotionRefused
from mailroom.evaluate.answers import Answer
from mailroom.evaluate.gate import Contender, Parity, Verdict, choose, judge
from tests.evaluate.simulated import World, answer, are_siblings


def verdict(world: World, settings: GateSettings | None = None) -> Verdict:
    champion, challenger = world.play()
    return judge(champion, [Contender("two_stage", challenger)], {}, are_siblings, settings)


def refusals(world: World, runs: int = 20) -> float:
    return float(np.mean([not verdict(replace(world, seed=seed)).passed for seed in range(runs)]))


@pytest.mark.parametrize(
    ("emails", "loss", "least"), [(50, 0.3, 0.9), (100, 0.15, 0.9), (500, 0.05, 0.9), (1000, 0.03, 0.8)]
)
def test_a_worse_challenger_is_refused(emails: int, loss: float, least: float) -> None:
    assert refusals(World(emails, loss, churn=loss + 0.02)) >= least


@pytest.mark.parametrize("emails", [50, 200, 1000])
def test_a_harmless_challenger_mostly_passes(emails: int) -> None:
    assert refusals(World(emails, loss=0.0, churn=0.03)) <= 0.3


@pytest.mark.parametrize("emails", [50, 200, 1000])
def test_a_better_challenger_passes(emails: int) -> None:
    assert refusals(World(emails, loss=-0.05, churn=0.08)) <= 0.1


def test_a_loss_within_the_tolerance_passes_however_sure_it_is() -> None:
    champion = [answer(f"m{n}", "a0", "a0", "b0") for n in range(5000)]
    challenger = [answer(f"m{n}", "a0", "b0", "a0") for n in range(20)] + champion[20:]
    found = judge(champion, [Contender("two_stage", challenger)], {}, are_siblings)
    assert found.comparison is not None
    assert found.comparison.metric("top_1").not_worse == 0.0
    assert found.passed
    strict = judge(
        champion, [Contender("two_stage", challenger)], {}, are_siblings, GateSettings(tolerance=0.001)
    )
    assert not strict.passed


def test_a_lost_recall_is_refused_though_the_answers_are_as_good() -> None:
    champion = [answer(f"m{n}", "a0", "b0", "a0", "c0", "d0", "e0", "b1") for n in range(100)]
    worse = [answer(f"m{n}", "a0", "b0", "c0", "d0", "e0", "b1", "a0") for n in range(100)]
    found = judge(champion, [Contender("two_stage", worse)], {}, are_siblings)
    assert [check.name for check in found.checks if not check.passed] == ["recall_at_5"]


def test_more_confusion_of_siblings_is_refused_though_top_1_is_as_good() -> None:
    champion = [answer(f"m{n}", "a0", "b0", "a0") for n in range(100)]
    worse = [answer(f"m{n}", "a0", "a1", "a0") for n in range(100)]
    found = judge(champion, [Contender("two_stage", worse)], {}, are_siblings)
    assert [check.name for check in found.checks if not check.passed] == ["sibling_confusion_rate"]


def test_the_smallest_loss_seen_is_refused_four_times_in_five() -> None:
    world = World(300, loss=0.06, churn=0.08)
    seen = [
        next(check for check in verdict(replace(world, seed=seed)).checks if check.name == "top_1")
        for seed in range(30)
    ]
    stated = float(np.mean([check.smallest_loss_seen for check in seen]))
    at_stated = World(300, loss=stated, churn=0.08)
    refused = [
        not next(c for c in verdict(replace(at_stated, seed=seed)).checks if c.name == "top_1").passed
        for seed in range(60)
    ]
    assert 0.68 <= np.mean(refused) <= 0.92


def test_too_little_gold_refuses_and_says_how_much_is_needed() -> None:
    found = verdict(World(12))
    assert (found.passed, found.comparison) == (False, None)
    with pytest.raises(PromotionRefused, match="at least 30 gold emails to judge by, got 12"):
        found.require()


def right(count: int, of: int = 100) -> list[Answer]:
    return [answer(f"m{n}", "a0", *(("a0", "b0") if n < count else ("b0", "a0"))) for n in range(of)]


def test_two_stages_that_lose_to_the_bi_encoder_are_not_what_is_promoted() -> None:
    contenders = [Contender("two_stage", right(80)), Contender("retrieval", right(85))]
    found = judge(right(80), contenders, {}, are_siblings)
    assert (found.passed, found.chosen) == (True, "retrieval")


def test_of_equals_the_cheaper_is_taken() -> None:
    chosen, _ = choose([Contender("two_stage", right(85)), Contender("retrieval", right(85))])
    assert chosen.kind == "retrieval"


def test_a_regression_that_wins_but_cannot_serve_stops_the_promotion() -> None:
    contenders = [
        Contender("two_stage", right(85)),
        Contender("logistic_regression", right(90), servable=False),
    ]
    found = judge(right(80), contenders, {}, are_siblings)
    assert (found.passed, found.chosen) == (False, "two_stage")
    assert "logistic regression" in found.reasons[0]
    beaten = [contenders[0], Contender("logistic_regression", right(84), servable=False)]
    assert judge(right(80), beaten, {}, are_siblings).passed


def test_int8_that_was_lost_refuses_and_int8_that_never_was_does_not() -> None:
    contenders = [Contender("two_stage", right(85))]

    def passed(parity: Parity) -> bool:
        return judge(right(80), contenders, {"bi_encoder": parity}, are_siblings).passed

    assert passed(Parity(champion_passed=True, challenger_passed=True))
    assert passed(Parity(champion_passed=False, challenger_passed=False))
    assert not passed(Parity(champion_passed=True, challenger_passed=False))


def test_every_reason_is_given_at_once() -> None:
    parity = {"bi_encoder": Parity(champion_passed=True, challenger_passed=False)}
    with pytest.raises(PromotionRefused, match=r"int8 no longer agrees.*top-1 got worse, 90\.0% → 60\.0%"):
        judge(right(90), [Contender("retrieval", right(60))], parity, are_siblings).require()


def test_without_anything_that_can_serve_there_is_nothing_to_judge() -> None:
    with pytest.raises(DataError):
        judge(right(90), [], {}, are_siblings)
