"""The logistic regression: learns what is linear, keeps ids and truths, refuses what it cannot fit."""

import numpy as np
import pytest

from mailroom.errors import DataError
from mailroom.evaluate.baseline import logistic_regression_answers

CENTRES = np.random.default_rng(0).normal(0, 1, (25, 16)).astype(np.float32)


def emails(count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    random = np.random.default_rng(seed)
    places = random.integers(len(CENTRES), size=count)
    vectors = CENTRES[places] + random.normal(0, 0.3, (count, 16))
    return vectors.astype(np.float32), [f"label{place:02}" for place in places]


def test_it_answers_what_the_embeddings_tell_apart() -> None:
    vectors, truths = emails(200, seed=2)
    gold = [(f"m{number}", truth) for number, truth in enumerate(truths)]
    answers = logistic_regression_answers(emails(800, seed=1), (vectors, gold))
    assert [(one.email_id, one.truth) for one in answers] == gold
    assert np.mean([one.correct for one in answers]) > 0.95
    assert all(len(one.ranked) == len(set(one.ranked)) == 20 for one in answers)
    assert all(list(one.probabilities) == sorted(one.probabilities, reverse=True) for one in answers)


def test_one_label_is_nothing_to_regress_on() -> None:
    vectors, _ = emails(5, seed=1)
    with pytest.raises(DataError, match="two labels"):
        logistic_regression_answers((vectors, ["a"] * 5), (vectors, []))
