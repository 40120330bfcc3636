from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from mailroom.curate.precision import Cut, fewest_audited, find_trusted, lower_bound, upper_bound

TARGET = 0.95
ERROR_RATE = 0.05
SHARES = tuple(share / 100 for share in range(5, 101, 5))
Precision = Callable[[np.ndarray], np.ndarray]


def cuts(ranks: np.ndarray, correct: np.ndarray) -> list[Cut]:
    return [
        Cut(share, share * len(ranks), int((ranks <= share).sum()), int(correct[ranks <= share].sum()))
        for share in SHARES
    ]


def true_precision(precision: Precision, share: float) -> float:
    return float(precision(np.linspace(0, share, 2001)).mean())


def searches(precision: Precision, audited: int, runs: int) -> list[float]:
    """The shares that so many searches trust, 0 where one trusts none."""
    generator = np.random.default_rng(7)
    found = []
    for _ in range(runs):
        ranks = generator.random(audited)
        correct = generator.random(audited) < precision(ranks)
        trusted = find_trusted(cuts(ranks, correct), TARGET, ERROR_RATE)
        found.append(trusted.cut.share if trusted else 0.0)
    return found


@pytest.mark.parametrize("audited", [60, 150, 400, 1500])
@pytest.mark.parametrize(
    "precision",
    [
        pytest.param(lambda ranks: np.full_like(ranks, 0.9499), id="just below the target everywhere"),
        pytest.param(lambda ranks: np.where(ranks < 0.3, 0.951, 0.94), id="below it from some point on"),
        pytest.param(lambda ranks: 0.999 - 0.3 * ranks**2, id="falling"),
        pytest.param(lambda ranks: np.where(ranks < 0.1, 0.9, 0.96), id="worst where it is surest"),
    ],
)
def test_the_true_precision_is_below_the_target_in_one_search_of_twenty_at_most(
    precision: Precision, audited: int
) -> None:
    runs = 1000
    found = searches(precision, audited, runs)
    short = sum(share > 0 and true_precision(precision, share) < TARGET for share in found)
    # Three standard errors of a rate that is exactly the bound.
    assert short / runs <= ERROR_RATE + 3 * (ERROR_RATE * (1 - ERROR_RATE) / runs) ** 0.5


def test_looking_for_the_best_threshold_would_break_that_promise() -> None:
    # The same audits, every threshold tested at the full error rate: what the procedure is there to prevent.
    generator = np.random.default_rng(7)
    short = 0
    for _ in range(400):
        ranks = generator.random(400)
        correct = generator.random(400) < 0.9499
        short += any(
            lower_bound(cut.correct, cut.audited, ERROR_RATE) >= TARGET for cut in cuts(ranks, correct)
        )
    assert short / 400 > 2 * ERROR_RATE


def test_good_answers_are_trusted_far_down() -> None:
    assert np.mean(searches(lambda ranks: np.full_like(ranks, 0.99), 400, 100)) > 0.8
    assert np.mean(searches(lambda ranks: np.where(ranks < 0.4, 0.99, 0.6), 1500, 100)) > 0.3


@given(st.integers(1, 400), st.data())
def test_bounds_are_those_of_clopper_and_pearson(audited: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, audited))
    exact = binomtest(correct, audited).proportion_ci(0.9, "exact")
    assert lower_bound(correct, audited, 0.05) == pytest.approx(exact.low, abs=1e-9)
    assert upper_bound(correct, audited, 0.05) == pytest.approx(exact.high, abs=1e-9)


def test_the_fewest_audits_are_just_enough() -> None:
    fewest = fewest_audited(TARGET, ERROR_RATE)
    assert lower_bound(fewest, fewest, ERROR_RATE) >= TARGET > lower_bound(fewest - 1, fewest - 1, ERROR_RATE)


def test_too_few_audits_prove_nothing() -> None:
    assert find_trusted([Cut(1.0, 50, 50, 50)], TARGET, ERROR_RATE) is None
    assert find_trusted([], TARGET, ERROR_RATE) is None
    assert find_trusted([Cut(1.0, 1000, 1000, 1000)], 1.0, ERROR_RATE) is None
