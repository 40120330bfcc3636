"""What learning reads: labelled emails with candidates out of sample, unlabelled ones with the newest."""

import dataclasses
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from mailroom.config import StoreSettings
from mailroom.records import Email
from mailroom.store.database import Database
from mailroom.store.examples import ExampleReader
from mailroom.store.feedback import FeedbackLog
from mailroom.store.prediction_log import LogEntry, PredictionLog
from tests.store.conftest import LABELS, TAXONOMY, make_entry, make_word


@pytest.fixture
def feedback(database: Database) -> FeedbackLog:
    return FeedbackLog(database)


@pytest.fixture
def reader(database: Database) -> ExampleReader:
    return ExampleReader(database)


def in_thread(number: int, thread: str | None) -> LogEntry:
    entry = make_entry(number)
    email = dataclasses.replace(entry.email, metadata={"thread_id": thread})
    return dataclasses.replace(entry, email=email)


def test_labelled_email_comes_with_its_latest_word_and_first_answer(
    log: PredictionLog, feedback: FeedbackLog, reader: ExampleReader
) -> None:
    first, second = make_entry(1, label=3), make_entry(1, label=4, model="v2")
    log.append([first])
    log.append([second])
    words = [
        make_word(first.email.id, "label-1"),
        make_word(first.email.id, "label-2", minutes=1, reviewer="bob"),
    ]
    feedback.append(words)
    [labelled] = reader.labelled()
    assert labelled.words == tuple(words)
    assert labelled.feedback == words[1]
    assert labelled.text == "A subject\nA body"
    assert labelled.first_prediction == first.prediction
    assert labelled.candidates == first.prediction.candidates


def test_every_labelled_email_comes_with_its_own_first_answer(
    log: PredictionLog, feedback: FeedbackLog, reader: ExampleReader
) -> None:
    entries = [make_entry(number, label=number) for number in range(5)]
    log.append(entries)
    feedback.append([make_word(entry.email.id) for entry in entries])
    found = {labelled.email_id: labelled.first_prediction for labelled in reader.labelled()}
    assert found == {entry.email.id: entry.prediction for entry in entries}


def test_labelled_emails_come_in_the_order_in_which_they_first_got_a_word(
    log: PredictionLog, feedback: FeedbackLog, reader: ExampleReader
) -> None:
    entries = [make_entry(number) for number in range(3)]
    log.append(entries)
    first = [make_word(entries[number].email.id, minutes=-number) for number in (2, 0, 1)]
    feedback.append(first)
    feedback.append([make_word(entries[0].email.id, "label-9", minutes=50)])
    assert [labelled.email_id for labelled in reader.labelled()] == [word.email_id for word in first]


def test_answer_that_came_after_a_word_is_not_out_of_sample(
    log: PredictionLog, feedback: FeedbackLog, reader: ExampleReader
) -> None:
    email = make_entry(1).email
    feedback.append([make_word(email.id, source="import", minutes=-9000)], [(email, "history:1")])
    later = datetime.now(UTC) + timedelta(seconds=1)
    log.append([make_entry(1, created_at=later)])
    # The email of the log has another arrival time, but the same id and content.
    feedback.append([make_word(email.id, "label-2", reviewer="bob", minutes=9)])
    [labelled] = reader.labelled()
    assert labelled.feedback.label == "label-2"
    assert labelled.first_prediction is None
    assert labelled.candidates == ()


def test_history_said_long_ago_keeps_the_answer_that_was_logged_before_its_import(
    log: PredictionLog, feedback: FeedbackLog, reader: ExampleReader
) -> None:
    entry = make_entry(1)
    log.append([entry])
    feedback.append([make_word(entry.email.id, source="import", minutes=-9000)])
    [labelled] = reader.labelled()
    assert labelled.first_prediction == entry.prediction


def test_unlabelled_emails_come_with_their_newest_answer_the_last_stored_first(
    log: PredictionLog, feedback: FeedbackLog, reader: ExampleReader
) -> None:
    log.append([make_entry(number) for number in range(4)])
    again = make_entry(1, label=7, model="v2")
    log.append([again])
    feedback.append([make_word("<2@example.org>")])
    history = Email("history", "", "labelled only")
    feedback.append([make_word("history")], [(history, "f:1")])
    found = list(reader.unlabelled())
    assert [email.email_id for email in found] == ["<3@example.org>", "<1@example.org>", "<0@example.org>"]
    assert found[1].prediction == again.prediction
    assert found[0].text == "A subject\nA body"
    assert [email.email_id for email in reader.unlabelled(limit=2)] == [e.email_id for e in found[:2]]
    assert list(reader.unlabelled(limit=0)) == []


def test_emails_of_one_conversation_share_a_thread(
    log: PredictionLog, feedback: FeedbackLog, reader: ExampleReader
) -> None:
    start = "<1@example.org>"
    log.append([in_thread(1, start), in_thread(2, start), in_thread(3, "other"), in_thread(4, None)])
    feedback.append([make_word(start)])
    [labelled] = reader.labelled()
    threads = {email.email_id[1]: email.thread for email in reader.unlabelled()}
    assert threads["2"] == labelled.thread
    assert len({labelled.thread, threads["3"], threads["4"]}) == 3
    assert all(threads.values())


def test_emails_without_text_are_left_out_and_counted(database: Database, reader: ExampleReader) -> None:
    log = PredictionLog(database, StoreSettings(keep_text=False))
    log.register_taxonomy(TAXONOMY, LABELS)
    log.append([make_entry(1), make_entry(2)])
    FeedbackLog(database).append([make_word("<1@example.org>")])
    assert list(reader.labelled()) == []
    assert list(reader.unlabelled()) == []
    assert reader.labelled_without_text() == 1


def test_thousands_are_read_in_constant_memory(
    log: PredictionLog, feedback: FeedbackLog, reader: ExampleReader
) -> None:
    entries = [make_entry(number, body=f"{number} " * 200) for number in range(3_000)]
    log.append(entries)
    feedback.append([make_word(entry.email.id) for entry in entries[:1_500]])
    tracemalloc.start()
    assert sum(1 for _ in reader.labelled()) == 1_500
    assert sum(1 for _ in reader.unlabelled()) == 1_500
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A page of 500 texts of 1 KB with their records, not 3,000.
    assert peak < 6_000_000
