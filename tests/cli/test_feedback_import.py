import csv
import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailroom.records import Feedback
from mailroom.workspace import Workspace
from tests.cli.conftest import Result, Run, write_mailbox

Rows = list[Mapping[str, Any]]
Import = Callable[..., dict[str, Any]]


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def imported(run: Run, workspace: Path, tmp_path: Path) -> Import:
    """Import rows as JSON lines; returns the report with the exit code as `code`."""

    def imported(rows: Rows, *options: object) -> dict[str, Any]:
        source = write(tmp_path / "history.jsonl", rows)
        result = run("-w", workspace, "feedback", "import", source, "--json", *options)
        report: dict[str, Any] = json.loads(result.out)
        return report | {"code": result.code}

    return imported


def words(workspace: Path) -> list[Feedback]:
    with Workspace.open(workspace, read_only=True) as opened:
        return [row.feedback for row in opened.feedback.query()][::-1]


def problems(report: dict[str, Any]) -> list[tuple[int, str]]:
    return [(row["line"], row["reason"]) for row in report["set_aside"]]


def test_labelled_history_becomes_gold_without_a_prediction(imported: Import, workspace: Path) -> None:
    rows: Rows = [
        {"subject": "Money", "body": "I want my money back.", "label": "Refund of money", "reviewer": "crm"},
        {"id": "t-2", "text": "Nothing arrived.", "label": "Delivery > Lost parcel"},
    ]
    report = imported(rows)
    assert (report["code"], report["added"], report["new_emails"]) == (0, 2, 2)
    assert report["labels"] == {"refund": 1, "lost": 1}
    first, second = sorted(words(workspace), key=lambda word: word.email_id == "t-2")
    assert (first.label, first.reviewer, first.source, first.prediction_id) == (
        "refund",
        "crm",
        "import",
        None,
    )
    assert (second.email_id, second.label, second.reviewer) == ("t-2", "lost", "import")
    with Workspace.open(workspace, read_only=True) as opened:
        assert opened.log.text_of(first.email_id) == "Money\nI want my money back."


def test_a_file_that_is_sorted_by_label_is_written_in_no_order(imported: Import, workspace: Path) -> None:
    rows: Rows = [{"body": f"text {n}", "label": "refund" if n < 50 else "lost"} for n in range(100)]
    assert imported(rows)["added"] == 100
    written = [word.label for word in words(workspace)]
    # Early labels judge more often than later ones: 25 of the first 50 are expected of either label.
    assert 15 <= written[:50].count("refund") <= 35
    # Of one email the later word stays the later one.
    history: Rows = [
        {"id": "e", "body": "once", "label": label, "created_at": f"2026-01-0{day}"}
        for day, label in ((1, "refund"), (2, "lost"), (3, "invoice"))
    ]
    assert imported(history)["added"] == 3
    assert [word.label for word in words(workspace)[100:]] == ["refund", "lost", "invoice"]


def test_importing_again_adds_nothing(imported: Import) -> None:
    rows: Rows = [{"body": f"text {n}", "label": "refund"} for n in range(5)]
    assert imported(rows)["added"] == 5
    again = imported(rows)
    assert (again["code"], again["added"], again["known"], again["new_emails"]) == (0, 0, 5, 0)


def test_dry_run_says_the_same_and_writes_nothing(imported: Import, workspace: Path) -> None:
    rows: Rows = [{"body": "one", "label": "refund"}, {"body": "two", "label": "nowhere"}]
    trial = imported(rows, "--dry-run")
    assert words(workspace) == []
    real = imported(rows)
    assert trial | {"dry_run": False} == real
    assert len(words(workspace)) == 1


def test_csv_with_other_delimiters_quotes_and_line_ends(run: Run, workspace: Path, tmp_path: Path) -> None:
    source = tmp_path / "history.csv"
    source.write_bytes(
        b"\xef\xbb\xbfSubject;Body;LABEL;reviewer\r\n"
        b'Parcel;"It says ""delivered"";\r\nbut it is not.";lost;ann\r\n'
        b"\r\n"
        b"Rechnung;F\xfcr wen ist das?;invoice;ben\r\n"
        b"short;row\r\n"
    )
    result = run("-w", workspace, "feedback", "import", source)
    assert result.code == 1
    assert f"{source}:6: expected 4 cells, got 2" in result.err
    assert "3 rows: 2 added (2 new emails), 1 set aside (unreadable)" in result.err
    first, second = sorted(words(workspace), key=lambda word: word.reviewer)
    assert (first.label, first.reviewer, second.reviewer) == ("lost", "ann", "ben")
    with Workspace.open(workspace, read_only=True) as opened:
        assert opened.log.text_of(first.email_id) == 'Parcel\nIt says "delivered";\nbut it is not.'
        assert opened.log.text_of(second.email_id) == "Rechnung\nFür wen ist das?"


def test_quote_that_is_never_closed_takes_nothing_for_text(run: Run, workspace: Path, tmp_path: Path) -> None:
    source = tmp_path / "history.csv"
    source.write_text('body,label\nfirst,lost\n"second,lost\nthird,lost\n', encoding="utf-8")
    result = run("-w", workspace, "feedback", "import", source)
    assert (result.code, len(words(workspace))) == (1, 1)
    assert ":3: expected CSV up to line 4" in result.err


def test_predictions_and_emails_are_judged_by_their_ids(
    run: Run, imported: Import, workspace: Path, tmp_path: Path
) -> None:
    run("-w", workspace, "classify", write_mailbox(tmp_path / "in.mbox", 3))
    with Workspace.open(workspace, read_only=True) as opened:
        answers = [row.prediction for row in opened.log.query()]
    right = ["refund" if answer.label != "refund" else "invoice" for answer in answers]
    rows: Rows = [
        {"prediction_id": answers[0].id, "label": right[0]},
        {"email_id": answers[1].email_id, "label": right[1]},
        {"id": answers[2].email_id, "label": answers[2].label},
        {"prediction_id": "00000000-0000-7000-8000-000000000000", "label": "lost"},
        {"email_id": "nobody", "label": "lost"},
    ]
    report = imported(rows)
    assert (report["added"], report["corrections"], report["new_emails"]) == (3, 2, 0)
    assert problems(report) == [(4, "email"), (5, "email")]
    by_email = {word.email_id: word for word in words(workspace)}
    assert [by_email[answer.email_id].prediction_id for answer in answers] == [a.id for a in answers]
    assert by_email[answers[0].email_id].wrong_label == answers[0].label
    assert by_email[answers[2].email_id].wrong_label is None


def test_text_finds_the_email_that_was_classified(
    run: Run, imported: Import, workspace: Path, tmp_path: Path
) -> None:
    row = {"subject": "Parcel", "body": "Where is it?"}
    run("-w", workspace, "classify", write(tmp_path / "in.jsonl", [row]))
    report = imported([{**row, "label": "lost"}])
    with Workspace.open(workspace, read_only=True) as opened:
        [answer] = [found.prediction for found in opened.log.query()]
    assert (report["added"], report["new_emails"]) == (1, 0)
    assert words(workspace)[0].prediction_id == answer.id


def test_row_numbers_of_two_files_do_not_mix_their_emails_up(imported: Import, workspace: Path) -> None:
    imported([{"id": "1", "body": "Please send my money back now.", "label": "refund"}])
    report = imported([{"id": "1", "body": "Nothing has arrived since last Monday.", "label": "lost"}])
    assert (report["code"], report["added"], report["new_emails"]) == (0, 1, 1)
    first, second = words(workspace)
    assert first.email_id != second.email_id
    # The same id with a copy of the text means the same email.
    copied = imported([{"id": "1", "body": "Please send my money back now!", "label": "refund"}])
    assert (copied["known"], copied["new_emails"]) == (1, 0)


def test_email_id_is_taken_at_its_word_whatever_the_text(
    run: Run, imported: Import, workspace: Path, tmp_path: Path
) -> None:
    run("-w", workspace, "classify", write_mailbox(tmp_path / "in.mbox", 1))
    report = imported([{"email_id": "m0@example.org", "body": "As noted by phone.", "label": "lost"}])
    assert (report["added"], report["new_emails"]) == (1, 0)
    assert [word.email_id for word in words(workspace)] == ["m0@example.org"]


@pytest.mark.parametrize(
    ("row", "reason", "told"),
    [
        ({"body": "x", "label": "unheard"}, "label", "is not in the taxonomy"),
        ({"body": "x", "label": "refnd"}, "label", "did you mean 'refund'?"),
        ({"body": "x", "label": "Billing"}, "label", "is a group"),
        ({"body": "x", "label": ""}, "unreadable", "expected a label, found none"),
        ({"body": "x", "label": 7}, "unreadable", "expected a label"),
        ({"body": "x"}, "unreadable", "expected a label"),
        ({"label": "refund"}, "unreadable", "expected one of prediction_id"),
        ({"body": "   \u200b", "label": "refund"}, "email", "expected some text"),
        ({"body": ["x"], "label": "refund"}, "email", "expected some text"),
        ({"body": "x", "label": "refund", "created_at": "yesterday"}, "time", "expected an ISO time"),
        ({"body": "x", "label": "refund", "created_at": "9999-12-31T23:00:00-10:00"}, "time", "ISO time"),
        ({"body": "x", "label": "refund", "created_at": "2999-01-01"}, "time", "a time that has passed"),
        ({"prediction_id": {"a": 1}, "label": "refund"}, "email", "is not in the log"),
        ([1, 2], "unreadable", "expected a JSON object, got a JSON list"),
    ],
)
def test_row_that_cannot_be_trusted_is_set_aside_and_the_others_are_taken(
    imported: Import, workspace: Path, row: Any, reason: str, told: str
) -> None:
    good = {"body": "a good row", "label": "lost"}
    report = imported([good, row, {"body": "another", "label": "late"}])
    assert (report["code"], report["rows"], report["added"]) == (1, 3, 2)
    assert problems(report) == [(2, reason)]
    assert told in report["set_aside"][0]["problem"]
    assert {word.label for word in words(workspace)} == {"lost", "late"}


def test_retired_label_is_called_so(run: Run, imported: Import, workspace: Path) -> None:
    imported([{"body": "one", "label": "password"}])
    file = workspace / "taxonomy.yaml"
    tree = file.read_text(encoding="utf-8")
    file.write_text(tree.replace("  - id: password\n    name: Password reset\n", ""), encoding="utf-8")
    report = imported([{"body": "two", "label": "password"}])
    assert "is retired" in report["set_aside"][0]["problem"]
    # The text whose label was retired wants a new one, and the old word does not stand against it.
    assert imported([{"body": "one", "label": "refund", "reviewer": "ann"}])["added"] == 1


def test_same_text_with_two_labels_is_set_aside_whole(imported: Import, workspace: Path) -> None:
    report = imported(
        [
            {"body": "Where is my parcel?", "label": "lost", "reviewer": "ann"},
            {"body": "Something else", "label": "refund"},
            {"id": "x", "body": "WHERE is   my parcel", "label": "late", "reviewer": "ben"},
        ]
    )
    assert (report["code"], report["added"]) == (1, 1)
    assert problems(report) == [(1, "contradiction"), (3, "contradiction")]
    assert "'late' by ben in line 3" in report["set_aside"][0]["problem"]
    assert [word.label for word in words(workspace)] == ["refund"]


def test_row_against_a_word_of_another_reviewer_is_set_aside(imported: Import, workspace: Path) -> None:
    imported([{"body": "Where is my parcel?", "label": "lost", "reviewer": "ann"}])
    report = imported([{"body": "where is my parcel", "label": "late", "reviewer": "ben"}])
    assert problems(report) == [(1, "contradiction")]
    assert "ann labelled this text 'lost'" in report["set_aside"][0]["problem"]
    assert [word.label for word in words(workspace)] == ["lost"]


def test_reviewer_may_change_their_mind_in_a_later_file(imported: Import, workspace: Path) -> None:
    imported([{"body": "Where is my parcel?", "label": "lost", "reviewer": "ann"}])
    assert imported([{"body": "Where is my parcel?", "label": "late", "reviewer": "ann"}])["added"] == 1
    assert [word.label for word in words(workspace)] == ["lost", "late"]


def test_dated_history_of_one_email_is_taken_whole(imported: Import, workspace: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows: Rows = [
        {"id": "x", "body": "text", "label": label, "created_at": (start + timedelta(days=n)).isoformat()}
        for n, label in enumerate(("lost", "late", "lost"))
    ]
    assert imported(rows)["added"] == 3
    assert imported(rows)["known"] == 3
    assert [word.label for word in words(workspace)] == ["lost", "late", "lost"]


def test_corrected_import_does_not_contradict_its_own_file(
    run: Run, imported: Import, workspace: Path
) -> None:
    rows: Rows = [{"id": "x", "body": "Where is it?", "label": "lost"}]
    imported(rows)
    run("-w", workspace, "correct", "--email", "x", "late", "--reviewer", "ann")
    again = imported(rows)
    assert (again["code"], again["known"], again["set_aside"]) == (0, 1, [])


def test_repeated_rows_are_named_and_are_no_failure(imported: Import, workspace: Path) -> None:
    report = imported(
        [
            {"body": "Where is it?", "label": "lost"},
            {"body": "where is IT", "label": "lost"},
            {"body": "Where is it?", "label": "lost", "reviewer": "ann"},
        ]
    )
    assert (report["code"], problems(report)) == (0, [(2, "duplicate")])
    assert "line 1 says the same" in report["set_aside"][0]["problem"]
    assert [word.reviewer for word in words(workspace)] == ["import", "ann"]


def test_repeated_text_under_another_id_adds_nothing_however_often_it_is_imported(
    imported: Import, workspace: Path
) -> None:
    rows: Rows = [
        {"id": f"a{n}", "body": text, "label": "lost"}
        for n, text in enumerate(["Where is it?", "where is IT", "Where  is it"])
    ]
    assert imported(rows)["added"] == 1
    for again in (rows, rows[::-1], rows[1:]):
        report = imported(again)
        assert (report["added"], report["new_emails"], report["code"]) == (0, 0, 0)
    assert len(words(workspace)) == 1


def test_rows_set_aside_can_be_mended_and_imported(
    run: Run, imported: Import, workspace: Path, tmp_path: Path
) -> None:
    target = tmp_path / "aside.jsonl"
    imported([{"body": "x", "label": "refnd"}, {"body": "y", "label": "lost"}], "--set-aside", target)
    [row] = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert (row["line"], row["body"]) == (1, "x")
    assert "did you mean" in row["problem"]
    assert imported([row | {"label": "refund"}])["added"] == 1


def run_import(run: Run, workspace: Path, path: Path, content: bytes) -> Result:
    path.write_bytes(content)
    return run("-w", workspace, "feedback", "import", path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "0 rows: 0 added"),
        (b"subject,body\nx,y\n", "whose first line names the columns: `label`"),
        (b"label,label,body\na,b,c\n", "got two named 'label'"),
        (b"\x89PNG\r\n\x1a\n\0\0", "CSV whose first line names the columns"),
        (b"SQLite format 3\0", "got binary data or UTF-16"),
        ("body,label\nx,lost\n".encode("utf-16"), "UTF-16"),
        (b'[{"body": "x", "label": "lost"}]', "got an array; write it with `jq -c '.[]'`"),
        (b'{"body": "x", "label": "lost"\n', "text that is not JSON"),
        (b"{" * 200_000, "text that is not JSON"),
    ],
)
def test_file_that_is_something_else_is_named(
    run: Run, workspace: Path, tmp_path: Path, content: bytes, told: str
) -> None:
    result = run_import(run, workspace, tmp_path / "history", content)
    assert told in result.err
    assert result.code == (1 if content else 0)
    assert words(workspace) == []


@pytest.mark.parametrize(("place", "told"), [("missing.csv", "No such file"), (".", "got a folder")])
def test_place_that_cannot_be_read_is_named(run: Run, workspace: Path, place: str, told: str) -> None:
    result = run("-w", workspace, "feedback", "import", place)
    assert (result.code, told in result.err) == (1, True)


def test_standard_input_is_read(run: Run, workspace: Path) -> None:
    row = json.dumps({"body": "x", "label": "lost"}).encode()
    assert run("-w", workspace, "feedback", "import", "-", stdin=row).code == 0
    assert len(words(workspace)) == 1


def test_unknown_source_is_wrong_usage(run: Run, workspace: Path) -> None:
    result = run("-w", workspace, "feedback", "import", "x.csv", "--source", "guess")
    assert (result.code, "expected one of review, audit, import, move" in result.err) == (2, True)


def test_problems_never_show_what_an_email_says(imported: Import) -> None:
    secret = "my card number is 1234"
    report = imported(
        [
            {"body": secret, "label": "unheard"},
            {"body": f"{secret} again", "label": "lost", "reviewer": "a"},
            {"body": f"{secret} again", "label": "late", "reviewer": "b"},
        ]
    )
    assert secret not in json.dumps(report)


def test_list_shows_filters_and_exports(run: Run, imported: Import, workspace: Path) -> None:
    rows: Rows = [
        {"id": f"e{n}", "subject": f"Case {n}", "body": f"text {n}", "label": label, "reviewer": reviewer}
        for n, (label, reviewer) in enumerate([("lost", "ann"), ("late", "ben"), ("refund", "ann")])
    ]
    for row in rows:
        imported([row])
    table = run("-w", workspace, "feedback", "list")
    assert [line.split()[-1] for line in table.lines] == ["2", "1", "0"]
    assert "3 rows" in table.err

    def found(*options: object) -> set[str]:
        lines = run("-w", workspace, "feedback", "list", "--json", *options).lines
        return {json.loads(line)["email_id"] for line in lines}

    assert found("--label", "Delivery") == {"e0", "e1"}
    assert found("--reviewer", "ann") == {"e0", "e2"}
    assert found("--source", "review") == set()
    assert found("--corrections") == set()
    assert found("--confirmations", "--email", "e1") == {"e1"}
    assert found("--since", "2999-01-01") == set()
    assert found("--limit", 1) == {"e2"}
    exported = run("-w", workspace, "feedback", "list", "--csv", "--oldest-first").out
    parsed = list(csv.DictReader(io.StringIO(exported)))
    assert [row["subject"] for row in parsed] == ["Case 0", "Case 1", "Case 2"]


def test_words_that_no_label_fits_are_taken_and_stand_against_no_later_label(
    run: Run, imported: Import, workspace: Path
) -> None:
    row = {"id": "e", "body": "text", "reviewer": "ann"}
    assert imported([{**row, "label": "(outside)"}])["labels"] == {"(outside)": 1}
    table = run("-w", workspace, "feedback", "list").out
    assert "(outside)" in table
    report = imported([{**row, "label": "lost", "reviewer": "ben"}])
    assert (report["added"], report["set_aside"]) == (1, [])


def test_exported_words_come_in_again_in_another_workspace(
    run: Run, imported: Import, workspace: Path, tmp_path: Path
) -> None:
    imported([{"id": "e", "body": "text", "label": "lost", "reviewer": "ann"}])
    exported = [json.loads(line) for line in run("-w", workspace, "feedback", "list", "--json").lines]
    report = imported(exported)
    assert (report["known"], report["set_aside"]) == (1, [])


@pytest.mark.slow
def test_time_to_import_does_not_grow_with_the_square_of_the_rows(
    run: Run, workspace: Path, tmp_path: Path
) -> None:
    from time import process_time

    labels = ["refund", "invoice", "lost", "late", "password"]
    rows: Rows = [
        {"subject": f"Case {n}", "body": f"I write because of {n * 7919}. " * 20, "label": labels[n % 5]}
        for n in range(10_000)
    ]
    started = process_time()
    result = run("-w", workspace, "feedback", "import", write(tmp_path / "h.jsonl", rows))
    assert process_time() - started < 30
    assert "10,000 rows: 10,000 added" in result.err
