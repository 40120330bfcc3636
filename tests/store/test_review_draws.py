"""Who is handed which email: nobody twice, nobody the same, and the audit stays random."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from mailroom.config import StoreSettings
from mailroom.store.database import Database, open_database
from mailroom.store.feedback import FeedbackLog
from mailroom.store.packing import id_digest
from mailroom.store.prediction_log import PredictionLog
from mailroom.store.review_draws import Draw, ReviewDraws
from mailroom.store.schema import review_draws
from tests.store.conftest import LABELS, TAXONOMY, make_entry, make_word

HOUR = timedelta(hours=1)


@pytest.fixture
def draws(database: Database) -> ReviewDraws:
    return ReviewDraws(database)


def name(number: int) -> str:
    return f"<{number}@example.org>"


def fill(log: PredictionLog, count: int, unsure: int = 0) -> None:
    log.append([make_entry(n, needs_review=n < unsure, margin=n / 1024) for n in range(count)])


def let_leases_end(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.update(review_draws).values(expires_at=datetime.now(UTC) - HOUR))


def test_unsure_emails_are_the_newest_marked_ones(log: PredictionLog, draws: ReviewDraws) -> None:
    fill(log, 6, unsure=4)
    assert [p.email_id for p in draws.unsure(3)] == [name(3), name(2), name(1)]


def test_answer_given_again_counts_and_not_the_one_before(log: PredictionLog, draws: ReviewDraws) -> None:
    fill(log, 3, unsure=2)
    log.append([make_entry(1, needs_review=False, model="v2")])
    assert [p.email_id for p in draws.unsure(9)] == [name(0)]
    newest = [p for p in draws.audits(9) if p.email_id == name(1)]
    assert newest[0].model == "v2"


def test_those_not_marked_come_by_their_margins(log: PredictionLog, draws: ReviewDraws) -> None:
    fill(log, 5, unsure=1)
    assert [p.email_id for p in draws.unsure(2, marked=False)] == [name(1), name(2)]


def test_audits_come_in_the_order_of_a_hash(log: PredictionLog, draws: ReviewDraws) -> None:
    fill(log, 40)
    expected = sorted((name(n) for n in range(40)), key=id_digest)
    assert [p.email_id for p in draws.audits(10)] == expected[:10]
    assert [p.email_id for p in draws.audits(100)] == expected


def test_emails_with_a_word_wait_no_more(log: PredictionLog, database: Database, draws: ReviewDraws) -> None:
    fill(log, 3, unsure=3)
    FeedbackLog(database).append([make_word(name(1))])
    assert {p.email_id for p in draws.unsure(9)} == {name(0), name(2)}
    assert {p.email_id for p in draws.audits(9)} == {name(0), name(2)}
    assert draws.take([Draw(name(1), "uncertain")], "ann", HOUR) == []


def test_taken_email_is_nobody_elses_till_the_lease_ends(
    log: PredictionLog, database: Database, draws: ReviewDraws
) -> None:
    fill(log, 3, unsure=3)
    wanted = [Draw(name(n), "uncertain") for n in range(2)]
    assert draws.take(wanted, "ann", HOUR) == wanted
    assert draws.take(wanted, "bob", HOUR) == []
    assert [p.email_id for p in draws.unsure(9)] == [name(2)]
    assert draws.taken_by() == {"ann": 2}
    let_leases_end(database)
    assert draws.taken_by() == {}
    assert draws.take(wanted, "bob", HOUR) == wanted
    assert draws.taken_by() == {"bob": 2}


def test_what_is_given_back_is_free_at_once(log: PredictionLog, draws: ReviewDraws) -> None:
    fill(log, 2, unsure=2)
    draws.take([Draw(name(0), "uncertain"), Draw(name(1), "uncertain")], "ann", HOUR)
    draws.give_back([name(1), "unknown"])
    assert [p.email_id for p in draws.unsure(9)] == [name(1)]
    draws.give_back([])


def test_audit_stays_one_until_it_is_answered(
    log: PredictionLog, database: Database, draws: ReviewDraws
) -> None:
    fill(log, 30, unsure=30)
    drawn = draws.audits(3)[2].email_id
    draws.take([Draw(drawn, "audit")], "ann", HOUR)
    let_leases_end(database)
    # It comes before the two that the hash would have first, and is no longer among the unsure ones.
    assert draws.audits(2)[0].email_id == drawn
    assert drawn not in {p.email_id for p in draws.unsure(99)}
    draws.take([Draw(drawn, "uncertain")], "bob", HOUR)
    assert draws.kinds_of([drawn, name(0), "unknown"]) == {drawn: "audit"}
    FeedbackLog(database).append([make_word(drawn, source="audit")])
    assert draws.kinds_of([drawn]) == {drawn: "audit"}
    assert drawn not in {p.email_id for p in draws.audits(99)}


def test_unsure_draw_may_become_an_audit(log: PredictionLog, database: Database, draws: ReviewDraws) -> None:
    fill(log, 2, unsure=2)
    draws.take([Draw(name(0), "uncertain")], "ann", HOUR)
    let_leases_end(database)
    draws.take([Draw(name(0), "audit")], "ann", HOUR)
    assert draws.kinds_of([name(0)]) == {name(0): "audit"}


def test_emails_without_text_cannot_be_shown(database: Database, draws: ReviewDraws) -> None:
    log = PredictionLog(database, StoreSettings(keep_text=False))
    log.register_taxonomy(TAXONOMY, LABELS)
    fill(log, 3, unsure=3)
    assert draws.unsure(9) == draws.audits(9) == []


def test_unknown_emails_are_not_taken(draws: ReviewDraws) -> None:
    assert draws.take([Draw("nobody", "audit")], "ann", HOUR) == []
    assert draws.take([], "ann", HOUR) == []


def test_two_reviewers_never_take_the_same_email(url: str) -> None:
    with open_database(url) as database:
        log = PredictionLog(database)
        log.register_taxonomy(TAXONOMY, LABELS)
        fill(log, 60, unsure=60)
        wanted = [Draw(name(n), "uncertain") for n in range(60)]
        taken: dict[str, list[str]] = {}

        def work(reviewer: str) -> None:
            draws = ReviewDraws(database)
            taken[reviewer] = [
                draw.email_id
                for start in range(0, 60, 5)
                for draw in draws.take(wanted[start : start + 5], reviewer, HOUR)
            ]

        threads = [threading.Thread(target=work, args=(f"r{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    handed = [email_id for emails in taken.values() for email_id in emails]
    assert sorted(handed) == sorted(name(n) for n in range(60))
