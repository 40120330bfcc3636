"""What people have said since the last cycle that learned: is it enough to learn again?"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from mailroom.store.cycles import Cycle, CycleLog
from mailroom.store.examples import LabelledEmail
from mailroom.store.promotions import Promotion
from mailroom.store.snapshots import Snapshots

PROMOTED, REFUSED, NOTHING_NEW, FAILED, STALE = "promoted", "refused", "nothing_new", "failed", "stale"
CURATED = "curated.json"


def last_learned(cycles: CycleLog) -> Cycle | None:
    """The newest cycle that came as far as the gate, whatever the gate said."""
    return next((cycle for cycle in cycles.history() if cycle.outcome in (PROMOTED, REFUSED)), None)


def taken_back(cycle: Cycle | None, history: Sequence[Promotion]) -> bool:
    """Whether the version that the cycle made was promoted, and another one answers since."""
    if cycle is None or cycle.model is None:
        return False
    versions = [promotion.version for promotion in history]
    return cycle.model in versions and versions[-1] != cycle.model


def known_labels(cycle: Cycle | None, snapshots: Snapshots, folder: Path) -> set[tuple[str, str | None]]:
    """(email, label) of all gold that the cycle had before it; an email it set aside stands with None."""
    if cycle is None:
        return set()
    known: set[tuple[str, str | None]] = {
        (example.email_id, example.label) for example in snapshots.load(cycle.id) if example.grade == "gold"
    }
    try:
        curated = json.loads((folder / cycle.id / CURATED).read_text(encoding="utf-8"))
        known |= {(item["email_id"], None) for item in curated["gold"]["set_aside"]}
    except (OSError, ValueError, KeyError, TypeError):
        # A report that is gone makes some emails look new: at worst one cycle too many.
        return known
    return known


def count_new(labelled: Iterable[LabelledEmail], known: set[tuple[str, str | None]]) -> int:
    """Labelled emails whose label the last cycle did not have before it; where no label fits is no news."""
    return sum(
        not email.feedback.is_outside
        and (email.email_id, email.feedback.label) not in known
        and (email.email_id, None) not in known
        for email in labelled
    )
