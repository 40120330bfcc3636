import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.curate.credit import expected_precision

PROBABILITIES = st.floats(0, 1)


def drawn(count: int, slope: float, shift: float, seed: int = 0) -> tuple[list[float], list[bool]]:
    """Unsure answers that are right as a curve says."""
    generator = np.random.default_rng(seed)
    stated = generator.uniform(0.2, 0.8, count)
    logits = shift + slope * np.log(stated / (1 - stated))
    return stated.tolist(), (generator.random(count) < 1 / (1 + np.exp(-logits))).tolist()


def test_answers_that_are_right_as_often_as_they_say_are_expected_to_go_on_so() -> None:
    stated, right = drawn(400, slope=1.0, shift=0.0)
    assert expected_precision(stated, right, [0.98] * 10) == pytest.approx(0.98, abs=0.015)


def test_a_model_that_knows_nothing_is_not_believed_where_it_is_sure() -> None:
    stated, right = drawn(60, slope=0.0, shift=-1.5)
    expected = expected_precision(stated, right, [0.95, 0.99])
    assert expected is not None
    assert expected < 0.6


def test_one_that_is_too_modest_is_believed() -> None:
    stated, right = drawn(400, slope=3.0, shift=1.0)
    expected = expected_precision(stated, right, [0.85] * 3)
    assert expected is not None
    assert expected > 0.97


def test_few_labelled_answers_say_nothing_and_nothing_asked_has_no_precision() -> None:
    assert expected_precision([0.5] * 9, [False] * 9, [0.9]) is None
    assert expected_precision([0.5] * 10, [True] * 10, []) is None


@given(
    st.lists(st.tuples(PROBABILITIES, st.booleans()), min_size=10, max_size=60),
    st.lists(PROBABILITIES, min_size=1),
)
def test_whatever_was_stated_the_expectation_is_a_share(
    labelled: list[tuple[float, bool]], asked: list[float]
) -> None:
    stated, right = zip(*labelled, strict=True)
    expected = expected_precision(stated, right, asked)
    assert expected is not None
    assert 0 <= expected <= 1
