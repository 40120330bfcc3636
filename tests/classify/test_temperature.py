"""The fitted temperature recovers one that is known, and refuses nothing to fit."""

import numpy as np
import pytest

from mailroom.classify.temperature import fit_temperature
from mailroom.errors import DataError


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 4.0])
def test_a_known_temperature_is_found(true_temperature: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (4000, 6)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = [int(generator.choice(6, p=row / row.sum())) for row in shares.astype(np.float64)]
    fitted = fit_temperature(list(logits * true_temperature), targets)
    assert fitted == pytest.approx(true_temperature, rel=0.1)


def test_answers_that_retrieval_missed_make_it_less_sure() -> None:
    generator = np.random.default_rng(1)
    scores = [generator.normal(0, 2, 6).astype(np.float32) for _ in range(300)]
    targets: list[int | None] = [int(row.argmax()) for row in scores]
    missed: list[int | None] = [None if index % 2 else target for index, target in enumerate(targets)]
    assert fit_temperature(scores, missed) > fit_temperature(scores, targets)


def test_nothing_to_fit_is_refused() -> None:
    with pytest.raises(DataError):
        fit_temperature([], [])
