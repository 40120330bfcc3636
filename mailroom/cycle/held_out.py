"""Gold of the store → what may judge a new encoder, and what its labels may learn from again.

Label vectors that learned for one encoder do not fit another: they are learned anew, from the examples that
taught the champion's, so that both have seen the same. Only gold that taught neither judges.
"""

from dataclasses import dataclass

from mailroom.curate.gold import Gold, collect_gold
from mailroom.curate.split import SplitShares
from mailroom.cycle.desk import Desk
from mailroom.cycle.label_step import LABELS_ALL, LABELS_GOLD, LABELS_MAIL
from mailroom.cycle.steps import learned_in
from mailroom.records import Example
from mailroom.store.cycles import CycleLog
from mailroom.store.examples import ExampleReader
from mailroom.store.snapshots import Snapshots


@dataclass(frozen=True, slots=True)
class HeldOut:
    """`taught` is what the champion's labels learned from, () where they did not; `judged` is none of it."""

    taught: tuple[Example, ...]
    judged: tuple[Example, ...]


def held_out(desk: Desk) -> HeldOut:
    """All gold judges a champion that learned from none; else validation and evaluation gold alone."""
    settings = desk.settings.learning
    shares = SplitShares(settings.evaluation_share, settings.validation_share)
    gold = collect_gold(list(ExampleReader(desk.database).labelled()), desk.taxonomy, shares)
    if desk.champion.prototypes_path is None and desk.champion.lexical_path is None:
        return HeldOut((), (*gold.train, *gold.validation, *gold.evaluation))
    judged = (*gold.validation, *gold.evaluation)
    if desk.champion.prototypes_path is None:
        return HeldOut((), judged)
    apart, labels = {one.email_id for one in judged}, set(desk.label_ids)
    taught = [one for one in _taught(desk, gold) if one.label in labels and one.email_id not in apart]
    return HeldOut(tuple(taught), judged)


def _taught(desk: Desk, gold: Gold) -> list[Example]:
    """What the champion's cycle had; training gold of today where that cycle is not known here."""
    cycle = learned_in(desk.champion)
    if cycle is None or CycleLog(desk.database).get(cycle) is None:
        return list(gold.train)
    kept = list(Snapshots(desk.database).load(cycle, "train"))
    return [one for one in kept if one.grade == "gold"] if _gold_alone(learned_as(desk)) else kept


def learned_as(desk: Desk) -> str:
    """The name of the setup that the champion's labels learned as, "" where it is not known."""
    trained_from = desk.champion.manifest.trained_from
    return str(trained_from.get("learned_as" if "adapted_from" in trained_from else "setup", ""))


def _gold_alone(setup: str) -> bool:
    return setup.startswith(LABELS_GOLD) and not setup.startswith((LABELS_ALL, LABELS_MAIL))
