"""Which emails a person is asked about, and in which order."""

from collections import Counter
from dataclasses import replace

import pytest

from mailroom.curate.queue import Pick, Spoken, Waiting, choose


def waiting(number: int, label: str = "a", margin: float = 0.1, group: object = None) -> Waiting:
    return Waiting(f"e{number}", label, margin, {label: 0.6, "z": 0.3}, group)


LITTLE, MUCH = Spoken({}, 3), Spoken({"else": 15}, 3)


def ids(picks: list[Pick]) -> list[str]:
    return [pick.email_id for pick in picks]


def test_of_like_emails_the_closest_calls_come_first() -> None:
    unsure = [waiting(1, margin=0.3), waiting(2, margin=0.01), waiting(3, margin=0.2)]
    assert ids(choose(unsure, [], 2, 0.1, LITTLE)) == ["e2", "e3"]


def test_every_heap_gets_its_turn_and_the_large_one_the_first() -> None:
    unsure = [waiting(n, "common", n / 1000) for n in range(50)]
    unsure += [waiting(100, "rare", 0.4), waiting(101, "rare", 0.5), waiting(200, "other", 0.45)]
    picked = ids(choose(unsure, [], 4, 0.0, LITTLE))
    assert picked[0] == "e0"
    assert set(picked[:3]) == {"e0", "e100", "e200"}
    labels = Counter({w.email_id: next(iter(w.likeness)) for w in unsure}[one] for one in picked)
    assert set(labels) == {"common", "rare", "other"}


def test_what_known_mail_tells_waits_for_what_is_new() -> None:
    unsure = [waiting(n, "known", 0.0) for n in range(5)] + [waiting(n, "new", 0.3) for n in range(10, 13)]
    assert ids(choose(unsure, [], 1, 0.0, LITTLE)) == ["e0"]
    assert ids(choose(unsure, [], 1, 0.0, replace(LITTLE, known=[{"known": 0.6, "z": 0.3}]))) == ["e10"]


def test_once_labels_are_known_they_take_turns_however_many_emails_one_of_them_has() -> None:
    unsure = [waiting(n, "common", n / 1000) for n in range(50)]
    unsure += [waiting(100, "rare", 0.4), waiting(101, "rare", 0.5), waiting(200, "other", 0.45)]
    picked = choose(unsure, [], 6, 0.0, MUCH)
    labels = Counter({w.label: 0 for w in unsure})
    labels.update(w.label for w in unsure if w.email_id in ids(picked))
    assert labels == {"common": 3, "rare": 2, "other": 1}
    assert ids(picked[:3]) == ["e0", "e100", "e200"]


def test_label_with_much_gold_waits_for_the_others() -> None:
    unsure = [waiting(n, "known", 0.0) for n in range(5)] + [waiting(n, "new", 0.3) for n in range(10, 13)]
    spoken = replace(MUCH, labelled={"known": 2, "else": 13})
    assert ids(choose(unsure, [], 4, 0.0, spoken)) == ["e10", "e11", "e0", "e12"]


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.1, 10), (0.25, 25), (0.5, 50), (1.0, 100)])
def test_share_of_audits_is_kept_in_all_and_wherever_one_stops(share: float, expected: int) -> None:
    unsure = [waiting(n) for n in range(1000)]
    audits = [waiting(n) for n in range(5000, 6000)]
    picks = choose(unsure, audits, 100, share, LITTLE)
    assert sum(pick.kind == "audit" for pick in picks) == expected
    for stop in range(101):
        audited = sum(pick.kind == "audit" for pick in picks[:stop])
        assert audited == int(stop * share + 1e-9)


def test_audits_come_in_the_order_of_chance_whatever_they_are() -> None:
    audits = [waiting(n, "a", 0.9 - n / 100, "same") for n in range(5)]
    unsure = [waiting(n + 10) for n in range(5)]
    picks = choose(unsure, audits, 8, 0.5, LITTLE)
    assert [pick.email_id for pick in picks if pick.kind == "audit"] == ["e0", "e1", "e2", "e3"]


def test_unsure_email_that_chance_drew_is_an_audit_and_comes_once() -> None:
    both = [waiting(n, margin=0.0) for n in range(3)]
    picks = choose([*both, waiting(10), waiting(11)], both, 10, 0.5, LITTLE)
    assert len(ids(picks)) == len(set(ids(picks))) == 5
    assert {pick.email_id for pick in picks if pick.kind == "audit"} == {"e0", "e1", "e2"}


def test_one_of_a_group_is_asked_about_the_closest_call() -> None:
    unsure = [waiting(1, "a", 0.2, 7), waiting(2, "b", 0.1, 7), waiting(3, "a", 0.3, 8), waiting(4, "a", 0.4)]
    for spoken in (LITTLE, MUCH):
        assert sorted(ids(choose(unsure, [], 10, 0.0, spoken))) == ["e2", "e3", "e4"]


def test_group_of_an_audit_is_not_asked_about_again() -> None:
    picks = choose([waiting(1, group=7), waiting(2, group=8)], [waiting(9, group=7)], 10, 0.5, LITTLE)
    assert picks == [Pick("e2", "uncertain"), Pick("e9", "audit")]


def test_where_one_kind_runs_out_the_other_fills_its_places() -> None:
    assert [p.kind for p in choose([waiting(1)], [waiting(n) for n in (5, 6, 7)], 4, 0.1, LITTLE)] == [
        "uncertain", "audit", "audit", "audit"
    ]  # fmt: skip
    assert len(choose([waiting(n) for n in range(4)], [], 4, 0.9, LITTLE)) == 4


def test_nothing_waits_nothing_comes() -> None:
    assert choose([], [], 10, 0.1, LITTLE) == []
    assert choose([waiting(1)], [waiting(2)], 0, 0.1, LITTLE) == []


def test_order_does_not_depend_on_the_order_of_what_waits() -> None:
    unsure = [waiting(n, "ab"[n % 2], n % 3 / 10) for n in range(20)]
    for spoken in (LITTLE, MUCH):
        assert choose(unsure, [], 20, 0.0, spoken) == choose(unsure[::-1], [], 20, 0.0, spoken)
