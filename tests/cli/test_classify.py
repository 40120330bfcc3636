import contextlib
import csv
import dataclasses
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uuid_utils

from mailroom.cli.classify import CSV_FIELDS
from mailroom.config import MailSettings
from mailroom.errors import StoreError
from mailroom.mail.read import read_email
from mailroom.mail.sources import iter_messages
from mailroom.records import Feedback, Prediction
from mailroom.store.feedback import FeedbackLog
from mailroom.store.prediction_log import PredictionLog
from mailroom.workspace import Workspace
from tests.cli.conftest import Run, logged_ids, write_mailbox

FIELDS = {field.name for field in dataclasses.fields(Prediction)}


@pytest.fixture
def mailbox(tmp_path: Path) -> Path:
    return write_mailbox(tmp_path / "inbox.mbox", 5)


def rows(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_one_record_a_prediction_in_the_order_of_the_mailbox(
    run: Run, workspace: Path, mailbox: Path
) -> None:
    result = run("-w", workspace, "classify", mailbox, "--json")
    found = rows(result.out)
    assert result.code == 0
    assert [row["email_id"] for row in found] == [f"m{number}@example.org" for number in range(5)]
    assert all(set(row) == FIELDS for row in found)
    assert all(row["label"] == row["candidates"][0]["label"] for row in found)  # type: ignore[index]
    assert logged_ids(workspace) == [row["email_id"] for row in reversed(found)]


def test_csv_parses_back_to_what_json_says(run: Run, workspace: Path, mailbox: Path) -> None:
    as_csv = run("-w", workspace, "classify", mailbox, "--csv").out
    logged = {row["id"]: row for row in rows(run("-w", workspace, "log", "--json").out)}
    parsed = list(csv.DictReader(io.StringIO(as_csv, newline="")))
    assert len(parsed) == 5
    for row in parsed:
        record = logged[row["id"]]
        assert tuple(row) == CSV_FIELDS
        assert row["label"] == record["label"]
        assert row["path"].split(" > ") == record["path"]
        assert json.loads(row["needs_review"]) is record["needs_review"]
        assert [candidate["label"] for candidate in json.loads(row["candidates"])] == [
            candidate["label"]
            for candidate in record["candidates"]  # type: ignore[attr-defined]
        ]


def test_the_table_has_a_row_an_email_and_the_summary_stands_on_stderr(
    run: Run, workspace: Path, mailbox: Path
) -> None:
    result = run("-w", workspace, "classify", mailbox)
    assert [line.split()[-1] for line in result.lines] == ["0", "1", "2", "3", "4"]
    assert "5 emails in" in result.err
    assert "5 classified" in result.err
    assert "no cross-encoder: decided by retrieval alone" in result.err


def test_email_known_from_labelled_history_alone_is_classified(
    run: Run, workspace: Path, tmp_path: Path
) -> None:
    row = tmp_path / "one.jsonl"
    row.write_text('{"id": "h1", "subject": "Parcel", "body": "Where is it?"}\n', encoding="utf-8")
    message = next(iter_messages(row, MailSettings()))
    email = read_email(message, MailSettings()).email
    word = Feedback(
        str(uuid_utils.uuid7()), "h1", "lost", None, None, "ann", "import", datetime(2026, 1, 1, tzinfo=UTC)
    )
    with Workspace.open(workspace) as opened:
        FeedbackLog(opened.database).append([word], [(email, "history")])
    assert [found["email_id"] for found in rows(run("-w", workspace, "classify", row, "--json").out)] == [
        "h1"
    ]
    assert "already in the log" in run("-w", workspace, "classify", row).err


def test_running_again_skips_what_is_there_and_again_redoes_it(
    run: Run, workspace: Path, mailbox: Path
) -> None:
    run("-w", workspace, "classify", mailbox)
    second = run("-w", workspace, "classify", mailbox, "--json")
    assert (second.code, second.out) == (0, "")
    assert "5 already in the log" in second.err
    third = run("-w", workspace, "classify", mailbox, "--json", "--again")
    assert len(third.lines) == 5
    assert len(logged_ids(workspace)) == 10


def test_only_new_messages_of_a_grown_mailbox_are_classified(
    run: Run, workspace: Path, mailbox: Path
) -> None:
    run("-w", workspace, "classify", mailbox)
    write_mailbox(mailbox, 8)
    result = run("-w", workspace, "classify", mailbox, "--json")
    assert [row["email_id"] for row in rows(result.out)] == [f"m{n}@example.org" for n in (5, 6, 7)]


def test_two_contents_under_one_message_id_both_get_an_answer_and_one_content_gets_one(
    run: Run, workspace: Path, tmp_path: Path
) -> None:
    texts = ["the first", "another one", "the first"]
    lines = [json.dumps({"id": "same@example.org", "subject": "Hi", "body": text}) for text in texts]
    source = tmp_path / "same.jsonl"
    source.write_text("\n".join(lines), encoding="utf-8")
    result = run("-w", workspace, "classify", source, "--json")
    ids = [str(row["email_id"]) for row in rows(result.out)]
    assert len(set(ids)) == 2
    assert all(name.startswith("same@example.org") for name in ids)
    assert run("-w", workspace, "classify", source, "--json").out == ""


def test_bad_rows_are_reported_with_their_place_and_the_rest_goes_on(
    run: Run, workspace: Path, tmp_path: Path
) -> None:
    source = tmp_path / "mixed.jsonl"
    source.write_bytes(
        b'{"id": "a", "subject": "Hi", "body": "one"}\nnot json\n[1]\n\xff\xfe\n{"other": 1}\n'
        b'{"id": "b", "subject": 5, "body": {"x": 1}, "metadata": []}\n{"id": "c", "body": "three"}\n'
    )
    result = run("-w", workspace, "classify", source, "--json")
    assert result.code == 1
    assert [row["email_id"] for row in rows(result.out)] == ["a", "b", "c"]
    for line in (2, 3, 4, 5):
        assert result.err.count(f"{source}:{line}: expected") == 1
    assert result.err.count(f"{source}:") == 4
    assert "4 could not be read" in result.err


def test_a_path_that_is_missing_is_reported_and_the_next_one_goes_on(
    run: Run, workspace: Path, tmp_path: Path, mailbox: Path
) -> None:
    result = run("-w", workspace, "classify", tmp_path / "missing.mbox", mailbox, "--json")
    assert result.code == 1
    assert len(result.lines) == 5
    assert (
        f"mailroom: {tmp_path / 'missing.mbox'}: expected a message, a mailbox, a folder or JSON lines"
        in result.err
    )


def test_a_file_that_is_no_mail_is_named_for_what_it_is(run: Run, workspace: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.eml"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    result = run("-w", workspace, "classify", picture)
    assert result.code == 1
    assert "expected mail, got a PNG image" in result.err


def test_a_source_without_messages_is_said_to_have_none(run: Run, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "hollow").mkdir()
    result = run("-w", workspace, "classify", tmp_path / "hollow")
    assert (result.code, result.out) == (0, "")
    assert "no messages were found there" in result.err


def test_stdin_is_read_behind_a_dash(run: Run, workspace: Path, mailbox: Path) -> None:
    result = run("-w", workspace, "classify", "-", "--json", stdin=mailbox.read_bytes())
    assert (result.code, len(result.lines)) == (0, 5)


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_output_goes_to_the_named_file_which_is_continued(
    run: Run, workspace: Path, tmp_path: Path, mailbox: Path, form: str
) -> None:
    target = tmp_path / "out put.txt"
    assert run("-w", workspace, "classify", mailbox, form, "-o", target).out == ""
    write_mailbox(mailbox, 7)
    assert run("-w", workspace, "classify", mailbox, form, "-o", target).code == 0
    header = 1 if form == "--csv" else 0
    assert len(target.read_text(encoding="utf-8").splitlines()) == 7 + header


def test_output_into_a_missing_folder_is_one_line(
    run: Run, workspace: Path, tmp_path: Path, mailbox: Path
) -> None:
    result = run("-w", workspace, "classify", mailbox, "-o", tmp_path / "no" / "out.txt")
    assert result.code == 1
    assert "cannot be written: No such file or directory; choose another place with -o" in result.err
    assert logged_ids(workspace) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_under_the_output_says_where_the_predictions_are(
    run: Run, workspace: Path, mailbox: Path
) -> None:
    result = run("-w", workspace, "classify", mailbox, "--json", "-o", "/dev/full")
    assert result.code == 1
    assert result.err.splitlines()[-1] == (
        "mailroom: /dev/full: cannot be written: No space left on device; choose another place with -o. "
        "What was decided is in the log, and `mailroom log` exports it"
    )
    assert len(logged_ids(workspace)) == 5


def test_a_run_that_breaks_off_does_not_call_its_source_empty(
    run: Run, workspace: Path, mailbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("mailroom.db: the disk is full")

    monkeypatch.setattr(PredictionLog, "append", full)
    result = run("-w", workspace, "classify", mailbox)
    assert (result.code, result.out) == (1, "")
    assert result.err.endswith("mailroom: mailroom.db: the disk is full\n")
    assert "no messages were found" not in result.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--json", "--csv", "x"], "choose one of --json and --csv"),
        ([], "Missing argument 'PATH'"),
        (["--threads", "0", "x"], "--threads"),
        (["--nope", "x"], "No such option"),
    ],
)
def test_wrong_arguments_exit_with_2_and_one_line(
    run: Run, workspace: Path, arguments: list[str], told: str
) -> None:
    result = run("-w", workspace, "classify", *arguments)
    assert (result.code, result.out) == (2, "")
    assert told in result.err
    assert result.err.count("\n") == 1
    assert "`mailroom classify --help`" in result.err


def test_control_characters_of_mail_do_not_reach_the_terminal(
    run: Run, workspace: Path, tmp_path: Path
) -> None:
    evil = "\x1b]0;owned\x07 \x1b[2J \x9b31m‮ red"
    source = tmp_path / "evil.jsonl"
    source.write_text(json.dumps({"id": "\x1b[1mid", "subject": evil, "body": evil}), encoding="utf-8")
    for command in (["classify", source], ["log"], ["show", source]):
        result = run("-w", workspace, *command)
        assert result.code == 0
        assert not {"\x1b", "\x07", "\x9b", "‮"} & set(result.out + result.err), command


def test_a_file_name_with_control_characters_is_shown_by_its_codes(
    run: Run, workspace: Path, tmp_path: Path
) -> None:
    result = run("-w", workspace, "classify", tmp_path / "a\x1b[31mb")
    assert "\x1b" not in result.err
    assert r"a\x1b[31mb" in result.err


def test_a_lone_surrogate_in_a_row_comes_out_in_every_form(run: Run, workspace: Path, tmp_path: Path) -> None:
    source = tmp_path / "surrogate.jsonl"
    source.write_text('{"id": "s\\ud800", "subject": "a \\udcff b", "body": "text"}', encoding="utf-8")
    for form in ("--json", "--csv", "--again"):
        assert run("-w", workspace, "classify", source, "--again", form).code == 0


def test_a_reader_that_stops_early_ends_the_run_quietly(
    workspace: Path, tmp_path: Path, start: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    mailbox = write_mailbox(tmp_path / "many.mbox", 600)
    process = start("-w", workspace, "classify", mailbox, "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert process.returncode == 141
    assert b"Traceback" not in err
    assert b"Broken" not in err


def test_the_bar_and_the_rows_of_one_terminal_never_share_a_line(workspace: Path, tmp_path: Path) -> None:
    mailbox = write_mailbox(tmp_path / "many.mbox", 300)
    command = [sys.executable, "-m", "mailroom", "-w", str(workspace), "classify", str(mailbox)]
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(command, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    screen = _read_all(leader).decode()
    assert process.wait(timeout=60) == 0
    assert "left" in screen
    rows = [line for line in screen.split("\r\n") if "Parcel " in line]
    assert len(rows) == 300
    # What stands before the last erasure of a line is gone from the screen.
    assert not any("left" in row.rpartition("\x1b[2K")[2] for row in rows)


def _read_all(descriptor: int) -> bytes:
    parts = []
    # A terminal whose other side was closed ends with an error, not with an empty read.
    with contextlib.suppress(OSError):
        while part := os.read(descriptor, 65536):
            parts.append(part)
    os.close(descriptor)
    return b"".join(parts)


def test_serving_commands_never_import_torch(workspace: Path, tmp_path: Path) -> None:
    mailbox = write_mailbox(tmp_path / "one.mbox", 1)
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"subject": "Money back", "body": "please", "label": "refund"}', encoding="utf-8")
    commands = [
        ["--help"], ["classify", str(mailbox)], ["log"], ["show", str(mailbox)],
        ["evaluate", str(gold)], ["taxonomy", "check"], ["taxonomy", "tree"],
    ]  # fmt: skip
    code = (
        "import sys\nfrom mailroom.cli import main\n"
        f"for command in {commands!r}:\n"
        f"    try: main(['-w', {str(workspace)!r}, *command])\n"
        "    except SystemExit as stop: assert stop.code == 0, command\n"
        "print({'torch', 'transformers', 'sentence_transformers', 'onnx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
