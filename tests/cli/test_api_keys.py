"""`mailroom keys` and `mailroom audit` on a workspace that needs no models."""

import json
from pathlib import Path

import pytest

from mailroom.store.keys import ApiKeys
from mailroom.workspace import Workspace
from tests.cli.conftest import Run


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "mailroom.toml").write_text("", encoding="utf-8")
    return folder


def test_a_key_is_printed_once_and_listed_without_its_secret(run: Run, desk: Path) -> None:
    made = run("-w", desk, "keys", "create", "ann", "--scope", "review", "--scope", "classify")
    assert made.code == 0
    [token] = made.lines
    with Workspace.open(desk) as workspace:
        key = ApiKeys(workspace.database).find(token)
    assert key is not None
    assert key.scopes == {"review", "classify"}
    listed = run("-w", desk, "keys", "list").out
    assert key.id in listed
    assert "ann" in listed
    assert token.rpartition("_")[2] not in listed
    assert json.loads(run("-w", desk, "keys", "list", "--json").out)["scopes"] == ["classify", "review"]


def test_the_first_key_says_that_everybody_needs_one_now(run: Run, desk: Path) -> None:
    assert "in the browser too" in run("-w", desk, "keys", "create", "ann", "--scope", "classify").err
    assert "in the browser too" not in run("-w", desk, "keys", "create", "ben", "--scope", "admin").err


def test_a_key_is_revoked_only_when_that_is_said(run: Run, desk: Path) -> None:
    made = json.loads(run("-w", desk, "keys", "create", "ann", "--scope", "admin", "--json").out)
    assert run("-w", desk, "keys", "revoke", made["id"]).code == 2
    assert "active" in run("-w", desk, "keys", "list").out
    assert run("-w", desk, "keys", "revoke", made["id"], "--yes").code == 0
    assert "revoked" in run("-w", desk, "keys", "list").out
    assert run("-w", desk, "keys", "revoke", made["id"], "--yes").code == 1


@pytest.mark.parametrize("arguments", [("ann", "--scope", "root"), (" ", "--scope", "admin"), ("ann",)])
def test_an_unusable_key_is_one_line(run: Run, desk: Path, arguments: tuple[str, ...]) -> None:
    done = run("-w", desk, "keys", "create", *arguments)
    assert done.code in (1, 2)
    assert len(done.err.splitlines()) == 1


def test_the_audit_log_says_who_did_what(run: Run, desk: Path) -> None:
    run("-w", desk, "keys", "create", "ann", "--scope", "admin")
    [entry] = [json.loads(line) for line in run("-w", desk, "audit", "--json").lines]
    assert (entry["action"], entry["detail"]) == ("key.create", "ann: admin")
    assert "key.create" in run("-w", desk, "audit").out
