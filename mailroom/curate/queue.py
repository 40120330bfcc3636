"""Emails that wait for a person → those most worth the time, in order: unsure ones, and a random share.

A pure function: what waits, what is in whose hands and what was answered is the caller's to know.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mailroom.curate.coverage import Likeness, in_order

Kind = Literal["uncertain", "audit"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """An email that waits: by which margin it was decided (0…1), and its similarity to its likeliest labels.

    Emails of one `group` say nearly the same, so one of them is asked about; None is a group of its own.
    """

    email_id: str
    margin: float
    likeness: Likeness = field(default_factory=dict)
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
    known: Sequence[Likeness] = (),
) -> list[Pick]:
    """At most `size` emails in the order in which to ask.

    `audits` stand in the order in which chance drew them, and are taken as they come. Of every run of picks
    `audit_share` are audits, so that whoever stops early has kept the share. The others come in the order in
    which they say most about what is unsure (`coverage`), beside emails that are `known`, one a group, the
    closest call. Where one kind runs out the other fills its places; random emails are never too many.
    """
    audited = {waiting.email_id for waiting in audits[: _audits_among(size, audit_share)]}
    random_ones = iter(audits)
    asked_groups = {waiting.group for waiting in audits if waiting.email_id in audited}
    others = [waiting for waiting in unsure if waiting.email_id not in audited]
    in_turn = _in_turn(others, known, asked_groups - {None})
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


def _in_turn(unsure: Sequence[Waiting], known: Sequence[Likeness], asked: set[Hashable]) -> Iterator[Waiting]:
    """The unsure ones in the order in which they say most, of each group the closest call alone."""
    emails: list[Waiting] = []
    for waiting in sorted(unsure, key=lambda waiting: (waiting.margin, waiting.email_id)):
        if waiting.group is None or waiting.group not in asked:
            emails.append(waiting)
            asked.add(waiting.group)
    doubts = [1 - waiting.margin for waiting in emails]
    for place in in_order([waiting.likeness for waiting in emails], doubts, known):
        yield emails[place]
