"""Mail that nobody labelled, as a cycle reads it, and what labels learn from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mailroom.cycle import unlabelled_mail
from mailroom.cycle.label_step import LABELS_MAIL
from mailroom.cycle.run import Options
from mailroom.cycle.setup import Setup
from mailroom.cycle.unlabelled_mail import kept_mail, read_mail, weighed
from mailroom.models import unlabelled
from mailroom.store.cycles import CycleLog
from mailroom.store.prediction_log import LogEntry
from mailroom.workspace import Workspace
from mailroom.workspace.learning import learn_workspace
from tests.cycle.desk import LABELS, mail, say, set_settings


@dataclass
class Unlabelled:
    email_id: str
    text: str


class Reader:
    """A log of numbered emails, the newest first."""

    def __init__(self, count: int) -> None:
        self.count = count

    def unlabelled(self, limit: int) -> list[Unlabelled]:
        return [Unlabelled(f"e{number}", str(number)) for number in range(self.count)][:limit]


class Numbers:
    """The vector of an email is its number."""

    def unit(self, texts: list[str]) -> Any:
        return np.array([[float(text)] for text in texts], dtype=np.float32)


def read(work: Path, count: int, without: set[str] = frozenset(), allowed_s: float = 60.0) -> Any:  # type: ignore[assignment]
    reader: Any = Reader(count)
    numbers: Any = Numbers()
    return read_mail(numbers, reader, without, allowed_s, work, lambda *_: None)


def test_mail_is_read_once_a_cycle(tmp_path: Path) -> None:
    assert kept_mail(tmp_path) is None
    first = read(tmp_path, 5, {"e1"})
    assert first.ravel().tolist() == [0, 2, 3, 4]
    # More has come since, and the cycle goes on with what it had.
    assert np.array_equal(read(tmp_path, 9), first)
    assert np.array_equal(kept_mail(tmp_path), first)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["mail.npy"]


def test_where_time_is_short_the_newest_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlabelled_mail, "_BLOCK", 2)
    assert read(tmp_path, 7, allowed_s=0.0).ravel().tolist() == [0, 1]


def test_a_log_without_unlabelled_mail_has_none(tmp_path: Path) -> None:
    assert len(read(tmp_path, 0)) == 0


def test_only_what_drew_the_labels_is_learned_from_again() -> None:
    setup = Setup("label_vectors", "bi", "int8")
    vectors = np.eye(2, dtype=np.float32)
    assert weighed(vectors, setup) is None
    assert weighed(None, setup) is None
    drawn = weighed(vectors, Setup("with_mail", "bi", "int8", mail_weight=0.1))
    assert drawn is not None
    assert drawn.weight == 0.1


def test_a_cycle_tries_what_mail_says(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlabelled, "WEIGHTS", (0.1,))
    monkeypatch.setattr(unlabelled, "_ENOUGH_A_LABEL", 1000)
    steps = learn_with_unlabelled(workspace)
    assert steps["label_vectors"]["mail"] > 0
    assert steps["label_vectors"]["mail_weight"] == 0.1
    assert LABELS_MAIL in {one["setup"]["name"] for one in steps["choose"]["tried"]}


def test_with_much_gold_only_a_trained_encoder_is_drawn_to_mail(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlabelled, "WEIGHTS", (0.1,))
    monkeypatch.setattr("mailroom.train.bi_encoder_settings._MOST_EPOCHS", 2)
    # A hundred labels leave two dozen to judge by: too few for a trained encoder, unless fewer will do.
    set_settings(workspace, train_from_gold=50, min_emails=10)
    steps = learn_with_unlabelled(workspace)
    tried = {one["setup"]["name"]: one["setup"] for one in steps["choose"]["tried"]}
    assert LABELS_MAIL not in tried
    drawn = tried["trained_bi_encoder_with_mail"]
    assert (drawn["mail_weight"], drawn["bi_encoder"]) == (0.1, tried["trained_bi_encoder"]["bi_encoder"])
    assert drawn["prototypes"] != tried["trained_bi_encoder"]["prototypes"]
    assert steps["mail_beside_trained"]["mail"] == steps["label_vectors"]["mail"] > 0


def learn_with_unlabelled(root: Path) -> Any:
    """The steps of a cycle on a hundred labelled emails and fifty others."""
    say(root, 20)
    emails = [mail(label, number) for label in LABELS for number in range(500, 510)]
    with Workspace.open(root) as opened:
        opened.register_taxonomy()
        classifier = opened.classifier()
        opened.log.append([LogEntry(classifier.classify(email), email, "test") for email in emails])
        cycle = learn_workspace(opened, Options("ann", 600.0), lambda *_: None).cycle
        return CycleLog(opened.database).get(str(cycle)).steps  # type: ignore[union-attr]
