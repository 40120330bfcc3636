"""Foreign mail: the order of the score, the area under the curve, the share found at a rate of alarms."""

import numpy as np
import pytest

from mailroom.errors import DataError
from mailroom.evaluate.outside import auroc, outside_figures, threshold_at


def test_the_area_counts_pairs_and_halves_ties() -> None:
    assert auroc(np.array([1.0, 2.0]), np.array([2.0, 3.0])) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    scores = np.random.default_rng(0).normal(0, 1, 200)
    assert auroc(scores, scores) == pytest.approx(0.5)
    assert auroc(scores, scores + 100) == 1.0


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5])
def test_known_mail_raises_no_more_false_alarms_than_allowed(rate: float) -> None:
    inside = np.random.default_rng(0).integers(0, 20, 101).astype(float)
    assert np.mean(inside > threshold_at(inside, rate)) <= rate


def test_figures_name_the_share_found() -> None:
    found = outside_figures(np.arange(100.0), np.array([0.0, 94.0, 94.5, 200.0]), 0.05)
    assert (found.threshold, found.found) == (94.0, 0.5)


def test_nothing_to_tell_apart_is_refused() -> None:
    with pytest.raises(DataError):
        outside_figures(np.array([]), np.array([1.0]))
