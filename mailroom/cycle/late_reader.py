"""An encoder's weights → late interaction by its tokens, exported anew, and what the checks say of it."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mailroom.cycle.desk import Desk
from mailroom.cycle.reranking import cross_encoder_gate, gate_probes
from mailroom.cycle.setup import Setup
from mailroom.cycle.steps import Tell
from mailroom.errors import ModelError
from mailroom.models.encoder_config import LATE_INTERACTION, WEIGHTS_NAME
from mailroom.models.registry import CROSS_ENCODER
from mailroom.models.shared_reading import shared_reading

# What it counts is chosen later, and written into a copy.
_WEIGHT = _TEMPERATURE = 1.0


@dataclass(frozen=True, slots=True)
class LateReader:
    """The setup with late interaction by its own encoder behind it.

    `checks` has `parity`, the int8 gate's word, and `shared_reading`, by precision.
    """

    setup: Setup
    checks: dict[str, Any]


def champions_reader(
    desk: Desk, champion: Setup, work: Path, emails: Sequence[str], tell: Tell
) -> LateReader | None:
    """Late interaction by the champion's encoder, where the workspace began with it.

    The champion's own; exported anew into `work` where an earlier cycle did without, to be tried again.
    """
    if champion.late_weight:
        return LateReader(champion, {})
    if desk.settings.models.cross_encoder != LATE_INTERACTION or champion.cross_encoder is not None:
        return None
    try:
        return late_reader(desk, champion, work / LATE_INTERACTION, emails, tell)
    except ModelError as exc:
        # Another encoder may have been brought in, of a layout that it does not know.
        tell(f"no late interaction: {exc}", 0.0, 0.0)
        return None


def late_reader(desk: Desk, setup: Setup, folder: Path, emails: Sequence[str], tell: Tell) -> LateReader:
    """Export it into `folder`, and check it on the labels and `emails` of the workspace.

    ModelError where the encoder's layout is not one that late interaction knows.
    """
    from mailroom.models.export_one_pass import export_late_interaction

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tell("exporting late interaction", 0.0, 0.0)
    target, encoder = folder / CROSS_ENCODER, Path(setup.bi_encoder)
    export_late_interaction(encoder / WEIGHTS_NAME, target, _WEIGHT, _TEMPERATURE)
    parity = cross_encoder_gate(desk, target, setup, emails)
    shared = shared_reading(encoder, target, *gate_probes(desk, emails))
    served = replace(setup, cross_encoder=str(target), cross_precision="int8" if parity["passed"] else "fp32")
    return LateReader(served, {"parity": parity, "shared_reading": shared})
