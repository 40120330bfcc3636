import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mailroom.config import LearningSettings
from mailroom.cycle.aggregate import Curated, Model, aggregate
from mailroom.cycle.novelty import count_new
from mailroom.errors import ModelError
from mailroom.records import OUTSIDE, Candidate, Email, Feedback, FeedbackSource, Prediction
from mailroom.store.database import Database, open_database
from mailroom.store.examples import ExampleReader
from mailroom.store.feedback import FeedbackLog
from mailroom.store.prediction_log import LogEntry, PredictionLog
from mailroom.taxonomy import Taxonomy
from tests.curate.small import letters, tree

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LABELS = ("track", "cancel", "change")


class Oracle:
    """Answers by the email's number, `track`, `cancel` and `change` in turns; counts what it was asked."""

    def __init__(self, model: str = "v2") -> None:
        self.model = model
        self.asked: list[str] = []

    def classify(self, email: Email) -> Prediction:
        self.asked.append(email.id)
        number = int(email.id.removeprefix("mail-"))
        label = LABELS[number % 3]
        sure = 0.5 + number % 100 / 250
        others = [other for other in LABELS if other != label]
        return Prediction(
            id=str(uuid.uuid4()),
            email_id=email.id,
            label=label,
            path=tree()[label].path,
            probability=sure,
            margin=sure - 0.1,
            needs_review=False,
            candidates=(
                Candidate(label, 0.5, 1.0, sure),
                *(Candidate(other, 0.25, 0.5, 0.1) for other in others),
            ),
            model=self.model,
            taxonomy=tree().revision,
            decided_by="cross_encoder",
            created_at=NOON,
            latency_ms={"total": 1.0},
        )


class Store:
    """A store to fill with short words."""

    def __init__(self, database: Database) -> None:
        self.log, self.feedback = PredictionLog(database), FeedbackLog(database)
        self.reader = ExampleReader(database)
        self.log.register_taxonomy(tree().revision, [(label.id, label.path) for label in tree().assignable])

    def classify(self, numbers: range, model: str = "v2") -> None:
        """Log an answer of `model` on each of the emails."""
        oracle = Oracle(model)
        emails = [Email(f"mail-{number}", "", letters(number)) for number in numbers]
        self.log.append([LogEntry(oracle.classify(email), email, "box") for email in emails])

    def label(self, number: int, label: str, source: FeedbackSource = "review") -> None:
        moment = NOON + timedelta(seconds=number)
        word = Feedback(str(uuid.uuid4()), f"mail-{number}", label, None, None, "ann", source, moment)
        self.feedback.append([word])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_database(f"sqlite:///{tmp_path / 'mailroom.db'}") as database:
        yield Store(database)


def collect(
    store: Store, oracle: Oracle, taxonomy: Taxonomy | None = None, threads: int = 1, **settings: float
) -> Curated:
    chosen = taxonomy or tree()
    vectors = np.eye(len(chosen.assignable), dtype=np.float32)
    model = Model("v2", oracle, vectors, threads)
    return aggregate(store.reader, chosen, model, LearningSettings(**settings))  # type: ignore[arg-type]


def test_labels_and_sure_answers_make_one_training_set(store: Store) -> None:
    store.classify(range(60))
    for number in range(20):
        store.label(number, LABELS[number % 3])
    curated = collect(store, Oracle(), silver_unproven_share=0.5)
    grades = {example.email_id: example.grade for example in curated.train}
    assert set(grades.values()) == {"gold", "silver"}
    judging = {example.email_id for part in ("validation", "evaluation") for example in curated.parts()[part]}
    assert judging
    assert not judging & grades.keys()
    assert all(example.negatives for example in curated.train)
    assert sum(curated.negative_shares.values()) == pytest.approx(1)


def test_answers_of_the_current_model_are_not_given_again(store: Store) -> None:
    store.classify(range(30))
    oracle = Oracle()
    collect(store, oracle)
    assert oracle.asked == []


@pytest.mark.parametrize("threads", [1, 3])
def test_answers_of_an_older_model_are_given_anew(store: Store, threads: int) -> None:
    store.classify(range(30), model="v1")
    oracle = Oracle()
    curated = collect(store, oracle, threads=threads, silver_unproven_share=1.0)
    assert sorted(oracle.asked) == sorted(f"mail-{number}" for number in range(30))
    answers = {example.email_id: example.label for example in curated.train}
    assert answers == {f"mail-{number}": LABELS[number % 3] for number in range(30)}


def test_labelled_answers_that_were_mostly_wrong_leave_no_silver(store: Store) -> None:
    store.classify(range(200))
    for number in range(30):
        store.label(number, LABELS[(number + (number % 5 > 0)) % 3])
    curated = collect(store, Oracle())
    (threshold,) = curated.silver.report.thresholds
    assert threshold.basis == "doubtful"
    assert not curated.silver.examples


def test_audits_set_the_threshold_and_are_not_trained_on(store: Store) -> None:
    store.classify(range(400))
    for number in range(150):
        store.label(number, LABELS[number % 3], "audit")
    curated = collect(store, Oracle())
    assert len(curated.gold.audited) == 150
    (threshold,) = curated.silver.report.thresholds
    assert threshold.basis == "audited"
    assert threshold.correct == threshold.audited > 80
    assert not {example.email_id for example in curated.train} & curated.gold.audited


def test_audits_that_no_label_fits_are_mistakes_of_silver_and_no_news(store: Store) -> None:
    store.classify(range(400))
    for number in range(150):
        store.label(number, OUTSIDE if number % 10 == 0 else LABELS[number % 3], "audit")
    curated = collect(store, Oracle())
    assert len(curated.gold.audited) == 135
    (threshold,) = curated.silver.report.thresholds
    # One audit in ten is wrong whatever was answered: 95 % are no longer proven.
    assert threshold.basis == "unproven"
    assert not {f"mail-{number}" for number in range(0, 150, 10)} & {one.email_id for one in curated.train}
    assert count_new(store.reader.labelled(), set()) == 135


def test_audits_are_judged_by_the_current_model_even_where_an_older_one_was_asked(store: Store) -> None:
    store.classify(range(3), model="v1")
    store.label(1, "cancel", "audit")
    oracle = Oracle()
    collect(store, oracle)
    assert "mail-1" in oracle.asked


def test_a_failing_model_ends_it(store: Store) -> None:
    class Broken(Oracle):
        def classify(self, email: Email) -> Prediction:
            raise ModelError("damaged")

    store.classify(range(5), model="v1")
    with pytest.raises(ModelError, match="damaged"):
        collect(store, Broken())


def test_the_same_store_gives_the_same_examples(store: Store) -> None:
    store.classify(range(80))
    for number in range(0, 80, 3):
        store.label(number, LABELS[number % 2])
    assert collect(store, Oracle()) == collect(store, Oracle())


def test_a_new_store_gives_nothing_and_no_error(store: Store) -> None:
    curated = collect(store, Oracle())
    assert curated.train == ()
    assert curated.to_dict()["silver"]["pool"] == 0
