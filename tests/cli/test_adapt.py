"""`mailroom adapt` end to end: what it would do, adoption, refusal, too little gold, bad input, kills."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mailroom.cycle.adapt import AdaptOptions
from mailroom.cycle.outcome import Outcome
from mailroom.models.prototypes import load_prototypes
from mailroom.models.registry import list_versions
from mailroom.store.prediction_log import LogEntry
from mailroom.workspace import Workspace
from mailroom.workspace.adapting import adapt_workspace
from tests.cli.conftest import Run
from tests.cycle.desk import LABELS, answer_key, mail, make_workspace, say, set_settings

KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from mailroom.train import adaptation
    from mailroom.cycle.adapt import AdaptOptions
    from mailroom.workspace import Workspace
    from mailroom.workspace.adapting import adapt_workspace

    adaptation._TEXTS = 50

    def tell(step, done, left):
        if step == sys.argv[3] and done >= float(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)

    with Workspace.open(Path(sys.argv[1])) as workspace:
        adapt_workspace(workspace, [Path(sys.argv[2])], AdaptOptions("test", 600.0), tell, print)
    """
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailroom.train.adaptation._TEXTS", 50)


def mailbox(path: Path, count: int = 8) -> Path:
    """Unlabelled mail of every label."""
    emails = [mail(label, number) for number in range(5000, 5000 + count) for label in LABELS]
    rows = [{"id": one.id, "subject": one.subject, "body": one.body} for one in emails]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def adapted(root: Path, *sources: Path, **options: Any) -> Outcome:
    with Workspace.open(root) as opened:
        return adapt_workspace(
            opened, sources, AdaptOptions("ann", 600.0, **options), lambda *_: None, lambda _: None
        )


def current(root: Path) -> str | None:
    with Workspace.open(root, read_only=True) as opened:
        return opened.promotions.current()


def log_mail(root: Path, count: int) -> None:
    with Workspace.open(root) as opened:
        opened.register_taxonomy()
        classify = opened.classifier().classify
        emails = [mail(label, number) for number in range(7000, 7000 + count) for label in LABELS]
        opened.log.append([LogEntry(classify(email), email, "test") for email in emails])


def test_a_dry_run_says_what_would_be_used(run: Run, learning_desk: Path, tmp_path: Path) -> None:
    say(learning_desk, 10)
    box = mailbox(tmp_path / "mail.jsonl")
    dry = run("-w", learning_desk, "adapt", box, box, "--dry-run")
    assert dry.code == 0
    assert "to adapt to: 40 emails and " in dry.out
    assert "to judge by: 50 gold emails" in dry.out
    record = json.loads(run("-w", learning_desk, "adapt", box, "--dry-run", "--json").out)
    assert (record["emails"], record["judged_by"], record["would_judge"]) == (40, 50, True)
    assert len(list_versions(learning_desk / "models")) == 1
    assert not (learning_desk / "adaptation").exists()


def test_an_encoder_that_is_no_worse_answers(run: Run, learning_desk: Path, tmp_path: Path) -> None:
    say(learning_desk, 10)
    set_settings(learning_desk, tolerance=1.0)
    first = current(learning_desk)
    done = run("-w", learning_desk, "adapt", mailbox(tmp_path / "mail.jsonl"), "--json", "--budget", "5m")
    assert done.code == 0, done.err
    outcome = json.loads(done.out)
    assert (outcome["outcome"], outcome["champion"]) == ("promoted", first)
    assert outcome["version"] == current(learning_desk) != first
    assert outcome["figures"]["emails"] == 50
    with Workspace.open(learning_desk) as opened:
        manifest = opened.version.manifest
        assert (manifest.parent, manifest.trained_from["adapted_from"]) == (first, first)
        assert (manifest.trained_from["emails"], manifest.trained_from["judged_by"]) == (40, 50)
        assert manifest.trained_from["likeness"] > 0.5
    assert len(answer_key(learning_desk, range(2))) == 10
    assert not (learning_desk / "adaptation" / "run").exists()
    assert run("-w", learning_desk, "models", "rollback", "--yes").code == 0
    assert current(learning_desk) == first


def test_one_that_is_worse_is_refused(
    run: Run,
    learning_desk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    say(learning_desk, 10)
    answers = answer_key(learning_desk, range(3))
    monkeypatch.setattr("mailroom.cycle.adapted_judge.judge", _worse)
    refused = run("-w", learning_desk, "adapt", mailbox(tmp_path / "mail.jsonl"))
    assert refused.code == 3
    assert refused.out.startswith("not promoted: top-1 got worse")
    assert "goes on answering" in refused.err
    assert answer_key(learning_desk, range(3)) == answers
    # What was refused is kept, and can be promoted all the same.
    assert len(list_versions(learning_desk / "models")) == 2


def _worse(*arguments: Any) -> Any:
    from mailroom.evaluate.gate import Verdict, judge

    verdict = judge(*arguments)
    reasons = ("top-1 got worse",)
    return Verdict(False, verdict.chosen, verdict.emails, verdict.checks, reasons, verdict.comparison)


def test_without_gold_it_is_not_adopted_unless_forced(
    run: Run,
    learning_desk: Path,
    tmp_path: Path,
) -> None:
    box, first = mailbox(tmp_path / "mail.jsonl"), current(learning_desk)
    assert (
        "0 gold emails, 30 are needed: would not run"
        in run("-w", learning_desk, "adapt", box, "--dry-run").out
    )
    refused = run("-w", learning_desk, "adapt", box)
    assert (refused.code, current(learning_desk)) == (3, first)
    assert "expected at least 30 held-out gold emails to judge by, got 0" in refused.out
    forced = run("-w", learning_desk, "adapt", box, "--force")
    assert forced.code == 0, forced.err
    assert "promoted unjudged" in forced.out
    assert current(learning_desk) != first


def test_mail_of_the_log_is_taken_where_none_is_named(learning_desk: Path) -> None:
    say(learning_desk, 8)
    set_settings(learning_desk, tolerance=1.0)
    log_mail(learning_desk, 4)
    outcome = adapted(learning_desk)
    assert outcome.promoted
    with Workspace.open(learning_desk) as opened:
        assert opened.version.manifest.trained_from["emails"] == 20


def test_no_mail_is_an_error_and_what_cannot_be_read_is_named(
    run: Run,
    learning_desk: Path,
    tmp_path: Path,
) -> None:
    say(learning_desk, 10)
    set_settings(learning_desk, tolerance=1.0)
    nothing = run("-w", learning_desk, "adapt")
    assert nothing.code == 1
    assert "expected emails to adapt the encoder to, found none" in nothing.err
    box, image = mailbox(tmp_path / "mail.jsonl"), tmp_path / "picture.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    with box.open("a", encoding="utf-8") as file:
        file.write("[1, 2]\n")
    dry = run("-w", learning_desk, "adapt", tmp_path / "gone.mbox", image, box, "--dry-run")
    assert dry.code == 0
    assert "to adapt to: 40 emails" in dry.out
    assert "gone.mbox" in dry.err
    assert "picture.png" in dry.err
    assert "mail.jsonl:41" in dry.err


def test_an_unreadable_budget_is_wrong_usage(run: Run, learning_desk: Path) -> None:
    assert run("-w", learning_desk, "adapt", "--budget", "soon").code == 2


@pytest.mark.parametrize(
    ("step", "done"), [("training on hidden words", 0.5), ("exporting the bi-encoder", 0.0)]
)
def test_a_killed_run_goes_on_with_the_mail_that_it_had_read(
    learning_desk: Path,
    tmp_path: Path,
    step: str,
    done: float,
) -> None:
    say(learning_desk, 10)
    set_settings(learning_desk, tolerance=1.0)
    box = mailbox(tmp_path / "mail.jsonl", 16)
    command = [sys.executable, "-c", KILLED, str(learning_desk), str(box), step, str(done)]
    killed = subprocess.run(command, check=False, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    first = current(learning_desk)
    with Workspace.open(learning_desk, read_only=True) as opened:
        assert opened.classifier().classify(mail("late", 1)).model == first
    again = adapted(learning_desk, mailbox(box, 20))
    assert again.promoted
    assert "went on" in again.notes[0]
    with Workspace.open(learning_desk) as opened:
        assert opened.version.manifest.trained_from["emails"] == 80
    assert not (learning_desk / "adaptation" / "run").exists()


def test_label_vectors_are_learned_anew_and_judged_by_what_they_did_not_see(
    learning_desk: Path,
) -> None:
    from mailroom.cycle.run import Options
    from mailroom.workspace.learning import learn_workspace

    say(learning_desk, 60)
    log_mail(learning_desk, 4)
    with Workspace.open(learning_desk) as opened:
        assert learn_workspace(opened, Options("ann", 600.0), lambda *_: None).promoted
    set_settings(learning_desk, tolerance=1.0)
    with Workspace.open(learning_desk) as opened:
        old = load_prototypes(opened.version.prototypes_path or Path())
        cycle = opened.version.manifest.trained_from["cycle"]
        held_back = sum(opened.version.manifest.trained_from[part] for part in ("validation", "evaluation"))
    outcome = adapted(learning_desk)
    assert outcome.promoted, outcome.summary
    assert outcome.figures["emails"] == held_back
    with Workspace.open(learning_desk) as opened:
        new = load_prototypes(opened.version.prototypes_path or Path())
        assert opened.version.manifest.trained_from["learned_in"] == cycle
    assert old is not None
    assert new is not None
    assert old.labels == new.labels
    assert not np.allclose(old.vectors, new.vectors)
    with Workspace.open(learning_desk) as opened:
        waiting = learn_workspace(opened, Options("ann", 600.0), lambda *_: None)
    assert (waiting.nothing_new, waiting.notes) == (True, ())


def test_late_interaction_compares_tokens_of_the_adapted_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mailroom.models.encoder_config import LateInteractionConfig, read_config

    monkeypatch.setattr("mailroom.models.parity.MAX_RELATIVE_DIFFERENCE", 1e9)
    monkeypatch.setattr("mailroom.models.parity.MIN_TOP1_AGREEMENT", 0.0)
    root = make_workspace(tmp_path, "late-interaction")
    say(root, 10)
    set_settings(root, tolerance=1.0)
    with Workspace.open(root) as opened:
        before = opened.version
    outcome = adapted(root, mailbox(tmp_path / "mail.jsonl"))
    assert outcome.promoted, outcome.summary
    assert outcome.figures["retrieval"]["emails"] == 50
    with Workspace.open(root) as opened:
        after = opened.version
        one, other = (
            read_config(v.directory / "cross_encoder", LateInteractionConfig) for v in (before, after)
        )
        assert one == other
        assert after.manifest.shared_reading["fp32"]
        graphs = [v.manifest.files["cross_encoder/model.fp32.onnx"].sha256 for v in (before, after)]
        assert graphs[0] != graphs[1]
        assert opened.classifier().classify(mail("late", 1)).decided_by == "cross_encoder"


def test_one_at_a_time(learning_desk: Path, tmp_path: Path) -> None:
    import fcntl

    from mailroom.errors import CycleBusyError

    say(learning_desk, 10)
    (learning_desk / "adaptation").mkdir()
    with (learning_desk / "adaptation" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CycleBusyError, match="another adaptation is under way"):
            adapted(learning_desk, mailbox(tmp_path / "mail.jsonl"))
