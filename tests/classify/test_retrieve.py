import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mailroom.classify.retrieve import Retriever, mean_directions
from mailroom.errors import ModelError


def unit_rows(seed: int, rows: int, dimension: int = 8) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 25))
def test_top_k_is_the_head_of_the_full_ranking(seed: int, labels: int, k: int) -> None:
    vectors = unit_rows(seed, labels)
    query = unit_rows(seed + 1, 1)[0]
    positions, similarities = Retriever(vectors, k).top_k(query)
    expected = np.argsort(-(vectors @ query), kind="stable")[:k]
    assert positions.tolist() == expected.tolist()
    assert similarities == pytest.approx((vectors @ query)[expected], abs=1e-6)


def test_equal_similarities_keep_the_order_of_the_labels() -> None:
    vectors = np.repeat(unit_rows(0, 1), 9, axis=0)
    positions, _ = Retriever(vectors, 4).top_k(vectors[0])
    assert positions.tolist() == sorted(positions.tolist())


def test_a_query_that_is_not_of_unit_length_still_gets_cosines() -> None:
    vectors = unit_rows(0, 5)
    _, similarities = Retriever(vectors, 1).top_k(vectors[2] * 7)
    assert similarities[0] == pytest.approx(1.0, abs=1e-6)


def test_label_vectors_that_are_not_finite_are_refused() -> None:
    vectors = unit_rows(0, 3)
    vectors[1, 1] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        Retriever(vectors, 2)


def test_no_labels_are_refused() -> None:
    with pytest.raises(ModelError, match="shape"):
        Retriever(np.zeros((0, 4), dtype=np.float32), 2)


def test_mean_directions_are_unit_means_of_each_run() -> None:
    rows = unit_rows(3, 5)
    means = mean_directions(rows * np.array([[1], [9], [1], [2], [3]], dtype=np.float32), [2, 1, 2])
    assert means.shape == (3, 8)
    assert np.linalg.norm(means, axis=1) == pytest.approx(np.ones(3), abs=1e-6)
    assert means[1] == pytest.approx(rows[2], abs=1e-6)
    mean = rows[:2].mean(axis=0)
    assert means[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
