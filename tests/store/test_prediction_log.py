"""The contract of the prediction log, on every kind of database."""

import dataclasses
import tracemalloc
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from mailroom.config import StoreSettings
from mailroom.errors import StoreError
from mailroom.records import REVIEW_REASONS, Aside, Email, Prediction, ReviewReason
from mailroom.store.database import Database, open_database
from mailroom.store.email_reader import EmailReader
from mailroom.store.feedback import FeedbackLog
from mailroom.store.log_query import LogFilter
from mailroom.store.prediction_log import KnownEmail, LogEntry, PredictionLog, distinct_id
from tests.store.conftest import LABELS, NOON, TAXONOMY, make_entry, make_word


def replace_prediction(entry: LogEntry, **changes: Any) -> LogEntry:
    return dataclasses.replace(entry, prediction=dataclasses.replace(entry.prediction, **changes))


def test_prediction_comes_back_as_it_was_written(log: PredictionLog) -> None:
    entry = make_entry()
    log.append([entry])
    assert log.get(entry.prediction.id) == entry.prediction
    assert log.latest_for(entry.email.id) == entry.prediction
    assert log.text_of(entry.email.id) == "A subject\nA body"
    [logged] = log.query()
    assert logged.prediction == entry.prediction
    assert (logged.subject, logged.sender, logged.origin) == ("A subject", "ann@example.org", "box.mbox:0")
    assert logged.received_at == NOON


def test_candidate_numbers_are_kept_as_float32(log: PredictionLog) -> None:
    entry = make_entry(score=None)
    candidate = dataclasses.replace(entry.prediction.candidates[0], similarity=0.1, probability=0.7)
    log.append([replace_prediction(entry, candidates=(candidate,), probability=0.7)])
    found = log.get(entry.prediction.id)
    assert found is not None
    assert found.probability == 0.7
    assert found.candidates[0].similarity == pytest.approx(0.1, abs=1e-7)
    assert found.candidates[0].score is None


def test_the_reasons_of_a_mark_are_kept_and_found(log: PredictionLog) -> None:
    marked: list[tuple[ReviewReason, ...]] = [
        (),
        ("out_of_taxonomy",),
        ("low_probability", "small_margin"),
        REVIEW_REASONS,
    ]
    for number, reasons in enumerate(marked):
        entry = make_entry(number, needs_review=bool(reasons))
        log.append([replace_prediction(entry, review_reasons=reasons)])
    assert [row.prediction.review_reasons for row in log.query(LogFilter(newest_first=False))] == marked
    assert log.count(LogFilter(reason="out_of_taxonomy")) == 2
    assert log.count(LogFilter(reason="small_margin", review=False)) == 0


def test_missing_predictions_and_emails_are_none(log: PredictionLog) -> None:
    assert log.get("00000000-0000-7000-8000-000000000000") is None
    assert log.get("no id at all") is None
    assert log.latest_for("nobody") is None
    assert log.text_of("nobody") is None
    assert log.known([]) == {}


def test_log_outlives_its_database(url: str) -> None:
    entry = make_entry()
    with open_database(url) as database:
        first = PredictionLog(database)
        first.register_taxonomy(TAXONOMY, LABELS)
        first.append([entry])
    with open_database(url) as database:
        assert PredictionLog(database).get(entry.prediction.id) == entry.prediction


def test_known_gives_the_content_hashes_of_thousands(log: PredictionLog) -> None:
    entries = [make_entry(number) for number in range(1200)]
    log.append(entries)
    asked = [entry.email.id for entry in entries] + ["<new@example.org>"]
    assert log.known(asked) == {
        entry.email.id: KnownEmail(entry.email.content_sha256, True) for entry in entries
    }


def test_second_prediction_for_an_email_stands_beside_the_first(log: PredictionLog) -> None:
    first, second = make_entry(1, label=1), make_entry(1, label=2)
    log.append([first])
    log.append([second])
    assert log.latest_for(first.email.id) == second.prediction
    assert [logged.prediction.label for logged in log.query()] == ["label-2", "label-1"]
    assert log.count(LogFilter(email_id=first.email.id)) == 2


def test_other_content_under_a_known_id_needs_a_distinct_id(log: PredictionLog) -> None:
    first, second = make_entry(1), make_entry(1, body="Something else")
    log.append([first])
    with pytest.raises(StoreError, match="distinct_id") as caught:
        log.append([second])
    assert "Something else" not in str(caught.value)
    email = dataclasses.replace(second.email, id=distinct_id(second.email))
    log.append([dataclasses.replace(replace_prediction(second, email_id=email.id), email=email)])
    assert log.text_of(first.email.id) != log.text_of(email.id)
    assert distinct_id(second.email) == distinct_id(make_entry(1, body="Something else").email)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"id": "not-a-uuid"}, "expected a UUID"),
        ({"taxonomy": "unregistered"}, "expected a registered taxonomy, got revision 'unregistered'"),
        ({"label": "retired"}, "expected labels of taxonomy abcdef012345, got 'retired'"),
    ],
)
def test_batch_with_one_bad_entry_is_not_written_at_all(
    log: PredictionLog, bad: dict[str, Any], said: str
) -> None:
    with pytest.raises(StoreError, match=said):
        log.append([make_entry(1), replace_prediction(make_entry(2, model="v9"), **bad)])
    assert log.count() == 0
    assert log.known(["<1@example.org>"]) == {}
    # The names of the failed batch must not be taken for stored ones.
    log.append([make_entry(3, model="v9")])
    assert [logged.prediction.model for logged in log.query()] == ["v9"]


def test_repeated_prediction_id_is_refused(log: PredictionLog) -> None:
    entry = make_entry()
    log.append([entry])
    with pytest.raises(StoreError, match="in the log already"):
        log.append([make_entry(7), entry])
    assert log.count() == 1


def test_two_mentions_of_one_email_in_a_batch_are_one_email(log: PredictionLog) -> None:
    log.append([make_entry(1), make_entry(1)])
    assert log.count() == 2
    with pytest.raises(StoreError, match="distinct_id"):
        log.append([make_entry(2), make_entry(2, body="other")])


def test_empty_batch_is_nothing(log: PredictionLog) -> None:
    log.append([])
    assert log.count() == 0


def test_candidates_are_read_with_the_taxonomy_of_their_time(log: PredictionLog) -> None:
    old = make_entry(1)
    log.append([old])
    log.register_taxonomy("fedcba543210", [(label_id, ("New", label_id)) for label_id, _ in LABELS[::-1]])
    new = replace_prediction(make_entry(2), taxonomy="fedcba543210", path=("New", "label-3"))
    log.append([new])
    log.register_taxonomy(TAXONOMY, LABELS)
    assert [logged.prediction for logged in log.query()] == [new.prediction, old.prediction]


@pytest.fixture
def history(log: PredictionLog) -> PredictionLog:
    """Ten predictions an hour apart: label 0 or 1, margins 0.0 to 0.9, review below 0.3, two models."""
    log.append(
        [
            make_entry(
                number,
                label=number % 2,
                margin=number / 10,
                needs_review=number < 3,
                created_at=NOON + timedelta(hours=number),
                subject=f"Order 50%_{number}" if number == 4 else f"Invoice {number}",
                model="v1" if number < 5 else "v2",
            )
            for number in range(10)
        ]
    )
    return log


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (LogFilter(), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (LogFilter(newest_first=False, limit=3), [0, 1, 2]),
        (LogFilter(limit=2), [9, 8]),
        (LogFilter(limit=0), []),
        (LogFilter(labels=("label-1",)), [9, 7, 5, 3, 1]),
        (LogFilter(labels=("unknown",)), []),
        (LogFilter(review=True), [2, 1, 0]),
        (LogFilter(review=False, limit=1), [9]),
        (LogFilter(since=NOON + timedelta(hours=8)), [9, 8]),
        (LogFilter(until=NOON + timedelta(hours=2)), [1, 0]),
        (LogFilter(margin_below=0.2), [1, 0]),
        (LogFilter(margin_above=0.8), [9]),
        (LogFilter(model="v2", labels=("label-0",)), [8, 6]),
        (LogFilter(email_id="<4@example.org>"), [4]),
        (LogFilter(subject_contains="order 50%_"), [4]),
        (LogFilter(subject_contains="%"), [4]),
    ],
)
def test_filters(history: PredictionLog, wanted: LogFilter, numbers: list[int]) -> None:
    found = [int(logged.origin.split(":")[1]) for logged in history.query(wanted)]
    assert found == numbers
    assert history.count(wanted) == len(numbers)


def test_what_waits_is_marked_unjudged_and_the_newest_on_its_email(
    database: Database, log: PredictionLog
) -> None:
    marked, certain, judged, superseded = (
        make_entry(number, needs_review=number != 1) for number in range(4)
    )
    certain_now = make_entry(3, margin=0.9)
    marked_anew = make_entry(1, margin=0.1, needs_review=True)
    log.append([marked, certain, judged, superseded])
    log.append([certain_now, marked_anew])
    FeedbackLog(database).append([make_word(judged.email.id)])
    waiting = [marked_anew.prediction.id, marked.prediction.id]
    assert [row.prediction.id for row in log.query(LogFilter(waiting=True))] == waiting
    assert log.count(LogFilter(waiting=False)) == 4
    assert log.count(LogFilter(review=True)) == 4


def test_times_of_other_zones_are_the_same_moment(log: PredictionLog) -> None:
    from datetime import timezone

    local = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    log.append([make_entry(1, created_at=local)])
    assert log.count(LogFilter(since=local, until=local + timedelta(microseconds=1))) == 1
    found = log.latest_for("<1@example.org>")
    assert found is not None
    assert found.created_at == NOON
    assert found.created_at.tzinfo is UTC


def test_old_and_missing_dates_are_kept(log: PredictionLog) -> None:
    early = Email("<a>", "s", "b", received_at=datetime(1969, 7, 20, tzinfo=UTC))
    never = Email("<b>", "s", "b")
    log.append([dataclasses.replace(make_entry(email_id=email.id), email=email) for email in (early, never)])
    assert [logged.received_at for logged in log.query(LogFilter(newest_first=False))] == [
        early.received_at,
        None,
    ]


def test_text_is_kept_only_as_settings_say(database: Database) -> None:
    short = PredictionLog(database, StoreSettings(max_text_chars=12))
    short.register_taxonomy(TAXONOMY, LABELS)
    short.append([make_entry(1)])
    PredictionLog(database, StoreSettings(keep_text=False)).append([make_entry(2)])
    assert short.text_of("<1@example.org>") == "A subject\nA "
    assert short.text_of("<2@example.org>") is None


def test_what_people_see_besides_is_kept_only_as_settings_say(database: Database) -> None:
    asides = (Aside(1, "quoted reply", "> Dear \ud800 Ann"), Aside(2, "signature", "Ann Lee, Sales"))
    log = PredictionLog(database, StoreSettings(max_aside_chars=20))
    log.register_taxonomy(TAXONOMY, LABELS)
    log.append([dataclasses.replace(make_entry(1), asides=asides), make_entry(2)])
    for number, settings in ((3, StoreSettings(max_aside_chars=0)), (4, StoreSettings(keep_text=False))):
        silent = PredictionLog(database, settings)
        silent.append([dataclasses.replace(make_entry(number), asides=asides)])
    kept = EmailReader(database).by_id([f"<{number}@example.org>" for number in range(1, 5)])
    cut = (Aside(1, "quoted reply", "> Dear ? Ann"), Aside(2, "signature", "Ann Lee, …"))
    assert [kept[f"<{number}@example.org>"].asides for number in range(1, 5)] == [cut, (), (), ()]


def test_broken_mail_can_be_stored_and_found_again(log: PredictionLog) -> None:
    entry = make_entry(email_id="<\udcff\0x@example.org>", subject="caf\udce9 \0" + "é" * 500, body="\ud800")
    entry = dataclasses.replace(entry, origin="box\udcff.mbox")
    log.append([entry])
    assert log.known([entry.email.id]) == {entry.email.id: KnownEmail(entry.email.content_sha256, True)}
    [logged] = log.query(LogFilter(email_id=entry.email.id))
    assert len(logged.subject) == 200
    assert log.latest_for(entry.email.id) is not None
    assert log.text_of(entry.email.id) is not None


def test_left_query_does_not_hold_the_database(history: PredictionLog) -> None:
    rows = history.query()
    list(islice(rows, 1))
    history.append([make_entry(100)])
    del rows
    assert history.count() == 11


def test_query_streams_in_constant_memory(log: PredictionLog) -> None:
    batch = [make_entry(number) for number in range(500)]
    for _ in range(12):
        log.append([replace_prediction(entry, id=make_entry().prediction.id) for entry in batch])
    peaks = []
    for limit in (1000, 6000):
        tracemalloc.start()
        assert sum(1 for _ in log.query(LogFilter(limit=limit))) == limit
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_prediction_without_candidates_or_latency_is_kept(log: PredictionLog) -> None:
    entry = replace_prediction(make_entry(), candidates=(), latency_ms={})
    log.append([entry])
    found: Prediction | None = log.get(entry.prediction.id)
    assert found == entry.prediction


def test_predictions_are_counted_by_label(log: PredictionLog) -> None:
    log.append([make_entry(number, label=number % 2) for number in range(5)])
    assert log.count_by_label() == {"label-0": 3, "label-1": 2}


def test_an_email_that_has_its_answer_keeps_it_however_often_it_is_answered(log: PredictionLog) -> None:
    first, second, other = make_entry(1), make_entry(1, label=5), make_entry(2)
    assert log.append_once([first]) == [first.prediction]
    assert log.append_once([second, other]) == [first.prediction, other.prediction]
    assert log.count() == 2


def test_one_email_twice_in_one_batch_is_answered_once(log: PredictionLog) -> None:
    first, second = make_entry(1), make_entry(1, label=5)
    assert log.append_once([first, second]) == [first.prediction] * 2
    assert [row.prediction for row in log.query()] == [first.prediction]


def test_a_list_is_read_page_by_page_in_both_directions(log: PredictionLog) -> None:
    entries = [make_entry(number) for number in range(5)]
    log.append(entries)
    ids = [entry.prediction.id for entry in entries]
    for newest_first, expected in ((True, ids[::-1]), (False, ids)):
        read: list[str] = []
        while page := list(
            log.query(LogFilter(limit=2, newest_first=newest_first, beyond=read[-1] if read else None))
        ):
            read += [row.prediction.id for row in page]
        assert read == expected


@pytest.mark.parametrize("unknown", ["", "no uuid", "0198c5a2-7c1e-7b52-a0ff-1d2a41a5c0de"])
def test_a_page_beyond_an_unknown_prediction_is_empty(log: PredictionLog, unknown: str) -> None:
    log.append([make_entry(1)])
    assert list(log.query(LogFilter(beyond=unknown))) == []
