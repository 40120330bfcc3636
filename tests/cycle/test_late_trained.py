"""Late interaction behind an encoder that a cycle trained, and behind a champion that had none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mailroom.cycle import late_trained
from mailroom.cycle.late_step import LATE, Counted
from mailroom.cycle.late_trained import late_beside_trained
from mailroom.cycle.parts import Parts
from mailroom.cycle.run import Options
from mailroom.cycle.setup import Setup
from mailroom.models.encoder_config import LATE_INTERACTION
from mailroom.models.late_interaction import LateInteraction
from mailroom.models.registry import ModelVersion, load_version
from mailroom.store.cycles import Cycle, CycleLog
from mailroom.workspace import Workspace
from mailroom.workspace.learning import learn_workspace
from tests.cycle.desk import accuracy, answer_key, make_workspace, say, set_settings

LABELS = Setup("label_vectors", "old/bi_encoder", "fp32")
TRAINED = Setup("trained_bi_encoder", "new/bi_encoder", "fp32")
COUNTED = {"label_vectors": 0.2, "label_vectors_with_silver": 0.3, "label_vectors_with_mail+words": 0.6}


@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        # As silver does where there was any; what mail drew like what mail drew; words like words.
        (TRAINED, 0.3),
        (replace(TRAINED, mail_weight=0.1), 0.3),
        (replace(TRAINED, mail_weight=0.1, lexical="words"), 0.6),
        (replace(TRAINED, lexical="words"), None),
    ],
)
def test_it_counts_what_it_does_behind_labels_that_learned_alike(
    trained: Setup, expected: float | None
) -> None:
    counted = {name + LATE: Counted(weight, 0.07) for name, weight in COUNTED.items()}
    found = late_trained._twin(trained, counted)
    assert (found.weight if found else None) == expected


def test_nothing_is_exported_where_it_counts_nothing() -> None:
    nothing: Any = None
    made = late_beside_trained(
        nothing, nothing, Path(), Parts((), (), (), frozenset()), [LABELS], [TRAINED], nothing
    )
    assert made == {"setups": []}


@pytest.fixture
def late_workspace(tmp_path: Path) -> Path:
    root = make_workspace(tmp_path, LATE_INTERACTION)
    say(root, 30)
    return root


def learn(root: Path) -> tuple[Cycle, ModelVersion]:
    """One cycle, what was kept of it, and what answers after it."""
    with Workspace.open(root) as workspace:
        outcome = learn_workspace(workspace, Options("ann", 600.0), lambda *_: None)
        cycle = CycleLog(workspace.database).get(str(outcome.cycle))
    assert outcome.promoted, outcome.summary
    assert cycle is not None
    return cycle, load_version(root / "models" / str(outcome.version))


def late_of(version: ModelVersion) -> LateInteraction:
    late = version.load_cross_encoder()
    assert isinstance(late, LateInteraction)
    return late


def test_a_trained_encoder_answers_with_it_where_the_gate_prefers_that(
    late_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_settings(late_workspace, train_from_gold=50)
    monkeypatch.setattr("mailroom.cycle.late_step.WEIGHTS", (0.2,))
    monkeypatch.setattr("mailroom.evaluate.gate._best", lambda contenders: contenders[-1])
    cycle, version = learn(late_workspace)
    kept = cycle.steps["late_beside_trained"]
    chosen = Setup(**cycle.steps["choose"]["setup"])
    assert chosen.name.startswith("trained_bi_encoder")
    assert chosen.name.endswith(LATE)
    assert chosen.name in {one["name"] for one in kept["setups"]}
    # It reads by the encoder that was trained, and shares its reading.
    assert version.manifest.shared_reading == kept["shared_reading"]
    assert version.manifest.shared_reading["fp32"]
    assert version.manifest.parity["cross_encoder"] == kept["parity"]
    assert late_of(version).weight == 0.2
    retrieves = version.load_bi_encoder("fp32").encode_query("last month paid twice")
    reader = version.load_cross_encoder("fp32")
    assert isinstance(reader, LateInteraction)
    read = reader.read("last month paid twice").vector
    assert read / np.linalg.norm(read) == pytest.approx(retrieves / np.linalg.norm(retrieves), abs=1e-4)
    assert {answer[1] for answer in answer_key(late_workspace, range(5))} == {version.id}
    assert accuracy(late_workspace) > 0.5


def learn_without(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cycle of label vectors alone, after which the champion answers without late interaction."""
    set_settings(root, train_from_gold=10_000)
    monkeypatch.setattr("mailroom.cycle.late_step.WEIGHTS", (0.0,))
    _, without = learn(root)
    assert not without.has_cross_encoder


def test_a_workspace_that_began_with_it_tries_it_again_where_a_cycle_did_without(
    late_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn_without(late_workspace, monkeypatch)
    monkeypatch.setattr("mailroom.cycle.late_step.WEIGHTS", (0.2,))
    monkeypatch.setattr("mailroom.cycle.judge.best_of", lambda found, _: found[-1])
    monkeypatch.setattr("mailroom.evaluate.gate._best", lambda contenders: contenders[-1])
    say(late_workspace, 20, first=200)
    cycle, version = learn(late_workspace)
    assert cycle.steps["late_interaction"]["parity"]["texts"] > 0
    assert late_of(version).weight == 0.2
    assert version.manifest.shared_reading["fp32"]


def test_without_what_exports_it_a_cycle_does_without(
    late_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn_without(late_workspace, monkeypatch)

    def missing(*_: Any) -> None:
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")

    monkeypatch.setattr("mailroom.models.export_one_pass.export_late_interaction", missing)
    say(late_workspace, 20, first=200)
    cycle, _ = learn(late_workspace)
    assert cycle.steps["late_reader"]["skipped"] == "exporting it needs onnx; pip install 'mailroom[train]'"
    assert "late_interaction" not in cycle.steps


def test_where_its_int8_graph_fails_the_trained_encoder_stands_without_it(
    late_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_settings(late_workspace, train_from_gold=50)
    monkeypatch.setattr("mailroom.cycle.late_step.WEIGHTS", (0.2,))
    failed = {"passed": False, "texts": 1}
    monkeypatch.setattr("mailroom.cycle.late_reader.cross_encoder_gate", lambda *_: failed)
    monkeypatch.setattr(ModelVersion, "precision_of", lambda *_: "int8")
    cycle, version = learn(late_workspace)
    assert "int8" in cycle.steps["late_beside_trained"]["skipped"]
    tried = {one["setup"]["name"] for one in cycle.steps["choose"]["tried"]}
    assert not any(name.startswith("trained") and name.endswith(LATE) for name in tried)
    assert version.manifest.trained_from["setup"].startswith("trained_bi_encoder")


def test_a_version_that_the_gate_left_without_it_claims_nothing_of_it(
    late_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_settings(late_workspace, train_from_gold=50)
    monkeypatch.setattr("mailroom.cycle.late_step.WEIGHTS", (0.2,))
    monkeypatch.setattr("mailroom.evaluate.gate._best", lambda contenders: contenders[0])
    cycle, version = learn(late_workspace)
    assert cycle.steps["choose"]["setup"]["name"].endswith(LATE)
    assert not version.has_cross_encoder
    assert not version.manifest.shared_reading
    assert "cross_encoder" not in version.manifest.parity
    assert not version.manifest.trained_from["setup"].endswith(LATE)


def test_a_workspace_that_began_without_it_stays_without(workspace: Path) -> None:
    say(workspace, 30)
    set_settings(workspace, train_from_gold=10_000)
    cycle, version = learn(workspace)
    assert "late_interaction" not in cycle.steps
    assert not version.has_cross_encoder
