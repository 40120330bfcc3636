"""Emails that wait for a person → those most worth the time, in order: unsure ones, and a random share.

A pure function: what waits, what is in whose hands and what was answered is the caller's to know.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mailroom.curate.coverage import Likeness, in_order

Kind = Literal["uncertain", "audit"]

# So many labelled emails a label, and it pays more to settle close calls than to ask about new heaps;
# measured on training parts of clinc150, bitext and 20news (docs/experiments-learning.md).
ENOUGH_A_LABEL = 5


@dataclass(frozen=True, slots=True)
class Waiting:
    """An email that waits: the label it was given, by which margin (0…1), and how like its labels it is.

    Emails of one `group` say nearly the same, so one of them is asked about; None is a group of its own.
    """

    email_id: str
    label: str
    margin: float
    likeness: Likeness = field(default_factory=dict)
    group: Hashable = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """What people have said: labelled emails by label, of so many `labels` that can be given.

    `known` are emails that need not be asked about, as far as the log knows what they are like.
    """

    labelled: Mapping[str, int]
    labels: int
    known: Sequence[Likeness] = ()

    @property
    def little(self) -> bool:
        """Whether most labels are hardly known yet."""
        return sum(self.labelled.values()) < ENOUGH_A_LABEL * self.labels


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
    spoken: Spoken,
) -> list[Pick]:
    """At most `size` emails in the order in which to ask.

    `audits` stand in the order in which chance drew them, and are taken as they come, whatever they repeat: a
    random sample without its copies is none. Of every run of picks
    `audit_share` are audits, so that whoever stops early has kept the share. Of the others, one a group,
    those come first that say most about what is unsure (`coverage`), as long as little is `spoken`; then
    labels take turns, those with the fewest labelled emails first, the smallest margin first within a label.
    Where one kind runs out the other fills its places; random emails are never too many.
    """
    audited = {waiting.email_id for waiting in audits[: _audits_among(size, audit_share)]}
    random_ones = iter(audits)
    asked_groups = {waiting.group for waiting in audits if waiting.email_id in audited}
    others = [waiting for waiting in unsure if waiting.email_id not in audited]
    in_turn = _in_turn(_one_a_group(others, asked_groups), spoken)
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


def _one_a_group(unsure: Sequence[Waiting], asked: set[Hashable]) -> list[Waiting]:
    """The closest calls first, and of each group that alone; none of those groups that are asked about."""
    seen = set(asked)
    kept: list[Waiting] = []
    for waiting in sorted(unsure, key=lambda waiting: (waiting.margin, waiting.email_id)):
        if waiting.group is None or waiting.group not in seen:
            kept.append(waiting)
            seen.add(waiting.group)
    return kept


def _in_turn(emails: Sequence[Waiting], spoken: Spoken) -> Iterator[Waiting]:
    """Emails, the closest calls first, in the order in which to ask."""
    if spoken.little:
        likeness = [waiting.likeness for waiting in emails]
        for place in in_order(likeness, [1 - waiting.margin for waiting in emails], spoken.known):
            yield emails[place]
    else:
        yield from _by_label(emails, spoken.labelled)


def _by_label(emails: Sequence[Waiting], labelled: Mapping[str, int]) -> Iterator[Waiting]:
    """One a label and round."""
    by_label: dict[str, list[Waiting]] = {}
    for waiting in reversed(emails):
        by_label.setdefault(waiting.label, []).append(waiting)
    # Every round asks each label once; a label that has gold already joins when the others have caught up.
    turns = {label: labelled.get(label, 0) for label in by_label}
    while by_label:
        label = min(by_label, key=lambda label: (turns[label], by_label[label][-1].margin, label))
        yield by_label[label].pop()
        turns[label] += 1
        if not by_label[label]:
            del by_label[label]
