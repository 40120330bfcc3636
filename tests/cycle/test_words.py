"""Words beside the cosine in a cycle: learned where they help, judged like any other way to answer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mailroom.cycle.choose import fullest_unless_worse
from mailroom.cycle.label_learning import cross_fitted_answers
from mailroom.cycle.run import Options
from mailroom.cycle.setup import Setup
from mailroom.cycle.words import _LEAST_S, WITH_WORDS
from mailroom.evaluate.answers import Answer
from mailroom.models.lexical import LEXICAL_NAME
from mailroom.store.cycles import CycleLog
from mailroom.workspace import Workspace
from mailroom.workspace.learning import learn_workspace
from tests.cycle.desk import accuracy, answer_key, say, set_settings
from tests.cycle.test_label_learning import LABELS, TEXTS, make


def learn(root: Path, budget_s: float = 600.0) -> str:
    with Workspace.open(root) as workspace:
        return str(learn_workspace(workspace, Options("ann", budget_s), lambda *_: None).cycle)


def test_words_are_tried_and_what_answers_better_is_promoted(workspace: Path) -> None:
    before = accuracy(workspace)
    say(workspace, 60)
    cycle = learn(workspace)
    with Workspace.open(workspace) as opened:
        steps = CycleLog(opened.database).get(cycle).steps  # type: ignore[union-attr]
        version = opened.version
        assert steps["words"]["heads"]["label_vectors"]["weight"] > 0
        tried = {one["setup"]["name"]: one["top_1"] for one in steps["choose"]["tried"]}
        assert tried["label_vectors" + WITH_WORDS] > tried["label_vectors"]
        assert steps["choose"]["setup"]["name"].endswith(WITH_WORDS)
        assert LEXICAL_NAME in version.manifest.files
        head = version.load_lexical()
        assert head is not None
        assert head.weight == steps["words"]["heads"]["label_vectors"]["weight"]
    # The random encoder tells these texts apart hardly at all; their words do.
    assert accuracy(workspace) > max(0.95, before)


def test_a_rollback_takes_words_back(workspace: Path) -> None:
    first = answer_key(workspace, range(3))
    say(workspace, 60)
    learn(workspace)
    assert answer_key(workspace, range(3)) != first
    with Workspace.open(workspace) as opened:
        from mailroom.workspace.versions import Versions

        Versions(opened).rollback("ann", "to see")
    assert answer_key(workspace, range(3)) == first


def test_without_validation_gold_words_count_as_much_as_beside_the_other_encoder(workspace: Path) -> None:
    say(workspace, 40)
    set_settings(workspace, train_from_gold=50, validation_share=0.0)
    cycle = learn(workspace)
    with Workspace.open(workspace) as opened:
        steps = CycleLog(opened.database).get(cycle).steps  # type: ignore[union-attr]
    assert steps["curate"]["validation"] == 0
    weight = steps["words"]["heads"]["label_vectors"]["weight"]
    assert weight > 0
    assert steps["words_beside_trained"]["heads"]["trained_bi_encoder"]["weight"] == weight


def test_words_wait_where_the_budget_is_short(workspace: Path) -> None:
    say(workspace, 40)
    cycle = learn(workspace, budget_s=2 * _LEAST_S)
    with Workspace.open(workspace) as opened:
        kept = CycleLog(opened.database).get(cycle).steps["words"]  # type: ignore[union-attr]
    assert kept["setups"] == []
    assert "more than a third" in kept["skipped"]


def test_cross_fitted_answers_may_use_words() -> None:
    examples = [
        replace(example, text=f"{example.text} {word}")
        for example, word in zip(make(60), ["refund", "courier"] * 30, strict=True)
    ]
    vectors = np.full((60, 8), 8**-0.5, dtype=np.float32)  # which tell nothing
    plain = cross_fitted_answers(LABELS, TEXTS, examples, vectors, 2, 0)
    worded = cross_fitted_answers(LABELS, TEXTS, examples, vectors, 2, 0, words=True)
    assert [answer.email_id for answer in worded] == [example.email_id for example in examples]
    assert sum(answer.correct for answer in plain) < 45
    assert sum(answer.correct for answer in worded) >= 57


@pytest.mark.parametrize("worded", [False, True])
def test_silver_is_compared_with_its_like(worded: bool) -> None:
    plain = Setup("plain", "bi", "int8", "p.npz")
    words = replace(plain, name="words", lexical="l.npz")
    one = words if worded else plain
    silver = replace(one, name="silver", prototypes="s.npz", uses_silver=True)
    if worded:
        silver = replace(silver, lexical="m.npz")
    answers = {name: [Answer("1", "a", ("a",), (1.0,))] for name in ("plain", "words", "silver")}
    kept = {setup.name for setup in fullest_unless_worse([plain, words, silver], answers)}
    assert kept == {"silver", "plain" if worded else "words"}
