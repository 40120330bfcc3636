"""The cold-start recipe on small sets: it builds, leaves out what it is told to, and says what is wrong."""

import dataclasses
import json
from pathlib import Path

import pytest

from mailroom.errors import DataError
from mailroom.train.cold_start import ORIGIN_FILE, PUBLIC_SETS, Recipe, build, main
from mailroom.train.one_pass_weights import load_one_pass
from tests.train.small_models import WORDS, make_encoder

SMALL = Recipe(
    examples=12,
    email_tokens=16,
    mailbox_files=("mailboxes_a.yaml",),
    training=dataclasses.replace(
        Recipe().training, epochs=1, batch_size=4, frozen_layers=1, precision="fp32"
    ),
)


def write_sets(data: Path, without: str | None = None) -> Path:
    for number, public in enumerate(PUBLIC_SETS):
        if public.name == without:
            continue
        folder = data / public.name
        folder.mkdir(parents=True)
        words = WORDS[number * 6 : number * 6 + 6]
        labels = [{"id": word, "path": ["top", "middle", word]} for word in words]
        (folder / "taxonomy.json").write_text(json.dumps({"labels": labels}))
        rows = [{"subject": "", "body": f"the {word} please", "label": word} for word in words * 3]
        (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return data


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(
        tmp_path_factory.mktemp("encoder"), initializer_range=0.1, max_position_embeddings=300
    )


def test_it_builds_weights_and_judges_the_set_left_out(tmp_path: Path, encoder: Path) -> None:
    data = write_sets(tmp_path / "data")
    figures = build(data, tmp_path / "out", leave_out="bitext", recipe=SMALL, base=str(encoder))
    assert figures is not None
    assert (figures.name, figures.emails, figures.labels) == ("bitext", 18, 6)
    assert figures.recall_at_20 == 1.0
    assert 0 <= figures.blended_top1 <= 1
    assert load_one_pass(tmp_path / "out" / "weights").config.hidden_size == 24
    origin = json.loads((tmp_path / "out" / ORIGIN_FILE).read_text())
    assert (origin["trained_on"], origin["seed"]) == (["clinc150", "cfpb"], 0)
    assert origin["recipe"]["examples"] == SMALL.examples


def test_the_set_left_out_changes_no_weight(tmp_path: Path, encoder: Path) -> None:
    data = write_sets(tmp_path / "data")
    build(data, tmp_path / "first", leave_out="clinc150", recipe=SMALL, base=str(encoder))
    rows = [{"subject": "", "body": "other words", "label": WORDS[0]}]
    (data / "clinc150" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    build(data, tmp_path / "second", leave_out="clinc150", recipe=SMALL, base=str(encoder))
    weights = [(tmp_path / run / "weights" / "model.safetensors").read_bytes() for run in ("first", "second")]
    assert weights[0] == weights[1]


def test_without_the_public_sets_no_data_is_needed(tmp_path: Path, encoder: Path) -> None:
    out = tmp_path / "out"
    assert build(tmp_path / "nothing", out, leave_out="public", recipe=SMALL, base=str(encoder)) is None
    assert load_one_pass(out / "weights").config.hidden_size == 24


def test_without_leaving_out_there_is_nothing_to_judge_on(tmp_path: Path, encoder: Path) -> None:
    assert build(write_sets(tmp_path / "data"), tmp_path / "out", recipe=SMALL, base=str(encoder)) is None


def test_a_dose_can_be_asked_for(tmp_path: Path, encoder: Path) -> None:
    folders = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--base", str(encoder)]
    dose = [
        "--examples",
        "6",
        "--epochs",
        "1",
        "--batch-size",
        "3",
        "--candidates",
        "3",
        "--email-tokens",
        "9",
    ]
    assert main([*folders, *dose, "--leave-out", "public", "--threads", "1"]) == 0
    recipe = json.loads((tmp_path / "out" / ORIGIN_FILE).read_text())["recipe"]
    assert (recipe["examples"], recipe["email_tokens"]) == (6, 9)
    assert (recipe["training"]["epochs"], recipe["training"]["batch_size"]) == (1, 3)
    assert (recipe["sampling"]["min_candidates"], recipe["sampling"]["max_candidates"]) == (3, 3)


def test_a_dose_of_nothing_is_refused(
    tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--base", str(encoder)]
    assert main([*folders, "--leave-out", "public", "--candidates", "1", "--threads", "1"]) == 1
    assert "at least 2 labels" in capsys.readouterr().err


def test_an_unknown_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="clinc150"):
        build(tmp_path, tmp_path / "out", leave_out="20news", recipe=SMALL)


def test_a_missing_set_ends_the_command_with_a_line(
    tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_sets(tmp_path / "data", without="cfpb")
    code = main(
        ["--data", str(data), "--out", str(tmp_path / "out"), "--base", str(encoder), "--threads", "1"]
    )
    assert code == 1
    assert "cfpb" in capsys.readouterr().err
