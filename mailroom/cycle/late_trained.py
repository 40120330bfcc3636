"""A trained encoder → late interaction by its own tokens behind it, where it helped the cycle's labels.

The champion's late interaction reads by the champion's weights, so it is exported anew. Whether it stays is
for the gate to say: two stages must answer more evaluation gold right than the same encoder alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mailroom.cycle.desk import Desk
from mailroom.cycle.judge import LEAST_TO_CHOOSE
from mailroom.cycle.label_step import LABELS_ALL, LABELS_GOLD, LABELS_MAIL
from mailroom.cycle.late_reader import LateReader, late_reader
from mailroom.cycle.late_step import LATE, Counted, LateScores, behind, choose, counted_by
from mailroom.cycle.parts import Parts
from mailroom.cycle.setup import Answering, Setup
from mailroom.cycle.steps import Tell
from mailroom.cycle.words import WITH_WORDS
from mailroom.models.registry import CROSS_ENCODER

_FOLDER = "late_beside_trained"


def late_beside_trained(
    desk: Desk,
    answering: Answering,
    work: Path,
    parts: Parts,
    learned: Sequence[Setup],
    trained: Sequence[Setup],
    tell: Tell,
) -> dict[str, Any]:
    """Each of `trained`, all behind one encoder, once more with late interaction by that encoder's tokens.

    It counts what validation gold says, where that is enough; else what it was chosen to count behind the
    label vectors `learned` in this cycle. Nothing is made where it was chosen to count nothing behind those.
    """
    counted = {one.name: counted_by(one) for one in learned if one.late_weight}
    twins = {one.name: twin for one in trained if (twin := _twin(one, counted)) is not None}
    wanted = [one for one in trained if one.kind == "retrieval" and one.name in twins]
    if not wanted:
        return {"setups": []}
    made = late_reader(desk, wanted[0], work / _FOLDER, [example.text for example in parts.train], tell)
    late = LateReader.of(made)
    if late is None:
        return {"setups": [], **made}
    if late.setup.cross_precision == "fp32" and desk.champion.precision_of(CROSS_ENCODER) == "int8":
        # The gate would refuse it, and with it the encoder.
        return {"setups": [], "skipped": "its int8 graph answers otherwise than fp32 too often"}
    enough = len(parts.validation) >= LEAST_TO_CHOOSE
    scores = LateScores(desk, late.setup, parts.validation) if enough else None
    found, weights = [], {}
    for setup in wanted:
        chosen = twins[setup.name]
        if scores is not None:
            chosen = choose(answering.answers(setup, parts.validation), scores)
        weights[setup.name] = chosen.weight
        if chosen.weight > 0:
            found.append(behind(setup, late.setup, chosen, work).to_dict())
    return {"setups": found, "weights": weights, **late.checks}


def _twin(setup: Setup, counted: Mapping[str, Counted]) -> Counted | None:
    """What late interaction counts behind what learned as the setup did, by the champion's encoder."""
    words = WITH_WORDS if setup.lexical is not None else ""
    names = (LABELS_MAIL, LABELS_ALL, LABELS_GOLD) if setup.mail_weight else (LABELS_ALL, LABELS_GOLD)
    return next((counted[one] for name in names if (one := name + words + LATE) in counted), None)
