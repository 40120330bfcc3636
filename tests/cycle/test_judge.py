"""What chooses, what judges, and what says how sure a challenger may sound."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailroom.config import Settings
from mailroom.cycle.judge import ENOUGH, LEAST_TO_CHOOSE, Judge
from mailroom.cycle.late_step import LATE
from mailroom.cycle.parts import Parts
from mailroom.cycle.setup import Setup
from mailroom.evaluate.answers import Answer
from mailroom.records import Example

CHEAP = Setup("label_vectors", "/models/v1/bi_encoder", "int8")
TRAINED = Setup("trained_bi_encoder", "trained/bi_encoder", "int8")
TRAINED_LATE = replace(
    TRAINED,
    name=TRAINED.name + LATE,
    cross_encoder="late",
    cross_precision="int8",
    late_weight=0.3,
    late_temperature=0.07,
)
PAIR = Setup("pair", "trained/bi_encoder", "int8", None, "cross", "int8")


class Scripted:
    """Each setup answers so many of ten emails right, with one probability for all."""

    def __init__(self, right_of_ten: dict[str, int], stated: float = 0.9) -> None:
        self._right, self._stated = right_of_ten, stated

    def answers(self, setup: Setup, examples: Sequence[Example], _: Any = None) -> list[Answer]:
        name = setup.name if setup.cross_encoder or setup.name != "pair" else "pair alone"
        return [
            Answer(
                one.email_id,
                "a",
                ("a", "b") if place % 10 < self._right[name] else ("b", "a"),
                (self._stated, 1 - self._stated),
            )
            for place, one in enumerate(examples)
        ]


def gold(count: int, source: str = "review") -> tuple[Example, ...]:
    return tuple(Example(f"{source}{n}", "text", "a", "gold", source) for n in range(count))


def judge_of(answering: Scripted, validation: int = 0, evaluation: tuple[Example, ...] = ()) -> Judge:
    desk: Any = SimpleNamespace(
        champion=SimpleNamespace(directory=Path("/models/v1")),
        settings=Settings(),
        are_siblings=lambda one, other: False,
    )
    return Judge(desk, answering, Parts((), gold(validation), evaluation, frozenset()), 0)  # type: ignore[arg-type]


def test_validation_gold_chooses_and_the_cheaper_of_equals() -> None:
    answering = Scripted({"label_vectors": 8, "trained_bi_encoder": 9, "pair": 9})
    choice = judge_of(answering, ENOUGH).choose([CHEAP, TRAINED, PAIR])
    assert (choice.setup.name, choice.on) == ("trained_bi_encoder", "validation")


@pytest.mark.parametrize(
    ("validation", "cheap", "trained", "chosen"),
    [
        # Too little validation to choose by: trained unless that shows it to be worse beyond chance.
        (0, 9, 8, "trained_bi_encoder"),
        (LEAST_TO_CHOOSE - 1, 9, 8, "label_vectors"),
        (20, 9, 8, "trained_bi_encoder"),
        (LEAST_TO_CHOOSE, 8, 9, "trained_bi_encoder"),
        (LEAST_TO_CHOOSE, 9, 8, "label_vectors"),
    ],
)
def test_little_validation_leaves_a_trained_encoder_in_place(
    validation: int, cheap: int, trained: int, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "_cross_fit", lambda *_: [])
    answering = Scripted({"label_vectors": cheap, "trained_bi_encoder": trained})
    choice = judge_of(answering, validation).choose([CHEAP, TRAINED])
    assert choice.setup.name == chosen
    assert {one.setup.name for one in choice.tried} == {"label_vectors", "trained_bi_encoder"}
    assert (choice.fallback is None) == (chosen == "label_vectors")
    assert choice.fallback is None or choice.fallback.name == "label_vectors"


@pytest.mark.parametrize(
    ("validation", "alone", "late", "chosen"),
    [
        # The gate will say whether it stays; it is left out where validation shows it to be worse.
        (0, 9, 9, "trained_bi_encoder+late_interaction"),
        (20, 9, 8, "trained_bi_encoder+late_interaction"),
        (LEAST_TO_CHOOSE - 1, 9, 8, "trained_bi_encoder"),
        (LEAST_TO_CHOOSE, 8, 9, "trained_bi_encoder+late_interaction"),
        (LEAST_TO_CHOOSE, 9, 9, "trained_bi_encoder"),
    ],
)
def test_late_interaction_behind_a_trained_encoder_is_presumed_too(
    validation: int, alone: int, late: int, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "_cross_fit", lambda *_: [])
    answering = Scripted({"label_vectors": 5, TRAINED.name: alone, TRAINED_LATE.name: late})
    choice = judge_of(answering, validation).choose([CHEAP, TRAINED, TRAINED_LATE])
    assert choice.setup.name == chosen
    assert {one.setup.name for one in choice.tried} == {CHEAP.name, TRAINED.name, TRAINED_LATE.name}
    assert choice.fallback is not None
    assert choice.fallback.name == CHEAP.name


def test_two_stages_are_tried_on_less_validation_than_a_trained_encoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Judge, "_cross_fit", lambda *_: [])
    answering = Scripted({"label_vectors": 8, "pair": 9})
    assert judge_of(answering, 30).choose([CHEAP, PAIR]).setup.name == "pair"
    assert judge_of(answering, 29).choose([CHEAP, PAIR]).setup.name == "label_vectors"


def test_two_stages_that_lose_to_retrieval_alone_are_not_what_is_promoted() -> None:
    answering = Scripted({"champion": 5, "pair": 8, "pair alone": 9})
    champion = Setup("champion", "/models/v1/bi_encoder", "int8")
    judged = judge_of(answering, evaluation=gold(ENOUGH)).judge(champion, PAIR, {})
    assert judged.verdict.passed
    assert judged.setup.kind == "retrieval"
    assert judged.rivals == {"pair": 0.8, "retrieval_alone": 0.9}


def test_audits_alone_say_how_sure_a_challenger_may_sound() -> None:
    answering = Scripted({"champion": 5, "trained_bi_encoder": 9}, stated=0.9)
    champion = Setup("champion", "/models/v1/bi_encoder", "int8")
    without = judge_of(answering, ENOUGH, gold(ENOUGH)).judge(champion, TRAINED, {})
    assert without.setup.temperature_factor == 1
    audited = judge_of(answering, evaluation=gold(ENOUGH, "audit")).judge(champion, TRAINED, {})
    # Nine of ten are right and 0.9 was stated: nothing to mend, to the fit's 2.5 %.
    assert audited.setup.temperature_factor == pytest.approx(1, abs=0.05)
    boastful = Scripted({"champion": 5, "trained_bi_encoder": 7}, stated=0.99)
    told = judge_of(boastful, evaluation=gold(ENOUGH, "audit")).judge(champion, TRAINED, {})
    assert told.setup.temperature_factor > 1.5


def test_a_trained_encoder_without_validation_is_calibrated_and_marked_by_evaluation_gold() -> None:
    answering = Scripted({"champion": 5, "trained_bi_encoder": 7}, stated=0.99)
    champion = Setup("champion", "/models/v1/bi_encoder", "int8")
    judged = judge_of(answering, evaluation=gold(60)).judge(champion, TRAINED, {})
    assert judged.setup.temperature_factor > 1.5
    assert judged.review.emails == 60
    # With validation enough to fit it by, the factor that this chose stays.
    known = judge_of(answering, LEAST_TO_CHOOSE, gold(60)).judge(champion, TRAINED, {})
    assert known.setup.temperature_factor == 1
    assert known.review.emails == LEAST_TO_CHOOSE
