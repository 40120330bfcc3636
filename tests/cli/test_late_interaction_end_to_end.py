"""`init --cross-encoder late-interaction`, then `classify`: both stages, one reading of an email."""

import json
from pathlib import Path

import pytest

from mailroom.models.encoder_config import LateInteractionConfig, read_config
from mailroom.taxonomy import load_taxonomy
from mailroom.workspace import Workspace
from mailroom.workspace.create import LATE_WEIGHT_DESCRIBED, LATE_WEIGHT_NAMES, late_weight
from tests.cli.conftest import TAXONOMY, Run, write_mailbox
from tests.cli.test_one_pass_end_to_end import edit_setting


def test_both_stages_answer_from_one_reading(
    run: Run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mailroom.models.bi_encoder import BiEncoder

    (tmp_path / "labels.yaml").write_text(TAXONOMY, encoding="utf-8")
    desk = tmp_path / "desk"
    models = ["--bi-encoder", tiny_model, "--cross-encoder", "late-interaction"]
    made = run("init", desk, "--taxonomy", tmp_path / "labels.yaml", *models)
    assert made.code == 0, made.err
    edit_setting(desk, 'precision = "auto"', 'precision = "fp32"')

    def unused(*_: object) -> None:
        raise AssertionError("the bi-encoder read an email that late interaction had read")

    monkeypatch.setattr(BiEncoder, "encode_query", unused)
    result = run("-w", desk, "classify", write_mailbox(tmp_path / "in.mbox", 3), "--json")
    assert result.code == 0, result.err
    rows = [json.loads(line) for line in result.lines]
    assert [row["decided_by"] for row in rows] == ["cross_encoder"] * 3
    assert all(isinstance(one["score"], float) for row in rows for one in row["candidates"])
    ranked = [[one["score"] + one["similarity"] for one in row["candidates"]] for row in rows]
    assert ranked == [sorted(row, reverse=True) for row in ranked]
    with Workspace.open(desk) as workspace:
        assert workspace.version.cross_encoder_kind == "late-interaction"
        config = read_config(workspace.version.directory / "cross_encoder", LateInteractionConfig)
        assert config.weight == late_weight(workspace.taxonomy)


@pytest.mark.parametrize(
    ("described", "weight"), [(0, LATE_WEIGHT_NAMES), (1, LATE_WEIGHT_NAMES), (3, LATE_WEIGHT_DESCRIBED)]
)
def test_it_counts_more_where_labels_say_what_belongs_to_them(
    tmp_path: Path, described: int, weight: float
) -> None:
    labels = [
        {"name": f"Label {n}", **({"description": "what belongs here"} if n < described else {})}
        for n in range(3)
    ]
    path = tmp_path / "labels.yaml"
    path.write_text(json.dumps({"labels": labels}), encoding="utf-8")
    assert late_weight(load_taxonomy(path)) == weight


def test_an_encoder_of_another_layout_is_refused_with_a_line(run: Run, tmp_path: Path) -> None:
    from tests.models.tiny import make_bi_encoder

    make_bi_encoder(tmp_path, "mpnet", "mean")
    (tmp_path / "labels.yaml").write_text(TAXONOMY, encoding="utf-8")
    models = ["--bi-encoder", tmp_path / "model", "--cross-encoder", "late-interaction"]
    result = run("init", tmp_path / "desk", "--taxonomy", tmp_path / "labels.yaml", *models)
    assert result.code == 1
    assert "mpnet" in result.err
    assert not (tmp_path / "desk" / "mailroom.toml").exists()
