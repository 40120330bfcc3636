"""An encoder that a cycle trains: who takes its place where it may not answer, and what it has seen."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailroom.cycle.judge import Judge, Judgement
from mailroom.cycle.setup import Setup
from mailroom.cycle.steps import encoder_start
from mailroom.evaluate.gate import Check
from mailroom.models.registry import load_version
from mailroom.models.retention import remove_version
from mailroom.store.cycles import CycleLog
from mailroom.store.snapshots import Snapshots
from mailroom.train import bi_encoder
from mailroom.workspace import Workspace
from mailroom.workspace.learning import desk_of, preview_workspace
from tests.cycle.desk import say, set_settings
from tests.cycle.test_run import current, learn


def test_an_encoder_is_trained_exported_and_judged(workspace: Path) -> None:
    say(workspace, 110)
    set_settings(workspace, train_from_gold=50)
    outcome = learn(workspace)
    assert outcome.promoted
    with Workspace.open(workspace, read_only=True) as opened:
        cycle = CycleLog(opened.database).get(str(outcome.cycle))
    assert cycle is not None
    trained = cycle.steps["bi_encoder"]
    assert trained["figures"]["steps"] > 0
    assert trained["figures"]["runs"] == 3
    assert trained["parity"]["texts"] > 0
    tried = {one["setup"]["name"] for one in cycle.steps["choose"]["tried"]}
    assert {"label_vectors", "trained_bi_encoder"} <= tried


def test_an_encoder_that_the_gate_could_not_judge_is_not_trained(workspace: Path) -> None:
    say(workspace, 20)
    set_settings(workspace, train_from_gold=50)
    with Workspace.open(workspace, read_only=True) as opened:
        preview = preview_workspace(opened, 0, lambda *_: None)
    assert preview["gold"]["train"] >= 50 > 30 > preview["gold"]["evaluation"]
    assert "gold emails kept to judge a trained encoder by, 30 are needed" in preview["why_not_train"]
    outcome = learn(workspace)
    assert outcome.promoted
    assert any("30 are needed" in note for note in outcome.notes)


def test_without_torch_label_vectors_learn_alone(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailroom.cycle.training._NEEDED", ("torch", "no_such_package"))
    say(workspace, 30)
    set_settings(workspace, train_from_gold=50)
    with Workspace.open(workspace, read_only=True) as opened:
        why_not = preview_workspace(opened, 0, lambda *_: None)["why_not_train"]
    assert "training needs no_such_package; pip install 'mailroom[train]'" in why_not
    outcome = learn(workspace)
    assert outcome.promoted
    assert any("no_such_package" in note for note in outcome.notes)


def test_where_the_gate_refuses_a_trained_encoder_label_vectors_stand_in(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Judge.judge

    def strict(self: Judge, champion: Setup, challenger: Setup, *rest: Any) -> Judgement:
        judgement = original(self, champion, challenger, *rest)
        if not challenger.name.startswith("trained"):
            return judgement
        return replace(judgement, verdict=replace(judgement.verdict, passed=False, reasons=("too slow",)))

    monkeypatch.setattr(Judge, "judge", strict)
    say(workspace, 60)
    set_settings(workspace, train_from_gold=50)
    outcome = learn(workspace)
    assert outcome.promoted
    assert any("too slow" in note and "label vectors" in note for note in outcome.notes)
    manifest = load_version(workspace / "models" / str(outcome.version)).manifest
    assert manifest.trained_from["setup"].startswith("label_vectors")
    assert "encoder_cycle" not in manifest.trained_from


def test_training_begins_with_the_encoder_that_no_cycle_trained(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    original = bi_encoder.train_bi_encoder

    def watched(source: Path, *rest: Any, **given: Any) -> Any:
        read.append(source)
        return original(source, *rest, **given)

    monkeypatch.setattr(bi_encoder, "train_bi_encoder", watched)
    monkeypatch.setattr("mailroom.evaluate.gate._not_worse", lambda *_: Check("any", True, "let pass"))
    set_settings(workspace, train_from_gold=50, encoder_runs=1)
    models, found = workspace / "models", [current(workspace)]
    for first in (0, 100):
        say(workspace, 60, first=first)
        found.append(learn(workspace).version)
    versions = [load_version(models / str(name)) for name in found]
    assert read == [versions[0].directory / "bi_encoder" / "weights"] * 2
    assert [one.encoder_start for one in versions] == [None, versions[0].id, versions[0].id]
    # Where there is no time for all of it, or where that encoder is gone, the champion's goes on.
    monkeypatch.setattr("mailroom.cycle.training._seconds_of", lambda *_: 1_000.0)
    say(workspace, 20, first=200)
    last = load_version(models / str(learn(workspace).version))
    assert read[2:] == [versions[2].directory / "bi_encoder" / "weights"]
    assert last.encoder_start == versions[0].id
    remove_version(models, versions[0].id)
    say(workspace, 20, first=300)
    after = load_version(models / str(learn(workspace).version))
    assert read[3:] == [last.directory / "bi_encoder" / "weights"]
    assert after.encoder_start == last.id


def test_versions_that_do_not_name_their_start_are_led_there_by_their_parents(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(workspace, 60)
    set_settings(workspace, train_from_gold=50)
    monkeypatch.setattr("mailroom.evaluate.gate._not_worse", lambda *_: Check("any", True, "let pass"))
    first, trained = current(workspace), learn(workspace).version
    with Workspace.open(workspace) as opened:
        desk = desk_of(opened)
    assert desk.champion.id == trained
    made = dict(desk.champion.manifest.trained_from)
    assert made.pop("encoder_start") == first

    def start_of(**more: str) -> str:
        manifest = replace(desk.champion.manifest, trained_from={**made, **more})
        return encoder_start(replace(desk, champion=replace(desk.champion, manifest=manifest))).id

    assert start_of() == first
    # An adapted encoder is where training begins next, whatever it was trained on before.
    assert start_of(adapted_from="some") == trained
    assert start_of(encoder_start="v0099-00000000") == trained


def test_what_the_encoder_was_trained_on_judges_nothing_behind_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(workspace, 40)
    set_settings(workspace, train_from_gold=50)
    with monkeypatch.context() as patched:
        patched.setattr("mailroom.cycle.label_step.choose_text_weight", lambda *_: 16.0)
        first = learn(workspace)
    monkeypatch.setattr("mailroom.cycle.label_learning.answered_right", lambda *_: None)
    set_settings(workspace, train_from_gold=10_000)
    say(workspace, 12, first=500)
    second = learn(workspace, force=True)
    with Workspace.open(workspace) as opened:
        # Label vectors behind the trained encoder leave it as it was.
        for outcome in (first, second):
            manifest = load_version(workspace / "models" / str(outcome.version)).manifest
            assert manifest.trained_from["encoder_cycle"] == first.cycle
            # Where new emails are too few to choose anew what the labels' texts count, that goes on.
            assert manifest.trained_from["text_kappa"] == 16.0
        log, snapshots = CycleLog(opened.database), Snapshots(opened.database)
        steps = log.get(str(second.cycle)).steps  # type: ignore[union-attr]
        seen, gold = (
            {one.email_id for one in snapshots.load(str(cycle), "train") if one.grade == "gold"}
            for cycle in (first.cycle, second.cycle)
        )
        validation = {one.email_id for one in snapshots.load(str(second.cycle), "validation")}
    tried = {one["setup"]["name"]: one["emails"] for one in steps["choose"]["tried"]}
    assert tried["label_vectors"] == len(gold - seen) + len(validation)
