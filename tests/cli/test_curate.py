import json
from pathlib import Path

import pytest

from mailroom.records import Feedback
from mailroom.store.feedback import FeedbackLog
from mailroom.workspace import Workspace
from tests.cli.conftest import Run, logged_ids
from tests.curate.small import letters


@pytest.fixture
def used(run: Run, workspace: Path, tmp_path: Path) -> Path:
    """A workspace with 40 classified emails, 12 of which have a label: 11 were right, one is a group's."""
    mailbox = tmp_path / "in.jsonl"
    lines = [json.dumps({"id": f"mail-{number}", "body": letters(number)}) for number in range(40)]
    mailbox.write_text("\n".join(lines), encoding="utf-8")
    settings = workspace / "mailroom.toml"
    text = settings.read_text(encoding="utf-8")
    changed = text.replace("silver_unproven_share = 0.1", "silver_unproven_share = 0.5")
    # Eleven right answers that were not sure of themselves speak for more, but not for 95 in a hundred.
    changed = changed.replace("silver_target_precision = 0.95", "silver_target_precision = 0.8")
    settings.write_text(changed, encoding="utf-8")
    assert run("-w", workspace, "classify", mailbox).code == 0
    with Workspace.open(workspace) as opened:
        # In an order that threads do not change.
        rows = sorted(opened.log.query(), key=lambda row: row.prediction.email_id)
        words_said = [
            Feedback(
                id=row.prediction.id,
                email_id=row.prediction.email_id,
                label=row.prediction.label if number else "billing",
                wrong_label=None,
                prediction_id=row.prediction.id,
                reviewer="ann",
                source="review",
                created_at=row.prediction.created_at,
            )
            for number, row in enumerate(rows[:12])
        ]
        FeedbackLog(opened.database).append(words_said)
    return workspace


def test_the_dry_run_says_what_would_be_learned(run: Run, used: Path) -> None:
    result = run("-w", used, "curate", "--dry-run")
    assert result.code == 0
    for name in ("gold and", "set aside: retired label", "unproven: too few audits", "not sure enough"):
        assert name in result.out
    assert "sibling" in result.out
    assert len(logged_ids(used)) == 40


def test_json_has_every_field_that_scripts_rely_on(run: Run, used: Path) -> None:
    report = json.loads(run("-w", used, "curate", "--dry-run", "--json").out)
    gold, silver = report["gold"], report["silver"]
    assert gold["train"] + gold["validation"] + gold["evaluation"] == 11
    assert [item["reason"] for item in gold["set_aside"]] == ["retired label"]
    assert silver["pool"] == 28
    assert silver["taken"] + sum(silver["left_out"].values()) == 28
    (threshold,) = silver["thresholds"]
    assert (threshold["basis"], threshold["precision"]) == ("unproven", None)
    assert sum(report["negatives"].values()) == pytest.approx(1)
    assert letters(1)[:20] not in json.dumps(report)


def test_examples_are_exported_with_their_part(run: Run, used: Path, tmp_path: Path) -> None:
    path = tmp_path / "examples.jsonl"
    assert run("-w", used, "curate", "-o", path).code == 0
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    report = json.loads(run("-w", used, "curate", "--dry-run", "--json").out)
    assert len([row for row in rows if row["grade"] == "gold"]) == 11
    assert len([row for row in rows if row["grade"] == "silver"]) == report["silver"]["taken"] > 0
    assert all(row["text"] and row["label"] for row in rows)
    assert {row["part"] for row in rows} <= {"train", "validation", "evaluation"}


def test_a_new_workspace_has_nothing_to_learn_from_and_says_so(run: Run, workspace: Path) -> None:
    result = run("-w", workspace, "curate", "--dry-run")
    assert result.code == 0
    assert "0 gold and 0 silver examples" in result.out


@pytest.mark.parametrize("arguments", [[], ["--dry-run", "-o", "x"]])
def test_either_a_dry_run_or_a_file_is_asked_for(run: Run, workspace: Path, arguments: list[str]) -> None:
    result = run("-w", workspace, "curate", *arguments)
    assert result.code == 2
    assert "expected --dry-run for the report, or -o FILE" in result.err
