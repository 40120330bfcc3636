import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import mailroom.workspace.create as create_module
from mailroom.errors import ModelError
from mailroom.models.registry import CROSS_ENCODER
from mailroom.taxonomy import load_taxonomy
from mailroom.workspace import Workspace
from tests.cli.conftest import TAXONOMY, Run, write_mailbox

OTHER = "labels:\n  - name: One\n  - name: Two\n"


@pytest.fixture
def cheap_export(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    """Take the model version of the made workspace where the export is not what is tested."""
    with Workspace.open(workspace) as opened:
        version = opened.version

    def take(models: Path, *_: Any) -> Any:
        models.mkdir(exist_ok=True)
        target = models / version.id
        if not target.exists():
            target.symlink_to(version.directory)
        return version

    monkeypatch.setattr(create_module, "make_version", take)


@pytest.mark.usefixtures("cheap_export")
def test_a_new_workspace_classifies_and_names_the_next_step(
    run: Run, taxonomy_file: Path, tmp_path: Path
) -> None:
    desk = tmp_path / "the desk"
    made = run("init", desk, "--taxonomy", taxonomy_file)
    assert made.code == 0
    assert "5 labels" in made.out
    assert f"Next:  mailroom --workspace '{desk}' classify MAILBOX" in made.out
    assert (desk / "taxonomy.yaml").read_text(encoding="utf-8") == TAXONOMY
    assert {path.name for path in desk.iterdir() if not path.name.startswith("mailroom.db-")} == {
        "mailroom.toml", "taxonomy.yaml", "mailroom.db", "models",
    }  # fmt: skip
    result = run("-w", desk, "classify", write_mailbox(tmp_path / "in.mbox", 2), "--json")
    assert (result.code, len(result.lines)) == (0, 2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "late-interaction"),
        (["--cross-encoder", "none"], "none"),
        (["--bi-encoder", "BASE"], "none"),
        (["--bi-encoder", "BASE", "--cross-encoder", "late-interaction"], "late-interaction"),
    ],
)
def test_the_second_stage_of_a_new_workspace(
    run: Run,
    taxonomy_file: Path,
    workspace: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    expected: str,
) -> None:
    with Workspace.open(workspace) as opened:
        version = opened.version
    asked: list[dict[str, tuple[str, Path]]] = []

    def make(models: Path, sources: dict[str, tuple[str, Path]], *_: Any) -> Any:
        asked.append(sources)
        models.mkdir()
        (models / version.id).symlink_to(version.directory)
        return version

    monkeypatch.setattr(create_module, "make_version", make)
    named = [str(tiny_model) if option == "BASE" else option for option in options]
    assert run("init", tmp_path / "new", "--taxonomy", taxonomy_file, *named).code == 0
    (sources,) = asked
    names = [name for encoder, (name, _) in sources.items() if encoder == CROSS_ENCODER]
    assert names == ([] if expected == "none" else [expected])
    # What was decided is written down: the default may change, a workspace does not.
    assert f'cross_encoder = "{expected}"' in (tmp_path / "new" / "mailroom.toml").read_text(encoding="utf-8")


def test_a_second_stage_that_is_cut_short_is_guessed(run: Run, taxonomy_file: Path, tmp_path: Path) -> None:
    made = run("init", tmp_path / "new", "--taxonomy", taxonomy_file, "--cross-encoder", "late")
    assert made.code == 1
    assert "did you mean late-interaction?" in made.err
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("cheap_export")
def test_the_folder_may_be_named_as_everywhere_else(run: Run, taxonomy_file: Path, tmp_path: Path) -> None:
    desk = tmp_path / "desk2"
    made = run("-w", desk, "init", "--taxonomy", taxonomy_file)
    assert (made.code, (desk / "mailroom.toml").exists()) == (0, True)
    assert f"Next:  mailroom --workspace {desk} classify MAILBOX" in made.out


@pytest.mark.usefixtures("cheap_export")
def test_the_environment_may_name_the_folder(
    run: Run, taxonomy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILROOM_WORKSPACE", str(tmp_path / "named"))
    assert run("init", "--taxonomy", taxonomy_file).code == 0
    assert (tmp_path / "named" / "mailroom.toml").is_file()
    # A folder that is named is meant, whatever the environment says.
    assert run("init", tmp_path / "other", "--taxonomy", taxonomy_file).code == 0
    assert (tmp_path / "other" / "mailroom.toml").is_file()


def test_two_folders_are_refused(run: Run, taxonomy_file: Path, tmp_path: Path) -> None:
    made = run("-w", tmp_path / "one", "init", tmp_path / "other", "--taxonomy", taxonomy_file)
    assert made.code == 1
    assert f"got {tmp_path / 'other'} and, by --workspace, {tmp_path / 'one'}; leave one out" in made.err
    assert not (tmp_path / "one").exists()
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("cheap_export")
def test_a_folder_that_holds_a_workspace_is_refused_and_left_alone(
    run: Run, taxonomy_file: Path, workspace: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in workspace.rglob("*")}
    result = run("init", workspace, "--taxonomy", taxonomy_file)
    assert result.code == 1
    assert "holds a workspace already; name another folder, or remove it first" in result.err
    assert {path: path.stat().st_mtime_ns for path in workspace.rglob("*")} == before


@pytest.mark.usefixtures("cheap_export")
def test_the_taxonomy_may_lie_in_the_folder_already(run: Run, tmp_path: Path) -> None:
    desk = tmp_path / "desk2"
    desk.mkdir()
    (desk / "taxonomy.yaml").write_text(TAXONOMY, encoding="utf-8")
    assert run("init", desk, "--taxonomy", desk / "taxonomy.yaml").code == 0
    assert (desk / "taxonomy.yaml").read_text(encoding="utf-8") == TAXONOMY


@pytest.mark.usefixtures("cheap_export")
def test_somebody_elses_taxonomy_in_the_folder_is_not_written_over(
    run: Run, taxonomy_file: Path, tmp_path: Path
) -> None:
    desk = tmp_path / "desk2"
    desk.mkdir()
    (desk / "taxonomy.yaml").write_text(OTHER, encoding="utf-8")
    result = run("init", desk, "--taxonomy", taxonomy_file)
    assert result.code == 1
    assert "exists and differs from" in result.err
    assert (desk / "taxonomy.yaml").read_text(encoding="utf-8") == OTHER
    assert not (desk / "models").exists()


@pytest.mark.usefixtures("cheap_export")
@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"labels": [{"id": "a_b", "path": ["Top", "A b"]}, {"id": "c", "path": ["Top", "C"]}]}),
        "id,path\na_b,Top > A b\nc,Top > C\n",
        "labels:\n- id: a_b\n  path: [Top, A b]\n- id: c\n  path: [Top, C]\n",
    ],
    ids=["json", "csv", "yaml"],
)
def test_every_form_of_taxonomy_becomes_yaml_with_the_same_revision(
    run: Run, tmp_path: Path, text: str
) -> None:
    source = tmp_path / "labels.txt"
    source.write_text(text, encoding="utf-8")
    desk = tmp_path / "desk2"
    assert run("init", desk, "--taxonomy", source).code == 0
    assert "labels:" in (desk / "taxonomy.yaml").read_text(encoding="utf-8").splitlines()
    assert load_taxonomy(desk / "taxonomy.yaml").revision == load_taxonomy(source).revision


@pytest.mark.usefixtures("cheap_export")
def test_a_failed_init_leaves_nothing_that_blocks_the_next_with_another_taxonomy(
    run: Run, taxonomy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ModelError("the export broke off")

    desk = tmp_path / "desk2"
    with monkeypatch.context() as patched:
        patched.setattr(create_module, "make_version", fail)
        assert run("init", desk, "--taxonomy", taxonomy_file).code == 1
    other = tmp_path / "other.yaml"
    other.write_text(OTHER, encoding="utf-8")
    assert run("init", desk, "--taxonomy", other).code == 0
    with Workspace.open(desk, read_only=True) as opened:
        assert [label.name for label in opened.taxonomy.assignable] == ["One", "Two"]


# `init` as it is, but it stays in the middle of its work until it is stopped.
STUCK_INIT = """
import sys, time
from mailroom.models import export
from mailroom.cli import main
finish = export.export_bi_encoder
def export_and_stay(*arguments, **options):
    finish(*arguments, **options)
    time.sleep(60)
export.export_bi_encoder = export_and_stay
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_killed_init_can_be_run_again(
    run: Run,
    taxonomy_file: Path,
    tiny_model: Path,
    tmp_path: Path,
    number: int,
    code: int,
) -> None:
    desk = tmp_path / "desk2"
    arguments = ["init", desk, "--taxonomy", taxonomy_file, "--bi-encoder", tiny_model]
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK_INIT, *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    while not list(desk.glob("models/.draft-*/*/encoder.json")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"Traceback" not in err
    other = tmp_path / "other.yaml"
    other.write_text(OTHER, encoding="utf-8")
    assert run("init", desk, "--taxonomy", other, "--bi-encoder", tiny_model).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "Missing option '--taxonomy'"),
        (["--taxonomy", "{tmp}/none.yaml"], 1, "no such file; expected a taxonomy"),
        (["--taxonomy", "{taxonomy}", "--bi-encoder", "{tmp}"], 1, "expected a model directory"),
        (["--taxonomy", "{taxonomy}", "--bi-encoder", "./no/such/dir"], 1, "there is no such directory"),
        (["--taxonomy", "{taxonomy}", "--cross-encoder", ""], 1, "expected `embedded`, a model directory"),
    ],
)
def test_wrong_arguments_are_one_line_and_make_no_folder(
    run: Run, tmp_path: Path, taxonomy_file: Path, arguments: list[str], code: int, told: str
) -> None:
    desk = tmp_path / "desk2"
    filled = [text.format(tmp=tmp_path, taxonomy=taxonomy_file) for text in arguments]
    result = run("init", desk, *filled)
    assert (result.code, result.out) == (code, "")
    assert told in result.err
    assert result.err.count("\n") == 1
    assert not desk.exists()


@pytest.mark.usefixtures("cheap_export")
def test_a_user_without_a_name_can_make_a_workspace(
    run: Run, taxonomy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nameless)
    desk = tmp_path / "desk2"
    assert run("init", desk, "--taxonomy", taxonomy_file).code == 0
    with Workspace.open(desk, read_only=True) as opened:
        assert opened.promotions.history()[-1].promoted_by == f"uid {os.getuid()}"


@pytest.mark.usefixtures("cheap_export")
def test_the_log_may_be_in_postgresql(
    run: Run, taxonomy_file: Path, tmp_path: Path, postgresql_url: str
) -> None:
    desk = tmp_path / "elsewhere"
    assert run("init", desk, "--taxonomy", taxonomy_file, "--store", postgresql_url).code == 0
    assert f'url = "{postgresql_url}"' in (desk / "mailroom.toml").read_text(encoding="utf-8")
    classified = run("-w", desk, "classify", write_mailbox(tmp_path / "in.mbox", 3), "--json")
    assert (classified.code, len(classified.lines)) == (0, 3)
    assert len(run("-w", desk, "log", "--json").lines) == 3
    assert not (desk / "mailroom.db").exists()


@pytest.mark.usefixtures("cheap_export")
def test_a_log_of_another_workspace_is_not_taken_for_a_new_one(
    run: Run, taxonomy_file: Path, tmp_path: Path, postgresql_url: str
) -> None:
    assert run("init", tmp_path / "one", "--taxonomy", taxonomy_file, "--store", postgresql_url).code == 0
    again = run("init", tmp_path / "two", "--taxonomy", taxonomy_file, "--store", postgresql_url)
    assert again.code == 1
    assert "expected an empty database, got the log of a workspace" in again.err
    assert not (tmp_path / "two").exists()


def test_an_unusable_store_is_named_before_anything_is_made(
    run: Run, taxonomy_file: Path, tmp_path: Path
) -> None:
    made = run("init", tmp_path / "desk", "--taxonomy", taxonomy_file, "--store", "postgres//nothing")
    assert made.code == 1
    assert "expected a database URL such as" in made.err
    assert not (tmp_path / "desk").exists()
