"""What a new version is made of, and in which order that is found out."""

import shutil
from pathlib import Path

import pytest

from mailroom.errors import ModelError
from mailroom.models.registry import BI_ENCODER, CROSS_ENCODER
from mailroom.taxonomy import load_taxonomy
from mailroom.workspace.create import make_version

pytest.importorskip("torch")

from mailroom.train.one_pass_weights import from_encoder, save_one_pass
from tests.models.tiny import make_transformer

TAXONOMY = "labels:\n  - name: Refund\n  - name: Lost parcel\n"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Path]]:
    root = tmp_path_factory.mktemp("sources")
    base = make_transformer(root / "base", "bert")
    save_one_pass(from_encoder(base), root / "one-pass", base)
    return {BI_ENCODER: ("base", base), CROSS_ENCODER: ("one-pass", root / "one-pass")}


def test_an_unusable_cross_encoder_is_found_before_the_slow_export(
    sources: dict[str, tuple[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(*_: object) -> None:
        raise AssertionError("the bi-encoder was exported for nothing")

    monkeypatch.setattr("mailroom.models.export.export_bi_encoder", unwanted)
    damaged = shutil.copytree(sources[CROSS_ENCODER][1], tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"no tensors")
    (tmp_path / "labels.yaml").write_text(TAXONOMY, encoding="utf-8")
    taxonomy = load_taxonomy(tmp_path / "labels.yaml")
    with pytest.raises(ModelError, match="damaged"):
        make_version(
            tmp_path / "models", {**sources, CROSS_ENCODER: ("it", damaged)}, taxonomy, lambda _: None
        )
    assert list((tmp_path / "models").iterdir()) == []


def test_the_manifest_says_whether_both_encoders_read_an_email_alike(
    sources: dict[str, tuple[str, Path]], tmp_path: Path
) -> None:
    (tmp_path / "labels.yaml").write_text(TAXONOMY, encoding="utf-8")
    version = make_version(
        tmp_path / "models", sources, load_taxonomy(tmp_path / "labels.yaml"), lambda _: None
    )
    assert version.manifest.shared_reading["fp32"] is True
    assert version.shares_reading("fp32", "fp32")
    # Label vectors and emails must be of one precision.
    assert not version.shares_reading("fp32", "int8")
    assert not version.shares_reading("fp32", None)
