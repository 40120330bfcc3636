"""One turn of the loop: curate → learn label vectors → train → distil → choose → judge → promote.

Each step's result is kept in the store, and what it made in `cycles/<id>/`: a cycle whose process was killed
goes on where it stopped. Only one runs at a time. The champion answers throughout; it is replaced by one
insert at the very end, or not at all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mailroom.cycle.budget import Budget, duration_words
from mailroom.cycle.desk import CycleFolder, Desk
from mailroom.cycle.ending import Ending
from mailroom.cycle.judge import ENOUGH, Judge, Judgement
from mailroom.cycle.kept_steps import KeptSteps
from mailroom.cycle.label_step import LABELS_GOLD, LabelStep
from mailroom.cycle.late_reader import LateReader, comes_back, late_reader
from mailroom.cycle.late_step import LateScores, late_step
from mailroom.cycle.late_trained import late_beside_trained
from mailroom.cycle.novelty import (
    CURATED,
    FAILED,
    STALE,
    count_new,
    known_labels,
    last_learned,
)
from mailroom.cycle.outcome import Outcome
from mailroom.cycle.parts import Parts
from mailroom.cycle.second_stage import SecondStage, parity_checks, setups_of
from mailroom.cycle.setup import Answering, Setup, champion_setup
from mailroom.cycle.steps import (
    Tell,
    advance_with,
    curate,
    kept_parts,
)
from mailroom.cycle.trained_labels import mail_beside_trained
from mailroom.cycle.training import train_bi_encoder_step, why_not_train
from mailroom.cycle.unlabelled_mail import kept_mail
from mailroom.cycle.words import WITH_WORDS, words_beside_trained, words_step
from mailroom.errors import CycleBusyError, MailroomError, StoreError
from mailroom.models.registry import BI_ENCODER
from mailroom.models.text_weight import UNPROVEN_KAPPA
from mailroom.store.cycles import Cycle, CycleLog
from mailroom.store.examples import ExampleReader
from mailroom.store.snapshots import Snapshots

# Beside the cycles' folders: vectors of mail that the champion's encoder has read.
VECTORS = "vectors"
# What answering unlabelled mail anew may take of the budget.
_CURATING_SHARE = 0.3
# And reading it, for what it says of where labels lie; most of it was read while curating.
_MAIL_SHARE = 0.1
# Training starts only if so much of the budget is left for it.
_LEAST_TRAINING_S = 30.0
# What export and its checks take, beside reading the emails that judge.
_EXPORT_S = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """How one cycle is run: who asked for it, how long it may work, and whether little news is enough."""

    by: str
    budget_s: float
    seed: int = 0
    force: bool = False


def preview(desk: Desk, work: Path, cycles: Path, seed: int, tell: Tell) -> dict[str, Any]:
    """What a cycle would use now; nothing is written but in `work`."""
    reader, snapshots = ExampleReader(desk.database), Snapshots(desk.database)
    known = known_labels(last_learned(CycleLog(desk.database)), snapshots, cycles)
    new = count_new(reader.labelled(), known)
    curated = curate(desk, Answering(desk, work), reader, seed, tell)
    train = sum(example.grade == "gold" for example in curated.train)
    why_not = why_not_train(desk, train, len(curated.gold.evaluation))
    return {
        "champion": desk.champion.id,
        "new_gold": new,
        "would_learn": new >= desk.settings.learning.min_new_gold,
        "would_train": why_not is None,
        "why_not_train": f"label vectors alone: {why_not}" if why_not else None,
        "judges_alone_from": ENOUGH,
        **curated.to_dict(),
    }


def learn(desk: Desk, cycles: Path, options: Options, tell: Tell) -> Outcome:
    """Run one cycle to its end, or go on with the one that a killed process left.

    CycleBusyError while another process runs one; ModelError where training breaks down. Both leave the
    champion as it is.
    """
    log = CycleLog(desk.database)
    cycle = log.begin()
    if cycle.takeovers and _is_stale(cycle, desk):
        log.finish(cycle, STALE, "models or labels changed while it was interrupted; begun anew")
        cycle = log.begin()
    try:
        with log.kept_alive(cycle):
            return _Run(desk, log, cycle, cycles, options, tell).run()
    except CycleBusyError:
        raise
    except MailroomError as exc:
        if isinstance(exc, StoreError):
            _release(log, cycle)
        else:
            log.finish(cycle, FAILED, str(exc))
            CycleFolder(cycles / cycle.id).clear_work()
        raise
    except BaseException:
        # An interrupt, a full disk: the next run goes on from here.
        _release(log, cycle)
        raise


def _release(log: CycleLog, cycle: Cycle) -> None:
    try:
        log.release(cycle)
    except StoreError:
        return  # the error that led here is the one to hear of; the cycle's process will be found dead


def _is_stale(cycle: Cycle, desk: Desk) -> bool:
    """Whether what the cycle began with has been replaced since."""
    begun = cycle.steps.get("begin")
    if begun is None or cycle.model is not None:
        return False
    return (begun["champion"], begun["taxonomy"]) != (desk.champion.id, desk.taxonomy.revision)


class _Run:
    """One cycle in this process."""

    def __init__(
        self, desk: Desk, log: CycleLog, cycle: Cycle, cycles: Path, options: Options, tell: Tell
    ) -> None:
        self._desk, self._steps = desk, KeptSteps(log, cycle, tell)
        self._cycles, self._options, self._tell = cycles, options, tell
        self._folder = CycleFolder(cycles / cycle.id)
        self._reader, self._snapshots = ExampleReader(desk.database), Snapshots(desk.database)
        spent = sum(step.get("seconds", 0.0) for step in cycle.steps.values())
        self._budget = Budget(options.budget_s, spent)
        self._answering = Answering(desk, self._folder.work, cycles / VECTORS)
        self._champion = champion_setup(desk)
        self._ending = Ending(
            desk, self._steps, self._answering, self._folder, self._budget, options.by, options.seed
        )
        if cycle.steps:
            last = list(cycle.steps)[-1].replace("_", " ")
            self._ending.notes.append(
                f"went on with the cycle that began at {cycle.started_at:%Y-%m-%d %H:%M} UTC and was "
                f"interrupted after the step “{last}”"
            )
            tell(self._ending.notes[0], 0.0, 0.0)
        self._second = SecondStage(
            desk, self._answering, self._folder.work, self._champion, options.seed, tell
        )

    def run(self) -> Outcome:
        """All steps that are not done yet."""
        if self._steps.cycle.model is not None:
            return self._ending.published()
        begun = self._steps.step("begin", self._begin)
        least = self._desk.settings.learning.min_new_gold
        if begun["new_gold"] < least and not self._options.force:
            return self._ending.nothing_new(begun["new_gold"], least)
        curated = self._steps.step("curate", self._curate)
        if not curated["gold_train"]:
            return self._ending.nothing_new(0, 1)
        parts = kept_parts(self._desk, self._steps.cycle.id)
        labels = self._steps.step("label_vectors", lambda: self._labels(parts))
        parts = replace(parts, kappa=labels.get("kappa", UNPROVEN_KAPPA))
        setups = [Setup(**values) for values in labels["setups"]]
        mail, late = kept_mail(self._folder.work), self._late_reader(parts)
        scores = self._late_scores(late, parts)
        judge = Judge(self._desk, self._answering, parts, self._options.seed, mail, scores)
        self._steps.step(
            "doubts", lambda: judge.doubts(setups[0], self._advance("looking for doubtful labels")).to_dict()
        )
        setups += self._words(parts, setups)
        if late is not None and scores is not None:
            setups += self._late(late, scores, judge, setups)
        trained = self._steps.step("bi_encoder", lambda: self._train(parts), may_skip=True)
        second = self._second
        crossed = self._steps.step(
            "cross_encoder",
            lambda: second.cross_encoder(trained, parts, self._training_s(parts)),
            may_skip=True,
        )
        self._steps.step(
            "distil", lambda: second.distil(crossed, parts, self._training_s(parts)), may_skip=True
        )
        trainees = setups_of(self._steps.done, ("bi_encoder", "distil", "cross_encoder"))
        trainees += self._mail_beside(parts, trainees)
        trainees += self._words_beside(parts, setups, trainees)
        setups += [*trainees, *(self._late_beside(parts, setups, trainees) if late else ())]
        chosen = self._steps.step("choose", lambda: self._choose(judge, setups))
        judgement = self._judge(judge, chosen)
        return self._ending.judged(judgement, parts)

    # ── steps

    def _begin(self) -> dict[str, Any]:
        known = known_labels(last_learned(self._steps.log), self._snapshots, self._cycles)
        return {
            "champion": self._desk.champion.id,
            "taxonomy": self._desk.taxonomy.revision,
            "new_gold": count_new(self._reader.labelled(), known),
        }

    def _curate(self) -> dict[str, Any]:
        allowed_s = self._budget.left_s() * _CURATING_SHARE
        curated = curate(self._desk, self._answering, self._reader, self._options.seed, self._tell, allowed_s)
        for part, examples in curated.parts().items():
            self._snapshots.save(self._steps.cycle, examples, part)
        report = curated.to_dict()
        self._folder.write_json(CURATED, report)
        silver = sum(example.grade == "silver" for example in curated.train)
        return {
            "gold_train": len(curated.train) - silver,
            "silver": silver,
            "validation": len(curated.gold.validation),
            "evaluation": len(curated.gold.evaluation),
            "set_aside": len(curated.gold.set_aside),
            "negatives": report["negatives"],
        }

    def _labels(self, parts: Parts) -> dict[str, Any]:
        step = LabelStep(
            self._desk, self._answering, self._folder.work, self._champion, parts, self._options.seed
        )
        return step.run(self._budget.left_s() * _MAIL_SHARE, self._advance)

    def _words(self, parts: Parts, setups: Sequence[Setup]) -> list[Setup]:
        """The setups once more, with words beside the cosine, where these help."""
        kept = self._steps.step(
            "words",
            lambda: words_step(
                self._desk,
                self._answering,
                self._folder.work,
                parts,
                setups,
                self._budget.left_s(),
                self._options.seed,
                kept_mail(self._folder.work),
            ),
            may_skip=True,
        )
        return [Setup(**values) for values in kept["setups"]]

    def _late_reader(self, parts: Parts) -> LateReader | None:
        """Late interaction by the champion's encoder: its own, or exported anew where it has none."""
        if self._champion.late_weight:
            return LateReader(self._champion, {})
        if not comes_back(self._desk, self._champion):
            return None
        emails, folder = [example.text for example in parts.train], self._folder.work / "late_reader"
        kept = self._steps.step(
            "late_reader",
            lambda: late_reader(self._desk, self._champion, folder, emails, self._tell),
            may_skip=True,
        )
        return LateReader.of(kept)

    def _late_scores(self, late: LateReader | None, parts: Parts) -> LateScores | None:
        if late is None:
            return None
        return LateScores(self._desk, late.setup, (*parts.train, *parts.validation, *parts.evaluation))

    def _late(self, late: LateReader, scores: LateScores, judge: Judge, setups: list[Setup]) -> list[Setup]:
        """The setups once more, with late interaction behind them, where it helps."""
        kept = self._steps.step(
            "late_interaction",
            lambda: {**late_step(late.setup, scores, judge, self._folder.work, setups), **late.checks},
        )
        return [Setup(**values) for values in kept["setups"]]

    def _mail_beside(self, parts: Parts, trained: Sequence[Setup]) -> list[Setup]:
        """The trained encoders once more, their labels drawn to unlabelled mail."""
        drawn = self._steps.done["label_vectors"]
        if not trained or not drawn["mail_weight"]:
            return []
        kept = self._steps.step(
            "mail_beside_trained",
            lambda: mail_beside_trained(
                self._desk,
                self._answering,
                self._folder.work,
                parts,
                trained,
                drawn["mail_weight"],
                drawn["mail"],
                self._budget.left_s() * _MAIL_SHARE,
                self._options.seed,
                self._advance("reading unlabelled mail"),
            ),
        )
        return [Setup(**values) for values in kept["setups"]]

    def _words_beside(self, parts: Parts, setups: Sequence[Setup], trained: Sequence[Setup]) -> list[Setup]:
        """The trained encoders once more, with the words that gold taught."""
        learned = next((one for one in setups if one.name == LABELS_GOLD + WITH_WORDS), None)
        if learned is None or not trained:
            return []
        kept = self._steps.step(
            "words_beside_trained",
            lambda: words_beside_trained(
                self._desk, self._answering, self._folder.work, parts, learned, trained
            ),
        )
        return [Setup(**values) for values in kept["setups"]]

    def _late_beside(self, parts: Parts, setups: Sequence[Setup], trained: Sequence[Setup]) -> list[Setup]:
        """The trained encoder once more, with late interaction by its own tokens."""
        encoder = self._steps.done["bi_encoder"].get("setup", {}).get(BI_ENCODER)
        behind_it = [one for one in trained if one.bi_encoder == encoder]
        if not behind_it:
            return []
        kept = self._steps.step(
            "late_beside_trained",
            lambda: late_beside_trained(
                self._desk, self._answering, self._folder.work, parts, setups, behind_it, self._tell
            ),
            may_skip=True,
        )
        return [Setup(**values) for values in kept["setups"]]

    def _train(self, parts: Parts) -> dict[str, Any]:
        reason = self._why_not_train(parts)
        if reason is not None:
            return {"skipped": reason}
        trained = train_bi_encoder_step(
            self._desk,
            self._folder.work,
            self._champion,
            parts,
            self._training_s(parts) * self._second.encoder_share,
            self._options.seed,
            self._tell,
        )
        return {"setup": trained.setup.to_dict(), "parity": trained.parity, "figures": trained.figures}

    def _why_not_train(self, parts: Parts) -> str | None:
        reason = why_not_train(self._desk, len(parts.gold), len(parts.evaluation))
        if reason is not None:
            return reason
        left = self._training_s(parts) * self._second.encoder_share
        if left < _LEAST_TRAINING_S:
            return f"{duration_words(left)} of the budget would be left for training the encoders"
        return None

    def _training_s(self, parts: Parts) -> float:
        """What the budget leaves for training, once everything after it has had its time."""
        a_text = self._steps.done["label_vectors"]["seconds_a_text"]
        exports = 2 if self._champion.late_weight or comes_back(self._desk, self._champion) else 1
        after = exports * _EXPORT_S
        after += 3 * a_text * (len(parts.validation) + len(parts.evaluation) + len(parts.gold))
        # Two stages answer validation gold once, and evaluation gold if they are chosen.
        an_answer = self._steps.done.get("cross_encoder", {}).get("seconds_an_answer", 0.0)
        after += an_answer * (len(parts.validation) + len(parts.evaluation))
        return self._budget.left_s() - float(after)

    def _choose(self, judge: Judge, setups: Sequence[Setup]) -> dict[str, Any]:
        return judge.choose(setups, self._advance("choosing on validation gold")).to_dict()

    def _judge(self, judge: Judge, chosen: Mapping[str, Any]) -> Judgement:
        """The gate's word on what was chosen; on label vectors alone where it refuses what was trained."""
        first = self._judge_setup(judge, Setup(**chosen["setup"]))
        if first.verdict.passed or chosen.get("fallback") is None:
            return first
        second = self._judge_setup(judge, Setup(**chosen["fallback"]))
        if not second.verdict.passed:
            return first
        self._ending.notes.append(
            f"the gate refused {first.setup.name.replace('_', ' ')} ({'; '.join(first.verdict.reasons)}): "
            f"{second.setup.name.replace('_', ' ')} stands in its place"
        )
        return second

    def _judge_setup(self, judge: Judge, setup: Setup) -> Judgement:
        parity = parity_checks(self._desk, self._steps.done, setup)
        return judge.judge(self._champion, setup, parity, self._advance("judging on evaluation gold"))

    # ── what the steps share

    def _advance(self, step: str) -> Callable[[int, int], None]:
        return advance_with(step, self._tell)
