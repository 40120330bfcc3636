"""The contract of the feedback log, on every kind of database."""

import dataclasses
from typing import Any

import pytest

from mailroom.config import StoreSettings
from mailroom.errors import StoreError
from mailroom.records import Email
from mailroom.store.database import Database
from mailroom.store.feedback import FeedbackFilter, FeedbackLog
from mailroom.store.prediction_log import KnownEmail, PredictionLog
from tests.store.conftest import NOON, make_entry, make_word


@pytest.fixture
def feedback(database: Database) -> FeedbackLog:
    return FeedbackLog(database)


@pytest.fixture
def emails(log: PredictionLog) -> None:
    log.append([make_entry(number) for number in range(10)])


def test_word_comes_back_as_it_was_written(log: PredictionLog, feedback: FeedbackLog) -> None:
    entry = make_entry()
    log.append([entry])
    word = make_word(wrong_label="label-3", prediction_id=entry.prediction.id)
    assert feedback.append([word]) == [word]
    assert feedback.get(word.id) == word
    assert feedback.latest_for(entry.email.id) == word
    [logged] = feedback.query()
    assert (logged.feedback, logged.subject) == (word, "A subject")


@pytest.mark.usefixtures("emails")
def test_later_word_supersedes_and_history_keeps_both(feedback: FeedbackLog) -> None:
    first, second = make_word(), make_word(label="label-2", reviewer="bob", minutes=5)
    feedback.append([first])
    feedback.append([second])
    assert feedback.latest_for("<0@example.org>") == second
    assert feedback.history("<0@example.org>") == [first, second]
    assert feedback.latest_of(["<0@example.org>", "<1@example.org>"]) == {"<0@example.org>": second}
    assert [row.feedback for row in feedback.query(FeedbackFilter(latest_only=True))] == [second]
    assert feedback.count_by_label() == {"label-2": 1}


@pytest.mark.usefixtures("emails")
def test_word_said_earlier_never_supersedes_even_if_it_is_written_later(feedback: FeedbackLog) -> None:
    now, old = make_word(), make_word(label="label-2", source="import", reviewer="crm", minutes=-900)
    feedback.append([now])
    feedback.append([old])
    assert feedback.latest_for("<0@example.org>") == now


@pytest.mark.usefixtures("emails")
def test_of_two_words_at_one_moment_the_one_written_last_holds(feedback: FeedbackLog) -> None:
    feedback.append([make_word(), make_word(label="label-2", reviewer="bob")])
    latest = feedback.latest_for("<0@example.org>")
    assert latest is not None
    assert latest.label == "label-2"
    assert feedback.count(FeedbackFilter(latest_only=True)) == 1


@pytest.mark.usefixtures("emails")
def test_importing_again_adds_nothing_and_takes_no_correction_back(feedback: FeedbackLog) -> None:
    def imported(minutes: float) -> Any:
        return [make_word(source="import", reviewer="crm", minutes=minutes)]

    assert len(feedback.append(imported(0))) == 1
    feedback.append([make_word(label="label-2", reviewer="bob", minutes=1)])
    assert feedback.append(imported(2)) == []
    latest = feedback.latest_for("<0@example.org>")
    assert latest is not None
    assert latest.label == "label-2"


@pytest.mark.usefixtures("emails")
def test_imported_history_with_a_change_of_mind_is_idempotent_too(feedback: FeedbackLog) -> None:
    def history() -> Any:
        labels = ("label-1", "label-2", "label-1")
        return [
            make_word(label=label, source="import", minutes=minutes) for minutes, label in enumerate(labels)
        ]

    assert len(feedback.append(history())) == 3
    assert feedback.append(history()) == []
    assert [word.label for word in feedback.history("<0@example.org>")] == ["label-1", "label-2", "label-1"]


@pytest.mark.usefixtures("emails")
def test_reviewer_who_repeats_the_word_in_force_adds_nothing(feedback: FeedbackLog) -> None:
    feedback.append([make_word()])
    assert feedback.append([make_word(minutes=1, source="audit")]) == []
    # Somebody else spoke in between: the same word now changes what is in force.
    feedback.append([make_word(label="label-2", reviewer="bob", minutes=2)])
    assert len(feedback.append([make_word(minutes=3)])) == 1
    assert [word.label for word in feedback.history("<0@example.org>")] == ["label-1", "label-2", "label-1"]


def test_imported_email_needs_no_prediction_and_stays_to_be_classified(
    log: PredictionLog, feedback: FeedbackLog
) -> None:
    email = Email("history-1", "Parcel", "Where is it?", {"thread_id": "t"})
    feedback.append([make_word("history-1", source="import")], [(email, "history.csv:2")])
    assert log.text_of("history-1") == "Parcel\nWhere is it?"
    assert log.known(["history-1"]) == {"history-1": KnownEmail(email.content_sha256, False)}
    assert log.latest_for("history-1") is None


def test_imported_text_is_kept_up_to_the_limit(database: Database, log: PredictionLog) -> None:
    feedback = FeedbackLog(database, StoreSettings(max_text_chars=10))
    feedback.append([make_word("long")], [(Email("long", "", "x" * 100), "f:1")])
    assert log.text_of("long") == "x" * 10


@pytest.mark.usefixtures("emails")
def test_email_with_other_content_under_a_known_id_is_refused(feedback: FeedbackLog) -> None:
    other = Email("<0@example.org>", "Another", "text")
    with pytest.raises(StoreError, match="distinct_id"):
        feedback.append([make_word()], [(other, "f:1")])
    assert feedback.count() == 0


@pytest.mark.usefixtures("emails")
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"email_id": "nobody"}, "unknown id 'nobody'"),
        ({"prediction_id": "00000000-0000-7000-8000-000000000000"}, "expected feedback on a prediction"),
        ({"prediction_id": "no uuid"}, "expected a UUID"),
        ({"id": "no uuid"}, "expected a UUID as id of a feedback"),
    ],
)
def test_batch_with_one_bad_word_is_not_written_at_all(
    feedback: FeedbackLog, bad: dict[str, Any], said: str
) -> None:
    good = make_word("<1@example.org>", reviewer="somebody new")
    with pytest.raises(StoreError, match=said):
        feedback.append([good, dataclasses.replace(make_word(), **bad)])
    assert feedback.count() == 0
    assert feedback.append([good]) == [good]


@pytest.mark.usefixtures("emails")
def test_filters_narrow_the_list_as_the_records_say(feedback: FeedbackLog) -> None:
    words = [
        make_word("<0@example.org>", "label-0", minutes=0),
        make_word("<1@example.org>", "label-1", wrong_label="label-3", minutes=60, reviewer="bob"),
        make_word("<2@example.org>", "label-0", minutes=120, source="audit"),
    ]
    feedback.append(words)

    def found(**wanted: Any) -> list[str]:
        wanted_filter = FeedbackFilter(newest_first=False, **wanted)
        rows = [row.feedback.email_id[1] for row in feedback.query(wanted_filter)]
        assert feedback.count(wanted_filter) == len(rows)
        return rows

    assert found() == ["0", "1", "2"]
    assert found(labels=("label-0",)) == ["0", "2"]
    assert found(reviewer="bob") == ["1"]
    assert found(source="audit") == ["2"]
    assert found(corrections=True) == ["1"]
    assert found(corrections=False) == ["0", "2"]
    assert found(email_id="<1@example.org>") == ["1"]
    assert found(since=words[1].created_at) == ["1", "2"]
    assert found(until=words[1].created_at) == ["0"]
    assert found(limit=1) == ["0"]
    assert [row.feedback for row in feedback.query()] == words[::-1]


def test_missing_words_and_emails_are_none(feedback: FeedbackLog) -> None:
    assert feedback.get("00000000-0000-7000-8000-000000000000") is None
    assert feedback.get("no id at all") is None
    assert feedback.latest_for("nobody") is None
    assert feedback.history("nobody") == []
    assert feedback.append([]) == []
    assert feedback.latest_of([]) == {}


def test_names_that_databases_refuse_are_kept_readable(log: PredictionLog, feedback: FeedbackLog) -> None:
    log.append([make_entry()])
    feedback.append([make_word(reviewer="a\0nn\ud800")])
    assert feedback.append([make_word(reviewer="a\0nn\ud800", minutes=1)]) == []
    latest = feedback.latest_for("<0@example.org>")
    assert latest is not None
    assert latest.reviewer == "a?nn?"
    assert latest.created_at == NOON


def test_thousands_of_words_are_one_transaction(feedback: FeedbackLog) -> None:
    emails = [Email(f"history-{number}", "", f"text {number}") for number in range(1_200)]
    words = [make_word(email.id, f"label-{n % 5}", source="import") for n, email in enumerate(emails)]
    assert len(feedback.append(words, [(email, "history") for email in emails])) == 1_200
    assert feedback.append(words) == []
    assert feedback.count_by_label() == {f"label-{n}": 240 for n in range(5)}
