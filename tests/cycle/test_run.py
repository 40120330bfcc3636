"""One turn of the loop on a tiny workspace: promoted, refused, waited with, interrupted, and taken back."""

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailroom.cycle.label_learning import learn_labels
from mailroom.cycle.outcome import Outcome
from mailroom.cycle.promote import promote
from mailroom.cycle.run import Options
from mailroom.errors import CycleBusyError, ModelError
from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.registry import list_versions, load_version
from mailroom.store.cycles import CycleLog
from mailroom.store.snapshots import Snapshots
from mailroom.workspace import Workspace
from mailroom.workspace.learning import learn_workspace, preview_workspace
from mailroom.workspace.versions import Versions
from tests.cycle.desk import LABELS, accuracy, answer_key, say, set_settings

KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from mailroom.cycle.run import Options
    from mailroom.workspace import Workspace
    from mailroom.workspace.learning import learn_workspace

    def tell(step, done, left):
        if step == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)

    with Workspace.open(Path(sys.argv[1])) as workspace:
        learn_workspace(workspace, Options("test", 600.0), tell)
    """
)


def learn(root: Path, force: bool = False, steps: list[str] | None = None) -> Outcome:
    def tell(step: str, done: float, left: float) -> None:
        if steps is not None and step not in steps:
            steps.append(step)

    with Workspace.open(root) as workspace:
        return learn_workspace(workspace, Options("ann", 600.0, force=force), tell)


def current(root: Path) -> str | None:
    with Workspace.open(root, read_only=True) as workspace:
        return workspace.promotions.current()


def test_what_people_said_is_learned_and_promoted(workspace: Path) -> None:
    before = accuracy(workspace)
    say(workspace, 40)
    first = current(workspace)
    outcome = learn(workspace)
    assert outcome.promoted
    assert outcome.champion == first
    assert outcome.version == current(workspace) != first
    assert accuracy(workspace) > before + 0.3
    figures = outcome.figures
    assert figures["challenger"]["top_1"] > figures["champion"]["top_1"]
    with Workspace.open(workspace) as opened:
        manifest = opened.version.manifest
        assert manifest.parent == first
        assert manifest.trained_from["cycle"] == outcome.cycle
        assert manifest.metrics == figures["challenger"]
        last = opened.promotions.history()[-1]
        assert (last.promoted_by, last.reason) == ("ann", f"learned: {outcome.summary}")
        counts = Snapshots(opened.database).count(str(outcome.cycle))
        kept = sum(counts.values())
        assert kept == 40 * len(LABELS) - opened_set_aside(workspace, outcome)
        assert counts["evaluation", "gold"] == manifest.trained_from["evaluation"]


def test_a_new_version_brings_its_own_marks_and_the_report_states_them(workspace: Path) -> None:
    say(workspace, 120)
    outcome = learn(workspace)
    review = outcome.figures["review"]
    with Workspace.open(workspace) as opened:
        manifest, rules = opened.version.manifest, opened.review_rules()
        assert manifest.calibration["review_below_probability"] == review["below_probability"]
        assert rules.outside_above == manifest.calibration["outside_above"] == review["outside_above"]
        assert rules.below_probability >= review["below_probability"]
    assert review["basis"] in ("proven", "observed", "unreached")
    told = (Path(str(outcome.folder)) / "report.txt").read_text()
    assert review["words"] in told
    assert "top-1 of what is not marked" in told
    assert {"unmarked_accuracy", "review_rate"} <= manifest.metrics.keys()


def opened_set_aside(root: Path, outcome: Outcome) -> int:
    report = json.loads((root / "cycles" / str(outcome.cycle) / "curated.json").read_text())
    return len(report["gold"]["set_aside"])


def test_reports_stay_and_working_files_go(workspace: Path) -> None:
    say(workspace, 40)
    folder = Path(str(learn(workspace).folder))
    assert {"curated.json", "report.json", "outcome.json"} <= {path.name for path in folder.iterdir()}
    assert not (folder / "work").exists()
    report = json.loads((folder / "report.json").read_text())
    assert report["verdict"]["passed"]
    assert report["setup"]["name"] in {one["setup"]["name"] for one in report["steps"]["choose"]["tried"]}


def test_an_unchanged_encoder_is_linked_rather_than_copied(workspace: Path) -> None:
    say(workspace, 40)
    outcome = learn(workspace)
    graphs = [
        workspace / "models" / version / "bi_encoder" / "model.fp32.onnx"
        for version in (outcome.champion, str(outcome.version))
    ]
    assert graphs[0].samefile(graphs[1])
    load_version(graphs[1].parent.parent, verify=True)


def test_without_news_nothing_happens(workspace: Path) -> None:
    assert learn(workspace).nothing_new
    say(workspace, 40)
    assert learn(workspace).promoted
    versions = list_versions(workspace / "models")
    again = learn(workspace)
    assert again.nothing_new
    assert "0 newly labelled emails, 20 are needed" in again.summary
    say(workspace, 3, first=500)
    assert "15 newly labelled" in learn(workspace).summary
    assert list_versions(workspace / "models") == versions
    say(workspace, 3, first=600)
    assert not learn(workspace).nothing_new


def test_thirty_labelled_emails_are_enough_to_judge_by(workspace: Path) -> None:
    say(workspace, 8)
    outcome = learn(workspace)
    assert outcome.promoted, outcome.summary
    assert 30 <= outcome.figures["emails"] <= 40


def test_too_little_gold_is_a_refusal_with_its_reason(workspace: Path) -> None:
    say(workspace, 4)
    outcome = learn(workspace)
    assert outcome.refused
    assert "expected at least 30 gold emails" in outcome.summary
    assert current(workspace) == outcome.champion
    assert list_versions(workspace / "models") == [outcome.champion, outcome.version]


def test_the_newest_refused_version_stays_and_is_promoted_by_force_alone(workspace: Path) -> None:
    say(workspace, 30)
    set_settings(workspace, min_emails=5000)
    first = learn(workspace)
    say(workspace, 5, first=800)
    outcome = learn(workspace)
    assert outcome.refused
    assert list_versions(workspace / "models") == [outcome.champion, outcome.version]
    assert first.version != outcome.version
    with Workspace.open(workspace) as opened:
        with pytest.raises(ModelError, match="was refused by the gate: expected at least 5000 gold"):
            Versions(opened).promote(str(outcome.version), "ann", "why not")
        Versions(opened).promote(str(outcome.version), "ann", "it is needed", force=True)
    assert current(workspace) == outcome.version


def test_the_next_cycle_reads_new_mail_alone(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    encode = BiEncoder.encode_query

    def counting(self: BiEncoder, text: str) -> Any:
        read.append(text)
        return encode(self, text)

    monkeypatch.setattr(BiEncoder, "encode_query", counting)
    say(workspace, 40)
    assert learn(workspace).promoted
    first = len(read)
    say(workspace, 6, first=500)
    assert not learn(workspace).nothing_new
    assert first >= 40 * len(LABELS)
    assert len(read) - first <= 6 * len(LABELS)


def test_after_a_rollback_it_says_what_would_learn_again(workspace: Path) -> None:
    say(workspace, 40)
    assert learn(workspace).promoted
    with Workspace.open(workspace) as opened:
        Versions(opened).rollback("ann", "not now")
    outcome = learn(workspace)
    assert outcome.nothing_new
    assert any("--force" in note for note in outcome.notes)
    forced = learn(workspace, force=True)
    assert forced.promoted
    assert not any("--force" in note for note in learn(workspace).notes)


def test_what_was_left_out_and_what_judged_is_said(workspace: Path) -> None:
    say(workspace, 30)
    told: list[str] = []
    outcome = learn(workspace, steps=told)
    assert any("label vectors alone" in note and "from 1,000,000 on" in note for note in outcome.notes)
    assert any(step.startswith("bi encoder: skipped, ") for step in told)
    assert "bi encoder" not in told
    crossed = outcome.figures["cross_fitted"]
    assert crossed > 0
    assert f"{crossed} cross-fitted)" in outcome.summary
    assert "points at 95%" in outcome.summary
    assert "cross-fitted" in (Path(str(outcome.folder)) / "report.html").read_text()


def test_a_challenger_that_answers_worse_is_refused_and_nothing_changes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(workspace, 40)
    learn(workspace)
    before = answer_key(workspace, range(2000, 2005))
    say(workspace, 5, first=300)

    def learn_badly(
        labels: Sequence[str], texts: Any, examples: Any, vectors: Any, out: Path, *rest: Any
    ) -> None:
        learned = learn_labels(labels, texts, examples, vectors, out, *rest)
        replace(learned, labels=(*learned.labels[1:], learned.labels[0])).save(out)

    monkeypatch.setattr("mailroom.cycle.label_step.learn_labels", learn_badly)
    # Words would still be right.
    monkeypatch.setattr("mailroom.cycle.run.words_step", lambda *_: {"setups": [], "heads": {}})
    outcome = learn(workspace)
    assert outcome.refused
    assert any("top-1 got worse" in reason for reason in outcome.reasons)
    assert current(workspace) == outcome.champion
    assert answer_key(workspace, range(2000, 2005)) == before
    assert list_versions(workspace / "models")[1:] == [outcome.champion, outcome.version]


def test_poisoned_labels_are_refused_or_do_bounded_harm_and_are_taken_back(workspace: Path) -> None:
    say(workspace, 40)
    learn(workspace)
    clean = accuracy(workspace)
    before = answer_key(workspace, range(2000, 2005))
    # Three labels in ten of these are swapped, on a third as much mail as was labelled well.
    say(workspace, 10, first=400)
    say(workspace, 4, first=450, wrong={"refund": "invoice", "invoice": "refund", "lost": "late"})
    outcome = learn(workspace)
    assert accuracy(workspace) >= clean - 0.1
    if outcome.promoted:
        with Workspace.open(workspace) as opened:
            Versions(opened).rollback("ann", "poisoned")
    assert answer_key(workspace, range(2000, 2005)) == before


def test_a_second_cycle_at_the_same_time_is_refused(workspace: Path) -> None:
    say(workspace, 40)
    with Workspace.open(workspace) as opened:
        running = CycleLog(opened.database).begin()
        with pytest.raises(CycleBusyError, match="has been running since"):
            learn(workspace)
        CycleLog(opened.database).release(running)
    assert learn(workspace).promoted


class Stopped(BaseException):
    """Whatever ends a process without its consent."""


@pytest.mark.parametrize("at", ["curate", "label vectors", "choose", "judge"])
def test_an_interrupted_cycle_goes_on_where_it_stopped(workspace: Path, at: str) -> None:
    say(workspace, 40)
    first = current(workspace)

    def stop(step: str, done: float, left: float) -> None:
        if step == at:
            raise Stopped

    with pytest.raises(Stopped), Workspace.open(workspace) as opened:
        learn_workspace(opened, Options("ann", 600.0), stop)
    assert current(workspace) == first
    with Workspace.open(workspace, read_only=True) as opened:
        begun = CycleLog(opened.database).running()
        assert begun is not None
        done = list(begun.steps)
    steps: list[str] = []
    outcome = learn(workspace, steps=steps)
    assert outcome.promoted
    assert outcome.cycle == begun.id
    assert not {name.replace("_", " ") for name in done} & set(steps)


@pytest.mark.parametrize("at", ["curate", "choose", "judge"])
def test_a_killed_process_costs_nothing_but_its_step(workspace: Path, at: str) -> None:
    say(workspace, 40)
    first = current(workspace)
    command = [sys.executable, "-c", KILLED, str(workspace), at]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert current(workspace) == first
    assert accuracy(workspace) >= 0
    outcome = learn(workspace)
    assert outcome.promoted
    assert len(list_versions(workspace / "models")) == 2
    with Workspace.open(workspace, read_only=True) as opened:
        (cycle,) = CycleLog(opened.database).history()
        assert (cycle.takeovers, cycle.outcome) == (1, "promoted")


def test_a_kill_between_publication_and_promotion_ends_in_one_version(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(workspace, 40)

    def stop(*_: object, **__: object) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr("mailroom.cycle.ending.promote", stop)
        with pytest.raises(Stopped):
            learn(workspace)
    assert len(list_versions(workspace / "models")) == 2
    outcome = learn(workspace)
    assert outcome.promoted
    assert current(workspace) == outcome.version == list_versions(workspace / "models")[-1]
    assert len(list_versions(workspace / "models")) == 2


def test_a_version_that_came_between_is_not_overruled(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(workspace, 40)

    def late(*arguments: Any) -> None:
        with Workspace.open(workspace) as opened:
            opened.promotions.promote("v0009-00000000", "bob", "in a hurry")
        promote(*arguments)

    monkeypatch.setattr("mailroom.cycle.ending.promote", late)
    outcome = learn(workspace)
    assert outcome.refused
    assert "v0009-00000000 has become the current version" in outcome.summary
    assert current(workspace) == "v0009-00000000"


def test_a_changed_label_tree_starts_an_interrupted_cycle_anew(workspace: Path) -> None:
    say(workspace, 40)

    def stop(step: str, done: float, left: float) -> None:
        if step == "choose":
            raise Stopped

    with pytest.raises(Stopped), Workspace.open(workspace) as opened:
        learn_workspace(opened, Options("ann", 600.0), stop)
    path = workspace / "taxonomy.yaml"
    path.write_text(path.read_text() + "  - id: other\n    name: Other\n", encoding="utf-8")
    outcome = learn(workspace)
    assert outcome.promoted
    with Workspace.open(workspace, read_only=True) as opened:
        assert [cycle.outcome for cycle in CycleLog(opened.database).history()] == ["promoted", "stale"]


def test_training_that_breaks_down_ends_the_cycle_and_leaves_the_champion(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(workspace, 110)
    set_settings(workspace, train_from_gold=50)
    first = current(workspace)

    def collapse(*_: object, **__: object) -> None:
        raise ModelError("training broke down: the loss at step 3 is not finite")

    with monkeypatch.context() as patch:
        patch.setattr("mailroom.cycle.run.train_bi_encoder_step", collapse)
        with pytest.raises(ModelError, match="broke down"):
            learn(workspace)
    assert current(workspace) == first
    with Workspace.open(workspace, read_only=True) as opened:
        (cycle,) = CycleLog(opened.database).history()
        assert cycle.outcome == "failed"
        assert "broke down" in str(cycle.summary)
    set_settings(workspace, train_from_gold=5000)
    assert learn(workspace).promoted


def test_a_preview_writes_nothing(workspace: Path) -> None:
    say(workspace, 40)
    before = {path: path.stat().st_mtime_ns for path in workspace.rglob("*.json")}
    with Workspace.open(workspace, read_only=True) as opened:
        record = preview_workspace(opened, 0, lambda *_: None)
    assert record["new_gold"] == 200
    assert record["would_learn"]
    assert not record["would_train"]
    with Workspace.open(workspace, read_only=True) as opened:
        assert CycleLog(opened.database).history() == []
    assert {path: path.stat().st_mtime_ns for path in workspace.rglob("*.json")} == before


def test_old_versions_are_pruned_after_a_promotion(workspace: Path) -> None:
    set_settings(workspace, keep_versions=1, min_new_gold=1, tolerance=1.0)
    first = current(workspace)
    promoted = []
    for number in range(3):
        say(workspace, 30, first=1000 * number)
        promoted.append(learn(workspace).version)
    assert None not in promoted
    assert list_versions(workspace / "models") == promoted[1:]
    assert first not in promoted
