"""Parts of a cycle's steps that need nothing of the cycle itself: progress, curation, kept examples."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mailroom.cycle.aggregate import Classifies, Curated, Model, aggregate
from mailroom.cycle.desk import Desk
from mailroom.cycle.parts import Parts
from mailroom.cycle.setup import Answering, Setup, champion_setup
from mailroom.errors import ModelError
from mailroom.models.registry import ModelVersion, load_version
from mailroom.records import Email
from mailroom.store.cycles import CycleLog
from mailroom.store.examples import ExampleReader
from mailroom.store.snapshots import Snapshots

# Emails that tell how long an answer takes.
_TIMED_EMAILS = 10

# Where a manifest's `trained_from` names the cycle that trained the encoder, what mail counted, and what a
# label's texts count behind a trained encoder.
ENCODER_CYCLE, MAIL_WEIGHT, TEXT_KAPPA = "encoder_cycle", "mail_weight", "text_kappa"

# A step, the share of it that is done (0…1), and seconds that are left of it (0 where unknown).
Tell = Callable[[str, float, float], None]


def advance_with(step: str, tell: Tell) -> Callable[[int, int], None]:
    """Counts of a step as progress with the time that is left."""
    started = time.monotonic()

    def advance(done: int, total: int) -> None:
        left = (time.monotonic() - started) / max(1, done) * (total - done)
        tell(step, done / max(1, total), left)

    return advance


def curate(
    desk: Desk,
    answering: Answering,
    reader: ExampleReader,
    seed: int,
    tell: Tell,
    allowed_s: float | None = None,
) -> Curated:
    """Gold, silver and negatives; of unlabelled mail as much as the champion can answer in `allowed_s`."""
    setup = champion_setup(desk)
    model = Model(desk.champion.id, answering.classifier(setup), answering.label_vectors(setup), desk.threads)
    advance = advance_with("answering unlabelled mail anew", tell)
    settings = desk.settings.learning
    if allowed_s is not None:
        affordable = int(allowed_s / _seconds_an_answer(reader, model.classifier) * desk.threads)
        settings = replace(settings, silver_pool_emails=min(settings.silver_pool_emails, affordable))
    return aggregate(reader, desk.taxonomy, model, settings, seed, advance)


def _seconds_an_answer(reader: ExampleReader, classifier: Classifies) -> float:
    """What the champion takes for one email, by the newest unlabelled ones."""
    started = time.monotonic()
    timed = list(reader.unlabelled(_TIMED_EMAILS))
    for email in timed:
        classifier.classify(Email(email.email_id, "", email.text))
    return max(1e-4, (time.monotonic() - started) / max(1, len(timed)))


def reranked(setup: Setup, champion: Setup) -> Setup:
    """The same labels, with the champion's cross-encoder behind them."""
    return Setup(
        f"{setup.name}+cross_encoder",
        setup.bi_encoder,
        setup.bi_precision,
        setup.prototypes,
        champion.cross_encoder,
        champion.cross_precision,
        uses_silver=setup.uses_silver,
        mail_weight=setup.mail_weight,
    )


def summary_line(version: str, figures: Mapping[str, Any]) -> str:
    """What a promotion brought, with the interval of its gain and what that rests on."""
    before, after = figures["champion"], figures["challenger"]
    gain = figures.get("top_1_gain")
    interval = "" if gain is None else f" ({100 * gain[0]:+.1f} to {100 * gain[1]:+.1f} points at 95%)"
    crossed = figures.get("cross_fitted", 0)
    parts = f" ({figures['emails'] - crossed:,} held back, {crossed:,} cross-fitted)" if crossed else ""
    return (
        f"{version} promoted: top-1 {before['top_1']:.1%} → {after['top_1']:.1%}{interval}, "
        f"Recall@5 {before['recall_at_5']:.1%} → {after['recall_at_5']:.1%} "
        f"on {figures['emails']:,} gold emails{parts}"
    )


def skipped_notes(steps: Mapping[str, Any]) -> tuple[str, ...]:
    """Why encoders were not trained, where they were not."""
    reason = steps.get("bi_encoder", {}).get("skipped")
    return () if reason is None else (f"label vectors alone: {reason}",)


def doubt_notes(steps: Mapping[str, Any]) -> tuple[str, ...]:
    """How many of people's labels are worth a second look."""
    doubts = steps.get("doubts", {})
    if not doubts.get("count"):
        return ()
    first = doubts["shown"][0]
    return (
        f"{doubts['count']:,} of {doubts['emails']:,} labels are contradicted by all others: look at them "
        f"again, such as {first['email_id']} ({first['given']}, or {first['suggested']}?); "
        "the report lists them",
    )


def kept_parts(desk: Desk, cycle_id: str) -> Parts:
    """The examples of a cycle as they were kept, and which of them the champion and its encoder know."""
    snapshots = Snapshots(desk.database)
    parts = {part: tuple(snapshots.load(cycle_id, part)) for part in ("train", "validation", "evaluation")}
    learned = _train_part(desk, snapshots, learned_in(desk.champion))
    seen = _train_part(desk, snapshots, encoder_trained_in(desk.champion))
    ids = [one.email_id for one in parts["train"]]
    return Parts(
        parts["train"],
        parts["validation"],
        parts["evaluation"],
        frozenset(one for one in ids if one not in learned),
        frozenset(one for one in ids if one in seen),
    )


def learned_in(version: ModelVersion) -> str | None:
    """The cycle that taught the labels of the version, or of what it was adapted from."""
    trained_from = version.manifest.trained_from
    found = trained_from.get("learned_in" if "adapted_from" in trained_from else "cycle")
    return None if found is None else str(found)


def encoder_trained_in(version: ModelVersion) -> str | None:
    """The last cycle that trained the version's encoder on labelled mail, None where none did."""
    found = version.manifest.trained_from.get(ENCODER_CYCLE)
    return None if found is None else str(found)


def encoder_start(desk: Desk) -> ModelVersion:
    """The version whose encoder training begins with: the last one that no cycle has trained since.

    So an adapted one is where the next begins. Where that version is no longer here, the nearest to it.
    """
    version = desk.champion
    while True:
        before = version.encoder_start
        adapted = "adapted_from" in version.manifest.trained_from
        # Versions of older releases do not name it: their parents lead there.
        if before is None and encoder_trained_in(version) is not None and not adapted:
            before = version.manifest.parent
        if before is None:
            return version
        try:
            version = load_version(desk.models / before)
        except ModelError:
            return version


def lineage(version: ModelVersion) -> dict[str, Any]:
    """What a version's children keep of it in `trained_from` where they have its encoder and labels."""
    known = version.manifest.trained_from
    return {name: known[name] for name in (ENCODER_CYCLE, MAIL_WEIGHT, TEXT_KAPPA) if name in known}


def _train_part(desk: Desk, snapshots: Snapshots, cycle: str | None) -> set[str]:
    """Emails that the cycle learned from, as far as it is known here."""
    if cycle is None or CycleLog(desk.database).get(cycle) is None:
        return set()
    return {example.email_id for example in snapshots.load(cycle, "train")}
