import json
from pathlib import Path

import pytest

from mailroom.records import Example, Prediction
from mailroom.store.cycles import CycleLog
from mailroom.store.prediction_log import PredictionLog
from mailroom.store.snapshots import Snapshots
from mailroom.workspace import Workspace
from tests.cli.conftest import Run, write_mailbox


@pytest.fixture
def filled(run: Run, workspace: Path, tmp_path: Path) -> Path:
    run("-w", workspace, "classify", write_mailbox(tmp_path / "in.mbox", 2))
    return workspace


def answer_of(workspace: Path) -> Prediction:
    with Workspace.open(workspace, read_only=True) as opened:
        return next(opened.log.query()).prediction


def learn(workspace: Path, email_id: str, label: str, part: str, model: str) -> str:
    """What a learning cycle leaves in the store."""
    with Workspace.open(workspace) as opened:
        log = CycleLog(opened.database)
        cycle = log.begin()
        example = Example(email_id, "", label, "gold", "review", 2.0)
        Snapshots(opened.database).save(cycle, [example], part)  # type: ignore[arg-type]
        cycle = log.save_step(cycle, "export", {}, model=model)
        return log.finish(cycle, "promoted", "").id


def test_story_names_who_was_wrong_who_learned_and_what_is_true_today(run: Run, filled: Path) -> None:
    answer = answer_of(filled)
    right = answer.candidates[1].label
    run("-w", filled, "correct", answer.id, right, "--reviewer", "ann")
    cycle = learn(filled, answer.email_id, right, "train", "v2")
    lines = run("-w", filled, "feedback", "show", answer.id).lines
    assert lines[0] == "Parcel 1"
    assert lines[1].startswith(f"email {answer.email_id}, found at ")
    assert f"{answer.model} answered" in lines[2]
    assert "wrong, the right label came 2nd" in lines[2]
    assert "ann said" in lines[3]
    assert "(review, in force)" in lines[3]
    assert f"cycle {cycle[-8:]} learned it as gold (weight 2), made v2, promoted" in lines[4]
    # Nothing was trained in this test: the model is the same, and still wrong.
    assert lines[5].startswith("today")
    assert f"{answer.model} answers" in lines[5]
    assert "wrong" in lines[5]


def test_story_of_mail_that_no_label_fits_waits_for_no_cycle(run: Run, filled: Path) -> None:
    answer = answer_of(filled)
    run("-w", filled, "correct", answer.id, "--outside", "--reviewer", "ann")
    told = run("-w", filled, "feedback", "show", answer.id, "--no-check").out
    assert "wrong, no label fits" in told
    assert "ann said none of the labels (review, in force)" in told
    assert "nothing is learned from an email that no label fits" in told


def test_record_has_the_same_story(run: Run, filled: Path) -> None:
    answer = answer_of(filled)
    run("-w", filled, "correct", answer.id, answer.label)
    learn(filled, answer.email_id, answer.label, "evaluation", "v2")
    record = json.loads(run("-w", filled, "feedback", "show", answer.email_id, "--json").out)
    [word] = record["words"]
    [use] = word["learned_by"]
    assert (word["label"], word["prediction_id"]) == (answer.label, answer.id)
    assert (use["part"], use["model"], use["outcome"]) == ("evaluation", "v2", "promoted")
    assert record["predictions"] == [answer.to_dict()]
    assert record["is_right_today"] is True
    assert record["today"]["label"] == answer.label


def test_word_kept_for_judging_is_said_to_be_untrained(run: Run, filled: Path) -> None:
    answer = answer_of(filled)
    run("-w", filled, "correct", answer.id, answer.label)
    learn(filled, answer.email_id, answer.label, "evaluation", "v2")
    shown = run("-w", filled, "feedback", "show", answer.id, "--no-check").out
    assert "kept it for evaluation: judged by it, not trained on it" in shown
    assert "today" not in shown


def test_word_email_and_prediction_name_the_same_story(run: Run, filled: Path) -> None:
    answer = answer_of(filled)
    run("-w", filled, "correct", answer.id, "refund")
    [row] = run("-w", filled, "feedback", "list").lines
    with Workspace.open(filled, read_only=True) as opened:
        word = opened.feedback.latest_for(answer.email_id)
    assert word is not None
    names = (answer.id, answer.id[-8:], answer.email_id, word.id, row.split()[0])
    stories = {run("-w", filled, "feedback", "show", name, "--no-check").out for name in names}
    assert len(stories) == 1
    assert "no cycle has learned from it yet" in stories.pop()


def test_nothing_is_written_by_looking(run: Run, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = answer_of(filled)
    run("-w", filled, "correct", answer.id, "refund")

    def refuse(*_: object) -> None:
        raise AssertionError("written")

    monkeypatch.setattr(PredictionLog, "append", refuse)
    assert run("-w", filled, "feedback", "show", answer.id).code == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nonsense", "expected the id of a word, an email or a prediction"),
        ("m0@example.org", "nobody has said"),
    ],
)
def test_what_has_no_story_is_named(run: Run, filled: Path, name: str, told: str) -> None:
    result = run("-w", filled, "feedback", "show", name)
    assert (result.code, result.out) == (1, "")
    assert told in result.err
