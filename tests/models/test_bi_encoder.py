from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mailroom.errors import ModelError
from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.encoder_config import CONFIG_NAME, GRAPH_NAMES

TEXTS = ["Where is my parcel?", "", "Grüße aus Köln\n" * 40, "ok " * 2000, "a\ud800b", "\x00\x07 bell"]


@pytest.fixture(scope="module")
def encoder(embedded_bi_encoder: Path) -> BiEncoder:
    return BiEncoder.load(embedded_bi_encoder, "fp32")


def test_vectors_have_length_one(encoder: BiEncoder) -> None:
    for text in TEXTS:
        vector = encoder.encode_query(text)
        assert vector.shape == (encoder.dimension,)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_related_texts_are_nearer_than_unrelated_ones(encoder: BiEncoder) -> None:
    labels = encoder.encode_passages(["delivery of a parcel", "password reset", "opening hours"])
    similarities = labels @ encoder.encode_query("my package has not arrived yet")
    assert similarities.argmax() == 0


def test_a_query_is_its_token_ids_encoded(encoder: BiEncoder) -> None:
    ids = encoder.tokenize_query("ok " * 2000)
    assert ids.shape == (encoder.max_tokens,)
    assert np.array_equal(encoder.encode_ids(ids), encoder.encode_query("ok " * 2000))


def test_threads_get_the_answers_of_one_thread(encoder: BiEncoder) -> None:
    texts = [f"message number {number} about {'invoices ' * (number % 7)}" for number in range(40)]
    alone = [encoder.encode_query(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(encoder.encode_query, texts))
    assert np.array_equal(alone, together)


def test_no_passages_give_no_rows(encoder: BiEncoder) -> None:
    assert encoder.encode_passages([]).shape == (0, encoder.dimension)


def test_int8_vectors_are_near_fp32(encoder: BiEncoder, embedded_bi_encoder: Path) -> None:
    int8 = BiEncoder.load(embedded_bi_encoder, "int8")
    text = "Where is my parcel? I ordered it two weeks ago."
    assert float(int8.encode_query(text) @ encoder.encode_query(text)) > 0.97


@pytest.mark.parametrize("name", [CONFIG_NAME, "tokenizer.json", GRAPH_NAMES["fp32"]])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_file_is_named(embedded_bi_encoder: Path, tmp_path: Path, name: str, damage: str) -> None:
    for path in embedded_bi_encoder.iterdir():
        if path.is_file() and path.name != name:
            (tmp_path / path.name).symlink_to(path)
    if damage == "truncated":
        content = (embedded_bi_encoder / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=name):
        BiEncoder.load(tmp_path, "fp32")
