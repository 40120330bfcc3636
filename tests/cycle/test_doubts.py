"""Labels that everything else contradicts are named, and no others."""

import numpy as np

from mailroom.cycle.doubts import LEAST_TO_DOUBT, MOST_KEPT, find_doubts
from mailroom.evaluate.answers import Answer


def answers(count: int, wrong_every: int, seed: int = 0) -> list[Answer]:
    """Sure answers of three labels; in every so many emails a person said the second likeliest label."""
    random = np.random.default_rng(seed)
    found = []
    for place in range(count):
        first, second, third = random.permutation(["a", "b", "c"]).tolist()
        stated = float(random.uniform(0.7, 0.99))
        truth = second if place % wrong_every == wrong_every - 1 else first
        shares = (stated, 0.7 * (1 - stated), 0.3 * (1 - stated))
        found.append(Answer(f"<{place}>", truth, (first, second, third), shares))
    return found


def test_contradicted_labels_are_named_with_what_is_likelier() -> None:
    given = answers(300, 10)
    doubts = find_doubts(given, {"<9>": "where  is\nmy parcel"})
    wrong = {one.email_id for one in given if not one.correct}
    named = {doubt.email_id for doubt in doubts.shown}
    assert named <= wrong
    assert len(named) >= 0.3 * len(wrong)
    assert doubts.count == len(doubts.shown) == len(named)
    assert doubts.emails == 300
    assert all(doubt.probability > doubt.given_probability for doubt in doubts.shown)
    gaps = [doubt.probability - doubt.given_probability for doubt in doubts.shown]
    assert gaps == sorted(gaps, reverse=True)


def test_an_unsure_answer_contradicts_nothing() -> None:
    unsure = [Answer(f"<{n}>", "a" if n % 2 else "b", ("a", "b"), (0.51, 0.49)) for n in range(200)]
    assert find_doubts(unsure, {}).count == 0


def test_little_gold_doubts_nothing_and_much_of_it_keeps_a_bounded_list() -> None:
    assert find_doubts(answers(LEAST_TO_DOUBT - 1, 5), {}).count == 0
    many = find_doubts(answers(3000, 5), {})
    assert many.count > len(many.shown) == MOST_KEPT
