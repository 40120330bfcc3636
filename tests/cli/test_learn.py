"""`mailroom learn` as people and timers call it."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, write_mailbox
from tests.cycle.desk import say, set_settings


def test_learn_promotes_and_says_so_in_one_line(
    run: Run,
    learning_desk: Path,
    tmp_path: Path,
) -> None:
    say(learning_desk, 30)
    dry = run("-w", learning_desk, "learn", "--dry-run")
    assert dry.code == 0
    assert dry.out.startswith("150 newly labelled emails: enough to learn from\n")
    assert "what is trained: label vectors alone" in dry.out
    assert "below 500 to judge by, those trained on judge too" in dry.out
    assert "set aside" not in dry.out
    record = json.loads(run("-w", learning_desk, "learn", "--dry-run", "--json").out)
    assert record["gold"]["train"] + record["gold"]["validation"] + record["gold"]["evaluation"] > 100
    done = run("-w", learning_desk, "learn", "--budget", "5m")
    assert done.code == 0
    assert done.out.count("\n") == 1
    assert "promoted: top-1" in done.out
    assert "rollback" in done.err
    assert "report.html" in done.err
    classified = run("-w", learning_desk, "classify", write_mailbox(tmp_path / "in.mbox", 1))
    assert (classified.code, "no cross-encoder" in classified.err) == (0, False)
    waiting = run("-w", learning_desk, "learn", "--json")
    assert waiting.code == 0
    outcome = json.loads(waiting.out)
    assert (outcome["outcome"], outcome["version"]) == ("nothing_new", None)
    assert (
        "0 newly labelled emails: 20 are needed, so it would wait"
        in run("-w", learning_desk, "learn", "--dry-run").out
    )
    assert "--force learns all the same" in run("-w", learning_desk, "learn", "--dry-run", "--force").out
    assert "report" not in run("-w", learning_desk, "learn").err
    answered = run("-w", learning_desk, "models", "show", "--json")
    assert json.loads(answered.out)["trained_from"]["setup"].startswith("label_vectors")


def test_a_refusal_has_an_exit_code_of_its_own(run: Run, learning_desk: Path) -> None:
    say(learning_desk, 30)
    set_settings(learning_desk, min_emails=5000)
    refused = run("-w", learning_desk, "learn", "--json")
    assert refused.code == 3
    outcome = json.loads(refused.out)
    assert outcome["outcome"] == "refused"
    assert "expected at least 5000 gold emails" in outcome["reasons"][0]


def test_an_unreadable_budget_is_an_error(run: Run, learning_desk: Path) -> None:
    result = run("-w", learning_desk, "learn", "--budget", "soon")
    assert result.code == 2
    assert "expected a duration such as 30m" in result.err
    assert run("-w", learning_desk, "learn", "--budget", "0m").code == 2


def test_an_interrupt_says_that_the_same_command_goes_on(
    run: Run, learning_desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mailroom.workspace.learning.learn_workspace", interrupted)
    ended = run("-w", learning_desk, "learn")
    assert ended.code == 130
    assert ended.err.splitlines() == [
        "mailroom: what was done is kept: the same command goes on from here",
        "mailroom: interrupted",
    ]
