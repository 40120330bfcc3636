"""`mailroom replay` on a tiny workspace: weeks that learn, a killed one that goes on, shares as written."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from mailroom.workspace import Workspace
from mailroom.workspace.replay.run import Replay, ReplaySettings
from tests.cli.conftest import Run
from tests.cycle.desk import LABELS, mail


def write(path: Path, count: int, first: int) -> Path:
    rows = []
    for number in range(first, first + count):
        for label in LABELS:
            email = mail(label, number)
            rows.append({"id": email.id, "subject": "", "body": email.body, "label": label})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "train.jsonl", 90, 0), write(tmp_path / "test.jsonl", 12, 5000)


class Stopped(BaseException):
    """Whatever ends a process without its consent."""


def test_weeks_learn_and_are_measured_beside_the_bounds(
    run: Run,
    learning_desk: Path,
    files: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    train, test = files
    target = tmp_path / "replay"
    options = ("--weeks", 3, "--review", "30%", "--audit", "0.1", "--noise", "2%", "-o", target)
    done = run("-w", learning_desk, "replay", train, "--test", test, *options)
    assert done.code == 0, done.err
    assert done.err.count("week ") >= 3
    content = json.loads((target / "replay.json").read_text())
    weeks = content["weeks"]
    assert [week["week"] for week in weeks] == [0, 1, 2, 3]
    assert sum(week["emails"] for week in weeks) == 450
    assert weeks[-1]["top_1"] > weeks[0]["top_1"] + 0.2
    # 40 % of 150 a week, less about a quarter of the last week's, which is late: 45 ± 3.4.
    assert 30 <= weeks[1]["labels"] < 60 < weeks[2]["labels"] < weeks[3]["labels"] <= 180
    assert content["all_labels"]["labels"] == 450
    assert content["all_labels"]["top_1"] >= weeks[-1]["top_1"] - 0.1
    picture = ElementTree.fromstring((target / "replay.svg").read_text())
    assert picture.tag.endswith("svg")
    assert "| all labels at once |" in done.out
    with Workspace.open(learning_desk, read_only=True) as opened:
        assert opened.log.count() == 0
    again = run("-w", learning_desk, "replay", train, "--test", test, *options, "--json")
    assert json.loads(again.out)["weeks"] == weeks


def test_a_replay_that_was_killed_ends_as_one_that_was_not(
    learning_desk: Path,
    files: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    train, test = files
    settings = ReplaySettings(weeks=2, review=0.3, audit=0.1, bound=False)

    def play(target: Path, stop_at: str = "") -> list[tuple[float, int]]:
        def tell(step: str, done: float, left: float) -> None:
            if step == stop_at:
                raise Stopped

        with Workspace.open(learning_desk, read_only=True) as opened:
            played = Replay(opened, target, train, test, settings, tell).run(lambda _: None)
        return [(week.top_1, week.labels) for week in played.weeks]

    for step in ("week 1: classifying", "choose", "week 2: classifying"):
        with pytest.raises(Stopped):
            play(tmp_path / "killed", step)
    interrupted = play(tmp_path / "killed")
    whole = play(tmp_path / "whole")
    assert [labels for _, labels in interrupted] == [labels for _, labels in whole]
    assert interrupted[-1][0] == pytest.approx(whole[-1][0], abs=0.1)


def test_another_replay_is_not_mixed_into_a_folder(
    run: Run,
    learning_desk: Path,
    files: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    train, test = files
    target = tmp_path / "replay"
    target.mkdir()
    (target / "replay.json").write_text(
        json.dumps({"settings": {}, "weeks": [], "late": [], "all_labels": None, "week_began": None})
    )
    mixed = run("-w", learning_desk, "replay", train, "--test", test, "-o", target)
    assert mixed.code == 1
    assert "holds a replay with other settings" in mixed.err


@pytest.mark.parametrize("share", ["five", "120%", "-1"])
def test_what_is_no_share_is_wrong_usage(
    run: Run,
    learning_desk: Path,
    files: tuple[Path, Path],
    share: str,
) -> None:
    result = run("-w", learning_desk, "replay", files[0], "--test", files[1], f"--review={share}")
    assert result.code == 2
    assert "expected a share" in result.err
