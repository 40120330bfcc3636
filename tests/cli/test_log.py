import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, write_mailbox
from tests.cycle.desk import set_settings


@pytest.fixture
def filled(run: Run, workspace: Path, tmp_path: Path) -> Path:
    run("-w", workspace, "classify", write_mailbox(tmp_path / "in.mbox", 30))
    return workspace


def test_the_table_shows_the_newest_and_says_how_many_more_there_are(run: Run, filled: Path) -> None:
    result = run("-w", filled, "log")
    assert [line.split()[-1] for line in result.lines] == [str(n) for n in range(29, 9, -1)]
    assert "20 predictions; 10 more fit" in result.err


def test_json_has_all_rows_with_the_email_beside_the_record(run: Run, filled: Path) -> None:
    records = [json.loads(line) for line in run("-w", filled, "log", "--json", "--oldest-first").lines]
    assert [record["email_id"] for record in records] == [f"m{n}@example.org" for n in range(30)]
    assert records[0]["subject"] == "Parcel 0"
    assert records[0]["origin"].endswith("in.mbox#1")
    assert records[0]["received_at"].startswith("2026-03-02T10:00:00")


def test_a_reason_filters_and_an_unknown_one_is_wrong_usage(run: Run, filled: Path) -> None:
    records = [json.loads(line) for line in run("-w", filled, "log", "--json").lines]
    found = run("-w", filled, "log", "--json", "--reason", "small_margin").lines
    assert [json.loads(line)["id"] for line in found] == [
        record["id"] for record in records if "small_margin" in record["review_reasons"]
    ]
    assert run("-w", filled, "log", "--reason", "foreign").code == 2


def test_filters_narrow_the_list_as_the_records_say(run: Run, filled: Path) -> None:
    def ids(*options: object) -> set[str]:
        return {json.loads(line)["id"] for line in run("-w", filled, "log", "--json", *options).lines}

    records = [json.loads(line) for line in run("-w", filled, "log", "--json").lines]
    label = records[0]["label"]
    middle = sorted(record["margin"] for record in records)[15]
    assert ids("--label", label) == {r["id"] for r in records if r["label"] == label}
    assert ids("--label", " > ".join(records[0]["path"])) == ids("--label", label)
    assert ids("--margin-below", middle) == {r["id"] for r in records if r["margin"] < middle}
    assert ids("--margin-above", middle) == {r["id"] for r in records if r["margin"] > middle}
    assert ids("--review") == {r["id"] for r in records if r["needs_review"]}
    assert ids("--no-review") == {r["id"] for r in records if not r["needs_review"]}
    assert ids("--email", "m7@example.org") == {r["id"] for r in records if r["email_id"] == "m7@example.org"}
    assert ids("--subject", "Parcel 2") == {r["id"] for r in records if "Parcel 2" in r["subject"]}
    assert ids("--since", "2020-01-01", "--until", "2021-01-01") == set()
    assert len(ids("--since", "2020-01-01")) == 30
    assert ids("--label", "unheard") == set()
    assert len(ids("--limit", 4)) == 4


def test_an_email_that_somebody_judged_no_longer_waits(run: Run, workspace: Path, tmp_path: Path) -> None:
    # However sure the random model of these tests is, all of its answers are marked.
    set_settings(workspace, review_below_probability=1.0)
    run("-w", workspace, "classify", write_mailbox(tmp_path / "in.mbox", 5))

    def waiting(choice: str) -> list[str]:
        return [json.loads(line)["id"] for line in run("-w", workspace, "log", "--json", choice).lines]

    first, *others = waiting("--review")
    assert len(others) == 4
    assert run("-w", workspace, "correct", first, "refund").code == 0
    assert waiting("--review") == others
    assert first in waiting("--no-review")


def test_csv_goes_to_a_file_and_parses_back(run: Run, filled: Path, tmp_path: Path) -> None:
    target = tmp_path / "export.csv"
    target.write_text("older content that is much longer than nothing\n" * 500)
    assert run("-w", filled, "log", "--csv", "-o", target).out == ""
    parsed = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"), newline="")))
    assert len(parsed) == 30
    assert parsed[0]["subject"] == "Parcel 29"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--since", "tomorrow"], "expected a date such as 2026-03-31, got 'tomorrow'"),
        (["--json", "--csv"], "choose one of --json and --csv"),
        (["--limit", "0"], "--limit"),
        (["--margin-below", "x"], "--margin-below"),
    ],
)
def test_wrong_filters_exit_with_2(run: Run, workspace: Path, arguments: list[str], told: str) -> None:
    result = run("-w", workspace, "log", *arguments)
    assert (result.code, result.out) == (2, "")
    assert told in result.err


def test_an_empty_log_is_no_error(run: Run, workspace: Path) -> None:
    result = run("-w", workspace, "log")
    assert (result.code, result.out) == (0, "")
    assert "0 predictions" in result.err
