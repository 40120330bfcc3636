"""What stands in the output of `classify` and `log`, and what a file that exists may be continued with."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, write_mailbox


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    return write_mailbox(tmp_path / "in.mbox", 6)


def test_csv_names_the_email_by_subject_sender_and_place(run: Run, workspace: Path, mail: Path) -> None:
    [first, *_] = csv.DictReader(io.StringIO(run("-w", workspace, "classify", mail, "--csv").out))
    assert first["subject"] == "Parcel 0"
    assert first["origin"].endswith("in.mbox#1")
    assert "@" in first["sender"]
    logged = next(csv.DictReader(io.StringIO(run("-w", workspace, "log", "--csv", "--oldest-first").out)))
    # The log keeps candidates' numbers in single precision.
    assert logged.keys() == first.keys()
    assert {name: logged[name] for name in first if name != "candidates"} == {
        name: first[name] for name in first if name != "candidates"
    }


@pytest.mark.parametrize(("suffix", "begins"), [(".csv", "id,email_id,"), (".jsonl", "{"), (".txt", "")])
def test_the_name_of_the_output_file_says_its_form(
    run: Run, workspace: Path, mail: Path, tmp_path: Path, suffix: str, begins: str
) -> None:
    target = tmp_path / f"out{suffix}"
    assert run("-w", workspace, "classify", mail, "-o", target).code == 0
    text = target.read_text(encoding="utf-8")
    assert text.startswith(begins)
    assert not (suffix == ".txt" and text.startswith(("{", "id,")))


def test_a_file_of_another_form_is_not_continued(
    run: Run, workspace: Path, mail: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    run("-w", workspace, "classify", mail, "--csv", "-o", target)
    before = target.read_bytes()
    result = run("-w", workspace, "classify", mail, "--again", "--json", "-o", target)
    assert result.code == 1
    assert "holds CSV, and JSON lines would be added to it" in result.err
    assert target.read_bytes() == before


def test_nothing_new_says_where_the_answers_are(run: Run, workspace: Path, mail: Path) -> None:
    run("-w", workspace, "classify", mail)
    assert "`mailroom log --csv` exports what is there" in run("-w", workspace, "classify", mail).err


@pytest.mark.parametrize("place", [["-w", "{}"], ["--workspace", "{}"], ["--workspace={}"]])
def test_the_workspace_may_be_named_behind_the_command(
    run: Run, workspace: Path, mail: Path, place: list[str]
) -> None:
    behind = [part.format(workspace) for part in place]
    assert len(run("classify", mail, "--json", *behind).lines) == 6


def test_a_path_behind_two_dashes_is_never_the_workspace(run: Run, workspace: Path) -> None:
    result = run("-w", workspace, "classify", "--", "-w")
    assert "-w: expected a message" in result.err


def test_a_group_stands_for_the_labels_below_it(run: Run, workspace: Path, mail: Path) -> None:
    run("-w", workspace, "classify", mail)
    records = [json.loads(line) for line in run("-w", workspace, "log", "--json").lines]
    for group in ("Billing", "Delivery"):
        expected = {record["id"] for record in records if record["path"][0] == group}
        rows = run("-w", workspace, "log", "--json", "--label", group).lines
        assert {json.loads(line)["id"] for line in rows} == expected


def test_a_misspelt_label_is_an_error_with_a_guess(run: Run, workspace: Path, mail: Path) -> None:
    run("-w", workspace, "classify", mail)
    result = run("-w", workspace, "log", "--label", "refnud")
    assert result.code == 1
    assert "did you mean refund?" in result.err
