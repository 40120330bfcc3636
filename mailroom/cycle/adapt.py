"""Unlabelled mail → the champion's encoder, used to its words, and promoted where gold says it is no worse.

No step of a learning cycle: it runs when a person asks for it, beside a champion that answers throughout.
What a killed run leaves in `adaptation/run` is taken up by the next one that is asked for the same.
"""

import fcntl
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mailroom.classify.wordings import wordings
from mailroom.cycle.adapted import ADAPTED, Adapted, export_adapted, with_label_vectors
from mailroom.cycle.adapted_judge import AdaptedJudgement, judge_adapted
from mailroom.cycle.desk import Desk
from mailroom.cycle.held_out import HeldOut, held_out, learned_as
from mailroom.cycle.novelty import PROMOTED, REFUSED
from mailroom.cycle.outcome import Outcome
from mailroom.cycle.promote import promote, prune, publish
from mailroom.cycle.setup import Answering, champion_setup
from mailroom.cycle.steps import Tell, advance_with, learned_in, lineage, summary_line
from mailroom.cycle.training import first_given, told
from mailroom.errors import CycleBusyError, DataError, MailroomError, ModelError, PromotionRefused, StoreError
from mailroom.models.encoder_config import WEIGHTS_NAME
from mailroom.models.registry import CROSS_ENCODER, ModelVersion, load_version
from mailroom.models.sources import INSTALL_TRAIN
from mailroom.store.promotions import PromotionLog

# More teach little that the first ones did not, and no budget reads them.
MOST_EMAILS = 20_000
# What export, its checks and label vectors take, beside reading the emails that judge.
_EXPORT_S = 60.0
# However much time judging takes, training has so much of the budget.
_LEAST_SHARE = 0.25
# Emails by which the time of an answer is told.
_TIMED_EMAILS = 5


@dataclass(frozen=True, slots=True)
class Mail:
    """Where the emails come from, in words that are the same for the same request, and how to read them."""

    request: str
    read: Callable[[], Sequence[str]]


@dataclass(frozen=True, slots=True)
class AdaptOptions:
    """Who asked, how long it may work, and whether a version may be promoted that too little gold judges."""

    by: str
    budget_s: float
    seed: int = 0
    force: bool = False


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a run began with; kept, so that one that was killed goes on with the very same."""

    id: str
    request: str
    champion: str
    taxonomy: str
    seed: int
    emails: tuple[str, ...]


def preview(desk: Desk, mail: Mail) -> dict[str, Any]:
    """What an adaptation would use now; nothing is written."""
    emails, gold = _distinct(mail.read()), held_out(desk)
    least = desk.settings.gate.min_emails
    return {
        "champion": desk.champion.id,
        "emails": len(emails),
        "label_texts": len(label_texts(desk)),
        "judged_by": len(gold.judged),
        "least_to_judge": least,
        "would_judge": len(gold.judged) >= least,
        "label_vectors_from": len(gold.taught),
    }


def adapt(desk: Desk, root: Path, mail: Mail, options: AdaptOptions, tell: Tell) -> Outcome:
    """Adapt the champion's encoder, or go on with the run that a killed process left in `root`.

    CycleBusyError while another process does; DataError without mail, ModelError for an encoder that cannot
    be adapted and where training breaks down: these leave nothing but the champion, which answers on.
    """
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        return _Run(desk, root / "run", mail, options, tell).run()


def label_texts(desk: Desk) -> list[str]:
    """Every wording of every label, once."""
    found = [
        text
        for label in desk.taxonomy.assignable
        for group in wordings(label, desk.taxonomy)
        for text in group
    ]
    return list(dict.fromkeys(found))


class _Run:
    """One adaptation in this process."""

    def __init__(self, desk: Desk, folder: Path, mail: Mail, options: AdaptOptions, tell: Tell) -> None:
        self._desk, self._folder, self._mail = desk, folder, mail
        self._options, self._tell = options, tell
        self._started = time.monotonic()
        self._champion = champion_setup(desk)
        self._notes: list[str] = []

    def run(self) -> Outcome:
        """Whatever is not done yet."""
        before = self._kept()
        if before is not None and self._was_promoted(before):
            # Killed after the very last step: there is nothing left but to say so.
            self._clear()
            return self._end(PROMOTED, f"{self._desk.champion.id} promoted", version=self._desk.champion.id)
        gold = held_out(self._desk)
        few = self._too_few(gold)
        if few is not None and not self._options.force:
            return self._end(REFUSED, f"not adapted: {few}, or say --force", reasons=(few,))
        begun = self._begin(before)
        try:
            outcome = self._work(begun, gold, few)
        except StoreError:
            raise
        except MailroomError:
            # The same again would end the same.
            self._clear()
            raise
        self._clear()
        return outcome

    def _work(self, begun: _Begun, gold: HeldOut, few: str | None) -> Outcome:
        answering = Answering(self._desk, self._folder)
        figures = self._train(begun, gold, answering)
        adapted = export_adapted(
            self._desk,
            self._folder / "weights",
            self._folder / ADAPTED,
            self._champion,
            begun.emails,
            self._tell,
        )
        reading = advance_with("reading what the labels learned from", self._tell)
        setup = with_label_vectors(
            self._desk, answering, adapted.setup, gold.taught, self._options.seed, reading
        )
        adapted = replace(adapted, setup=setup)
        if few is not None:
            made = self._publish(begun, adapted, figures, {}, len(gold.judged), ())
            self._notes.append(f"whether it answers better was not judged: {few}")
            return self._promote(made, f"{made.id} promoted unjudged, as --force demands", {})
        judgement = judge_adapted(
            self._desk,
            answering,
            self._champion,
            adapted,
            gold.judged,
            advance_with("judging on held-out gold", self._tell),
        )
        adapted = replace(adapted, setup=judgement.setup)
        made = self._publish(
            begun, adapted, figures, judgement.figures["challenger"], len(gold.judged), judgement.reasons
        )
        if judgement.reasons:
            return self._refuse(made, judgement)
        return self._promote(made, summary_line(made.id, judgement.figures), judgement.figures)

    def _train(self, begun: _Begun, gold: HeldOut, answering: Answering) -> dict[str, Any]:
        """Figures of the training, whose weights are in the folder then."""
        done = self._folder / "trained.json"
        if done.is_file():
            found: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
            return found
        try:
            from mailroom.train.adaptation import AdaptationSettings, adapt_encoder, epochs_for
        except ImportError as exc:
            raise ModelError(f"adapting an encoder needs {exc.name or exc}; {INSTALL_TRAIN}") from exc
        defaults, labels = AdaptationSettings(), label_texts(self._desk)
        epochs = epochs_for(len(begun.emails) + len(labels))
        training = replace(
            defaults.training, epochs=epochs, seed=self._options.seed, threads=self._desk.threads
        )
        budget_s = first_given(self._folder / "budget.json", self._training_s(gold, answering))
        self._tell("training on hidden words", 0.0, budget_s)
        result = adapt_encoder(
            Path(self._champion.bi_encoder) / WEIGHTS_NAME,
            self._folder / "weights",
            begun.emails,
            labels,
            replace(defaults, training=training),
            self._folder / "checkpoint",
            lambda progress: self._tell(*told("training on hidden words", progress)),
            budget_s,
        )
        figures = {
            "emails": len(begun.emails),
            "label_texts": len(labels),
            "steps": result.training.steps,
            "stopped_early": result.training.stopped_early,
            "words_said": round(result.words_said, 4),
            "likeness": round(result.likeness, 4),
        }
        _write(done, figures)
        return figures

    def _training_s(self, gold: HeldOut, answering: Answering) -> float:
        """What the budget leaves for training, once everything after it has had its time."""
        timed = gold.judged[:_TIMED_EMAILS]
        started = time.monotonic()
        answering.answers(self._champion, timed)
        an_answer = (time.monotonic() - started) / max(1, len(timed))
        after = an_answer * (2 * len(gold.judged) + len(gold.taught)) + _EXPORT_S
        budget_s = self._options.budget_s
        return max(_LEAST_SHARE * budget_s, budget_s - after)

    # ── the end

    def _publish(
        self,
        begun: _Begun,
        adapted: Adapted,
        figures: dict[str, Any],
        metrics: dict[str, Any],
        judged: int,
        refused: Sequence[str],
    ) -> ModelVersion:
        parity = {**self._desk.champion.manifest.parity, **adapted.parity}
        if adapted.setup.cross_encoder is None:
            parity.pop(CROSS_ENCODER, None)
        trained_from = {
            "cycle": begun.id,
            "setup": ADAPTED,
            "adapted_from": self._desk.champion.id,
            "learned_in": learned_in(self._desk.champion),
            "learned_as": learned_as(self._desk),
            **lineage(self._desk.champion),
            "seed": begun.seed,
            "taxonomy": begun.taxonomy,
            "judged_by": judged,
            **figures,
            **({"refused": list(refused)} if refused else {}),
        }
        return publish(self._desk, adapted.setup, parity, metrics, trained_from, adapted.shared_reading)

    def _promote(self, made: ModelVersion, summary: str, figures: dict[str, Any]) -> Outcome:
        load_version(made.directory, verify=True)
        log = PromotionLog(self._desk.database)
        try:
            promote(log, made.id, self._desk.champion.id, self._options.by, f"adapted: {summary}")
        except PromotionRefused as exc:
            return self._end(REFUSED, f"not promoted: {exc}", made.id, (str(exc),), figures)
        prune(self._desk.models, log.history(), self._desk.settings.models)
        self._notes.append("`mailroom learn --force` chooses anew how its labels learn")
        return self._end(PROMOTED, summary, made.id, figures=figures)

    def _refuse(self, made: ModelVersion, judgement: AdaptedJudgement) -> Outcome:
        prune(self._desk.models, PromotionLog(self._desk.database).history(), self._desk.settings.models)
        summary = "not promoted: " + "; ".join(judgement.reasons)
        return self._end(REFUSED, summary, made.id, judgement.reasons, judgement.figures)

    def _end(
        self,
        outcome: str,
        summary: str,
        version: str | None = None,
        reasons: tuple[str, ...] = (),
        figures: dict[str, Any] | None = None,
    ) -> Outcome:
        return Outcome(
            cycle=None,
            outcome=outcome,
            summary=summary,
            champion=self._desk.champion.id,
            version=version,
            reasons=reasons,
            figures=figures or {},
            seconds=round(time.monotonic() - self._started, 1),
            notes=tuple(self._notes),
        )

    # ── what is kept

    def _too_few(self, gold: HeldOut) -> str | None:
        least = self._desk.settings.gate.min_emails
        if len(gold.judged) >= least:
            return None
        return f"expected at least {least} held-out gold emails to judge by, got {len(gold.judged)}: " + (
            "review more mail"
        )

    def _begin(self, before: _Begun | None) -> _Begun:
        """The run that was left, where the same was asked for; else a new one."""
        asked = (self._mail.request, self._desk.champion.id, self._desk.taxonomy.revision, self._options.seed)
        if before is not None and asked == (before.request, before.champion, before.taxonomy, before.seed):
            self._notes.append(
                "went on with an adaptation that was interrupted, on the mail that it had read"
            )
            self._tell(self._notes[0], 0.0, 0.0)
            return before
        self._clear()
        self._tell("reading the mail", 0.0, 0.0)
        emails = tuple(_distinct(self._mail.read()))
        if not emails:
            raise DataError(
                "expected emails to adapt the encoder to, found none; name a mailbox, or classify mail first"
            )
        begun = _Begun(uuid.uuid4().hex, *asked, emails)
        _write(self._folder / "begun.json", asdict(begun))
        return begun

    def _kept(self) -> _Begun | None:
        try:
            content = json.loads((self._folder / "begun.json").read_text(encoding="utf-8"))
            return _Begun(**{**content, "emails": tuple(content["emails"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _was_promoted(self, before: _Begun) -> bool:
        trained_from = self._desk.champion.manifest.trained_from
        return trained_from.get("cycle") == before.id and before.request == self._mail.request

    def _clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _distinct(texts: Sequence[str]) -> list[str]:
    """Each text once, the first ones where there are many."""
    return [text for text in dict.fromkeys(texts) if text.strip()][:MOST_EMAILS]


def _write(path: Path, content: Any) -> None:
    """It appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.writing")
    fresh.write_text(json.dumps(content), encoding="utf-8")
    fresh.replace(path)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the folder against other processes; CycleBusyError where one has it."""
    with (root / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise CycleBusyError(
                f"{root}: another adaptation is under way in this workspace; wait for its end, or stop it"
            ) from exc
        yield
