"""Weeks of labelled mail through the real parts: classify, review, learn, measure; a killed replay goes on.

    DIR/  replay.json  replay.md  replay.svg  weeks/  desk/ (week by week)  all-labels/ (at once)

Both workspaces start from the version that `init` made: what the current one has learned since would know the
mail that is played.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mailroom.config import CONFIG_NAME, render_toml, setting_values
from mailroom.cycle.desk import CycleFolder
from mailroom.cycle.embeddings import Embeddings
from mailroom.cycle.novelty import PROMOTED
from mailroom.cycle.run import VECTORS, Options
from mailroom.cycle.setup import encoder_digest
from mailroom.cycle.steps import Tell
from mailroom.errors import ConfigError, DataError
from mailroom.evaluate.replay_curve import Bound, WeekFigures, replay_svg, replay_table
from mailroom.evaluate.report import Evaluation
from mailroom.models.bi_encoder import BiEncoder
from mailroom.store.cycles import Cycle, CycleLog
from mailroom.store.feedback import FeedbackFilter
from mailroom.store.prediction_reader import PredictionReader
from mailroom.store.snapshots import Snapshots
from mailroom.workspace.feedback_import import FeedbackImport
from mailroom.workspace.learning import learn_workspace
from mailroom.workspace.replay.reviewer import Answer, Reviewer
from mailroom.workspace.replay.stream import make_stream, write_history
from mailroom.workspace.workspace import CYCLES, MODELS, Workspace

DESK, ALL_LABELS, STATE = "desk", "all-labels", "replay.json"


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """What is played: shares 0…1 of each week's mail that are reviewed and audited, and of wrong answers.

    `budget_s` is each cycle's; `bound` says whether all labels at once are measured as well.
    """

    weeks: int = 8
    review: float = 0.05
    audit: float = 0.01
    noise: float = 0.02
    seed: int = 0
    budget_s: float = 600.0
    bound: bool = True


@dataclass(slots=True)
class Played:
    """What has been played so far; kept in replay.json after every step of a week."""

    settings: dict[str, Any]
    weeks: list[WeekFigures]
    late: list[Answer]
    all_labels: Bound | None = None
    week_began: str | None = None


class Replay:
    """One replay into one folder."""

    def __init__(
        self,
        workspace: Workspace,
        folder: Path,
        train: Path,
        test: Path,
        settings: ReplaySettings,
        tell: Tell,
    ) -> None:
        """Take up what the folder holds of the same replay; ConfigError where it holds another one."""
        for path in (train, test):
            if not path.is_file():
                raise DataError(f"{path}: expected a file of labelled emails (JSON lines), found none")
        self._workspace, self._folder = workspace, folder
        self._test, self._settings, self._tell = test, settings, tell
        given = {**asdict(settings), "train": str(train.resolve()), "test": str(test.resolve())}
        self._played = _load(folder, given)
        limits = workspace.settings.mail
        weeks = folder / "weeks"
        self._stream = make_stream(train, weeks, settings.weeks, settings.seed, workspace.taxonomy, limits)

    def run(self, after_week: Callable[[WeekFigures], None]) -> Played:
        """Play what has not been played; `after_week` gets each week's figures, those of before as well."""
        for week in self._played.weeks:
            after_week(week)
        if not self._played.weeks:
            after_week(self._keep(self._start()))
        while len(self._played.weeks) <= self._settings.weeks:
            after_week(self._keep(self._week(len(self._played.weeks))))
        if self._settings.bound and self._played.all_labels is None:
            self._played.all_labels = self._all_at_once()
            self._write()
        return self._played

    def _start(self) -> WeekFigures:
        """No learning: what the first version makes of the test."""
        with self._open(DESK) as desk:
            measured = self._measure(desk)
            version = desk.version.id
        return WeekFigures(0, 0, 0, "", version, *_figures(measured))

    def _week(self, number: int) -> WeekFigures:
        if self._played.week_began is None:
            self._played.week_began = datetime.now(UTC).isoformat()
            self._write()
        began = datetime.fromisoformat(self._played.week_began)
        started = time.monotonic()
        with self._open(DESK) as desk:
            emails, right = self._classify(desk, number)
            self._review(desk, number, emails)
            cycle = self._learn(desk, began)
            labels = desk.feedback.count(FeedbackFilter(latest_only=True))
            silver, silver_right = self._silver(desk, cycle)
        minutes = (time.monotonic() - started) / 60
        before = self._played.weeks[-1]
        with self._open(DESK) as desk:
            version = desk.version.id
            changed = version != before.version
            top_1, recall = _figures(self._measure(desk)) if changed else (before.top_1, before.recall_at_5)
        return WeekFigures(
            week=number,
            emails=emails,
            labels=labels,
            outcome=cycle.outcome or "",
            version=version,
            top_1=top_1,
            recall_at_5=recall,
            live_top_1=right / emails if emails else None,
            silver=silver,
            silver_precision=silver_right / silver if silver else None,
            minutes=round(minutes, 2),
            why="" if cycle.outcome == PROMOTED else cycle.summary or "",
        )

    def _classify(self, desk: Workspace, number: int) -> tuple[int, int]:
        """Answer the week's mail; how many emails there are, and how many answers are right."""
        path = self._stream.weeks[number - 1]
        total = path.read_bytes().count(b"\n")
        step, done = f"week {number}: classifying", 0
        started = time.monotonic()
        for batch in desk.classification_run().outcomes([path]):
            done += len(batch)
            self._tell(step, done / total, (time.monotonic() - started) / done * (total - done))
        ids = [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]
        answers = PredictionReader(desk.database).newest_of(ids)
        right = sum(answer.label == self._stream.truth[key] for key, answer in answers.items())
        return len(answers), right

    def _review(self, desk: Workspace, number: int, emails: int) -> None:
        """What is late from the week before comes in, then this week's answers, but for the late ones."""
        settings, name = self._settings, f"reviewer of week {number}"
        reviewer = Reviewer(desk, self._stream.truth, settings.noise, settings.seed, name)
        mine = [answer for answer in self._played.late if answer.reviewer == name]
        late = [answer for answer in self._played.late if answer.reviewer != name]
        if late:
            reviewer.say(late)
        said = desk.feedback.count(FeedbackFilter(reviewer=name))
        wanted = round(emails * (settings.review + settings.audit)) - said - len(mine)
        drawn = reviewer.draw(wanted) if wanted > 0 else []
        self._played.late = mine + [answer for answer in drawn if reviewer.is_late(answer)]
        self._write()
        reviewer.say([answer for answer in drawn if not reviewer.is_late(answer)])

    def _learn(self, desk: Workspace, began: datetime) -> Cycle:
        """The week's cycle; one that ended before a kill is not run again."""
        log = CycleLog(desk.database)
        newest = next(iter(log.history(1)), None)
        if newest is None or newest.started_at < began or newest.ended_at is None:
            options = Options("replay", self._settings.budget_s, self._settings.seed)
            learn_workspace(desk, options, self._tell)
            newest = log.history(1)[0]
        return newest

    def _silver(self, desk: Workspace, cycle: Cycle) -> tuple[int, int]:
        """How many silver examples the cycle used, and how many carry the true label."""
        used = [e for e in Snapshots(desk.database).load(cycle.id, "train") if e.grade == "silver"]
        return len(used), sum(self._stream.truth.get(e.email_id) == e.label for e in used)

    def _all_at_once(self) -> Bound:
        """Every training label imported, one cycle: what the weeks could reach at most."""
        started = time.monotonic()
        history = self._folder / "weeks" / "all.jsonl"
        write_history(self._stream, history)
        with self._open(ALL_LABELS) as desk:
            read = self._folder / DESK / CYCLES / VECTORS
            if read.is_dir():
                shutil.copytree(read, desk.root / CYCLES / VECTORS, dirs_exist_ok=True)
            self._tell("all labels: importing", 0, 0)
            desk.register_taxonomy()
            FeedbackImport(desk, "history").run(history)
            options = Options("replay", self._settings.budget_s, self._settings.seed)
            learn_workspace(desk, options, self._tell)
            labels = desk.feedback.count(FeedbackFilter(latest_only=True))
        minutes = (time.monotonic() - started) / 60
        with self._open(ALL_LABELS) as desk:
            return Bound(labels, *_figures(self._measure(desk)), round(minutes, 2))

    def _measure(self, desk: Workspace) -> Evaluation:
        total = max(1, self._test.read_bytes().count(b"\n"))
        started = time.monotonic()

        def advance(_: int, done: int) -> None:
            self._tell(
                "measuring", done / total, (time.monotonic() - started) / max(1, done) * (total - done)
            )

        known: list[Embeddings] = []

        def remembering(encoder: BiEncoder) -> Embeddings:
            # The test file is read week after week, mostly by the same encoder.
            folder = self._folder / VECTORS / encoder_digest(desk.version, desk.precision())
            known.append(Embeddings(encoder, folder, desk.threads))
            return known[0]

        measured = desk.gold_run(remembering=remembering).run(self._test, advance)
        known[0].write()
        return measured

    def _open(self, name: str) -> Workspace:
        root = self._folder / name
        if not (root / CONFIG_NAME).exists():
            _make_workspace(self._workspace, root, self._settings)
        return Workspace.open(root)

    def _keep(self, week: WeekFigures) -> WeekFigures:
        self._played.weeks.append(week)
        self._played.week_began = None
        self._write()
        return week

    def _write(self) -> None:
        played, folder = self._played, CycleFolder(self._folder)
        content = {
            "settings": played.settings,
            "left_out": self._stream.left_out,
            "weeks": [week.to_dict() for week in played.weeks],
            "all_labels": played.all_labels.to_dict() if played.all_labels else None,
            "late": [answer.to_dict() for answer in played.late],
            "week_began": played.week_began,
        }
        folder.write_json(STATE, content)
        if played.weeks:
            folder.write_text("replay.md", replay_table(played.weeks, played.all_labels))
            title = f"Replay of {Path(played.settings['train']).name}, seed {self._settings.seed}"
            folder.write_text("replay.svg", replay_svg(played.weeks, played.all_labels, title))


def _make_workspace(source: Workspace, root: Path, settings: ReplaySettings) -> None:
    """A workspace with the same labels and settings, and the version that `init` made."""
    history = source.promotions.history()
    first = source.root / MODELS / history[0].version if history else source.version.directory
    if not first.is_dir():
        raise ConfigError(
            f"{first}: the version that `init` made is gone, and a later one may know what is played; "
            "make a new workspace with the same taxonomy and replay there"
        )
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(first, root / MODELS / first.name, copy_function=_link_or_copy)
    shutil.copyfile(source.root / source.settings.taxonomy, root / "taxonomy.yaml")
    share = settings.audit / max(1e-9, settings.audit + settings.review)
    values = {
        **setting_values(source.settings),
        "taxonomy": "taxonomy.yaml",
        "store.url": "sqlite:///mailroom.db",
        "store.keep_text": True,
        "review.audit_share": round(share, 6),
        "models.keep_versions": 2,
    }
    fresh = root / f".{CONFIG_NAME}"
    fresh.write_text(render_toml(values), encoding="utf-8")
    opened = Workspace(root, replace(source.settings, taxonomy="taxonomy.yaml", store=_own_store(source)))
    with opened:
        opened.promotions.promote(first.name, "replay", "the start")
    # Written last: a folder without settings is no workspace, and is made anew after a kill.
    fresh.replace(root / CONFIG_NAME)


def _own_store(source: Workspace) -> Any:
    return replace(source.settings.store, url="sqlite:///mailroom.db")


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _figures(measured: Evaluation) -> tuple[float, float]:
    return measured.recall["recall_at_1"], measured.recall["recall_at_5"]


def _load(folder: Path, settings: dict[str, Any]) -> Played:
    path = folder / STATE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        return Played(settings, [], [])
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        played = Played(
            content["settings"],
            [WeekFigures(**week) for week in content["weeks"]],
            [Answer(**answer) for answer in content["late"]],
            Bound(**content["all_labels"]) if content["all_labels"] else None,
            content["week_began"],
        )
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DataError(
            f"{path}: expected what an earlier replay kept, got: {exc}; remove the folder"
        ) from exc
    if played.settings != settings:
        raise ConfigError(f"{folder}: holds a replay with other settings; name another folder with -o")
    return played
