import json
from pathlib import Path

import pytest

from tests.cli.conftest import TAXONOMY, Run, write_mailbox

REPLY = """\
From: Ann <ann@example.org>
Subject: Re: Parcel
Message-ID: <r@example.org>

It came today, thank you.

On Mon, 2 Mar 2026 at 10:00, Desk <desk@example.org> wrote:
> Where should we send it?
"""


@pytest.fixture(autouse=True)
def _outside_of_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_show_tells_what_was_kept_and_what_was_taken_out(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "reply.eml"
    path.write_text(REPLY, encoding="utf-8")
    shown = run("show", path)
    assert shown.code == 0
    assert "It came today" in shown.out
    record = json.loads(run("show", path, "--json").out)
    assert record["body"] == "It came today, thank you."
    dropped = [segment for segment in record["segments"] if not segment["kept"]]
    assert any("Where should we send it?" in segment["text"] for segment in dropped)
    assert all(segment["reason"] for segment in dropped)


def test_show_finds_a_message_by_its_number(run: Run, tmp_path: Path) -> None:
    mailbox = write_mailbox(tmp_path / "in.mbox", 4)
    assert json.loads(run("show", mailbox, "--number", 3, "--json").out)["subject"] == "Parcel 2"
    missing = run("show", mailbox, "--number", 5)
    assert (missing.code, missing.out) == (1, "")
    assert "expected at least 5 message(s)" in missing.err


def test_show_reads_stdin_and_names_a_bad_row(run: Run, tmp_path: Path) -> None:
    assert json.loads(run("show", "-", "--json", stdin=REPLY.encode()).out)["id"] == "r@example.org"
    bad = run("show", "-", "--number", 2, stdin=b'{"body": "x"}\nbroken\n')
    assert bad.code == 1
    assert bad.err == "mailroom: stdin:2: expected one JSON object a line, got text that is not JSON\n"


def test_taxonomy_check_finds_errors_with_their_lines(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text("labels:\n  - id: a\n    overlaps: [nowhere]\n  - id: a\n", encoding="utf-8")
    result = run("taxonomy", "check", path)
    assert result.code == 1
    assert f"{path}:2: 'a' overlaps with unknown label 'nowhere'" in result.err
    assert f"{path}:4: id 'a' is already taken (line 2)" in result.err


def test_taxonomy_check_passes_a_good_file_with_or_without_a_workspace(
    run: Run, workspace: Path, taxonomy_file: Path
) -> None:
    outside = run("taxonomy", "check", taxonomy_file, "--json")
    assert outside.code == 0
    assert json.loads(outside.out)["labels"] == 5
    inside = run("-w", workspace, "taxonomy", "check", "--json")
    assert json.loads(inside.out)["file"] == str(workspace / "taxonomy.yaml")


def test_the_workspaces_encoder_names_pairs_that_it_cannot_tell_apart(
    run: Run, workspace: Path, tmp_path: Path
) -> None:
    path = tmp_path / "close.yaml"
    path.write_text("labels:\n  - name: lost parcel\n  - name: LOST PARCEL\n    id: other\n")
    plain = json.loads(run("taxonomy", "check", path, "--json").out)["problems"]
    judged = json.loads(run("-w", workspace, "taxonomy", "check", path, "--json").out)["problems"]
    assert not any("read alike (cosine" in problem["message"] for problem in plain)
    assert any("read alike (cosine" in problem["message"] for problem in judged)


def test_taxonomy_tree_draws_a_file_and_counts_in_a_workspace(
    run: Run, workspace: Path, taxonomy_file: Path, tmp_path: Path
) -> None:
    drawn = run("taxonomy", "tree", taxonomy_file)
    assert drawn.code == 0
    assert all(name in drawn.out for name in ("Billing", "Lost parcel", "Password reset"))
    run("-w", workspace, "classify", write_mailbox(tmp_path / "in.mbox", 7))
    counted = run("-w", workspace, "taxonomy", "tree")
    assert counted.out != drawn.out
    assert "7" in counted.out


@pytest.mark.parametrize("command", [["check"], ["tree"]])
def test_without_a_file_and_a_workspace_both_are_asked_for(run: Run, command: list[str]) -> None:
    result = run("taxonomy", *command)
    assert (result.code, result.out) == (1, "")
    assert "mailroom init DIR --taxonomy FILE" in result.err


def test_control_characters_of_a_taxonomy_do_not_reach_the_terminal(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text(TAXONOMY.replace("Lost parcel", '"Lost \\e[31m parcel"'), encoding="utf-8")
    for command in ("tree", "check"):
        result = run("taxonomy", command, path)
        assert "\x1b" not in result.out + result.err
