"""Labelled emails in order of arrival → which are trained on, which validate training, which judge it.

An email's part depends on it and on earlier ones alone, so it never changes when more arrive. What belongs
together (one thread, one content, near-duplicates) goes where the first of it went, and that first one goes
by the hash of its content. An email that belongs to two parts at once is used in neither.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mailroom.curate.content import content_key
from mailroom.curate.near_duplicates import Resemblances

Part = Literal["train", "validation", "evaluation"]

# So many independent mails of a label are trained on before one may be taken for validation. More, and a tree
# of 150 labels would have next to none for its first thousand mails.
TRAIN_FIRST = 1

# Of so many first mails audits judge beside the share: with fewer than 30 no trained encoder can be judged.
_FIRST = 200

# Where so many are drawn for evaluation, shares begin to fall, as one over how many mails there are: the gate
# sees well enough by these, and what comes later serves better in training. Some go on being drawn: mail of
# today has to judge, too.
_ENOUGH = 500

_SALT = "mailroom split 1"


@dataclass(frozen=True, slots=True)
class SplitShares:
    """Shares (0…1): `evaluation` of all mail, `validation` of the rest; both fall once evaluation has 500.

    Audits are among `evaluation`, but for the first mails, where they stand beside it. A larger `evaluation`
    moves mail from training to evaluation and none back.
    """

    evaluation: float = 0.2
    validation: float = 0.1

    def at(self, place: int) -> "SplitShares":
        """The shares of the mail that comes after `place` others; what is drawn grows with the logarithm.

        Both fall alike: so no mail that was trained on under full shares would validate under falling ones.
        """
        falling = _ENOUGH / max(_ENOUGH, self.evaluation * place)
        return SplitShares(self.evaluation * falling, self.validation * falling)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A labelled email as the split sees it.

    `thread` is "" where unknown; `first_label` the first label that anybody gave it, which later words do not
    change; `audit` says that it was drawn at random for that first word.
    """

    text: str
    thread: str
    first_label: str
    audit: bool = False


def split(arrivals: Sequence[Arrival], alike: Resemblances, shares: SplitShares) -> list[Part | None]:
    """The part of every email, in order; None where it belongs to emails of two parts.

    `arrivals` stand in the order in which the emails first got a label, and `alike` compares their texts.
    Emails must stay in the list, whatever becomes of their labels later: the parts of others hang on them.
    """
    parts: list[Part | None] = []
    part_of_content: dict[int, Part] = {}
    part_of_thread: dict[str, Part] = {}
    trained: Counter[str] = Counter()
    audits = 0
    for place, arrival in enumerate(arrivals):
        found = [part_of_content.get(earlier) for earlier in alike.earlier_than(place)]
        found.append(part_of_thread.get(arrival.thread))
        linked = {part for part in found if part is not None}
        if len(linked) > 1:
            parts.append(None)
            continue
        share = shares.at(place)
        left = _left_to_draw(share.evaluation, audits / place if place >= _FIRST else 0.0)
        part = linked.pop() if linked else _own_part(arrival, left, share.validation, trained)
        parts.append(part)
        audits += arrival.audit
        part_of_content.setdefault(int(alike.first[place]), part)
        if arrival.thread:
            part_of_thread.setdefault(arrival.thread, part)
    return parts


def _left_to_draw(share: float, audits: float) -> float:
    """The share of mail that is no audit to draw for evaluation, where audits are such a share of all mail.

    By the audits alone, not by what was drawn: so a larger share never gives an email back to training.
    """
    return max(0.0, (share - audits) / (1 - audits)) if audits < 1 else 0.0


def _own_part(arrival: Arrival, evaluation: float, validation: float, trained: Counter[str]) -> Part:
    """The part of an email that belongs to no earlier one; counts it where it is trained on."""
    drawn = _draw(arrival.text)
    # What was drawn at random is the only fair sample of the mail, as long as no model has learned it.
    if arrival.audit or drawn < evaluation:
        return "evaluation"
    left = (drawn - evaluation) / (1 - evaluation)
    # From the far end: a larger evaluation share then takes from training, not from validation.
    if left >= 1 - validation and trained[arrival.first_label] >= TRAIN_FIRST:
        return "validation"
    trained[arrival.first_label] += 1
    return "train"


def _draw(text: str) -> float:
    """A number in [0, 1) by the text's content alone."""
    digest = hashlib.sha256(f"{_SALT}\0{content_key(text)}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
