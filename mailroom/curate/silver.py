"""Classified emails that nobody labelled → silver examples: the model's answers that may be learned from.

`thresholds` says which answers are sure enough. Of those, never an email that resembles one with a label,
never one of a conversation that models are judged by, never two that resemble each other, and no label
beyond its cap.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from mailroom.curate.gold import Gold, assignable_id
from mailroom.curate.near_duplicates import find_near_duplicates
from mailroom.curate.thresholds import Audited, SilverRules, Threshold, choose
from mailroom.records import Example, Prediction
from mailroom.taxonomy import Taxonomy

# The weight of the surest answer and of the least sure that is taken, beside gold's 1.
MAX_WEIGHT, MIN_WEIGHT = 0.8, 0.4


class ClassifiedEmail(Protocol):
    """An email without a label, and the model's answer; `thread` is "" where unknown."""

    @property
    def email_id(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def thread(self) -> str: ...
    @property
    def prediction(self) -> Prediction: ...


class LabelledText(Protocol):
    """An email that people have labelled, whatever became of the label."""

    @property
    def email_id(self) -> str: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class SilverReport:
    """How many of `pool` emails were taken, by which thresholds, of which labels, and why others were not."""

    pool: int
    taken: int
    thresholds: tuple[Threshold, ...]
    labels: Mapping[str, int]
    left_out: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Silver:
    """Silver examples, in an order that says nothing, and the report on them."""

    examples: tuple[Example, ...]
    report: SilverReport


def collect_silver(
    pool: Sequence[ClassifiedEmail],
    audited: Sequence[Audited],
    labelled: Sequence[LabelledText],
    gold: Gold,
    taxonomy: Taxonomy,
    rules: SilverRules,
    answered: Sequence[Audited] = (),
) -> Silver:
    """Choose among `pool`, which are answers of one model.

    `labelled` are all emails with a label, `gold` is what came of them, and `answered` the logged answers to
    these from before they had one.
    """
    left_out: Counter[str] = Counter()
    usable = _usable(pool, {email.email_id for email in labelled}, gold, taxonomy, left_out)
    chosen = choose([email.prediction for email in usable], audited, rules, answered)
    left_out["not sure enough"] = len(usable) - len(chosen.rank_of)
    order = sorted(chosen.rank_of, key=lambda place: _shuffled(usable[place].email_id, rules.seed))
    distinct = _distinct(usable, order, labelled, left_out)
    kept = _capped(usable, distinct, rules.max_per_label, left_out)
    examples = tuple(_example(usable[place], chosen.rank_of[place]) for place in kept)
    report = SilverReport(
        pool=len(pool),
        taken=len(examples),
        thresholds=chosen.thresholds,
        labels=dict(Counter(example.label for example in examples).most_common()),
        left_out={reason: count for reason, count in left_out.most_common() if count},
    )
    return Silver(examples, report)


def _usable(
    pool: Sequence[ClassifiedEmail],
    labelled: Collection[str],
    gold: Gold,
    taxonomy: Taxonomy,
    left_out: Counter[str],
) -> list[ClassifiedEmail]:
    """Emails that may be trained on at all."""
    judging = {example.thread for example in (*gold.validation, *gold.evaluation)} - {""}
    usable = []
    for email in pool:
        if email.email_id in labelled:
            left_out["has a label"] += 1
        elif email.thread in judging:
            left_out["in a thread that judges"] += 1
        elif assignable_id(taxonomy, email.prediction.label) != email.prediction.label:
            left_out["retired label"] += 1
        else:
            usable.append(email)
    return usable


def _distinct(
    emails: Sequence[ClassifiedEmail],
    chosen: Sequence[int],
    labelled: Sequence[LabelledText],
    left_out: Counter[str],
) -> list[int]:
    """Those that resemble neither an email with a label nor one before them."""
    texts = [*(email.text for email in labelled), *(emails[place].text for place in chosen)]
    groups = find_near_duplicates(texts).groups()[len(labelled) :]
    kept = []
    for number, (place, group) in enumerate(zip(chosen, groups.tolist(), strict=True)):
        if group == len(labelled) + number:
            kept.append(place)
        else:
            left_out["resembles a labelled one" if group < len(labelled) else "resembles another one"] += 1
    return kept


def _capped(
    emails: Sequence[ClassifiedEmail], chosen: Sequence[int], most: int, left_out: Counter[str]
) -> list[int]:
    """At most `most` of each label, the first ones; the order is random, so that precision is no other."""
    counts: Counter[str] = Counter()
    kept = []
    for place in chosen:
        label = emails[place].prediction.label
        counts[label] += 1
        if counts[label] <= most:
            kept.append(place)
        else:
            left_out["beyond the label's cap"] += 1
    return kept


def _shuffled(email_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"silver\0{seed}\0{email_id}".encode("utf-8", "surrogatepass")).digest()


def _example(email: ClassifiedEmail, rank: float) -> Example:
    answer = email.prediction
    return Example(
        email_id=email.email_id,
        text=email.text,
        label=answer.label,
        grade="silver",
        source="model",
        weight=MAX_WEIGHT - (MAX_WEIGHT - MIN_WEIGHT) * rank,
        thread=email.thread,
        candidates=answer.candidates,
    )
