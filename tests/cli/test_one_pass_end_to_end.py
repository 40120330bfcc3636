"""Both stages through the command line: `init --cross-encoder DIR`, then `classify`; good input and bad."""

import json
import shutil
from pathlib import Path

import pytest

from mailroom.workspace import Workspace
from tests.cli.conftest import TAXONOMY, Run, write_mailbox

torch = pytest.importorskip("torch")

from mailroom.train.one_pass_weights import from_encoder, load_one_pass, save_one_pass  # noqa: E402
from tests.models.tiny import edit_json  # noqa: E402


@pytest.fixture(scope="session")
def one_pass(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder with an own tower for candidates; its email side is the tiny model's."""
    directory = tmp_path_factory.mktemp("one-pass") / "weights"
    model = from_encoder(tiny_model, separate_candidate_tower=True, similarity_weight=5.0)
    with torch.no_grad():
        model.gate.fill_(0.5)
    save_one_pass(model, directory, tiny_model)
    return directory


@pytest.fixture(scope="session")
def _two_stage(tiny_model: Path, one_pass: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mailroom.workspace import create_workspace

    root = tmp_path_factory.mktemp("two-stage")
    (root / "labels.yaml").write_text(TAXONOMY, encoding="utf-8")
    made = create_workspace(
        root / "desk", root / "labels.yaml", str(tiny_model), str(one_pass), lambda _: None
    )
    made.database.close()
    return root / "desk"


@pytest.fixture
def two_stage(_two_stage: Path, tmp_path: Path) -> Path:
    return shutil.copytree(_two_stage, tmp_path / "desk")


def answers(run: Run, desk: Path, path: Path, *options: str) -> list[dict[str, object]]:
    result = run("-w", desk, "classify", path, "--json", *options)
    assert result.code == 0, result.err
    return [json.loads(line) for line in result.lines]


def test_both_stages_answer_and_say_so(run: Run, two_stage: Path, tmp_path: Path) -> None:
    rows = answers(run, two_stage, write_mailbox(tmp_path / "in.mbox", 3))
    assert len(rows) == 3
    for row in rows:
        assert row["decided_by"] == "cross_encoder"
        candidates = row["candidates"]
        assert isinstance(candidates, list)
        # Twenty are asked for, the tree has five.
        assert len(candidates) == 5
        assert all(isinstance(one["score"], float) for one in candidates)


def test_the_email_is_read_once_and_the_answer_is_the_same(
    run: Run, two_stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mailroom.models.bi_encoder import BiEncoder
    from mailroom.models.registry import ModelVersion

    with Workspace.open(two_stage, read_only=True) as opened:
        assert opened.version.manifest.shared_reading["fp32"]
    edit_setting(two_stage, 'precision = "auto"', 'precision = "fp32"')
    mailbox = write_mailbox(tmp_path / "in.mbox", 3)
    with monkeypatch.context() as patched:
        patched.setattr(ModelVersion, "shares_reading", lambda *_: False)
        apart = answers(run, two_stage, mailbox)

    def unused(*_: object) -> None:
        raise AssertionError("the bi-encoder read an email that the cross-encoder had read")

    monkeypatch.setattr(BiEncoder, "encode_query", unused)
    together = answers(run, two_stage, mailbox, "--again")
    for one, other in zip(together, apart, strict=True):
        assert one["label"] == other["label"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-3)


def test_a_share_of_1_leaves_the_answer_to_retrieval(run: Run, two_stage: Path, tmp_path: Path) -> None:
    edit_setting(two_stage, "rerank_above_share = 0.0", "rerank_above_share = 1.0")
    rows = answers(run, two_stage, write_mailbox(tmp_path / "in.mbox", 2))
    assert {row["decided_by"] for row in rows} == {"retrieval"}


def test_an_empty_email_gets_a_label(run: Run, two_stage: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text(
        '{"subject": "", "body": ""}\n{"subject": " ", "body": "\\u0000"}\n'
    )
    rows = answers(run, two_stage, tmp_path / "empty.jsonl")
    assert rows
    assert all(row["label"] and row["decided_by"] == "cross_encoder" for row in rows)


def test_a_label_text_beyond_the_limit_is_read_up_to_it(run: Run, two_stage: Path, tmp_path: Path) -> None:
    mailbox = write_mailbox(tmp_path / "in.mbox", 1)
    first = answers(run, two_stage, mailbox)
    long = TAXONOMY.replace(
        "name: Lost parcel", "name: Lost parcel\n        description: " + "where is my parcel " * 3000
    )
    (two_stage / "taxonomy.yaml").write_text(long, encoding="utf-8")
    second = answers(run, two_stage, mailbox, "--again")
    assert len(second) == len(first) == 1
    assert second[0]["decided_by"] == "cross_encoder"


def test_a_taxonomy_of_one_label(run: Run, tiny_model: Path, one_pass: Path, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("labels:\n  - name: Everything\n", encoding="utf-8")
    desk = tmp_path / "desk1"
    made = run(
        "init", desk, "--taxonomy", tmp_path / "one.yaml", "--bi-encoder", tiny_model,
        "--cross-encoder", one_pass,
    )  # fmt: skip
    assert made.code == 0, made.err
    (row,) = answers(run, desk, write_mailbox(tmp_path / "in.mbox", 1))
    assert (row["label"], row["probability"], row["margin"]) == ("everything", 1.0, 1.0)
    assert row["decided_by"] == "cross_encoder"


def _other_kind(folder: Path, tiny_model: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(tiny_model, folder)


def _encoder_called_one_pass(folder: Path, tiny_model: Path) -> None:
    shutil.copyfile(tiny_model / "model.safetensors", folder / "model.safetensors")


def _non_finite(folder: Path, tiny_model: Path) -> None:
    model = load_one_pass(folder)
    with torch.no_grad():
        model.embedding_norm.weight[0] = float("nan")
    save_one_pass(model, folder, tiny_model)


def _other_width(folder: Path, _: Path) -> None:
    edit_json(folder / "config.json", hidden_size=64)


def _cut_off(folder: Path, _: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def _newer(folder: Path, _: Path) -> None:
    ours = json.loads((folder / "config.json").read_text())["one_pass"]
    edit_json(folder / "config.json", one_pass=ours | {"format": 99})


def _distilbert(folder: Path, _: Path) -> None:
    edit_json(folder / "config.json", model_type="distilbert")


def _no_tokenizer(folder: Path, _: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_other_kind, "classification head, got BertModel"),
        (_encoder_called_one_pass, "another kind of model"),
        (_non_finite, "non-finite"),
        (_other_width, "config.json says"),
        (_cut_off, "damaged"),
        (_newer, "format 99"),
        (_distilbert, "distilbert"),
        (_no_tokenizer, "tokenizer.json"),
    ],
)
def test_an_unusable_cross_encoder_is_one_line_and_leaves_no_workspace(
    run: Run, tiny_model: Path, one_pass: Path, taxonomy_file: Path, tmp_path: Path, damage: object, told: str
) -> None:
    folder = shutil.copytree(one_pass, tmp_path / "weights")
    assert callable(damage)
    damage(folder, tiny_model)
    desk = tmp_path / "desk1"
    result = run(
        "init", desk, "--taxonomy", taxonomy_file, "--bi-encoder", tiny_model, "--cross-encoder", folder
    )
    assert (result.code, result.out) == (1, "")
    assert result.err.count("\n") == 1
    assert not (desk / "mailroom.toml").exists()
    assert told in result.err


def edit_setting(desk: Path, old: str, new: str) -> None:
    path = desk / "mailroom.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
