from collections.abc import Sequence

import pytest

from mailroom.curate.gold import Gold, collect_gold
from mailroom.curate.split import SplitShares
from mailroom.records import OUTSIDE, Candidate, Feedback
from tests.curate.small import Row, letters, tree, word


def gold(rows: Sequence[Row], shares: SplitShares | None = None) -> Gold:
    return collect_gold(rows, tree(), shares or SplitShares(0, 0))


def row(number: int, *words: Feedback, text: str | None = None) -> Row:
    return Row(f"mail-{number}", letters(number) if text is None else text, words)


def test_a_word_makes_a_gold_example() -> None:
    candidates = (Candidate("track", 0.5, None, 0.6), Candidate("gone", 0.4, None, 0.4))
    found = gold([Row("mail-1", "where is it", (word("track"),), "thread-1", candidates)])
    (example,) = found.train
    assert (example.label, example.grade, example.source, example.weight) == ("track", "gold", "review", 1.0)
    assert (example.thread, example.email_id, example.text) == ("thread-1", "mail-1", "where is it")
    assert example.candidates == candidates[:1]
    assert not found.set_aside


def test_the_latest_word_counts() -> None:
    (example,) = gold([row(1, word("track"), word("cancel"))]).train
    assert example.label == "cancel"


def test_negatives_begin_with_the_wrong_answer_that_was_corrected_last() -> None:
    words = (word("track", wrong="change"), word("cancel", wrong="invoice"))
    (example,) = gold([row(1, *words)]).train
    assert example.negatives == ("invoice", "change")


@pytest.mark.parametrize("wrong", ["refund", "refund-late", "billing", "gone"])
def test_a_wrong_answer_above_or_outside_is_no_negative(wrong: str) -> None:
    (example,) = gold([row(1, word("refund-late", wrong=wrong))]).train
    assert example.negatives == ()


@pytest.mark.parametrize("label", ["gone", "orders"])
def test_a_label_that_cannot_be_given_is_set_aside(label: str) -> None:
    found = gold([row(1, word(label))])
    assert not found.train
    assert [(item.email_id, item.reason, item.labels) for item in found.set_aside] == [
        ("mail-1", "retired label", (label,))
    ]


def test_mail_that_no_label_fits_is_never_gold() -> None:
    found = gold([row(1, word(OUTSIDE, wrong="track")), row(2, word(OUTSIDE), word("track"))])
    assert [example.email_id for example in found.train] == ["mail-2"]
    assert [(item.email_id, item.reason) for item in found.set_aside] == [("mail-1", "no label fits")]


def test_a_renamed_label_is_known_by_its_alias() -> None:
    (example,) = gold([row(1, word("stop"))]).train
    assert example.label == "cancel"


def test_two_reviewers_who_disagree_are_heard_by_neither() -> None:
    found = gold([row(1, word("track", reviewer="ann"), word("cancel", reviewer="bob"))])
    assert not found.train
    assert found.set_aside[0].reason == "reviewers disagree"
    assert found.set_aside[0].labels == ("cancel", "track")


@pytest.mark.parametrize("last", ["ann", "cat"])
def test_a_majority_or_a_change_of_mind_settles_it(last: str) -> None:
    words = [word("track", reviewer="ann"), word("cancel", reviewer="bob"), word("cancel", reviewer=last)]
    (example,) = gold([row(1, *words)]).train
    assert example.label == "cancel"


def test_a_last_word_against_the_majority_does_not_settle_it() -> None:
    words = [word("track", reviewer="ann"), word("track", reviewer="bob"), word("cancel", reviewer="cat")]
    assert gold([row(1, *words)]).set_aside[0].reason == "reviewers disagree"


def test_a_reviewer_overrules_imported_history() -> None:
    words = [word("track", reviewer="old desk", source="import"), word("cancel", reviewer="bob")]
    (example,) = gold([row(1, *words)]).train
    assert example.label == "cancel"


def test_one_text_under_two_labels_is_used_under_neither() -> None:
    rows = [row(1, word("track"), text="Where is it?"), row(2, word("cancel"), text="where is it")]
    found = gold(rows)
    assert not found.train
    assert [item.reason for item in found.set_aside] == ["same text, other label"] * 2
    assert found.set_aside[0].labels == ("cancel", "track")


def test_against_a_clear_majority_the_odd_one_alone_is_set_aside() -> None:
    rows = [row(number, word("track"), text="Where is it?") for number in range(3)]
    found = gold([*rows, row(4, word("cancel"), text="Where is it?")])
    assert len(found.train) == 3
    assert [item.email_id for item in found.set_aside] == ["mail-4"]


def test_texts_that_differ_in_a_number_do_not_contradict_each_other() -> None:
    rows = [row(1, word("track"), text="error 404"), row(2, word("cancel"), text="error 500")]
    assert len(gold(rows).train) == 2


def test_audits_judge_and_are_never_trained_on() -> None:
    rows = [row(number, word("track", source="audit"), word("cancel", source="review")) for number in (1, 2)]
    rows.append(row(3, word("track")))
    found = gold(rows)
    assert found.audited == {"mail-1", "mail-2"} == {example.email_id for example in found.evaluation}
    assert [example.email_id for example in found.train] == ["mail-3"]


def test_an_audit_of_what_was_trained_on_is_no_audit() -> None:
    found = gold([row(1, word("track")), row(2, word("track", source="audit"), text=letters(1))])
    assert [example.email_id for example in found.train] == ["mail-1", "mail-2"]
    assert not found.audited


def test_every_email_is_used_once_or_set_aside_once() -> None:
    rows = [row(number, word(("track", "cancel", "gone")[number % 3])) for number in range(90)]
    rows += [row(100 + number, word("change"), text=letters(number)) for number in range(5)]
    found = gold(rows, SplitShares(0.3, 0.2))
    used = [example.email_id for example in (*found.train, *found.validation, *found.evaluation)]
    assert sorted(used + [item.email_id for item in found.set_aside]) == sorted(row.email_id for row in rows)
    assert found.train
    assert found.validation
    assert found.evaluation


def test_a_label_that_is_retired_moves_no_other_email() -> None:
    def parts(label: str) -> list[list[str]]:
        rows = [row(0, word("track"), word(label))]
        texts = [f"{letters(number // 2)} edit{chr(97 + number % 2)}" for number in range(60)]
        rows += [row(number + 1, word("track"), text=text) for number, text in enumerate(texts)]
        found = gold(rows, SplitShares(0.3, 0.2))
        used = [
            [example.email_id for example in part]
            for part in (found.train, found.validation, found.evaluation)
        ]
        assert sum(map(len, used)) == 61 - len(found.set_aside)
        return [[name for name in part if name != "mail-0"] for part in used]

    assert parts("gone") == parts("cancel")
    assert all(parts("gone"))
