"""What the service promises a caller: an answer that is durable, one an email, or an error."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mailroom.classify.classifier import Classifier, LabelEntry, Provenance
from mailroom.config import ClassifySettings, ServeSettings, Settings
from mailroom.errors import BusyError, DeadlineError, MailParseError, ModelError, StoreError
from mailroom.mail.sources import Message
from mailroom.records import Email, Prediction
from mailroom.store.database import Database, open_database
from mailroom.store.prediction_log import LogEntry, PredictionLog
from mailroom.workspace.intake import Answer, Intake, Waited
from mailroom.workspace.live_model import LiveModel
from tests.fakes import HashingEncoder

LABELS = ["refund", "invoice", "lost", "late"]
SECONDS = 20


@dataclass
class Gate:
    """A classifier that can be held, made to fail, and asked what it saw."""

    inner: Classifier
    open: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    failing: set[str] = field(default_factory=set)

    def classify(self, email: Email) -> Prediction:
        self.entered.release()
        assert self.open.wait(SECONDS)
        if email.id in self.failing:
            raise ModelError("a model gave a score that is not finite")
        return self.inner.classify(email)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with open_database(url) as opened:
        yield opened


@pytest.fixture
def log(database: Database) -> PredictionLog:
    log = PredictionLog(database)
    log.register_taxonomy("abcdef012345", [(label, (label,)) for label in LABELS])
    return log


@pytest.fixture
def gate() -> Gate:
    encoder = HashingEncoder()
    entries = [LabelEntry(label, (label,), label) for label in LABELS]
    vectors = encoder.encode_passages(LABELS)
    classifier = Classifier(encoder, vectors, entries, ClassifySettings(), Provenance("v1", "abcdef012345"))
    gate = Gate(classifier)
    gate.open.set()
    return gate


Make = Callable[..., Intake]


@pytest.fixture
def make(gate: Gate, log: PredictionLog) -> Iterator[Make]:
    made: list[Intake] = []

    def make(threads: int = 2, most: int = 256) -> Intake:
        live = cast(LiveModel, SimpleNamespace(current=SimpleNamespace(classifier=gate)))
        settings = replace(Settings(), serve=ServeSettings(max_waiting_emails=most))
        made.append(Intake(live, log, settings, threads))
        return made[-1]

    yield make
    gate.open.set()
    for intake in made:
        intake.close()


def mail(number: object = 0, body: str = "Where is the refund?") -> Message:
    text = f"From: ann@example.org\nMessage-ID: <{number}@example.org>\nSubject: refund\n\n{body}\n"
    return Message("test", "rfc822", text.encode(), len(text), cut=False)


def fill(intake: Intake, within_s: float, up_to: int) -> None:
    while intake.waiting < up_to:
        intake.submit(mail(f"{intake.waiting} waiting"), within_s)


def answer(future: "Future[Answer]") -> Answer:
    return future.result(SECONDS)


def test_an_answer_is_on_disk_when_it_is_handed_out(make: Make, url: str) -> None:
    given = answer(make().submit(mail(), SECONDS))
    with open_database(url, read_only=True) as other:
        assert PredictionLog(other).get(given.prediction.id) is not None
    assert given.prediction.label == "refund"
    assert not given.known


def test_the_same_email_again_has_the_same_answer(make: Make, log: PredictionLog) -> None:
    intake = make()
    first, second = (answer(intake.submit(mail(), SECONDS)) for _ in range(2))
    assert first.prediction.id == second.prediction.id
    assert (first.known, second.known) == (False, True)
    assert log.count() == 1


def test_the_same_email_many_times_at_once_is_answered_once(
    make: Make, gate: Gate, log: PredictionLog
) -> None:
    intake = make(threads=4)
    gate.open.clear()
    futures = [intake.submit(mail(), SECONDS) for _ in range(20)]
    gate.open.set()
    answers = [answer(future) for future in futures]
    assert len({given.prediction.id for given in answers}) == 1
    assert sum(not given.known for given in answers) == 1
    assert log.count() == 1


def test_two_services_on_one_store_give_one_answer(make: Make, gate: Gate, log: PredictionLog) -> None:
    one, other = make(), make()
    gate.open.clear()
    futures = [intake.submit(mail(), SECONDS) for intake in (one, other)]
    for _ in range(2):
        assert gate.entered.acquire(timeout=SECONDS)
    gate.open.set()
    assert len({answer(future).prediction.id for future in futures}) == 1
    assert log.count() == 1


def test_another_content_under_a_known_id_is_another_email(make: Make, log: PredictionLog) -> None:
    intake = make(threads=4)
    messages = [mail(body=body) for body in ("a refund", "an invoice") for _ in range(5)]
    answers = [answer(future) for future in [intake.submit(message, SECONDS) for message in messages]]
    ids = [given.prediction.email_id for given in answers]
    assert len(set(ids[:5])) == len(set(ids[5:])) == 1
    assert ids[0] != ids[5]
    assert log.count() == 2
    assert answer(intake.submit(mail(body="an invoice"), SECONDS)).prediction.email_id == ids[5]


def test_an_email_whose_turn_would_come_too_late_is_refused_rather_than_left_to_wait(
    make: Make, gate: Gate
) -> None:
    gate.open.clear()
    intake = make(threads=2, most=1000)
    # At 50 ms an email, which is what is supposed before any was answered, 20 take 500 ms on two threads.
    taken = [intake.submit(mail(number), 1.0) for number in range(20)]
    with pytest.raises(BusyError, match="20 is the limit now"):
        intake.submit(mail(28), 1.0)
    # One that has more time may wait.
    taken.append(intake.submit(mail(29), SECONDS))
    gate.open.set()
    answered = [future for future in taken if future.exception(SECONDS) is None]
    assert len(answered) >= 3
    assert intake.waiting == 0


def test_what_may_wait_is_reckoned_by_commits_too(
    make: Make, gate: Gate, log: PredictionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = log.append_once

    def slowly(entries: Sequence[LogEntry]) -> list[Prediction]:
        time.sleep(0.1 * len(entries))
        return append(entries)

    monkeypatch.setattr(log, "append_once", slowly)
    intake = make(threads=2, most=1000)
    for future in [intake.submit(mail(number), SECONDS) for number in range(40)]:
        answer(future)
    gate.open.clear()
    # 20 at the pace that was supposed; 5 if every one of them had been counted at 100 ms.
    for number in range(40, 44):
        intake.submit(mail(number), 1.0)
    with pytest.raises(BusyError):
        fill(intake, 1.0, up_to=10)


def test_more_than_the_limit_is_refused_and_what_was_taken_is_answered(
    make: Make, gate: Gate, log: PredictionLog
) -> None:
    intake = make(most=10)
    gate.open.clear()
    futures = [intake.submit(mail(number), SECONDS) for number in range(10)]
    with pytest.raises(BusyError) as refused:
        intake.submit(mail("one too many"), SECONDS)
    assert refused.value.retry_after_s >= 1
    assert intake.waiting == 10
    gate.open.set()
    assert {answer(future).prediction.email_id for future in futures} == {
        f"{n}@example.org" for n in range(10)
    }
    assert intake.waiting == 0
    answer(intake.submit(mail("one too many"), SECONDS))
    assert log.count() == 11


def test_an_email_that_waits_too_long_is_given_up_and_may_come_again(
    make: Make, gate: Gate, log: PredictionLog
) -> None:
    intake = make(threads=1)
    gate.open.clear()
    held = intake.submit(mail(1), SECONDS)
    assert gate.entered.acquire(timeout=SECONDS)
    late = intake.submit(mail(2), 0.15)
    time.sleep(0.16)
    gate.open.set()
    answer(held)
    with pytest.raises(DeadlineError):
        answer(late)
    assert log.count() == 1
    answer(intake.submit(mail(2), SECONDS))


def test_a_caller_that_went_away_costs_no_work(make: Make, gate: Gate, log: PredictionLog) -> None:
    intake = make(threads=1)
    gate.open.clear()
    held = intake.submit(mail(1), SECONDS)
    assert gate.entered.acquire(timeout=SECONDS)
    gone = intake.submit(mail(2), SECONDS)
    assert gone.cancel()
    gate.open.set()
    answer(held)
    answer(intake.submit(mail(3), SECONDS))
    assert log.count() == 2
    assert intake.waiting == 0


def test_an_error_of_one_email_reaches_its_callers_and_nobody_else(make: Make, gate: Gate) -> None:
    intake = make()
    gate.failing.add("1@example.org")
    gate.open.clear()
    bad = [intake.submit(mail(1), SECONDS) for _ in range(3)]
    good = intake.submit(mail(2), SECONDS)
    gate.open.set()
    for future in bad:
        with pytest.raises(ModelError):
            answer(future)
    answer(good)
    gate.failing.clear()
    answer(intake.submit(mail(1), SECONDS))


def test_a_message_that_cannot_be_read_is_an_error(make: Make) -> None:
    broken = Message("test", "json", b"[1]", 3, cut=False)
    with pytest.raises(MailParseError):
        answer(make().submit(broken, SECONDS))


def test_what_cannot_be_written_fails_alone(
    make: Make, log: PredictionLog, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    append = log.append_once

    def append_once(entries: list[LogEntry]) -> list[Prediction]:
        if any(entry.email.id == "1@example.org" for entry in entries):
            raise StoreError("the disk is full")
        return append(entries)

    monkeypatch.setattr(log, "append_once", append_once)
    intake = make(threads=4)
    gate.open.clear()
    futures = [intake.submit(mail(number), SECONDS) for number in range(4)]
    gate.open.set()
    for number, future in enumerate(futures):
        if number == 1:
            with pytest.raises(StoreError):
                answer(future)
        else:
            answer(future)
    assert log.count() == 3
    assert intake.waiting == 0


def test_closing_answers_what_was_taken_and_takes_no_more(make: Make, gate: Gate, log: PredictionLog) -> None:
    intake = make()
    gate.open.clear()
    futures = [intake.submit(mail(number), SECONDS) for number in range(30)]
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(intake.close)
        gate.open.set()
        closing.result(SECONDS)
    assert all(future.done() for future in futures)
    assert log.count() == 30
    with pytest.raises(BusyError):
        intake.submit(mail(31), SECONDS)


def test_every_answer_is_reported_once_with_where_its_time_went(make: Make) -> None:
    intake = make()
    seen: list[tuple[Answer, Waited]] = []
    intake.observe(lambda given, waited: seen.append((given, waited)))
    answers = [answer(intake.submit(mail(number), SECONDS)) for number in (1, 2, 1)]
    intake.close()
    assert [given.prediction.id for given, _ in seen] == [given.prediction.id for given in answers]
    waited: Any = seen[0][1]
    assert 0 <= waited.queue_ms <= waited.total_ms
    assert 0 < waited.commit_ms <= waited.total_ms
