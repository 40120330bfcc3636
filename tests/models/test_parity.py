from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.parity import (
    MAX_RELATIVE_DIFFERENCE,
    MIN_TOP1_AGREEMENT,
    compare_scores,
    cross_parity,
    parity,
)

LABELS = ["delivery of a parcel", "password reset", "opening hours", "invoice and payment", "complaint"]
TEXTS = ["my package never came", "I cannot log in any more", "when do you open on Sunday?"]


def scores(texts: int = 200, labels: int = 20) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(texts, labels)).astype(np.float32)


def test_equal_scores_pass() -> None:
    report = compare_scores(scores(), scores())
    assert report.passed
    assert report.top1_agreement == 1.0
    assert report.max_difference == 0.0


@pytest.mark.parametrize("texts", [1, 7, 33, 200, 2_000])
def test_the_limit_that_a_verdict_tells_is_the_one_it_was_held_to(texts: int) -> None:
    verdicts = set()
    for changed in range(0, texts + 1, max(1, texts // 200)):
        close = scores(texts)
        close[:, :2] = (5.0, 4.999)
        other = close.copy()
        other[:changed, 1] = 5.001
        report = compare_scores(close, other)
        verdicts.add(report.passed)
        assert report.passed == (report.top1_agreement >= report.to_dict()["min_top1_agreement"])
    assert verdicts == {True, False}


def test_few_texts_are_allowed_more_disagreement_than_many() -> None:
    limits = [compare_scores(scores(texts), scores(texts)).to_dict() for texts in (20, 200, 20_000)]
    few, some, many = (limit["min_top1_agreement"] for limit in limits)
    assert few < some < many < MIN_TOP1_AGREEMENT
    assert many == pytest.approx(MIN_TOP1_AGREEMENT, abs=0.004)


def test_other_winners_fail() -> None:
    changed = scores()
    changed[:40, 3] += 10
    report = compare_scores(scores(), changed)
    assert report.top1_agreement < MIN_TOP1_AGREEMENT
    assert not report.passed


def test_moved_scores_fail_though_the_winner_stays() -> None:
    report = compare_scores(scores(), scores() * 3)
    assert report.top1_agreement == 1.0
    assert report.relative_difference > MAX_RELATIVE_DIFFERENCE
    assert not report.passed


def test_the_verdict_does_not_depend_on_the_scale_of_scores() -> None:
    noise = scores() + np.random.default_rng(1).normal(scale=0.1, size=(200, 20)).astype(np.float32)
    small, large = (
        compare_scores((scores() * scale).astype(np.float32), (noise * scale).astype(np.float32))
        for scale in (0.02, 50.0)
    )
    assert small.relative_difference == pytest.approx(large.relative_difference, abs=1e-5)


def test_nothing_shown_and_no_number_do_not_pass() -> None:
    assert not compare_scores(scores(0), scores(0)).passed
    broken = scores()
    broken[0, 0] = np.nan
    assert not compare_scores(scores(), broken).passed


def test_the_embedded_bi_encoder_passes_in_int8(embedded_bi_encoder: Path) -> None:
    fp32, int8 = (BiEncoder.load(embedded_bi_encoder, precision) for precision in ("fp32", "int8"))
    report = parity(fp32, int8, LABELS, TEXTS)
    assert (report.texts, report.labels) == (len(TEXTS) + len(LABELS), len(LABELS))
    assert report.passed
    assert 0 < report.mean_difference < 0.05


@pytest.mark.parametrize(
    ("texts", "disagreements", "passed"),
    [(33, 4, True), (33, 8, False), (2500, 240, True), (2500, 275, False)],
)
def test_few_texts_may_disagree_by_chance_and_many_may_not(
    texts: int, disagreements: int, passed: bool
) -> None:
    reference = np.tile(np.array([1.0, 0.99, 0.0], dtype=np.float32), (texts, 1))
    candidate = reference.copy()
    candidate[:disagreements, 1] = 1.01
    assert compare_scores(reference, candidate).passed is passed


class Fixed:
    """A cross-encoder and an encoder whose logits and vectors are given by the text."""

    dimension = 2

    def __init__(self, logits: dict[str, list[float]], similarity_weight: float = 1.0) -> None:
        self.logits, self.similarity_weight = logits, similarity_weight

    def score(self, text: str, _: Sequence[str]) -> Any:
        return np.array(self.logits[text], dtype=np.float32)

    def encode_query(self, text: str) -> Any:
        return np.array({"a": [1, 0], "b": [0, 1]}[text], dtype=np.float32)

    def encode_passages(self, texts: Sequence[str]) -> Any:
        return np.stack([self.encode_query(text) for text in texts])


def test_logits_are_compared_as_they_decide() -> None:
    texts = labels = ["a", "b"]
    # Alone the logits say little, and int8 turns it round; beside the cosine it decides nothing.
    fp32: Any = Fixed({"a": [0.01, 0.02], "b": [0.02, 0.01]})
    int8: Any = Fixed({"a": [0.02, 0.01], "b": [0.01, 0.02]})
    assert not cross_parity(fp32, int8, labels, texts).passed
    beside = cross_parity(fp32, int8, labels, texts, (fp32, int8))
    assert beside.passed
    assert beside.top1_agreement == 1.0
    fp32.similarity_weight = int8.similarity_weight = 0.0
    assert not cross_parity(fp32, int8, labels, texts, (fp32, int8)).passed
