from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mailroom.curate.hard_negatives import KINDS, HardNegatives, add_hard_negatives
from mailroom.errors import DataError
from mailroom.records import Candidate, Example
from tests.curate.small import tree

LABELS = [label.id for label in tree().assignable]


def vectors(seed: int = 0) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).normal(size=(len(LABELS), 8)).astype(np.float32)
    unit: NDArray[np.float32] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def example(
    label: str, negatives: Sequence[str] = (), candidates: Sequence[str] = (), number: int = 1
) -> Example:
    logged = tuple(Candidate(candidate, 0.5, None, 0.1) for candidate in candidates)
    return Example(
        f"mail-{number}", "text", label, "gold", "review", negatives=tuple(negatives), candidates=logged
    )


def mined(*examples: Example, count: int = 4) -> HardNegatives:
    return add_hard_negatives(examples, tree(), vectors(), count)


def test_what_was_corrected_on_the_email_comes_first() -> None:
    found = mined(example("track", ["refund", "invoice"], ["cancel", "track"]))
    assert found.examples[0].negatives[:3] == ("refund", "invoice", "cancel")
    assert found.kinds["corrected"] == 2
    assert found.kinds["logged"] == 1


def test_candidates_above_the_truth_come_before_those_below_it() -> None:
    found = mined(example("track", candidates=["refund", "track", "invoice"]), count=5)
    negatives = found.examples[0].negatives
    assert negatives.index("refund") < negatives.index("invoice")


def test_what_people_corrected_on_other_emails_counts_for_the_label() -> None:
    others = [example("track", ["invoice"], number=number) for number in range(2, 5)]
    found = mined(example("track"), *others, count=1)
    assert found.examples[0].negatives == ("invoice",)
    assert found.kinds["confused"] == 1


def test_siblings_take_turns_between_emails() -> None:
    found = mined(*(example("track", number=number) for number in range(30)), count=1)
    assert {example.negatives for example in found.examples} == {("cancel",), ("change",)}


@pytest.mark.parametrize(("label", "other"), [("invoice", "refund"), ("refund", "invoice")])
def test_an_overlap_counts_for_both_sides(label: str, other: str) -> None:
    found = mined(example(label), count=3)
    assert other in found.examples[0].negatives


def test_the_nearest_labels_fill_up() -> None:
    matrix = vectors()
    place = LABELS.index("cancel")
    similarities = matrix @ matrix[place]
    similarities[place] = -2
    closest = LABELS[int(np.argmax(similarities))]
    found = mined(example("cancel"), count=2)
    assert closest in found.examples[0].negatives


def test_the_shares_of_all_kinds_are_recorded() -> None:
    found = mined(example("track", ["refund"], ["cancel"]), example("invoice"), count=5)
    assert set(found.kinds) == set(KINDS)
    assert sum(found.kinds.values()) == sum(len(item.negatives) for item in found.examples)
    assert sum(found.shares().values()) == pytest.approx(1)
    assert set(mined().shares().values()) == {0.0}


labels = st.sampled_from([*LABELS, "orders", "billing", "gone"])


@given(
    st.lists(
        st.builds(example, st.sampled_from(LABELS), st.lists(labels), st.lists(labels), st.integers(0, 5)),
        max_size=8,
    ),
    st.integers(0, 8),
)
def test_a_negative_is_never_the_label_an_ancestor_or_one_that_cannot_be_given(
    examples: list[Example], count: int
) -> None:
    found = add_hard_negatives(examples, tree(), vectors(), count)
    for before, after in zip(examples, found.examples, strict=True):
        never = {after.label, *(ancestor.id for ancestor in tree().ancestors(after.label))}
        assert not never & set(after.negatives)
        assert set(after.negatives) <= set(LABELS)
        assert len(set(after.negatives)) == len(after.negatives)
        corrected = [x for x in dict.fromkeys(before.negatives) if x in LABELS and x not in never]
        assert list(after.negatives[: len(corrected)]) == corrected
        assert len(after.negatives) == max(len(corrected), min(count, len(LABELS) - len(never & set(LABELS))))
    assert found == add_hard_negatives(examples, tree(), vectors(), count)


def test_retired_labels_and_foreign_vectors_are_refused() -> None:
    with pytest.raises(DataError, match="assignable"):
        mined(example("gone"))
    with pytest.raises(DataError, match="a vector for each"):
        add_hard_negatives([], tree(), vectors()[1:], 3)
