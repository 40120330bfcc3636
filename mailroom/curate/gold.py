"""Emails that people have labelled → gold examples by part, and what was set aside and why.

Knows of the store only what its rows hold. Nothing that people disagree on is trained on or judged by.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mailroom.curate.content import content_key
from mailroom.curate.near_duplicates import Resemblances, find_near_duplicates
from mailroom.curate.split import Arrival, Part, SplitShares, split
from mailroom.records import Candidate, Example, Feedback
from mailroom.taxonomy import Taxonomy

Reason = Literal[
    "no label fits", "retired label", "reviewers disagree", "same text, other label", "two parts"
]

# Of the mails of one text a label must hold this share to be kept; the others are set aside alone.
CLEAR_SHARE = 0.75


class LabelledEmail(Protocol):
    """An email that people have labelled, as the store hands it over.

    `words` are all of people's words on it, in the order in which they were said, and at least one;
    `candidates` what retrieval proposed before any of them; `thread` is "" where unknown.
    """

    @property
    def email_id(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def thread(self) -> str: ...
    @property
    def words(self) -> Sequence[Feedback]: ...
    @property
    def candidates(self) -> Sequence[Candidate]: ...


@dataclass(frozen=True, slots=True)
class SetAside:
    """A labelled email that is not used, the reason, and the labels in question."""

    email_id: str
    reason: Reason
    labels: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """The record as JSON-ready values, keyed by field name."""
        return {"email_id": self.email_id, "reason": self.reason, "labels": list(self.labels)}


@dataclass(frozen=True, slots=True)
class Gold:
    """Gold examples of each part, in order of arrival, and what was set aside.

    `audited` are the ids of evaluation emails that were drawn at random: they alone may estimate precision.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    evaluation: tuple[Example, ...]
    set_aside: tuple[SetAside, ...]
    audited: frozenset[str] = frozenset()


def collect_gold(emails: Sequence[LabelledEmail], taxonomy: Taxonomy, shares: SplitShares) -> Gold:
    """Split labelled emails and make examples of those that can be trusted.

    `emails` stand in the order in which they first got a label, none left out: the parts of later ones depend
    on earlier ones.
    """
    alike = find_near_duplicates([email.text for email in emails])
    return gold_from(emails, alike, taxonomy, shares)


def gold_from(
    emails: Sequence[LabelledEmail], alike: Resemblances, taxonomy: Taxonomy, shares: SplitShares
) -> Gold:
    """As `collect_gold`, where the texts have been compared already."""
    arrivals = [_arrival(email) for email in emails]
    parts = split(arrivals, alike, shares)
    aside: dict[int, SetAside] = {}
    trusted: dict[int, str] = {}
    for place, email in enumerate(emails):
        label = assignable_id(taxonomy, email.words[-1].label)
        if label is None:
            reason: Reason = "no label fits" if email.words[-1].is_outside else "retired label"
            aside[place] = SetAside(email.email_id, reason, (email.words[-1].label,))
        elif rivals := _rivals(email.words):
            aside[place] = SetAside(email.email_id, "reviewers disagree", rivals)
        else:
            trusted[place] = label
    aside |= _contradictions(emails, trusted)
    aside |= {
        place: SetAside(emails[place].email_id, "two parts", (label,))
        for place, label in trusted.items()
        if parts[place] is None and place not in aside
    }
    examples: dict[Part, list[Example]] = {"train": [], "validation": [], "evaluation": []}
    for place, label in trusted.items():
        part = parts[place]
        if part is not None and place not in aside:
            examples[part].append(_example(emails[place], label, taxonomy))
    drawn = {email.email_id for email, arrival in zip(emails, arrivals, strict=True) if arrival.audit}
    return Gold(
        train=tuple(examples["train"]),
        validation=tuple(examples["validation"]),
        evaluation=tuple(examples["evaluation"]),
        set_aside=tuple(aside[place] for place in sorted(aside)),
        audited=frozenset(example.email_id for example in examples["evaluation"]) & drawn,
    )


def _arrival(email: LabelledEmail) -> Arrival:
    first = email.words[0]
    return Arrival(email.text, email.thread, first.label, audit=first.source == "audit")


def assignable_id(taxonomy: Taxonomy, label: str) -> str | None:
    """The id of the assignable label that is meant, None where there is none (any more)."""
    found = taxonomy.resolve(label)
    return found.id if found is not None and found.assignable else None


def _rivals(words: Sequence[Feedback]) -> tuple[str, ...]:
    """The labels that reviewers hold against each other; () where the last word carries the majority.

    Every reviewer counts with their own last word. Imported history counts only where nobody looked at the
    email itself: correcting it is what reviewers are for.
    """
    looked = [word for word in words if word.source != "import"] or words
    held = {word.reviewer: word.label for word in looked}
    counts = Counter(held.values())
    in_force = looked[-1].label
    if 2 * counts[in_force] > len(held):
        return ()
    return tuple(sorted(counts))


def _contradictions(emails: Sequence[LabelledEmail], trusted: dict[int, str]) -> dict[int, SetAside]:
    """Emails that say the same, numbers included, under labels of which none is clearly the right one."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place in trusted:
        places[content_key(emails[place].text, fold_numbers=False)].append(place)
    found: dict[int, SetAside] = {}
    for group in places.values():
        counts = Counter(trusted[place] for place in group)
        if len(counts) < 2:
            continue
        best, most = counts.most_common(1)[0]
        clear = most >= CLEAR_SHARE * len(group)
        for place in group:
            if not (clear and trusted[place] == best):
                found[place] = SetAside(
                    emails[place].email_id, "same text, other label", tuple(sorted(counts))
                )
    return found


def _example(email: LabelledEmail, label: str, taxonomy: Taxonomy) -> Example:
    word = email.words[-1]
    known = [candidate for candidate in email.candidates if _is_assignable(taxonomy, candidate.label)]
    return Example(
        email_id=email.email_id,
        text=email.text,
        label=label,
        grade="gold",
        source=word.source,
        negatives=_corrected(email.words, label, taxonomy),
        thread=email.thread,
        candidates=tuple(known),
    )


def _corrected(words: Iterable[Feedback], label: str, taxonomy: Taxonomy) -> tuple[str, ...]:
    """The wrong answers that people corrected, the latest first."""
    never = {label, *(ancestor.id for ancestor in taxonomy.ancestors(label))}
    wrong: dict[str, None] = {}
    for word in reversed(list(words)):
        found = assignable_id(taxonomy, word.wrong_label) if word.wrong_label is not None else None
        if found is not None and found not in never:
            wrong[found] = None
    return tuple(wrong)


def _is_assignable(taxonomy: Taxonomy, label: str) -> bool:
    found = taxonomy.get(label)
    return found is not None and found.assignable
