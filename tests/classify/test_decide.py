import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mailroom.classify.decide import contenders, decide, softmax
from mailroom.errors import ModelError

scores = arrays(np.float32, st.integers(1, 20), elements=st.floats(-100, 100, width=32))
cosines = arrays(np.float32, st.integers(1, 20), elements=st.floats(-1, 1, width=32)).map(
    lambda values: np.sort(values)[::-1].copy()
)


@given(scores, st.floats(0.01, 10))
def test_probabilities_sum_to_one_and_fall(values: np.ndarray, temperature: float) -> None:
    decision = decide(values, temperature)
    assert decision.probabilities.sum() == pytest.approx(1.0)
    assert (np.diff(decision.probabilities) <= 1e-12).all()
    assert values[decision.order[0]] == values.max()


def test_softmax_agrees_with_a_hand_computation() -> None:
    shares = softmax(np.array([1.0, 0.0], dtype=np.float32), temperature=0.5)
    assert shares[0] == pytest.approx(np.e**2 / (np.e**2 + 1))


def test_huge_scores_do_not_overflow() -> None:
    shares = softmax(np.array([3e38, -3e38], dtype=np.float32), temperature=0.01)
    assert shares.tolist() == [1.0, 0.0]


def test_margin_is_the_gap_between_the_two_best() -> None:
    decision = decide(np.array([0.0, 2.0, 1.0], dtype=np.float32), 1.0)
    assert decision.order.tolist() == [1, 2, 0]
    assert decision.margin == pytest.approx(decision.probabilities[0] - decision.probabilities[1])


def test_one_candidate_is_certain() -> None:
    decision = decide(np.array([0.3], dtype=np.float32), 1.0)
    assert decision.margin == 1.0


def test_ties_keep_the_order_of_retrieval() -> None:
    assert decide(np.zeros(5, dtype=np.float32), 1.0).order.tolist() == [0, 1, 2, 3, 4]


def test_a_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ModelError, match="not finite"):
        decide(np.array([1.0, np.nan], dtype=np.float32), 1.0)


@given(cosines, st.floats(0.0, 1.0))
def test_contenders_are_those_of_a_share_of_the_firsts_probability(values: np.ndarray, share: float) -> None:
    count = contenders(values, 0.05, share)
    shares = softmax(values, 0.05)
    assert 1 <= count <= len(values)
    # Rounding may decide about one that lies on the border itself.
    assert (shares[:count] >= share * shares[0] * 0.999).all()
    assert (shares[count:] <= share * shares[0] * 1.001).all()


def test_share_0_and_equal_candidates_leave_every_candidate_in() -> None:
    assert contenders(np.array([0.9, -1.0], dtype=np.float32), 0.05, 0.0) == 2
    assert contenders(np.full(20, 0.3, dtype=np.float32), 0.05, 1.0) == 20


@given(cosines, st.floats(0.001, 1.0), st.integers(0, 2**31))
def test_a_reranked_candidate_wins_over_those_that_were_left_out(
    values: np.ndarray, share: float, seed: int
) -> None:
    count = contenders(values, 0.05, share)
    rest = softmax(values, 0.05)[count:]
    logits = np.random.default_rng(seed).normal(0, 5, count).astype(np.float32)
    decision = decide(logits, 1.0, rest)
    assert decision.order[0] == logits.argmax()
    assert sorted(decision.order.tolist()) == list(range(len(values)))
    assert decision.probabilities.sum() == pytest.approx(1.0)
    assert (np.diff(decision.probabilities) <= 1e-12).all()
