"""A teacher's scores become shares in which no candidate is lost."""

import numpy as np
import pytest

from mailroom.errors import ConfigError, DataError
from mailroom.train.distill import SMALLEST_SHARE, Scored, teach

LABELS = ("a", "b", "c")


def scored(*scores: float) -> Scored:
    return Scored("text", LABELS[: len(scores)], np.array(scores, dtype=np.float32))


def test_shares_are_the_softmax_at_the_temperature() -> None:
    taught = teach([scored(2.0, 1.0, 0.0)], temperature=2.0)[0]
    expected = np.exp([1.0, 0.5, 0.0])
    assert taught.labels == LABELS
    assert taught.shares == pytest.approx(tuple(expected / expected.sum()))


def test_no_candidate_underflows() -> None:
    taught = teach([scored(500.0, -500.0, 0.0)], temperature=0.05)[0]
    assert sum(taught.shares) == pytest.approx(1.0)
    assert min(taught.shares) > SMALLEST_SHARE / 2


def test_emails_that_teach_nothing_are_left_out() -> None:
    assert teach([scored(3.0), scored(1.0, 1.0)], temperature=1.0, least_spread=0.1) == []


def test_scores_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(DataError, match="finite"):
        teach([scored(1.0, float("nan"))], temperature=1.0)


def test_scores_must_fit_the_candidates() -> None:
    with pytest.raises(DataError, match="one for each"):
        teach([Scored("text", LABELS, np.zeros(2, dtype=np.float32))], temperature=1.0)


def test_a_temperature_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="temperature"):
        teach([], temperature=0.0)
