from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mailroom.cycle import embeddings
from mailroom.cycle.embeddings import Embeddings
from tests.fakes import HashingEncoder


class Counting(HashingEncoder):
    """Says which texts it was given."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.read: list[str] = []
        self._fails_at = fails_at

    def encode_query(self, text: str) -> NDArray[np.float32]:
        if len(self.read) == self._fails_at:
            raise KeyboardInterrupt
        self.read.append(text)
        return 3 * super().encode_query(text)


TEXTS = [f"word{number} and another" for number in range(7)]


def test_each_text_is_read_once_and_vectors_have_unit_length(tmp_path: Path) -> None:
    encoder = Counting()
    known = Embeddings(encoder, tmp_path, threads=2)
    vectors = known.unit([*TEXTS, TEXTS[0]])
    assert sorted(encoder.read) == sorted(TEXTS)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.array_equal(vectors[0], vectors[-1])
    assert np.allclose(known.encode_query(TEXTS[1]) / 3, vectors[1])
    assert len(encoder.read) == len(TEXTS)


def test_what_was_read_before_a_kill_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "_BLOCK", 2)
    with pytest.raises(KeyboardInterrupt):
        Embeddings(Counting(fails_at=5), tmp_path, threads=1).unit(TEXTS)
    (tmp_path / "half.writing").write_bytes(b"cut off")
    again = Counting()
    vectors = Embeddings(again, tmp_path, threads=1).unit(TEXTS)
    assert again.read == TEXTS[4:]
    fresh = Embeddings(Counting(), tmp_path / "other", threads=1).unit(TEXTS)
    assert np.array_equal(vectors, fresh)


def test_single_texts_are_kept_too_and_only_the_newest_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "_BLOCK", 2)
    monkeypatch.setattr(embeddings, "_MOST_BLOCKS", 2)
    known = Embeddings(Counting(), tmp_path, threads=1)
    for text in TEXTS:
        known.encode_query(text)
    known.write()
    known.write()
    again = Counting()
    for text in TEXTS:
        Embeddings(again, tmp_path, threads=1).encode_query(text)
    assert again.read == TEXTS[:4]
