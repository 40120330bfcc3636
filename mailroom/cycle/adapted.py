"""An adapted encoder's folder → the champion's way of answering with it, exported and held to int8.

What stands on the encoder is made anew: label vectors, and late interaction, which compares tokens by the
encoder's own weights. Other cross-encoders, and words, are the champion's.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mailroom.cycle.desk import Desk
from mailroom.cycle.label_learning import learn_labels
from mailroom.cycle.reranking import cross_encoder_gate, gate_probes
from mailroom.cycle.setup import Advance, Answering, Setup
from mailroom.cycle.training import Report, bi_encoder_gate
from mailroom.evaluate.gate import Parity
from mailroom.models.prototypes import PROTOTYPES_NAME
from mailroom.models.registry import BI_ENCODER, CROSS_ENCODER
from mailroom.models.runtime import Precision
from mailroom.models.shared_reading import shared_reading
from mailroom.records import Example

ADAPTED = "adapted"


@dataclass(frozen=True, slots=True)
class Adapted:
    """The setup, the int8 gate's words on what was exported, and whether both stages share a reading."""

    setup: Setup
    parity: dict[str, dict[str, Any]]
    shared_reading: dict[str, bool]

    def parity_checks(self, desk: Desk) -> dict[str, Parity]:
        """The same for the gate, beside whether the champion's served in int8."""
        return {
            encoder: Parity(desk.champion.precision_of(encoder) == "int8", bool(word["passed"]))
            for encoder, word in self.parity.items()
        }


def export_adapted(
    desk: Desk, weights: Path, target: Path, champion: Setup, emails: Sequence[str], report: Report
) -> Adapted:
    """Export the encoder in the folder `weights` into `target`, with what reads by the same weights.

    What a killed run left in `target` is replaced. `emails` are what int8 is compared with fp32 on.
    """
    from mailroom.models.export import export_bi_encoder
    from mailroom.models.export_one_pass import export_late_interaction

    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    report("exporting the bi-encoder", 0, 0)
    export_bi_encoder(weights, target / BI_ENCODER)
    parity = {BI_ENCODER: bi_encoder_gate(desk, target / BI_ENCODER, emails)}
    setup = replace(
        champion,
        name=ADAPTED,
        bi_encoder=str(target / BI_ENCODER),
        bi_precision=_precision(parity[BI_ENCODER]),
        prototypes=None,
    )
    if champion.late_weight:
        report("exporting late interaction", 0, 0)
        late = target / CROSS_ENCODER
        export_late_interaction(weights, late, champion.late_weight, champion.late_temperature)
        parity[CROSS_ENCODER] = cross_encoder_gate(desk, late, setup, emails)
        precision = _precision(parity[CROSS_ENCODER])
        setup = replace(setup, cross_encoder=str(late), cross_precision=precision)
    shared: dict[str, bool] = {}
    if setup.cross_encoder is not None:
        probes = gate_probes(desk, emails)
        shared = shared_reading(target / BI_ENCODER, Path(setup.cross_encoder), *probes)
    return Adapted(setup, parity, shared)


def with_label_vectors(
    desk: Desk,
    answering: Answering,
    setup: Setup,
    examples: Sequence[Example],
    seed: int,
    advance: Advance,
) -> Setup:
    """The setup with label vectors that learned from the examples by its encoder; as it is for none."""
    if not examples:
        return setup
    path = Path(setup.bi_encoder).with_name(PROTOTYPES_NAME)
    vectors = answering.embeddings(setup).unit([one.text for one in examples], advance)
    learn_labels(desk.label_ids, answering.text_vectors(setup), examples, vectors, path, seed)
    return replace(setup, prototypes=str(path))


def _precision(verdict: dict[str, Any]) -> Precision:
    return "int8" if verdict["passed"] else "fp32"
