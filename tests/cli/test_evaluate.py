import hashlib
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, logged_ids, write_mailbox

RECALLS = [f"recall_at_{k}" for k in (1, 3, 5, 10, 20)]


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    path = tmp_path / "gold.jsonl"
    rows = [
        {"subject": "Money back", "body": "please", "label": "refund"},
        {"subject": "Parcel", "body": "it is lost", "label": "Lost parcel"},
        {"subject": "Door", "body": "I cannot log in", "label": "password"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def _state(workspace: Path) -> tuple[str, int]:
    """The database's bytes as a digest, and the size of the write-ahead log: what a writer would change."""
    log = workspace / "mailroom.db-wal"
    digest = hashlib.sha256((workspace / "mailroom.db").read_bytes()).hexdigest()
    return digest, log.stat().st_size if log.exists() else 0


def test_json_has_every_field_that_scripts_rely_on(run: Run, workspace: Path, gold: Path) -> None:
    result = run("-w", workspace, "evaluate", gold, "--json")
    figures = json.loads(result.out)
    assert result.code == 0
    assert figures["emails"] == 3
    for name in (*RECALLS, "macro_f1", "sibling_confusion_rate", "expected_calibration_error"):
        assert 0 <= figures[name] <= 1
    assert figures["emails_per_second"] > 0
    assert set(figures["retrieval"]) == set(RECALLS)
    assert figures["recall_at_20"] == 1
    assert set(figures["latency_ms"]) >= {"encode", "retrieve", "decide", "total"}
    assert all(set(step) == {"p50", "p95", "p99"} for step in figures["latency_ms"].values())


def test_nothing_is_written_to_the_log(run: Run, workspace: Path, gold: Path, tmp_path: Path) -> None:
    run("-w", workspace, "classify", write_mailbox(tmp_path / "in.mbox", 3))
    before = _state(workspace)
    assert run("-w", workspace, "evaluate", gold).code == 0
    assert _state(workspace) == before
    assert len(logged_ids(workspace)) == 3


def test_the_same_row_twice_counts_twice(run: Run, workspace: Path, gold: Path) -> None:
    gold.write_text(gold.read_text(encoding="utf-8") + "\n" + gold.read_text(encoding="utf-8"))
    assert json.loads(run("-w", workspace, "evaluate", gold, "--json").out)["emails"] == 6


def test_rows_without_a_usable_label_are_named_and_left_out(run: Run, workspace: Path, gold: Path) -> None:
    with gold.open("a", encoding="utf-8") as file:
        file.write('\n{"subject": "x", "body": "y", "label": "unheard"}\n{"subject": "x", "body": "y"}\n')
        file.write('{"subject": "x", "body": "y", "label": "billing"}\nbroken\n')
    result = run("-w", workspace, "evaluate", gold, "--json")
    figures = json.loads(result.out)
    # The row that is no JSON could not be read, and the exit code tells.
    assert (result.code, figures["emails"], figures["left_out"]) == (1, 3, 4)
    assert f"{gold}:4: label 'unheard' is not in the taxonomy" in result.err
    assert f"{gold}:5: expected a label, found none" in result.err
    assert f"{gold}:6: label 'billing' is not assignable" in result.err
    assert f"{gold}:7: expected one JSON object a line" in result.err


@pytest.mark.parametrize("content", ["", '{"subject": "x", "body": "y"}\n', '{"body": "y", "label": "no"}\n'])
def test_a_file_without_a_usable_row_is_an_error(
    run: Run, workspace: Path, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "none.jsonl"
    path.write_text(content, encoding="utf-8")
    result = run("-w", workspace, "evaluate", path, "--json")
    assert (result.code, result.out) == (1, "")
    assert "expected rows with text and a label of the taxonomy, found none" in result.err


def test_the_report_for_people_names_the_figures(run: Run, workspace: Path, gold: Path) -> None:
    result = run("-w", workspace, "evaluate", gold)
    for name in ("3 emails", "recall@20", "sibling confusion rate", "p99", "encode"):
        assert name in result.out


def test_gold_rows_may_come_from_stdin(run: Run, workspace: Path, gold: Path) -> None:
    result = run("-w", workspace, "evaluate", "-", "--json", stdin=gold.read_bytes())
    assert json.loads(result.out)["emails"] == 3
