"""Paired comparison: figures as the metrics give them, intervals that hold, emails that changed sides."""

import numpy as np
import pytest

from mailroom.errors import DataError
from mailroom.evaluate.compare import compare
from mailroom.evaluate.metrics import macro_f1, recall_at, sibling_confusion_rate
from tests.evaluate.simulated import World, answer, are_siblings


def test_the_figures_are_those_of_the_metrics() -> None:
    champion, challenger = World(300, loss=0.05, churn=0.2).play()
    found = compare(champion, challenger, are_siblings, resamples=10)
    truths, labels = [one.truth for one in challenger], [one.label for one in challenger]
    recall = recall_at([one.ranked for one in challenger], truths)
    assert found.metric("top_1").challenger.value == pytest.approx(recall["recall_at_1"])
    assert found.metric("recall_at_5").challenger.value == pytest.approx(recall["recall_at_5"])
    assert found.metric("macro_f1").challenger.value == pytest.approx(macro_f1(labels, truths))
    confused = sibling_confusion_rate(labels, truths, are_siblings)
    assert found.metric("sibling_confusion_rate").challenger.value == pytest.approx(confused)


def test_nine_intervals_in_ten_hold_the_true_difference() -> None:
    hits = 0
    for seed in range(150):
        worlds = World(400, loss=-0.03, churn=0.12, seed=seed).play()
        interval = compare(*worlds, are_siblings, confidence=0.9, resamples=400).metric("top_1").difference
        hits += interval.low <= 0.03 <= interval.high
    assert 0.83 <= hits / 150 <= 0.96


def test_pairing_knows_a_difference_better_than_either_figure() -> None:
    found = compare(*World(500, loss=0.02, churn=0.06).play(), are_siblings).metric("top_1")
    alone = found.champion.high - found.champion.low
    assert found.difference.high - found.difference.low < 0.75 * alone


def test_the_grouped_draw_is_the_bootstrap_over_emails() -> None:
    champion, challenger = World(200, loss=0.03, churn=0.2).play()
    random = np.random.default_rng(1)
    gains = np.array([b.correct - a.correct for a, b in zip(champion, challenger, strict=True)], dtype=float)
    drawn = gains[random.integers(200, size=(4000, 200))].mean(axis=1)
    interval = compare(champion, challenger, are_siblings, resamples=4000).metric("top_1").difference
    assert (interval.low, interval.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.006)


def test_the_same_answers_differ_by_nothing() -> None:
    champion, _ = World(100).play()
    found = compare(champion, champion, are_siblings)
    assert found.won == found.lost == ()
    assert all(metric.difference.low == metric.difference.high == 0 for metric in found.metrics)
    assert all(metric.not_worse == 1.0 for metric in found.metrics)


def test_emails_that_changed_sides_come_surest_mistake_first() -> None:
    champion = [answer("w1", "a0", "a1", "a0", probability=0.6), answer("l1", "b0", "b0", "b1")]
    champion += [answer("w2", "a0", "a1", "a0", probability=0.9), answer("same", "c0", "c0", "c1")]
    challenger = [answer(one.email_id, one.truth, *one.ranked[::-1]) for one in champion[:3]] + champion[3:]
    found = compare(champion, challenger, are_siblings)
    assert [side.email_id for side in found.won] == ["w2", "w1"]
    assert [(side.email_id, side.champion, side.challenger) for side in found.lost] == [("l1", "b0", "b1")]


def test_the_order_of_the_answers_does_not_matter() -> None:
    champion, challenger = World(50, churn=0.3).play()
    assert compare(champion, challenger[::-1], are_siblings) == compare(champion, challenger, are_siblings)


def test_different_emails_or_truths_are_refused() -> None:
    champion, challenger = World(5).play()
    with pytest.raises(DataError, match="same emails"):
        compare(champion, challenger[:4], are_siblings)
    with pytest.raises(DataError, match="same emails"):
        compare(champion, [*challenger[:4], challenger[0]], are_siblings)
    with pytest.raises(DataError, match="one truth"):
        compare(champion, [*challenger[:4], answer("m4", "z9", "z9", "a0")], are_siblings)
    with pytest.raises(DataError, match="at least one"):
        compare([], [], are_siblings)
