"""Which workspace a command uses, and what it says where there is none."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run, logged_ids, write_mailbox


@pytest.fixture
def mailbox(tmp_path: Path) -> Path:
    return write_mailbox(tmp_path / "in.mbox", 2)


def test_the_environment_names_the_workspace(
    run: Run, workspace: Path, mailbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILROOM_WORKSPACE", str(workspace))
    assert run("classify", mailbox).code == 0
    assert len(logged_ids(workspace)) == 2


def test_the_option_comes_before_the_environment(
    run: Run, workspace: Path, mailbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILROOM_WORKSPACE", "/nowhere")
    assert run("--workspace", workspace, "classify", mailbox).code == 0
    assert run("classify", mailbox).code == 1


def test_the_nearest_folder_upward_is_found(
    run: Run, workspace: Path, mailbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = workspace / "some" / "where"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert run("classify", mailbox).code == 0
    assert len(logged_ids(workspace)) == 2


def test_without_a_workspace_the_message_says_how_to_make_one(
    run: Run, tmp_path: Path, mailbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("classify", mailbox)
    assert (result.code, result.out) == (1, "")
    assert "mailroom init DIR --taxonomy FILE" in result.err


def test_python_m_mailroom_is_the_same(workspace: Path, mailbox: Path) -> None:
    command = [sys.executable, "-m", "mailroom", "-w", str(workspace), "classify", str(mailbox), "--json"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize("name", ["a b", "50%", "100%41", "a#b", "a?b=c", "ärger 今日", "mode=ro&x", "'q\""])
def test_a_workspace_path_may_hold_any_character(run: Run, workspace: Path, mailbox: Path, name: str) -> None:
    moved = shutil.move(workspace, workspace.with_name(name))
    assert run("-w", moved, "classify", mailbox, "--json").code == 0
    assert run("-w", moved, "classify", mailbox).err.count("2 already in the log") == 1
    assert len(run("-w", moved, "log", "--json").lines) == 2
    assert sorted(path.name for path in Path(moved).parent.iterdir()) == sorted(["in.mbox", name])


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda root: (root / "mailroom.toml").write_text("a = ["), "expected TOML"),
        (lambda root: (root / "mailroom.toml").write_text("taxnomy = 'x'"), "did you mean taxonomy?"),
        (lambda root: (root / "mailroom.toml").write_text("[classify]\ntop_k = 'x'"), "expected int"),
        (lambda root: (root / "taxonomy.yaml").unlink(), "no such file; expected a taxonomy"),
        (lambda root: (root / "mailroom.db").write_text("hello " * 500), "it is not a database"),
        (lambda root: (root / "mailroom.db").unlink(), "expected a current model version"),
        (lambda root: shutil.rmtree(root / "models"), "expected the manifest of a model version"),
        (lambda root: _flip(next(root.glob("models/*/bi_encoder/*.int8.onnx"))), "expected sha256"),
        (lambda root: _flip(next(root.glob("models/*/manifest.json"))), "manifest.json"),
        (lambda root: next(root.glob("models/*/bi_encoder/tokenizer.json")).unlink(), "found none"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_workspace_is_one_line_that_names_the_file(
    run: Run, workspace: Path, mailbox: Path, damage: object, told: str
) -> None:
    for extra in workspace.glob("mailroom.db-*"):
        extra.unlink()
    damage(workspace)  # type: ignore[operator]
    (workspace / "mailroom.toml").write_text(
        (workspace / "mailroom.toml").read_text().replace('precision = "auto"', 'precision = "int8"')
    )
    result = run("-w", workspace, "classify", mailbox)
    assert (result.code, result.out) == (1, "")
    assert told in result.err
    assert result.err.count("\n") == 1
    assert str(workspace) in result.err


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_a_newer_database_is_refused(run: Run, workspace: Path, mailbox: Path) -> None:
    connection = sqlite3.connect(workspace / "mailroom.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    result = run("-w", workspace, "classify", mailbox)
    assert result.code == 1
    assert "it was written by a newer mailroom: update this one" in result.err


# root writes where nobody may; without this capability it is an owner like any other.
AS_OWNER = (
    []
    if os.geteuid() != 0
    else ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override"]
)


@pytest.mark.skipif(bool(AS_OWNER) and not shutil.which("setpriv"), reason="root needs setpriv")
def test_a_workspace_that_cannot_be_written_is_read_and_refuses_to_classify(
    workspace: Path, mailbox: Path, tmp_path: Path
) -> None:
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"subject": "Money back", "body": "please", "label": "refund"}', encoding="utf-8")
    places = [workspace, *workspace.rglob("*")]
    for place in places:
        place.chmod(place.stat().st_mode & ~0o222)

    def run_as_owner(*arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [*AS_OWNER, sys.executable, "-m", "mailroom", "-w", str(workspace), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    try:
        refused = run_as_owner("classify", mailbox)
        read = [
            run_as_owner(*command)
            for command in (["evaluate", gold, "--json"], ["log"], ["taxonomy", "tree"])
        ]
    finally:
        for place in places:
            place.chmod(place.stat().st_mode | 0o200)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"mailroom: {workspace}/mailroom.db: it cannot be ")
    assert [(done.returncode, "Traceback" in done.stderr) for done in read] == [(0, False)] * 3
