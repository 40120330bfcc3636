import json
from pathlib import Path

import pytest

from mailroom.records import Prediction
from mailroom.workspace import Workspace
from tests.cli.conftest import Run, write_mailbox


@pytest.fixture
def filled(run: Run, workspace: Path, tmp_path: Path) -> Path:
    run("-w", workspace, "classify", write_mailbox(tmp_path / "in.mbox", 4))
    return workspace


def predictions(workspace: Path) -> list[Prediction]:
    with Workspace.open(workspace, read_only=True) as opened:
        return [row.prediction for row in opened.log.query()]


def other_than(label: str) -> str:
    return "refund" if label != "refund" else "invoice"


def test_correction_is_recorded_with_what_was_wrong(run: Run, filled: Path) -> None:
    judged = predictions(filled)[0]
    right = other_than(judged.label)
    result = run("-w", filled, "correct", judged.id, right, "--reviewer", "ann", "--json")
    record = json.loads(result.out)
    assert result.code == 0
    assert (record["state"], record["label"], record["wrong_label"]) == ("corrected", right, judged.label)
    assert (record["reviewer"], record["source"]) == ("ann", "review")
    assert (record["prediction_id"], record["email_id"]) == (judged.id, judged.email_id)
    with Workspace.open(filled, read_only=True) as opened:
        stored = opened.feedback.latest_for(judged.email_id)
    assert stored is not None
    assert stored.to_dict() | {"state": "corrected"} == record


def test_label_that_equals_the_answer_confirms_it(run: Run, filled: Path) -> None:
    judged = predictions(filled)[0]
    result = run("-w", filled, "correct", judged.id, " > ".join(judged.path))
    assert result.out == f"confirmed: {' > '.join(judged.path)}\n"
    again = run("-w", filled, "correct", judged.id, judged.label)
    assert (again.code, again.out[:13]) == (0, "known already")


def test_prediction_is_known_by_the_digits_that_the_log_shows(run: Run, filled: Path) -> None:
    digits = run("-w", filled, "log", "--ids").lines[2].split()[0]
    judged = predictions(filled)[2]
    assert judged.id.endswith(digits)
    assert run("-w", filled, "correct", digits.upper(), other_than(judged.label)).code == 0
    with Workspace.open(filled, read_only=True) as opened:
        assert opened.feedback.latest_for(judged.email_id) is not None


def test_email_stands_in_for_its_newest_prediction(run: Run, filled: Path) -> None:
    judged = predictions(filled)[1]
    result = run("-w", filled, "correct", "--email", judged.email_id, "Lost parcel", "--json")
    assert json.loads(result.out)["prediction_id"] == judged.id


def test_mail_that_no_label_fits_is_said_to_be_outside(run: Run, filled: Path) -> None:
    judged = predictions(filled)[0]
    first = run("-w", filled, "correct", judged.id, "--outside")
    assert first.out == f"outside: none of the labels (the answer was {' > '.join(judged.path)})\n"
    assert run("-w", filled, "correct", "--email", judged.email_id, "--outside").out.startswith("known")
    [row] = run("-w", filled, "feedback", "list", "--label", "(outside)", "--json").lines
    assert json.loads(row)["label"] == "(outside)"
    labelled = run("-w", filled, "correct", judged.id, "refund")
    assert "supersedes none of the labels, the word of" in labelled.out


def test_later_word_says_whom_it_supersedes(run: Run, filled: Path) -> None:
    judged = predictions(filled)[0]
    run("-w", filled, "correct", judged.id, "refund", "--reviewer", "bob")
    result = run("-w", filled, "correct", judged.id, "invoice", "--reviewer", "ann")
    assert "supersedes Billing > Refund of money, the word of bob" in result.out
    assert len(run("-w", filled, "feedback", "list", "--email", judged.email_id).lines) == 2


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ("refnd", "not in the taxonomy; did you mean 'refund'?"),
        ("Billing", "is a group and cannot be given; choose one below it: refund, invoice"),
        ("holidays on Mars", "`mailroom taxonomy tree` shows all"),
        ("", "is not in the taxonomy"),
    ],
)
def test_label_that_cannot_be_given_is_refused(run: Run, filled: Path, label: str, told: str) -> None:
    result = run("-w", filled, "correct", predictions(filled)[0].id, label)
    assert (result.code, result.out) == (1, "")
    assert told in result.err
    assert run("-w", filled, "feedback", "list").lines == []


def test_retired_label_is_called_so(run: Run, filled: Path) -> None:
    file = filled / "taxonomy.yaml"
    tree = file.read_text(encoding="utf-8")
    file.write_text(tree.replace("  - id: password\n    name: Password reset\n", ""), encoding="utf-8")
    result = run("-w", filled, "correct", predictions(filled)[0].id, "password")
    assert (result.code, "is retired" in result.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["deadbeef", "refund"], 1, "or its last 8 digits, got 'deadbeef'"),
        (["00000000-0000-7000-8000-000000000000", "refund"], 1, "which is none"),
        (["--email", "nobody@example.org", "refund"], 1, "expected the id of an email of the log"),
        (["refund"], 2, "expected PREDICTION and LABEL"),
        (["a", "b", "refund"], 2, "expected PREDICTION and LABEL"),
        (["--email", "x", "y", "refund"], 2, "expected LABEL alone beside --email"),
        ([], 2, "expected PREDICTION and LABEL, got nothing"),
        (["a", "refund", "--outside"], 2, "expected PREDICTION alone beside --outside"),
        (["refund", "--email", "x", "--outside"], 2, "expected no argument, got 'refund'"),
    ],
)
def test_what_cannot_be_found_is_named(
    run: Run, workspace: Path, arguments: list[str], code: int, told: str
) -> None:
    result = run("-w", workspace, "correct", *arguments)
    assert (result.code, result.out) == (code, "")
    assert told in result.err


def test_word_on_an_email_that_was_drawn_at_random_is_an_audit(run: Run, filled: Path) -> None:
    taken = run("-w", filled, "review", "--json", "--take", "-n", "4").lines
    audits = [record for record in map(json.loads, taken) if record["kind"] == "audit"]
    others = [record for record in map(json.loads, taken) if record["kind"] != "audit"]
    for record, source in [*((r, "audit") for r in audits), *((r, "review") for r in others)]:
        told = run("-w", filled, "correct", record["prediction_id"], "refund", "--json")
        assert json.loads(told.out)["source"] == source
    assert audits
