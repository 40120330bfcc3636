"""The cross-encoder that a cycle trains, and what it teaches: when, for how long, and what becomes of it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailroom.cycle.desk import Desk
from mailroom.cycle.outcome import Outcome
from mailroom.cycle.parts import Parts
from mailroom.cycle.run import Options
from mailroom.cycle.second_stage import SecondStage, parity_of, shared_reading_of
from mailroom.cycle.setup import Answering, Setup, champion_setup
from mailroom.cycle.steps import Tell
from mailroom.errors import ModelError
from mailroom.models.registry import BI_ENCODER, CROSS_ENCODER, load_version
from mailroom.records import Example
from mailroom.store.cycles import Cycle, CycleLog
from mailroom.workspace import Workspace
from mailroom.workspace.learning import desk_of, learn_workspace
from mailroom.workspace.versions import Versions
from tests.cycle.desk import LABELS, answer_key, mail, say, set_settings
from tests.cycle.test_run import Stopped, current

EMAILS = tuple(
    Example(f"{label}-{number}", mail(label, number).text, label, "gold", "import")
    for number in range(24)
    for label in LABELS
)
PARTS = Parts(EMAILS, EMAILS, EMAILS, frozenset())
TRAINED = {
    "setup": Setup("trained_bi_encoder", "somewhere", "fp32").to_dict(),
    "figures": {"validation_top_1": 0.8, "validation_recall_at_5": 0.95},
}


@pytest.fixture
def ready(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace that trains both encoders for a moment, and has what is taken for enough to judge them."""
    for name in ("judge.ENOUGH", "second_stage.ENOUGH", "judge.LEAST_TO_CHOOSE", "words.LEAST_TO_CHOOSE"):
        monkeypatch.setattr(f"mailroom.cycle.{name}", 20)
    for name in ("reranking", "distilling"):
        monkeypatch.setattr(f"mailroom.cycle.{name}._EPOCHS", 2)
    monkeypatch.setattr("mailroom.train.bi_encoder_settings._MOST_EPOCHS", 2)
    say(workspace, 40)
    set_settings(workspace, train_from_gold=50, validation_share=0.2, train_cross_encoder='"always"')
    return workspace


def learn(root: Path, tell: Tell = lambda *_: None) -> Outcome:
    """A cycle with so much time that no machine is too slow for all of its steps."""
    with Workspace.open(root) as opened:
        return learn_workspace(opened, Options("ann", 36_000.0), tell)


def cycle_of(root: Path, cycle: str | None) -> Cycle:
    with Workspace.open(root, read_only=True) as opened:
        found = CycleLog(opened.database).get(str(cycle))
    assert found is not None
    return found


def two_stages_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose two stages whatever they did, and let no rival of theirs stand."""
    from mailroom.cycle import judge

    monkeypatch.setattr(
        judge, "best_of", lambda found, names: next((x for x in found if x.setup.cross_encoder), found[0])
    )
    monkeypatch.setattr(judge.Judge, "_regression", lambda *_: None)
    original = judge.Judge._contenders

    def alone(self: Any, *arguments: Any) -> Any:
        contenders, rivals = original(self, *arguments)
        return [one for one in contenders if one.kind == "two_stage"], rivals

    monkeypatch.setattr(judge.Judge, "_contenders", alone)


def test_both_steps_go_on_after_interruptions_and_all_ways_to_answer_are_tried(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailroom.cycle.second_stage._LEAST_LEAD", -1.0)
    first = current(ready)
    steps: list[str] = []
    for at in ("training the cross-encoder", "teaching the bi-encoder"):
        steps.clear()

        def stop(step: str, done: float, left: float, at: str = at) -> None:
            steps.append(step)
            if step == at and done > 0.5:
                raise Stopped

        with pytest.raises(Stopped):
            learn(ready, stop)
        assert current(ready) == first
    assert "training the bi-encoder" not in steps
    steps.clear()
    outcome = learn(ready, lambda step, *_: steps.append(step))
    assert not {"training the cross-encoder", "asking the cross-encoder"} & set(steps)
    done = cycle_of(ready, outcome.cycle).steps
    crossed, taught = done["cross_encoder"], done["distil"]
    assert crossed["figures"]["steps"] > 0
    assert crossed["parity"]["texts"] > 0
    assert set(crossed["shared_reading"]) == {"fp32", "int8"}
    assert taught["figures"]["lessons"] > 0
    tried = {one["setup"]["name"] for one in done["choose"]["tried"]}
    assert {"label_vectors", "trained_bi_encoder", "taught_bi_encoder"} < tried
    assert "trained_bi_encoder+trained_cross_encoder" in tried
    assert outcome.promoted, outcome.summary


def test_two_stages_are_published_answer_and_are_taken_back(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answer_key(ready, range(2000, 2003))
    with monkeypatch.context() as patch:
        two_stages_first(patch)
        outcome = learn(ready)
    assert outcome.promoted, outcome.summary
    step = cycle_of(ready, outcome.cycle).steps["cross_encoder"]
    version = load_version(ready / "models" / str(outcome.version), verify=True)
    assert version.has_cross_encoder
    assert version.manifest.parity[CROSS_ENCODER] == step["parity"]
    assert version.manifest.shared_reading == step["shared_reading"]
    assert step["shared_reading"]["fp32"], "the email side is the encoder's, which retrieval reads by too"
    assert version.manifest.trained_from["setup"] == "trained_bi_encoder+trained_cross_encoder"
    config = json.loads((version.directory / CROSS_ENCODER / "encoder.json").read_text())
    assert config["temperature"] == step["figures"]["temperature"]
    assert config["similarity_weight"] == step["figures"]["similarity_weight"]
    with Workspace.open(ready) as opened:
        found = opened.classifier().classify(mail("refund", 2000))
        assert found.decided_by == "cross_encoder"
        assert any(candidate.score is not None for candidate in found.candidates)
        Versions(opened).rollback("ann", "two stages are slow")
    assert answer_key(ready, range(2000, 2003)) == before


@pytest.mark.slow
def test_the_next_cycle_goes_on_with_the_cross_encoder_that_answers(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_stages_first(monkeypatch)
    assert learn(ready).promoted
    say(ready, 10, first=700)
    outcome = learn(ready)
    steps = cycle_of(ready, outcome.cycle).steps
    step = steps["cross_encoder"]
    assert step["figures"]["continued"]
    # Fifty are new at most. The encoder was trained anew, so that all old gold is learned again, too.
    assert steps["bi_encoder"]["figures"]["anew"]
    assert 100 < step["figures"]["sets"] <= steps["curate"]["gold_train"] + steps["curate"]["silver"]
    assert step["shared_reading"]["fp32"], "its email side has become that of the new encoder"


def test_a_cross_encoder_that_breaks_down_ends_the_cycle_and_leaves_the_champion(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = current(ready)

    def collapse(*_: object, **__: object) -> None:
        raise ModelError("training broke down: all candidates of an email score the same")

    monkeypatch.setattr("mailroom.cycle.second_stage.train_cross_encoder_step", collapse)
    with pytest.raises(ModelError, match="score the same"):
        learn(ready)
    assert current(ready) == first
    with Workspace.open(ready, read_only=True) as opened:
        (cycle,) = CycleLog(opened.database).history()
    assert cycle.outcome == "failed"


@pytest.fixture
def desk(workspace: Path) -> Any:
    with Workspace.open(workspace) as opened:
        yield desk_of(opened)


def stage(desk: Desk, wanted: str, work: Path) -> SecondStage:
    learning = replace(desk.settings.learning, train_cross_encoder=wanted)
    set_so = replace(desk, settings=replace(desk.settings, learning=learning))
    return SecondStage(set_so, Answering(set_so, work), work, champion_setup(desk), 0, lambda *_: None)


@pytest.mark.parametrize(
    ("wanted", "trained", "parts", "left_s", "reason"),
    [
        ("never", TRAINED, PARTS, 900.0, "train_cross_encoder is never"),
        ("always", {"skipped": "no validation gold"}, PARTS, 900.0, "not trained: no validation gold"),
        ("always", TRAINED, replace(PARTS, validation=EMAILS[:9]), 900.0, "9 validation gold emails"),
        ("always", TRAINED, PARTS, 12.0, "12 s of the budget"),
        ("always", TRAINED, PARTS, 900.0, "the encoder cannot start a cross-encoder"),
        ("auto", TRAINED, PARTS, 900.0, "no one-pass cross-encoder to go on with"),
    ],
)
def test_a_cross_encoder_that_cannot_be_had_is_skipped_with_a_reason(
    desk: Desk,
    tmp_path: Path,
    wanted: str,
    trained: Mapping[str, Any],
    parts: Parts,
    left_s: float,
    reason: str,
) -> None:
    found = stage(desk, wanted, tmp_path).cross_encoder(trained, parts, left_s)
    assert reason in found["skipped"]


def test_where_there_is_little_to_win_the_cross_encoder_is_left_as_it_is(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailroom.cycle.second_stage.continued", lambda _: tmp_path)
    monkeypatch.setattr("mailroom.cycle.second_stage.why_no_cross_encoder", lambda *_: None)
    sure = {**TRAINED, "figures": {"validation_top_1": 0.98, "validation_recall_at_5": 0.99}}
    found = stage(desk, "auto", tmp_path).cross_encoder(sure, PARTS, 900.0)
    assert "only 1.0% of validation gold" in found["skipped"]


def test_a_teacher_that_is_no_better_teaches_nothing(desk: Desk, tmp_path: Path) -> None:
    crossed = {
        "setup": TRAINED["setup"],
        "figures": {"validation_top_1": 0.801, "validation_retrieval_top_1": 0.8},
        "seconds_an_answer": 0.01,
    }
    found = stage(desk, "always", tmp_path).distil(crossed, PARTS, 900.0)
    assert "nothing to teach" in found["skipped"]
    late = {**crossed, "figures": {"validation_top_1": 0.9, "validation_retrieval_top_1": 0.8}}
    assert "of the budget" in stage(desk, "always", tmp_path).distil(late, PARTS, 20.0)["skipped"]


def test_time_is_kept_for_a_cross_encoder_only_where_one_may_come(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stage(desk, "never", tmp_path).encoder_share == 1.0
    assert stage(desk, "auto", tmp_path).encoder_share == 1.0
    assert 0 < stage(desk, "always", tmp_path).encoder_share < 1
    monkeypatch.setattr("mailroom.cycle.second_stage.continued", lambda _: tmp_path)
    assert 0 < stage(desk, "auto", tmp_path).encoder_share < 1


def test_parity_and_shared_reading_are_those_of_the_encoders_that_are_used(desk: Desk) -> None:
    base = Setup("trained_bi_encoder", "a/bi_encoder", "int8")
    both = replace(base, name="both", cross_encoder="b/cross_encoder", cross_precision="int8")
    taught = replace(base, name="taught", bi_encoder="c/bi_encoder")
    steps = {
        "bi_encoder": {"setup": base.to_dict(), "parity": {"passed": True}},
        "cross_encoder": {
            "setup": both.to_dict(),
            "parity": {"passed": False},
            "shared_reading": {"fp32": True, "int8": False},
        },
        "distil": {"setup": taught.to_dict(), "parity": {"passed": True, "texts": 3}},
    }
    assert parity_of(steps, both) == {BI_ENCODER: {"passed": True}, CROSS_ENCODER: {"passed": False}}
    assert parity_of(steps, taught) == {BI_ENCODER: {"passed": True, "texts": 3}}
    assert parity_of(steps, champion_setup(desk)) == {}
    assert shared_reading_of(desk, steps, both) == {"fp32": True, "int8": False}
    assert shared_reading_of(desk, steps, replace(both, bi_encoder="c/bi_encoder")) == {}
