"""An encoder's weights → late interaction by its tokens, exported anew, and what the checks say of it."""

import shutil
from collections.abc import Mapping, Sequence
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
from mailroom.models.sources import INSTALL_TRAIN

# What it counts is chosen later, and written into a copy.
_WEIGHT = _TEMPERATURE = 1.0


@dataclass(frozen=True, slots=True)
class LateReader:
    """A setup with late interaction by its own encoder behind it.

    `checks` has `parity`, the int8 gate's word, and `shared_reading`, by precision, where it was exported.
    """

    setup: Setup
    checks: dict[str, Any]

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "LateReader | None":
        """What `late_reader` made; None where it made nothing."""
        if "setup" not in kept:
            return None
        return cls(Setup(**kept["setup"]), {name: kept[name] for name in ("parity", "shared_reading")})


def comes_back(desk: Desk, champion: Setup) -> bool:
    """Whether the workspace began with late interaction, and the champion answers without a second stage."""
    return desk.settings.models.cross_encoder == LATE_INTERACTION and champion.cross_encoder is None


def late_reader(desk: Desk, setup: Setup, folder: Path, emails: Sequence[str], tell: Tell) -> dict[str, Any]:
    """Export it into `folder`, and check it on the labels and `emails` of the workspace.

    `skipped` says why not, where the encoder is of a layout that late interaction does not know, or what
    exports is not installed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tell("exporting late interaction", 0.0, 0.0)
    target, encoder = folder / CROSS_ENCODER, Path(setup.bi_encoder)
    try:
        from mailroom.models.export_one_pass import export_late_interaction

        export_late_interaction(encoder / WEIGHTS_NAME, target, _WEIGHT, _TEMPERATURE)
    except ModelError as exc:
        return {"skipped": str(exc)}
    except ImportError as exc:
        return {"skipped": f"exporting it needs {exc.name or exc}; {INSTALL_TRAIN}"}
    parity = cross_encoder_gate(desk, target, setup, emails)
    served = replace(
        setup,
        name=LATE_INTERACTION,
        cross_encoder=str(target),
        cross_precision="int8" if parity["passed"] else "fp32",
    )
    shared = shared_reading(encoder, target, *gate_probes(desk, emails))
    return {"setup": served.to_dict(), "parity": parity, "shared_reading": shared}
