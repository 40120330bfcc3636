"""The bundled example with the real bi-encoder, from its taxonomy to the figures."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, logged_ids

HELPDESK = Path(__file__).parent.parent.parent / "examples" / "helpdesk"


@pytest.mark.slow
def test_helpdesk_from_init_to_figures(run: Run, tmp_path: Path) -> None:
    desk, mailbox = tmp_path / "desk", HELPDESK / "mailbox.mbox"
    assert run("init", desk, "--taxonomy", HELPDESK / "taxonomy.yaml").code == 0

    answers = [json.loads(line) for line in run("-w", desk, "classify", mailbox, "--json").lines]
    assert len(answers) == mailbox.read_bytes().count(b"\nFrom ") + 1
    assert len(logged_ids(desk)) == len(answers)
    exported = {json.loads(line)["id"] for line in run("-w", desk, "log", "--json").lines}
    assert exported == {answer["id"] for answer in answers}

    again = run("-w", desk, "classify", mailbox, "--json")
    assert (again.code, again.out) == (0, "")
    assert f"{len(answers)} already in the log" in again.err

    figures = json.loads(run("-w", desk, "evaluate", HELPDESK / "gold.jsonl", "--json").out)
    assert figures["emails"] == len(answers)
    # 57 labels: guessing gives 2 %; an encoder that is wired wrongly shows here.
    assert figures["recall_at_1"] > 0.5
    assert figures["recall_at_20"] > 0.9
    assert len(logged_ids(desk)) == len(answers)
