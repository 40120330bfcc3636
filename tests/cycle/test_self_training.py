"""How much of its own answers an encoder is trained on."""

from pathlib import Path

import pytest

from mailroom.curate.silver import MOST_PSEUDO
from mailroom.cycle import self_training
from mailroom.cycle.parts import Parts
from mailroom.cycle.self_training import Plan, model_answered, plan
from mailroom.records import Example
from tests.models.tiny import make_bi_encoder


def make(count: int, grade: str, name: str) -> list[Example]:
    return [
        Example(f"{name}{number}", f"text {number}", "a", grade, "model")  # type: ignore[arg-type]
        for number in range(count)
    ]


def test_what_the_encoder_is_trained_on_anyway_is_not_counted_twice() -> None:
    gold, silver, pseudo = make(10, "gold", "g"), make(30, "silver", "s"), make(40, "silver", "p")
    parts = Parts((*gold, *silver), (), (), frozenset(), pseudo=tuple(pseudo))
    found = model_answered(parts, [*gold, *silver[:10]], seed=0)
    assert len(found) == len({one.email_id for one in found}) == 60
    assert not {one.email_id for one in found} & {one.email_id for one in (*gold, *silver[:10])}
    assert found == model_answered(parts, [*gold, *silver[:10]], seed=0)
    assert found != model_answered(parts, [*gold, *silver[:10]], seed=1)
    many = Parts(tuple(gold), (), (), frozenset(), pseudo=tuple(make(MOST_PSEUDO + 50, "silver", "p")))
    assert len(model_answered(many, gold, seed=0)) == MOST_PSEUDO


# Five seconds for a step of a text, a fifth of the budget kept: 25 seconds each in four epochs, and thirty
# known ones alone are read in eight epochs.
@pytest.mark.parametrize(
    ("budget_s", "pseudo", "expected"),
    [
        (100_000.0, 60, Plan(60, True)),
        (1_750.0, 60, Plan(40, True)),
        (1_475.0, 60, Plan(0, False)),
        (0.0, 60, Plan(0, False)),
        (1_525.0, 0, Plan(0, True)),
        (1_475.0, 0, Plan(0, False)),
    ],
)
def test_as_many_as_there_is_time_for_and_anew_where_all_is_read(
    monkeypatch: pytest.MonkeyPatch, budget_s: float, pseudo: int, expected: Plan
) -> None:
    monkeypatch.setattr(self_training, "_seconds_a_text", lambda *_: 1.0)
    known, answered = make(30, "gold", "g"), make(pseudo, "silver", "p")
    assert plan(Path("none"), known, answered, budget_s, 1) == expected


def test_a_text_takes_the_encoder_some_time(tmp_path: Path) -> None:
    make_bi_encoder(tmp_path, "bert", "mean")
    assert self_training._seconds_a_text(tmp_path / "model", make(100, "silver", "p"), 1) > 0
