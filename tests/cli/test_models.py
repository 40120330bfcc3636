"""`mailroom models` on a workspace with a few versions of the tiny model."""

import json
import shutil
import time
from pathlib import Path

import pytest

from mailroom.models.registry import draft_version, load_version, make_manifest, publish_version
from mailroom.workspace import Workspace
from mailroom.workspace.versions import ranked_by
from tests.cli.conftest import Run, write_mailbox


@pytest.fixture
def ids(workspace: Path) -> list[str]:
    """The version that `init` made and promoted, and two children that nobody promoted."""
    with Workspace.open(workspace) as opened:
        found = [opened.version]
    for note in ("first", "second"):
        with draft_version(workspace / "models") as draft:
            shutil.copytree(found[0].directory / "bi_encoder", draft / "bi_encoder")
            old = found[0].manifest
            metrics = {"recall_at_1": 0.5, "note": note}
            manifest = make_manifest(old.base_models, old.precision, found[-1].id, metrics=metrics)
            found.append(publish_version(draft, manifest))
    return [version.id for version in found]


def current(workspace: Path) -> str | None:
    with Workspace.open(workspace, read_only=True) as opened:
        return opened.promotions.current()


def answers(run: Run, workspace: Path, mailbox: Path) -> list[dict[str, object]]:
    """The answers as the log's reader sees them, without what differs from run to run."""
    result = run("-w", workspace, "classify", mailbox, "--again", "--json")
    assert result.code == 0
    records = [json.loads(line) for line in result.lines]
    return [
        {key: value for key, value in record.items() if key not in ("id", "created_at", "latency_ms")}
        for record in records
    ]


def test_list_marks_the_version_that_answers(run: Run, workspace: Path, ids: list[str]) -> None:
    rows = [json.loads(line) for line in run("-w", workspace, "models", "list", "--json").lines]
    assert [(row["id"], row["is_current"], row["parent"]) for row in rows] == [
        (ids[0], True, None),
        (ids[1], False, ids[0]),
        (ids[2], False, ids[1]),
    ]
    assert rows[0]["last_promotion"]["reason"] == "made by init"
    assert rows[1]["last_promotion"] is None
    assert rows[1]["size_bytes"] > 1000
    table = run("-w", workspace, "models", "list")
    assert table.code == 0
    assert sum(line.lstrip().startswith("*") for line in table.lines) == 1


def test_a_damaged_version_is_listed_with_its_problem(run: Run, workspace: Path, ids: list[str]) -> None:
    (workspace / "models" / ids[1] / "manifest.json").write_text("{}")
    rows = [json.loads(line) for line in run("-w", workspace, "models", "list", "--json").lines]
    assert "expected format" in rows[1]["problem"]
    assert rows[2]["problem"] is None
    shutil.rmtree(workspace / "models" / ids[0])
    rows = [json.loads(line) for line in run("-w", workspace, "models", "list", "--json").lines]
    assert [(row["id"], bool(row["problem"])) for row in rows if row["is_current"]] == [(ids[0], True)]


def test_promote_and_rollback_change_what_answers_and_are_logged(
    run: Run, workspace: Path, ids: list[str]
) -> None:
    done = run("-w", workspace, "models", "promote", "v0002", "--yes", "--by", "ann", "--reason", "a test")
    assert done.out == f"{ids[1]} answers from now on\n"
    assert run("-w", workspace, "models", "promote", "3", "--yes").code == 0
    assert current(workspace) == ids[2]
    for expected in (ids[1], ids[0]):
        back = json.loads(run("-w", workspace, "models", "rollback", "--yes", "--json").out)
        assert back["version"] == expected == current(workspace)
    nothing = run("-w", workspace, "models", "rollback", "--yes")
    assert (nothing.code, current(workspace)) == (1, ids[0])
    assert "nothing to go back to" in nothing.err
    logged = [json.loads(line) for line in run("-w", workspace, "models", "history", "--json").lines]
    assert [entry["version"] for entry in logged] == [ids[0], ids[1], ids[2], ids[1], ids[0]]
    assert (logged[1]["promoted_by"], logged[1]["reason"]) == ("ann", "a test")


def test_a_rollback_restores_the_former_answers_byte_for_byte(
    run: Run, workspace: Path, ids: list[str], tmp_path: Path
) -> None:
    mailbox = write_mailbox(tmp_path / "in.mbox", 5)
    before = answers(run, workspace, mailbox)
    run("-w", workspace, "models", "promote", ids[1], "--yes")
    assert {record["model"] for record in answers(run, workspace, mailbox)} == {ids[1]}
    run("-w", workspace, "models", "rollback", "--yes")
    assert answers(run, workspace, mailbox) == before


def test_the_change_itself_takes_less_than_a_second(workspace: Path, ids: list[str]) -> None:
    with Workspace.open(workspace) as opened:
        promotions = opened.promotions
        started = time.perf_counter()
        promotions.promote(ids[1], "ann", "a test")
        assert time.perf_counter() - started < 1


def test_nothing_changes_without_a_yes(run: Run, workspace: Path, ids: list[str]) -> None:
    for command in (("promote", ids[1]), ("prune", "--keep", "1")):
        refused = run("-w", workspace, "models", *command)
        assert refused.code == 2
        assert "--yes" in refused.err
    assert current(workspace) == ids[0]
    assert len(list((workspace / "models").iterdir())) == 3


def test_a_version_with_a_changed_file_is_not_promoted(run: Run, workspace: Path, ids: list[str]) -> None:
    path = workspace / "models" / ids[1] / "bi_encoder" / "weights" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    refused = run("-w", workspace, "models", "promote", ids[1], "--yes")
    assert refused.code == 1
    assert "sha256" in refused.err
    assert current(workspace) == ids[0]
    assert run("-w", workspace, "models", "show", ids[1], "--verify").code == 1
    assert run("-w", workspace, "models", "show", ids[1]).code == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v9", "expected a model version"),
        ("v000", "means any of"),
        ("", "means any of"),
        ("previous", "before"),
    ],
)
def test_a_name_that_fits_none_or_several_is_refused(
    run: Run, workspace: Path, ids: list[str], name: str, message: str
) -> None:
    result = run("-w", workspace, "models", "show", name)
    assert result.code == 1
    assert message in result.err


def test_show_and_diff_tell_figures_and_files(run: Run, workspace: Path, ids: list[str]) -> None:
    shown = json.loads(run("-w", workspace, "models", "show", ids[2], "--json").out)
    assert (shown["id"], shown["parent"], shown["metrics"]["note"]) == (ids[2], ids[1], "second")
    assert "recall at 1" in run("-w", workspace, "models", "show", ids[2]).out
    assert "cosine to label texts" in run("-w", workspace, "models", "show", ids[2]).out
    assert ranked_by({"prototypes.npz", "lexical.npz"}) == "cosine to label vectors that learned, and words"
    difference = json.loads(run("-w", workspace, "models", "diff", ids[1], ids[2], "--json").out)
    assert difference["fields"]["metrics"][0]["note"] == "first"
    assert difference["files"] == {}
    table = run("-w", workspace, "models", "diff", ids[1], ids[2])
    assert "first" in table.out
    assert "recall" not in table.out


def test_an_exported_version_is_imported_elsewhere_and_promoted(
    run: Run, workspace: Path, ids: list[str], tmp_path: Path
) -> None:
    archive = tmp_path / "desk.tar"
    assert run("-w", workspace, "models", "export", ids[2], "-o", archive).code == 0
    assert run("-w", workspace, "models", "export", ids[2], "-o", archive).code == 1
    shutil.rmtree(workspace / "models" / ids[2])
    record = json.loads(run("-w", workspace, "models", "import", archive, "--json").out)
    assert record == {"version": ids[2], "is_new": True}
    assert current(workspace) == ids[0]
    assert run("-w", workspace, "models", "promote", ids[2], "--yes").code == 0
    load_version(workspace / "models" / ids[2], verify=True)
    assert len(answers(run, workspace, write_mailbox(tmp_path / "in.mbox", 2))) == 2


def test_prune_keeps_what_a_rollback_restores_and_the_parent(
    run: Run, workspace: Path, ids: list[str]
) -> None:
    run("-w", workspace, "models", "promote", ids[2], "--yes")
    said = json.loads(run("-w", workspace, "models", "prune", "--keep", "1", "--dry-run", "--json").out)
    assert said == {"removed": [], "prunable": []}


def test_prune_removes_what_nothing_needs(run: Run, workspace: Path, ids: list[str]) -> None:
    for version in ids[1:]:
        run("-w", workspace, "models", "promote", version, "--yes")
    dry = json.loads(run("-w", workspace, "models", "prune", "--keep", "1", "--dry-run", "--json").out)
    assert dry == {"removed": [], "prunable": ids[:1]}
    assert run("-w", workspace, "models", "prune", "--keep", "1", "--yes").out == f"{ids[0]}: removed\n"
    assert sorted(path.name for path in (workspace / "models").iterdir()) == ids[1:]
    assert run("-w", workspace, "models", "prune", "--yes").out == "nothing to remove\n"


def test_refused_versions_are_listed_on_request_and_fit_the_width(
    run: Run, workspace: Path, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Workspace.open(workspace) as opened, draft_version(workspace / "models") as draft:
        shutil.copytree(opened.version.directory / "bi_encoder", draft / "bi_encoder")
        old = opened.version.manifest
        trained = {"refused": ["top-1 got worse, 90.0% → 70.0% on 200 emails: beyond the tolerance of 0.5%"]}
        manifest = make_manifest(old.base_models, old.precision, ids[0], trained_from=trained)
        refused = publish_version(draft, manifest).id
    listed = run("-w", workspace, "models", "list")
    assert refused not in listed.out
    assert "1 refused by the gate" in listed.err
    assert refused in run("-w", workspace, "models", "list", "--all").out
    assert run("-w", workspace, "models", "promote", refused, "--yes").code == 1
    assert run("-w", workspace, "models", "promote", refused, "--yes", "--force").code == 0
    assert "refused" not in run("-w", workspace, "models", "list").err
