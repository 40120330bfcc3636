from pathlib import Path

import numpy as np
import pytest

from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.parity import MAX_RELATIVE_DIFFERENCE, MIN_TOP1_AGREEMENT, compare_scores, parity

LABELS = ["delivery of a parcel", "password reset", "opening hours", "invoice and payment", "complaint"]
TEXTS = ["my package never came", "I cannot log in any more", "when do you open on Sunday?"]


def scores(texts: int = 200, labels: int = 20) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(texts, labels)).astype(np.float32)


def test_equal_scores_pass() -> None:
    report = compare_scores(scores(), scores())
    assert report.passed
    assert report.top1_agreement == 1.0
    assert report.max_difference == 0.0
    assert report.to_dict()["min_top1_agreement"] == MIN_TOP1_AGREEMENT


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
