import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailroom.curate.near_duplicates import Resemblances, find_near_duplicates
from mailroom.curate.split import TRAIN_FIRST, Arrival, Part, SplitShares, split
from tests.curate.small import letters

SHARES = SplitShares(evaluation=0.3, validation=0.3)


def parts_of(arrivals: list[Arrival], shares: SplitShares = SHARES) -> list[Part | None]:
    return split(arrivals, find_near_duplicates([arrival.text for arrival in arrivals]), shares)


def edited(number: int, edit: int) -> str:
    """A letter with one of its words replaced."""
    words = letters(number).split()
    words[edit % len(words)] = f"edit{chr(97 + edit)}"
    return " ".join(words)


arrivals = st.lists(
    st.builds(
        Arrival,
        st.builds(edited, st.integers(0, 12), st.integers(0, 20)),
        st.sampled_from(["", "", "", "one", "two", "three"]),
        st.sampled_from(["a", "b"]),
        st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(arrivals, st.integers(0, 40))
def test_no_email_changes_its_part_when_more_arrive(emails: list[Arrival], cut: int) -> None:
    assert parts_of(emails)[:cut] == parts_of(emails[:cut])


@settings(max_examples=100, deadline=None)
@given(arrivals)
def test_what_belongs_together_is_in_one_part(emails: list[Arrival]) -> None:
    alike = find_near_duplicates([email.text for email in emails])
    parts = split(emails, alike, SHARES)
    for place, email in enumerate(emails):
        together = [*alike.earlier_than(place)]
        together += [other for other in range(place) if email.thread and emails[other].thread == email.thread]
        together += [other for other in range(place) if alike.first[other] == alike.first[place]]
        used = {parts[other] for other in [*together, place] if parts[place] is not None} - {None}
        assert len(used) <= 1


def test_shares_are_kept() -> None:
    emails = [Arrival(letters(number), "", "a") for number in range(2000)]
    counts = Counter(parts_of(emails))
    assert abs(counts["evaluation"] - 600) < 80
    assert abs(counts["validation"] - 420) < 70
    assert counts["train"] == 2000 - counts["evaluation"] - counts["validation"]


def test_shares_fall_where_there_is_much_to_judge_by() -> None:
    emails = [Arrival(letters(number, 3), "", "a") for number in range(15_000)]
    none = np.array([], dtype=np.int64)
    parts = split(emails, Resemblances(np.arange(len(emails)), none, none), SplitShares(0.2, 0.1))
    # Of the first 2,500 a fifth; then as many again for every e times as many.
    assert abs(parts[:2500].count("evaluation") - 500) < 80
    assert abs(parts.count("evaluation") - 500 * (1 + math.log(6))) < 150
    assert 0 < parts[12_500:].count("evaluation") < 150
    assert 0 < parts[12_500:].count("validation") < 100
    # A small share is kept for longer: there have to be 500 first.
    parts = split(emails, Resemblances(np.arange(len(emails)), none, none), SplitShares(0.02, 0.1))
    assert abs(parts.count("evaluation") - 300) < 60


def test_audits_are_a_part_of_the_evaluation_share() -> None:
    emails = [Arrival(letters(number), "", "a", audit=number % 6 == 5) for number in range(2000)]
    parts = parts_of(emails)
    assert {parts[number] for number in range(5, 2000, 6)} == {"evaluation"}
    assert abs(parts.count("evaluation") - 600) < 80
    many = [Arrival(letters(number), "", "a", audit=number % 2 == 0) for number in range(1000)]
    # Those whose share is spent by audits draw no more, but from the first 200.
    beside = [place for place, part in enumerate(parts_of(many)) if part == "evaluation" and place % 2]
    assert 15 < len(beside) < 45
    assert max(beside) < 200


def test_a_small_label_is_trained_on_before_it_validates() -> None:
    emails = [Arrival(letters(number), "", f"label-{number // 4}") for number in range(800)]
    parts = parts_of(emails)
    for start in range(0, 800, 4):
        counts = Counter(parts[start : start + 4])
        assert counts["validation"] == 0 or counts["train"] >= TRAIN_FIRST
    assert parts.count("validation") > 100


@pytest.mark.parametrize("every", [1000, 6, 4])
def test_a_larger_evaluation_share_takes_nothing_out_of_evaluation(every: int) -> None:
    emails = [Arrival(letters(number), "", "a", number % every == 1) for number in range(500)]
    small = parts_of(emails, SplitShares(0.1, 0.1))
    large = parts_of(emails, SplitShares(0.3, 0.1))
    moved = [(one, other) for one, other in zip(small, large, strict=True) if one != other]
    assert all(one != "evaluation" for one, _ in moved)
    assert any(other == "evaluation" for _, other in moved)


def test_the_part_goes_by_content_not_by_place_or_layout() -> None:
    texts = [letters(number) for number in range(200)]
    shares = SplitShares(0.3, 0.0)
    forward = parts_of([Arrival(text, "", "a") for text in texts], shares)
    backward = parts_of([Arrival(f" {text.upper()}!", "", "b") for text in reversed(texts)], shares)
    assert forward == backward[::-1]


def test_an_email_between_two_parts_is_used_in_neither() -> None:
    numbers = range(60)
    parts = parts_of([Arrival(letters(number), f"thread-{number}", "a") for number in numbers])
    trained, judged = parts.index("train"), parts.index("evaluation")
    emails = [Arrival(letters(number), f"thread-{number}", "a") for number in numbers]
    emails.append(Arrival(letters(judged), f"thread-{trained}", "a"))
    # A copy that belongs to one part alone is used in that part.
    emails.append(Arrival(letters(judged), "", "a"))
    assert parts_of(emails)[-2:] == [None, "evaluation"]


def test_no_share_at_all_trains_on_everything() -> None:
    emails = [Arrival(letters(number), "", "a") for number in range(50)]
    assert set(parts_of(emails, SplitShares(0, 0))) == {"train"}
