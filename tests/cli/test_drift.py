"""`mailroom drift` over a log whose second week is about something else."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import uuid_utils

from mailroom.records import OUTSIDE, Candidate, Email, Feedback, Prediction
from mailroom.store.feedback import FeedbackLog
from mailroom.store.prediction_log import LogEntry
from mailroom.workspace import Workspace
from tests.cli.conftest import Run

LABELS = ("refund", "invoice", "lost", "late", "password")
START = datetime(2026, 3, 1, tzinfo=UTC)
DATES = ("--reference-since", "2026-03-01", "--since", "2026-03-15", "--until", "2026-03-22")


def fill(root: Path, shares: Sequence[float], first_day: int, days: int, emails: int, text: str) -> None:
    random = np.random.default_rng(first_day)
    with Workspace.open(root) as workspace:
        taxonomy = workspace.taxonomy
        workspace.log.register_taxonomy(
            taxonomy.revision, [(one.id, one.path) for one in taxonomy.assignable]
        )
        entries = []
        for number in range(emails):
            label = str(random.choice(LABELS, p=shares))
            email = Email(f"d{first_day}-{number}@example.org", f"{text} {number}", f"{text} please help")
            moment = START + timedelta(days=first_day + days * number / emails)
            entries.append(LogEntry(prediction(label, email, moment, taxonomy.revision), email, "test"))
        workspace.log.append(entries)


def prediction(label: str, email: Email, moment: datetime, revision: str) -> Prediction:
    others = [name for name in LABELS if name != label]
    candidates = [Candidate(label, 0.6, None, 0.8)] + [Candidate(name, 0.2, None, 0.05) for name in others]
    return Prediction(
        id=str(uuid_utils.uuid7()),
        email_id=email.id,
        label=label,
        path=(label,),
        probability=0.8,
        margin=0.75,
        needs_review=False,
        candidates=tuple(candidates),
        model="v0001-00000000",
        taxonomy=revision,
        decided_by="retrieval",
        created_at=moment,
        latency_ms={"total": 1.0},
    )


@pytest.fixture
def moved(workspace: Path) -> Path:
    """Two weeks of even mail, then a week in which half of it asks for a refund in other words."""
    fill(workspace, [0.2] * 5, 0, 14, 600, "where is my parcel")
    fill(workspace, [0.6, 0.1, 0.1, 0.1, 0.1], 14, 7, 300, "quarterly newsletter of the chess club")
    return workspace


def test_a_changed_week_is_an_alarm_that_names_what_moved(run: Run, moved: Path) -> None:
    result = run("-w", moved, "drift", *DATES, "--json")
    record = json.loads(result.out)
    assert (result.code, record["level"]) == (0, "alarm")
    found = {finding["name"]: finding for finding in record["findings"]}
    assert found["label_mix_psi"]["level"] == found["label_mix_js_bits"]["level"] == "alarm"
    assert found["probability_psi"]["level"] == "steady"
    # Measured, if by a model of random weights, which hardly tells texts apart.
    assert found["embedding_shift"]["chance"] > 0
    assert record["moved_labels"][0]["label"] == "refund"
    assert (record["reference"]["read"], record["window"]["read"]) == (600, 300)
    assert record["window"]["embedded"] == 300


def test_a_steady_log_is_steady(run: Run, workspace: Path) -> None:
    fill(workspace, [0.2] * 5, 0, 14, 600, "where is my parcel")
    fill(workspace, [0.2] * 5, 14, 7, 300, "where is my parcel")
    result = run("-w", workspace, "drift", *DATES, "--fail")
    assert result.code == 0
    assert "steady" in result.out


def test_fail_turns_an_alarm_into_the_exit_code(run: Run, moved: Path) -> None:
    result = run("-w", moved, "drift", *DATES, "--fail", "--embedded", 0)
    assert result.code == 3
    assert "refund" in result.out
    assert "no text was embedded" in result.err


def test_a_long_log_is_sampled_evenly(run: Run, moved: Path) -> None:
    settings = moved / "mailroom.toml"
    settings.write_text(settings.read_text().replace("max_emails = 20000", "max_emails = 100"))
    record = json.loads(run("-w", moved, "drift", *DATES, "--json", "--embedded", 0).out)
    assert (record["reference"]["logged"], record["reference"]["read"]) == (600, 100)
    assert (record["window"]["logged"], record["window"]["read"]) == (300, 100)
    assert record["level"] == "alarm"


def test_audits_within_the_window_give_its_accuracy(run: Run, moved: Path) -> None:
    with Workspace.open(moved) as workspace:
        judged = [row.prediction for row in workspace.log.query()][:40]
        words = [
            Feedback(
                id=str(uuid_utils.uuid7()),
                email_id=one.email_id,
                label=one.label if place % 4 else "late" if place else OUTSIDE,
                wrong_label=None if place % 4 else one.label,
                prediction_id=one.id,
                reviewer="ann",
                source="audit" if place < 20 else "review",
                created_at=START + timedelta(days=16),
            )
            for place, one in enumerate(judged)
        ]
        FeedbackLog(workspace.database).append(words)
    record = json.loads(run("-w", moved, "drift", *DATES, "--json", "--embedded", 0).out)
    assert (record["window"]["audits"], record["window"]["audits_outside"]) == (20, 1)
    assert record["accuracy"]["value"] == pytest.approx(0.75)
    assert record["reference_accuracy"] is None


@pytest.mark.parametrize(
    ("dates", "told"),
    [
        (("--since", "2025-01-08", "--until", "2025-01-15"), "the log has no prediction from"),
        (("--since", "2026-03-15", "--until", "2026-03-01"), "expected a reference before a window"),
    ],
)
def test_dates_that_hold_nothing_are_an_error(run: Run, moved: Path, dates: tuple[str], told: str) -> None:
    result = run("-w", moved, "drift", *dates)
    assert (result.code, result.out) == (1, "")
    assert told in result.err


def test_a_young_desk_has_nothing_to_compare_and_no_failure(run: Run, workspace: Path) -> None:
    result = run("-w", workspace, "drift", "--fail")
    assert result.code == 0
    assert "nothing to compare yet" in result.out
    record = json.loads(run("-w", workspace, "drift", "--json").out)
    assert record["level"] == "unknown"
    assert "the log has no prediction from" in record["nothing_to_compare"]


def test_a_date_in_words_is_wrong_usage_and_says_what_is_expected(run: Run, workspace: Path) -> None:
    result = run("-w", workspace, "drift", "--since", "yesterday")
    assert result.code == 2
    assert "expected a date such as 2026-03-31" in result.err
