from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

from mailroom.errors import ModelError
from mailroom.models.cross_encoder import PairwiseCrossEncoder, load_cross_encoder
from mailroom.models.export import export_cross_encoder
from mailroom.models.parity import cross_parity
from tests.models import tiny

LABELS = ["delivery of a parcel", "password reset", "refunds", "opening hours"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairwise")
    tiny.make_cross_encoder(folder / "model", "bert", ["LABEL_0"])
    export_cross_encoder(folder / "model", folder / "out", template="It is about {label}, with {braces}")
    return folder / "out"


def test_order_and_number_of_labels_change_no_score(exported: Path) -> None:
    encoder = load_cross_encoder(exported, "fp32")
    scores = encoder.score(tiny.TEXTS[3], LABELS)
    assert np.array_equal(encoder.score(tiny.TEXTS[3], LABELS[::-1]), scores[::-1])
    assert np.array_equal(encoder.score(tiny.TEXTS[3], LABELS[1:2]), scores[1:2])


def test_threads_get_the_scores_of_one_thread(exported: Path) -> None:
    encoder = load_cross_encoder(exported, "int8")
    texts = [f"{text} {number}" for text in tiny.TEXTS for number in range(6)]
    alone = [encoder.score(text, LABELS) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: encoder.score(text, LABELS), texts))
    assert np.array_equal(alone, together)


def test_the_gate_reads_both_precisions(exported: Path) -> None:
    fp32, int8 = load_cross_encoder(exported, "fp32"), load_cross_encoder(exported, "int8")
    assert cross_parity(fp32, fp32, LABELS, tiny.TEXTS).passed
    report = cross_parity(fp32, int8, LABELS, tiny.TEXTS)
    assert (report.texts, report.labels) == (len(tiny.TEXTS), len(LABELS))
    assert report.max_difference > 0


def test_broken_text_is_scored(exported: Path) -> None:
    scores = load_cross_encoder(exported, "fp32").score("a\ud800b " * 300, ["c\udfff", "x " * 300])
    assert np.isfinite(scores).all()


def test_another_kind_is_refused(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "encoder.json").write_text((exported / "encoder.json").read_text())
    tiny.edit_json(tmp_path / "encoder.json", kind="from-the-future")
    with pytest.raises(ModelError, match="from-the-future"):
        load_cross_encoder(tmp_path, "fp32")
    with pytest.raises(ModelError, match="expected kind 'pairwise'"):
        PairwiseCrossEncoder.load(tmp_path, "fp32")


@pytest.mark.parametrize(
    ("logits", "template", "message"),
    [
        (["good", "bad"], None, "a logit named entailment; got the logits good, bad"),
        (["LABEL_0"], "no place for it", "holds {label}"),
    ],
)
def test_an_unusable_head_or_template_is_refused(
    tmp_path: Path, logits: list[str], template: str | None, message: str
) -> None:
    tiny.make_cross_encoder(tmp_path / "model", "bert", logits)
    with pytest.raises(ModelError, match=message):
        export_cross_encoder(tmp_path / "model", tmp_path / "out", template=template)
    assert not (tmp_path / "out").exists()


def test_damaged_weights_give_a_reason(tmp_path: Path) -> None:
    tiny.make_cross_encoder(tmp_path / "model", "bert", ["LABEL_0"])
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="expected a model that sentence-transformers can load"):
        export_cross_encoder(tmp_path / "model", tmp_path / "out")
