"""Effect sizes that do not move with the size of the sample, and chance that does."""

from collections.abc import Callable

import numpy as np
import pytest

from mailroom.evaluate.effects import (
    Divergence,
    Effect,
    count_effect,
    jensen_shannon_bits,
    mean_shift,
    population_stability,
    share_change,
)

LABELS = 40
EVEN = np.full(LABELS, 1 / LABELS)
# Half of the labels become twice as frequent as the other half.
MOVED = np.where(np.arange(LABELS) % 2, 4 / 3, 2 / 3) / LABELS
DIVERGENCES = [population_stability, jensen_shannon_bits]


def mean_effect(measure: Callable[[np.random.Generator], Effect], runs: int = 30) -> Effect:
    found = [measure(np.random.default_rng(seed)) for seed in range(runs)]
    return Effect(float(np.mean([f.size for f in found])), float(np.mean([f.chance for f in found])))


def label_effect(divergence: Divergence, emails: int, now: np.ndarray) -> Effect:
    def measure(random: np.random.Generator) -> Effect:
        counts = random.multinomial(4 * emails, EVEN), random.multinomial(emails, now)
        return count_effect(divergence, *counts, random)

    return mean_effect(measure)


def raw(divergence: Divergence, emails: int) -> float:
    random = np.random.default_rng(0)
    drawn = [(random.multinomial(4 * emails, EVEN), random.multinomial(emails, EVEN)) for _ in range(30)]
    return float(np.mean([divergence(*pair) for pair in drawn]))


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("emails", [200, 1000, 20_000])
def test_the_same_change_has_the_same_size_in_little_and_in_much_mail(
    divergence: Divergence, emails: int
) -> None:
    true = float(divergence((EVEN * 1e9).astype(int), (MOVED * 1e9).astype(int)))
    assert label_effect(divergence, emails, MOVED).size == pytest.approx(true, rel=0.2)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_without_a_change_the_size_is_near_nothing_where_the_raw_figure_would_alarm(
    divergence: Divergence,
) -> None:
    alarm = 0.25 if divergence is population_stability else 0.05
    assert raw(divergence, 150) > alarm
    assert label_effect(divergence, 150, EVEN).size < alarm / 5


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_chance_shrinks_with_more_mail(divergence: Divergence) -> None:
    chances = [label_effect(divergence, emails, EVEN).chance for emails in (100, 1000, 10_000)]
    assert chances[0] > 5 * chances[1] > 25 * chances[2]


def test_chance_is_exceeded_once_in_a_hundred() -> None:
    exceeded = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        counts = random.multinomial(2000, EVEN), random.multinomial(300, EVEN)
        effect = count_effect(jensen_shannon_bits, *counts, random)
        exceeded += effect.size > effect.chance
    assert 0 < exceeded / 300 <= 0.03


def test_divergences_are_zero_for_the_same_shares_and_one_bit_for_nothing_in_common() -> None:
    one, other = np.array([30, 10, 0]), np.array([0, 0, 20])
    assert jensen_shannon_bits(one, one * 5) == pytest.approx(0)
    assert jensen_shannon_bits(one, other) == pytest.approx(1)
    assert population_stability(one, one) == pytest.approx(0)
    assert np.isfinite(population_stability(one, other))


def test_a_stability_index_agrees_with_a_hand_computation() -> None:
    before, now = np.array([600_000, 400_000]), np.array([500_000, 500_000])
    assert population_stability(before, now) == pytest.approx(
        0.1 * np.log(0.6 / 0.5) + -0.1 * np.log(0.4 / 0.5), rel=1e-4
    )


@pytest.mark.parametrize("emails", [40, 300, 2000])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_an_embedding_shift_has_its_size_whatever_the_sample(emails: int, shift: float) -> None:
    def measure(random: np.random.Generator) -> Effect:
        vectors = random.normal(0, 1, (2 * emails, 64)).astype(np.float32)
        # Of 64 dimensions with variance 1 the spread is 8.
        vectors[emails:, 0] += 8 * shift
        return mean_shift(vectors[:emails], vectors[emails:], random)

    effect = mean_effect(measure, runs=20)
    assert effect.size == pytest.approx(shift, abs=0.06)


def test_vectors_that_are_all_the_same_have_not_moved() -> None:
    same = np.ones((5, 8), dtype=np.float32)
    assert mean_shift(same, same, np.random.default_rng(0)) == Effect(0.0, 0.0)


def test_a_share_that_falls_is_negative_and_little_mail_leaves_much_to_chance() -> None:
    assert share_change((10, 100), (5, 100)).size == pytest.approx(-0.05)
    assert share_change((10, 100), (30, 100)).size == pytest.approx(0.2)
    assert share_change((1, 10), (3, 10)).chance > 0.2 > share_change((10, 100), (30, 100)).chance
