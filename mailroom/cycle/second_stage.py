"""When a cycle trains a cross-encoder and lets it teach the encoder, how long, and why not.

The steps themselves are in `reranking` and `distilling`; each returns what the cycle keeps of it.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mailroom.cycle.budget import duration_words
from mailroom.cycle.desk import Desk
from mailroom.cycle.distilling import MOST_TAUGHT, distil_step
from mailroom.cycle.parts import Parts
from mailroom.cycle.reranking import continued, train_cross_encoder_step, why_no_cross_encoder
from mailroom.cycle.setup import Answering, Setup, champion_setup
from mailroom.cycle.steps import Tell, advance_with
from mailroom.evaluate.gate import Parity
from mailroom.models.registry import BI_ENCODER, CROSS_ENCODER
from mailroom.store.examples import ExampleReader

# Shares of the time that is left for training, where another training follows.
_ENCODER_SHARE = 0.5
_CROSS_ENCODER_SHARE = 0.6
# Below this, a training that starts would be cut before it has learned anything.
_LEAST_S = 30.0
# With `auto`: how much of validation gold retrieval must have among its first five, but not first.
_LEAST_TO_WIN = 0.03
# How much better than retrieval two stages must be on validation to be worth learning from.
_LEAST_LEAD = 0.005
# Validation emails by which its blend is fitted and it is chosen: it cannot be cross-fitted.
ENOUGH = 100
# What one answer of two stages takes beside the parity gate's pairs, which were timed.
_TIMED_EMAILS = 20

_MAKERS = {BI_ENCODER: ("bi_encoder", "distil"), CROSS_ENCODER: ("cross_encoder",)}


class SecondStage:
    """The cross-encoder and distillation of one cycle; `seed` is the cycle's."""

    def __init__(
        self, desk: Desk, answering: Answering, work: Path, champion: Setup, seed: int, tell: Tell
    ) -> None:
        self._desk, self._answering, self._work = desk, answering, work
        self._champion, self._seed, self._tell = champion, seed, tell
        self._wanted = desk.settings.learning.train_cross_encoder

    @property
    def encoder_share(self) -> float:
        """The share of the training time that the encoder may use, 0…1."""
        return _ENCODER_SHARE if self._may_come else 1.0

    @property
    def _may_come(self) -> bool:
        return self._wanted == "always" or (self._wanted == "auto" and continued(self._champion) is not None)

    def cross_encoder(self, trained: Mapping[str, Any], parts: Parts, left_s: float) -> dict[str, Any]:
        """Train one behind the trained encoder, or say why not; `left_s` is left for all training."""
        reason = self._why_no_cross_encoder(trained, len(parts.validation), left_s)
        if reason is not None:
            return {"skipped": reason}
        made = train_cross_encoder_step(
            self._desk,
            self._answering,
            self._work,
            self._champion,
            Setup(**trained["setup"]),
            parts,
            trained["figures"].get("anew", False),
            left_s * _CROSS_ENCODER_SHARE,
            self._seed,
            self._tell,
        )
        started = time.monotonic()
        timed = parts.validation[:_TIMED_EMAILS]
        self._answering.answers(made.setup, timed)
        an_answer = (time.monotonic() - started) / max(1, len(timed))
        return {
            "setup": made.setup.to_dict(),
            "parity": made.parity,
            "shared_reading": made.shared_reading,
            "figures": made.figures,
            "seconds_an_answer": an_answer,
        }

    def _why_no_cross_encoder(self, trained: Mapping[str, Any], validation: int, left_s: float) -> str | None:
        if self._wanted == "never":
            return "learning.train_cross_encoder is never"
        if not self._may_come:
            return "the champion has no one-pass cross-encoder to go on with"
        if "setup" not in trained:
            return f"the encoder was not trained: {trained['skipped']}"
        if validation < ENOUGH:
            return f"{validation} validation gold emails, {ENOUGH} are needed to fit and choose it"
        if left_s < _LEAST_S:
            return f"{duration_words(left_s)} of the budget would be left for it"
        reason = why_no_cross_encoder(Setup(**trained["setup"]), self._champion)
        if reason is not None or self._wanted == "always":
            return reason
        figures = trained["figures"]
        to_win = figures["validation_recall_at_5"] - figures["validation_top_1"]
        if to_win < _LEAST_TO_WIN:
            return (
                f"retrieval has only {to_win:.1%} of validation gold among its first five and not first; "
                f"{_LEAST_TO_WIN:.0%} are worth a cross-encoder"
            )
        return None

    def distil(self, crossed: Mapping[str, Any], parts: Parts, left_s: float) -> dict[str, Any]:
        """Teach the encoder by the cross-encoder, or say why not; `left_s` is left for it."""
        if "setup" not in crossed:
            return {"skipped": "there is no new cross-encoder to learn from"}
        figures = crossed["figures"]
        lead = figures["validation_top_1"] - figures["validation_retrieval_top_1"]
        if lead < _LEAST_LEAD:
            return {
                "skipped": f"the cross-encoder is {lead:+.1%} against retrieval on validation gold; "
                "it has nothing to teach"
            }
        unlabelled = [one.text for one in ExampleReader(self._desk.database).unlabelled(MOST_TAUGHT)]
        read = min(MOST_TAUGHT, len(parts.train)) + len(unlabelled)
        left_s -= read * crossed["seconds_an_answer"]
        if left_s < _LEAST_S:
            return {"skipped": f"{duration_words(left_s)} of the budget would be left for it"}
        taught = distil_step(
            self._desk,
            self._answering,
            self._work,
            Setup(**crossed["setup"]),
            parts,
            unlabelled,
            left_s,
            self._seed,
            self._tell,
            advance_with("asking the cross-encoder", self._tell),
        )
        return {"setup": taught.setup.to_dict(), "parity": taught.parity, "figures": taught.figures}


def setups_of(steps: Mapping[str, Any], names: tuple[str, ...]) -> list[Setup]:
    """The ways to answer that these steps made."""
    return [Setup(**steps[name]["setup"]) for name in names if "setup" in steps.get(name, {})]


def parity_of(steps: Mapping[str, Any], setup: Setup) -> dict[str, Any]:
    """The int8 gate's words on those encoders of the setup that this cycle made, by encoder."""
    folders = {BI_ENCODER: setup.bi_encoder, CROSS_ENCODER: setup.cross_encoder}
    found = {}
    for encoder, makers in _MAKERS.items():
        for step in makers:
            made = steps.get(step, {})
            if "setup" in made and folders[encoder] == made["setup"][encoder]:
                found[encoder] = made["parity"]
    late = _late_of(steps, setup)
    return {**found, CROSS_ENCODER: late["parity"]} if late else found


def _late_of(steps: Mapping[str, Any], setup: Setup) -> Mapping[str, Any]:
    """What this cycle kept of the setup's late interaction, where it exported that."""
    for step in ("late_interaction", "late_beside_trained") if setup.late_weight else ():
        made: Mapping[str, Any] = steps.get(step, {})
        if "parity" in made and setup.name in {one["name"] for one in made["setups"]}:
            return made
    return {}


def shared_reading_of(desk: Desk, steps: Mapping[str, Any], setup: Setup) -> dict[str, bool]:
    """By precision: whether the setup's two encoders were found to share their reading of an email."""
    crossed = steps.get("cross_encoder", {})
    made = crossed.get("setup", {})
    if (made.get(BI_ENCODER), made.get(CROSS_ENCODER)) == (setup.bi_encoder, setup.cross_encoder):
        return dict(crossed["shared_reading"])
    if late := _late_of(steps, setup):
        return dict(late["shared_reading"])
    champion = champion_setup(desk)
    same = champion.cross_encoder == setup.cross_encoder
    # Late interaction reads as it did, however it counts.
    same = same or (setup.late_weight > 0 and champion.late_weight > 0)
    if champion.bi_encoder == setup.bi_encoder and same:
        return dict(desk.champion.manifest.shared_reading)
    return {}


def parity_checks(desk: Desk, steps: Mapping[str, Any], setup: Setup) -> dict[str, Parity]:
    """The same for the gate, beside whether the champion's served in int8."""
    return {
        encoder: Parity(desk.champion.precision_of(encoder) == "int8", bool(word["passed"]))
        for encoder, word in parity_of(steps, setup).items()
    }
