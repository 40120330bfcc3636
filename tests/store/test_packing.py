"""What is packed comes back, and takes no more than it should."""

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.errors import StoreError
from mailroom.records import Candidate
from mailroom.store import packing
from mailroom.store.dictionary import MAIL_WORDS

LABELS = [f"label-{i}" for i in range(50)]
ORDINALS = {label: i for i, label in enumerate(LABELS)}
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
CANDIDATES = st.builds(Candidate, st.sampled_from(LABELS), FLOAT32, st.none() | FLOAT32, FLOAT32)


@given(st.lists(CANDIDATES, max_size=30).map(tuple))
def test_candidates_come_back(candidates: tuple[Candidate, ...]) -> None:
    packed = packing.pack_candidates(candidates, ORDINALS)
    unpacked = packing.unpack_candidates(packed, LABELS)
    assert unpacked == candidates
    assert all(type(candidate.similarity) is float for candidate in unpacked)


def test_twenty_candidates_take_the_documented_bytes() -> None:
    scored = [Candidate(label, 0.5, 1.0, 0.1) for label in LABELS[:20]]
    bare = [Candidate(label, 0.5, None, 0.1) for label in LABELS[:20]]
    assert len(packing.pack_candidates(scored, ORDINALS)) == 281
    assert len(packing.pack_candidates(bare, ORDINALS)) == 201


def test_positions_beyond_two_bytes_come_back() -> None:
    labels = [f"{i}" for i in range(70_000)]
    candidates = (Candidate("69999", 0.5, None, 0.25), Candidate("1", 0.25, None, 0.125))
    packed = packing.pack_candidates(candidates, {label: i for i, label in enumerate(labels)})
    assert packing.unpack_candidates(packed, labels) == candidates


def test_label_of_another_taxonomy_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="retired"):
        packing.pack_candidates([Candidate("retired", 0.5, None, 0.5)], ORDINALS)


@given(st.text())
def test_texts_come_back(text: str) -> None:
    assert packing.unpack_text(packing.pack_text(text)) == text


def test_texts_cost_less_than_without_the_dictionary() -> None:
    import zlib

    text = "Hello, could you please tell me when my order will be delivered? Thank you for your help."
    assert len(packing.pack_text(text)) < 0.7 * len(zlib.compress(text.encode(), 9))


def test_dictionary_is_the_one_that_stored_texts_were_packed_with() -> None:
    assert hashlib.sha256(MAIL_WORDS).hexdigest() == (
        "6a625c4073bba62f67786197c2f9efa8db9aa491b3525dc5296d736adf21666f"
    )


@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: b"\0" + b[1:], lambda b: b[:8] + b"\xff" * 9])
def test_damaged_text_is_a_store_error(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(StoreError, match="damaged"):
        packing.unpack_text(damage(packing.pack_text("a text that will be damaged " * 4)))


@given(st.dictionaries(st.text(max_size=8), FLOAT32, max_size=6))
def test_latencies_come_back(latency_ms: dict[str, float]) -> None:
    steps, packed = packing.pack_latency(latency_ms)
    assert packing.unpack_latency(steps, packed) == latency_ms


def test_labels_come_back_in_order() -> None:
    labels = [("b", ("Ü", "b")), ("a", ("a",))]
    assert packing.unpack_labels(packing.pack_labels(labels)) == labels
