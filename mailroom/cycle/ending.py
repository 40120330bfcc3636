"""What a cycle came to → a version that answers from now on, or none; and what is said and kept of it."""

from collections.abc import Sequence
from typing import Any

from mailroom.cycle.budget import Budget
from mailroom.cycle.desk import CycleFolder, Desk
from mailroom.cycle.judge import Judgement
from mailroom.cycle.kept_steps import KeptSteps
from mailroom.cycle.novelty import NOTHING_NEW, PROMOTED, REFUSED, last_learned, taken_back
from mailroom.cycle.outcome import Outcome
from mailroom.cycle.parts import Parts
from mailroom.cycle.promote import promote, prune, publish
from mailroom.cycle.report import write_report
from mailroom.cycle.second_stage import parity_of, shared_reading_of
from mailroom.cycle.setup import Answering, Setup, champion_setup
from mailroom.cycle.steps import (
    ENCODER_CYCLE,
    MAIL_WEIGHT,
    TEXT_KAPPA,
    doubt_notes,
    encoder_start,
    encoder_trained_in,
    learned_in,
    skipped_notes,
    summary_line,
)
from mailroom.errors import PromotionRefused, StoreError
from mailroom.models.registry import CROSS_ENCODER, ENCODER_START, ModelVersion, load_version
from mailroom.models.text_weight import UNPROVEN_KAPPA
from mailroom.store.promotions import PromotionLog


class Ending:
    """Ends one cycle; `by` asked for it and `seed` is its seed. `notes` are said beside the outcome."""

    def __init__(
        self,
        desk: Desk,
        kept: KeptSteps,
        answering: Answering,
        folder: CycleFolder,
        budget: Budget,
        by: str,
        seed: int,
    ) -> None:
        self._desk, self._kept, self._answering, self._folder = desk, kept, answering, folder
        self._budget, self._by, self._seed = budget, by, seed
        self._promotions = PromotionLog(desk.database)
        self.notes: list[str] = []

    def judged(self, judgement: Judgement, parts: Parts) -> Outcome:
        """Report the gate's verdict, and publish and promote what passed."""
        report = write_report(self._folder, self._kept.cycle, judgement, self._desk, parts)
        self._kept.step("judge", lambda: report)
        if not judgement.verdict.passed:
            reasons = judgement.verdict.reasons
            refused = self._publish(judgement, refused=reasons)
            prune(self._desk.models, self._promotions.history(), self._desk.settings.models)
            summary = "not promoted: " + "; ".join(reasons)
            return self._end(REFUSED, summary, version=refused.id, reasons=reasons)
        made = self._publish(judgement)
        self._kept.keep("publish", {"version": made.id}, model=made.id)
        return self.published()

    def published(self) -> Outcome:
        """Promote the version that the cycle has made, before a kill perhaps: one insert."""
        version = self._kept.cycle.model
        if version is None:
            raise StoreError(f"expected cycle {self._kept.cycle.id} to have made a version, found none")
        summary = summary_line(version, self._kept.done["judge"]["figures"])
        champion = self._kept.done["begin"]["champion"]
        load_version(self._desk.models / version, verify=True)
        try:
            promote(self._promotions, version, champion, self._by, f"learned: {summary}")
        except PromotionRefused as exc:
            return self._end(REFUSED, f"not promoted: {exc}", reasons=(str(exc),))
        prune(self._desk.models, self._promotions.history(), self._desk.settings.models)
        return self._end(PROMOTED, summary, version=version)

    def nothing_new(self, found: int, needed: int) -> Outcome:
        """End without having learned anything."""
        last = last_learned(self._kept.log)
        goes_on = last is not None and learned_in(self._desk.champion) == last.id
        if not goes_on and taken_back(last, self._promotions.history()):
            self.notes.append(
                "the version that the last cycle made was taken back: with --force the same labels are "
                "learned again, from the version that answers now"
            )
        return self._end(
            NOTHING_NEW, f"nothing to learn yet: {found} newly labelled emails, {needed} are needed"
        )

    def _publish(self, judgement: Judgement, refused: Sequence[str] = ()) -> ModelVersion:
        """Make a version of what was judged; a refused one bears the gate's reasons."""
        steps = self._kept.done
        curated, figures = steps["curate"], steps["judge"]["figures"]
        parity = {**self._desk.champion.manifest.parity, **parity_of(steps, judgement.setup)}
        if judgement.setup.cross_encoder is None:
            parity.pop(CROSS_ENCODER, None)
        return publish(
            self._desk,
            judgement.setup,
            parity,
            figures["challenger"],
            {
                "cycle": self._kept.cycle.id,
                "setup": judgement.setup.name,
                "seed": self._seed,
                "taxonomy": self._desk.taxonomy.revision,
                **self._lineage(judgement.setup),
                **{name: curated[name] for name in ("gold_train", "silver", "validation", "evaluation")},
                **({"refused": list(refused)} if refused else {}),
            },
            shared_reading_of(self._desk, steps, judgement.setup),
        )

    def _lineage(self, setup: Setup) -> dict[str, Any]:
        """Which cycle trained the encoder, if one did, and from what; what mail and texts count."""
        trained = setup.bi_encoder != champion_setup(self._desk).bi_encoder
        cycle = self._kept.cycle.id if trained else encoder_trained_in(self._desk.champion)
        found: dict[str, Any] = {TEXT_KAPPA: self._kept.done["label_vectors"].get("kappa", UNPROVEN_KAPPA)}
        if setup.mail_weight:
            found[MAIL_WEIGHT] = setup.mail_weight
        if cycle is not None:
            found[ENCODER_CYCLE] = cycle
        start = encoder_start(self._desk).id if trained else self._desk.champion.encoder_start
        if start is not None:
            found[ENCODER_START] = start
        return found

    def _end(
        self, outcome: str, summary: str, version: str | None = None, reasons: tuple[str, ...] = ()
    ) -> Outcome:
        steps = self._kept.done
        self._kept.log.finish(self._kept.cycle, outcome, summary)
        self._answering.keep_vectors()
        self._folder.clear_work()
        result = Outcome(
            cycle=self._kept.cycle.id,
            outcome=outcome,
            summary=summary,
            champion=steps["begin"]["champion"],
            version=version,
            reasons=reasons,
            figures=steps["judge"]["figures"] if "judge" in steps else {},
            folder=str(self._folder.root),
            seconds=round(self._budget.used_s(), 1),
            notes=(*self.notes, *skipped_notes(steps), *doubt_notes(steps)),
        )
        self._folder.write_json("outcome.json", result.to_dict())
        return result
