from dataclasses import replace

import pytest

from mailroom.cycle.choose import (
    best_of,
    calibrated_factor,
    fullest_unless_worse,
    leads_beyond_chance,
    tried,
)
from mailroom.cycle.setup import Setup
from mailroom.evaluate.answers import Answer


def setup(name: str, two_stage: bool = False) -> Setup:
    return Setup(name, "bi", "int8", None, "cross" if two_stage else None, "int8" if two_stage else None)


def answers(right: int, wrong: int, sure: float = 0.9) -> list[Answer]:
    found = [Answer(f"r{n}", "a", ("a", "b"), (sure, 1 - sure)) for n in range(right)]
    return found + [Answer(f"w{n}", "b", ("a", "b"), (sure, 1 - sure)) for n in range(wrong)]


def test_the_best_on_held_back_gold_is_chosen_and_the_cheaper_of_equals() -> None:
    plain = tried(setup("plain"), answers(8, 2))
    better = tried(setup("better"), answers(9, 1))
    stages = tried(setup("stages", two_stage=True), answers(9, 1))
    names = ["plain", "better", "stages"]
    assert best_of([plain, better, stages], names).setup.name == "better"
    assert best_of([stages, better], names).setup.name == "better"
    assert (
        best_of([plain, tried(setup("stages", two_stage=True), answers(10, 0))], names).setup.name == "stages"
    )
    assert best_of([tried(setup("better"), answers(8, 2)), plain], names).setup.name == "plain"


def test_figures_count_the_first_and_the_first_five() -> None:
    found = tried(setup("plain"), answers(3, 1))
    assert (found.emails, found.top_1, found.recall_at_5) == (4, 0.75, 1.0)


def test_a_model_that_is_too_sure_is_told_so_once_there_is_enough_gold() -> None:
    assert calibrated_factor(answers(60, 40)) > 1
    assert calibrated_factor(answers(99, 1, sure=0.6)) < 1
    assert calibrated_factor(answers(6, 4)) == 1
    assert calibrated_factor(answers(6, 4), before=0.5) == 0.5


def test_silver_is_used_unless_gold_alone_is_better_beyond_chance() -> None:
    plain, other = setup("label_vectors"), setup("trained")
    silver = replace(plain, name="with_silver", prototypes="other.npz", uses_silver=True)
    other = replace(other, bi_encoder="another")
    answered = {"label_vectors": answers(55, 45), "with_silver": answers(54, 46), "trained": answers(60, 40)}
    assert fullest_unless_worse([plain, silver, other], answered) == [silver, other]
    answered["with_silver"] = [*answers(45, 0), *answers(0, 55)]
    right = [Answer(f"x{n}", "a", ("a", "b"), (0.9, 0.1)) for n in range(100)]
    answered["label_vectors"] = right
    assert fullest_unless_worse([plain, silver, other], answered) == [plain, other]
    assert fullest_unless_worse([plain, other], answered) == [plain, other]


@pytest.mark.parametrize(
    ("won", "lost", "beyond"), [(3, 0, False), (4, 0, False), (5, 0, True), (9, 3, False), (10, 3, True)]
)
def test_a_lead_on_a_few_emails_is_luck(won: int, lost: int, beyond: bool) -> None:
    one = answers(won + 10, lost)
    other = [*answers(0, won), *answers(10 + lost, 0)]
    assert leads_beyond_chance(one, other) is beyond
    assert not leads_beyond_chance(other, one)


def test_what_mail_drew_is_used_unless_gold_or_silver_is_better_beyond_chance() -> None:
    plain = setup("label_vectors")
    silver = replace(plain, name="with_silver", prototypes="other.npz", uses_silver=True)
    mail = replace(silver, name="with_mail", prototypes="third.npz", mail_weight=0.1)
    answered = {
        "label_vectors": answers(55, 45),
        "with_silver": answers(56, 44),
        "with_mail": answers(54, 46),
    }
    assert fullest_unless_worse([plain, silver, mail], answered) == [mail]
    answered["with_mail"] = answers(0, 100)
    assert fullest_unless_worse([plain, silver, mail], answered) == [silver]
    answered["with_silver"] = answers(0, 100)
    assert fullest_unless_worse([plain, silver, mail], answered) == [plain]
