import random

import pytest

from mailroom.curate.thresholds import OWN_AUDITED, Audited, SilverRules, choose
from mailroom.records import Prediction
from tests.curate.small import answer

RULES = SilverRules(max_per_label=10_000)


def pool_of(count: int, labels: tuple[str, ...] = ("track",)) -> list[Prediction]:
    return [answer(labels[i % len(labels)], (i + 1) / count, f"mail-{i}") for i in range(count)]


def audits_of(count: int, wrong_below: float, label: str = "track") -> list[Audited]:
    """Audits spread evenly; answers less sure than `wrong_below` are all wrong."""
    found = []
    for i in range(count):
        sure = (i + 0.5) / count
        truth = label if sure >= wrong_below else "other"
        found.append(Audited(answer(label, sure, f"audit-{label}-{i}"), truth))
    return found


def test_audits_decide_how_far_down_answers_are_taken() -> None:
    chosen = choose(pool_of(1000), audits_of(190, wrong_below=0.3), RULES)
    (threshold,) = chosen.thresholds
    assert threshold.basis == "audited"
    assert threshold.precision is not None
    assert threshold.precision >= 0.95
    assert 0.5 <= threshold.share <= 0.7
    assert len(chosen.rank_of) == pytest.approx(threshold.share * 1000, abs=1)
    assert min(chosen.rank_of) >= 300


def test_before_any_audit_only_the_surest_answers_of_both_stages_are_taken() -> None:
    pool = [answer("track", i / 100, f"mail-{i}", "cancel" if i % 2 else None) for i in range(100)]
    chosen = choose(pool, [], RULES)
    assert sorted(chosen.rank_of) == [90, 92, 94, 96, 98]
    (threshold,) = chosen.thresholds
    assert (threshold.basis, threshold.precision) == ("unproven", None)
    assert (threshold.min_probability, threshold.min_margin) == (0.9, 0.9)


@pytest.mark.parametrize("audited", [100, 3000])
def test_nothing_is_taken_on_credit_once_audits_speak_against_it(audited: int) -> None:
    audits = [
        Audited(audit.prediction, "other" if i % 3 else "track")
        for i, audit in enumerate(audits_of(audited, wrong_below=0))
    ]
    chosen = choose(pool_of(1000), audits, RULES)
    assert [threshold.basis for threshold in chosen.thresholds] == ["refuted"]
    assert not chosen.rank_of


@pytest.mark.parametrize(("right_in", "basis"), [(10, "unproven"), (2, "doubtful")])
def test_labelled_answers_may_refuse_the_credit(right_in: int, basis: str) -> None:
    labelled = [
        Audited(answer("track", 0.4 + i / 200, f"asked-{i}"), "track" if i % 10 < right_in else "other")
        for i in range(60)
    ]
    chosen = choose(pool_of(1000), [], RULES, labelled)
    (threshold,) = chosen.thresholds
    assert threshold.basis == basis
    assert threshold.expected is not None
    assert (threshold.expected < 0.9) == (basis == "doubtful")
    assert len(chosen.rank_of) == (100 if basis == "unproven" else 0)
    assert (threshold.min_probability is None) == (basis == "doubtful")


def test_a_label_with_audits_enough_has_a_threshold_of_its_own() -> None:
    pool = pool_of(1000, ("track", "cancel"))
    good = audits_of(OWN_AUDITED, wrong_below=0.1, label="track")
    bad = audits_of(OWN_AUDITED, wrong_below=0.7, label="cancel")
    chosen = choose(pool, good + bad, RULES)
    shares = {threshold.label: threshold.share for threshold in chosen.thresholds}
    assert set(shares) == {"track", "cancel"}
    assert shares["track"] > 0.6
    taken = [pool[place].label for place in chosen.rank_of]
    assert taken.count("track") > 2 * taken.count("cancel")


def test_a_label_that_its_audits_show_to_be_bad_is_refused() -> None:
    labels = ("track", "change", "refund")
    pool = pool_of(1000, (*labels * 9, "cancel"))
    audits = [audit for label in labels for audit in audits_of(190, wrong_below=0, label=label)]
    audits += [Audited(answer("cancel", 0.95, f"bad-{i}"), "other") for i in range(2)]
    chosen = choose(pool, audits, RULES)
    (threshold,) = chosen.thresholds
    assert (threshold.basis, threshold.refused) == ("audited", ("cancel",))
    assert {pool[place].label for place in chosen.rank_of} == set(labels)


def test_precision_is_that_of_what_caps_let_through() -> None:
    # 90 % of the mail is always right, and capped; the rest is wrong in one of four, and delivered whole.
    labels = ("track", "change", "refund")
    pool = pool_of(2000, (*labels * 3, "cancel"))
    audits = [audit for label in labels for audit in audits_of(190, wrong_below=0, label=label)]
    audits += [
        Audited(answer("cancel", (i + 0.5) / 60, f"c-{i}"), "other" if i % 4 == 0 else "cancel")
        for i in range(60)
    ]
    (uncapped,) = choose(pool, audits, RULES).thresholds
    (capped,) = choose(pool, audits, SilverRules(max_per_label=150)).thresholds
    assert (uncapped.basis, uncapped.share) == ("audited", 1.0)
    assert capped.share < 0.5


def test_the_promise_holds_for_the_whole_way_from_answers_to_choice() -> None:
    generator = random.Random(3)
    runs, short = 120, 0
    pool = pool_of(400, ("track", "cancel", "change"))

    def right(sure: float) -> float:
        return 0.97 if sure > 0.5 else 0.93

    for run in range(runs):
        audits = []
        for i in range(240):
            sure = generator.random()
            truth = "track" if generator.random() < right(sure) else "other"
            audits.append(Audited(answer("track", sure, f"{run}-{i}"), truth))
        chosen = choose(pool, audits, SilverRules(max_per_label=100, seed=run))
        taken = [right(pool[place].probability) for place in chosen.rank_of]
        proven = any(threshold.basis == "audited" for threshold in chosen.thresholds)
        short += proven and sum(taken) / len(taken) < 0.95
    assert short / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_the_choice_is_the_same_every_time() -> None:
    audits = audits_of(150, wrong_below=0.2)
    rules = SilverRules(max_per_label=50)
    assert choose(pool_of(300), audits, rules) == choose(pool_of(300), audits, rules)


def test_no_answer_at_all_is_no_threshold() -> None:
    chosen = choose([], audits_of(50, 0), RULES)
    assert (chosen.rank_of, chosen.thresholds) == ({}, ())
