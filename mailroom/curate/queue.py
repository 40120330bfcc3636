"""Emails that wait for a person → those most worth the time, in order: unsure ones, and a random share.

A pure function: what waits, what is in whose hands and what was answered is the caller's to know.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["uncertain", "audit"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """An email that waits: the label it was given, by which margin, and what resembles it.

    Emails of one `group` say nearly the same, so one of them is asked about; None is a group of its own.
    """

    email_id: str
    label: str
    margin: float
    group: Hashable = None


@dataclass(frozen=True, slots=True)
class Pick:
    """An email for a person; only an `audit`, drawn at random, may be used to estimate precision."""

    email_id: str
    kind: Kind


def choose(
    unsure: Sequence[Waiting],
    audits: Sequence[Waiting],
    size: int,
    audit_share: float,
    labelled: Mapping[str, int],
) -> list[Pick]:
    """At most `size` emails in the order in which to ask.

    `audits` stand in the order in which chance drew them, and are taken as they come. Of every run of picks
    `audit_share` are audits, so that whoever stops early has kept the share. The others go to the labels in
    turn, those with the fewest of `labelled` emails first, the smallest margin first within a label. Where
    one kind runs out the other fills its places; random emails are never too many.
    """
    audited = {waiting.email_id for waiting in audits[: _audits_among(size, audit_share)]}
    random_ones = iter(audits)
    asked_groups = {waiting.group for waiting in audits if waiting.email_id in audited}
    others = [waiting for waiting in unsure if waiting.email_id not in audited]
    in_turn = _in_turn(others, labelled, asked_groups - {None})
    picks: dict[str, Kind] = {}
    while len(picks) < size:
        is_audit_turn = _audits_among(len(picks) + 1, audit_share) > _audits_among(len(picks), audit_share)
        pick = _next(random_ones, in_turn, is_audit_turn, picks)
        if pick is None:
            break
        picks[pick.email_id] = pick.kind
    return [Pick(email_id, kind) for email_id, kind in picks.items()]


def _audits_among(picks: int, share: float) -> int:
    """How many of the first picks are audits; the small term mends 10 × 0.1 < 1."""
    return int(picks * share + 1e-9)


def _next(
    audits: Iterator[Waiting], in_turn: Iterator[Waiting], is_audit_turn: bool, picks: Mapping[str, Kind]
) -> Pick | None:
    kinds: tuple[Kind, Kind] = ("audit", "uncertain") if is_audit_turn else ("uncertain", "audit")
    for kind in kinds:
        source = audits if kind == "audit" else in_turn
        found = next((waiting for waiting in source if waiting.email_id not in picks), None)
        if found is not None:
            return Pick(found.email_id, kind)
    return None


def _in_turn(
    unsure: Sequence[Waiting], labelled: Mapping[str, int], asked: set[Hashable]
) -> Iterator[Waiting]:
    """The unsure ones, one a label and round, one a group."""
    by_label: dict[str, list[Waiting]] = {}
    for waiting in sorted(unsure, key=lambda waiting: (waiting.margin, waiting.email_id), reverse=True):
        by_label.setdefault(waiting.label, []).append(waiting)
    # Every round asks each label once; a label that has gold already joins when the others have caught up.
    turns = {label: labelled.get(label, 0) for label in by_label}
    while by_label:
        label = min(by_label, key=lambda label: (turns[label], by_label[label][-1].margin, label))
        waiting = by_label[label].pop()
        if not by_label[label]:
            del by_label[label]
        if waiting.group is not None:
            if waiting.group in asked:
                continue
            asked.add(waiting.group)
        turns[label] += 1
        yield waiting
