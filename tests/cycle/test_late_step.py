"""How a cycle values late interaction behind labels that have learned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mailroom.cycle.late_step import LATE, WEIGHTS, Counted, LateScores, choose, counted_by
from mailroom.cycle.run import Options
from mailroom.cycle.setup import Setup
from mailroom.evaluate.answers import Answer
from mailroom.models.encoder_config import LATE_INTERACTION
from mailroom.models.late_interaction import LateInteraction
from mailroom.models.lexical_weight import TEMPERATURES
from mailroom.models.registry import ModelVersion
from mailroom.store.cycles import CycleLog
from mailroom.workspace import Workspace
from mailroom.workspace.learning import learn_workspace
from tests.cycle.desk import accuracy, answer_key, make_workspace, say, set_settings

RANKED = ("a", "b", "c")
USUAL = Counted(0.3, 0.075)


class Known(LateScores):
    """Late interaction that is given, by email."""

    def __init__(self, scores: dict[str, list[float]]) -> None:
        self._scores = scores

    @property
    def counted(self) -> Counted:
        return USUAL

    def of(self, answer: Answer) -> Any:
        by_label = dict(zip(RANKED, self._scores[answer.email_id], strict=True))
        return np.array([by_label[label] for label in answer.ranked], dtype=np.float32)


def answers(count: int, helps: bool, seed: int = 0) -> tuple[list[Answer], Known]:
    """Answers of a weak retrieval, and late interaction that knows the truth, or only noise."""
    generator = np.random.default_rng(seed)
    found, scores = [], {}
    for number in range(count):
        truth = int(generator.integers(3))
        cosines = generator.normal(0.5, 0.05, 3)
        cosines[truth] += 0.05
        late = generator.normal(0.5, 0.05 if helps else 0.3, 3)
        late[truth] += 0.3 if helps else 0.0
        order = np.argsort(-cosines)
        shares = (1 / 3,) * 3
        ranked = tuple(RANKED[place] for place in order)
        found.append(Answer(f"e{number}", RANKED[truth], ranked, shares, tuple(cosines[order].tolist())))
        scores[f"e{number}"] = late.tolist()
    return found, Known(scores)


def test_it_counts_where_it_tells_the_right_label() -> None:
    counted = choose(*answers(200, helps=True))
    assert counted.weight in WEIGHTS
    assert counted.weight >= 0.3
    assert counted.temperature in TEMPERATURES


def test_it_counts_nothing_where_it_tells_nothing() -> None:
    assert choose(*answers(300, helps=False)).weight == 0.0


def test_few_emails_leave_it_as_it_was() -> None:
    found, scores = answers(29, helps=True)
    assert choose(found, scores) == USUAL
    # An email whose label was not retrieved says nothing of the order of the others.
    lost = [Answer(f"lost{n}", "z", RANKED, (1 / 3,) * 3, (0.5, 0.4, 0.3)) for n in range(50)]
    assert choose([*found, *lost], scores) == USUAL


def test_an_answer_is_ranked_by_both() -> None:
    answer = Answer("e", "c", RANKED, (0.5, 0.3, 0.2), (0.6, 0.5, 0.4))
    scores = Known({"e": [0.1, 0.2, 0.9]})
    reranked = scores.rerank(answer, Counted(0.5, 0.1))
    assert reranked.ranked == ("c", "a", "b")
    assert reranked.similarities == pytest.approx((0.4, 0.6, 0.5))
    sums = np.array([0.4 + 0.45, 0.6 + 0.05, 0.5 + 0.1]) / 0.1
    assert reranked.probabilities == pytest.approx(np.exp(sums) / np.exp(sums).sum())
    assert scores.rerank(answer, Counted(0.0, 0.1)).ranked == RANKED


def counted(version: ModelVersion) -> Counted:
    late = version.load_cross_encoder()
    assert isinstance(late, LateInteraction)
    return Counted(late.weight, late.temperature)


@pytest.fixture(scope="module")
def late_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_workspace(tmp_path_factory.mktemp("late"), LATE_INTERACTION)
    set_settings(root, train_from_gold=10_000)
    return root


def test_a_cycle_chooses_its_weight_and_serves_what_it_judged(
    late_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailroom.cycle.late_step.WEIGHTS", (0.2,))
    # What wins by top-1 on so little mail is chance.
    monkeypatch.setattr("mailroom.cycle.judge.best_of", lambda found, _: found[-1])
    monkeypatch.setattr("mailroom.evaluate.gate._best", lambda contenders: contenders[-1])
    say(late_workspace, 30)
    with Workspace.open(late_workspace) as workspace:
        before = workspace.version
        outcome = learn_workspace(workspace, Options("ann", 600.0), lambda *_: None)
        cycle = CycleLog(workspace.database).get(str(outcome.cycle))
    assert cycle is not None
    weights = cycle.steps["late_interaction"]["weights"]
    assert weights["label_vectors"] == 0.2
    chosen = Setup(**cycle.steps["choose"]["setup"])
    assert chosen.name.endswith(LATE)
    assert outcome.outcome == "promoted", outcome.summary
    with Workspace.open(late_workspace) as workspace:
        version = workspace.version
    assert version.cross_encoder_kind == LATE_INTERACTION
    assert counted(version) == counted_by(chosen) == Counted(0.2, chosen.late_temperature)
    # One reading still serves both stages, and the version before is what it was.
    assert version.manifest.shared_reading == before.manifest.shared_reading
    assert counted(before).weight == 0.3
    assert {answer[1] for answer in answer_key(late_workspace, range(5))} == {version.id}
    assert accuracy(late_workspace) > 0.5
