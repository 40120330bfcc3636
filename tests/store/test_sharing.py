"""Threads, processes and hosts on one store: nobody loses anything, and everybody sees whole states."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from mailroom.errors import PromotionRefused, StoreError
from mailroom.store.database import Database, open_database
from mailroom.store.log_query import LogFilter
from mailroom.store.prediction_log import PredictionLog
from mailroom.store.promotions import PromotionLog
from mailroom.store.schema import SCHEMA_REVISION
from tests.store.conftest import LABELS, TAXONOMY, make_entry

ROOT = Path(__file__).parents[2]
PROMOTE = "INSERT INTO promotions (version, promoted_at, promoted_by, reason) VALUES ('v2', 0, 'ann', '')"

APPENDER = """
import sys
from mailroom.store.database import open_database
from mailroom.store.prediction_log import PredictionLog
from tests.store.conftest import LABELS, NOON, TAXONOMY, make_entry
first, batches = int(sys.argv[2]), int(sys.argv[3])
with open_database(sys.argv[1]) as database:
    log = PredictionLog(database)
    log.register_taxonomy(TAXONOMY, LABELS)
    for batch in range(batches):
        entries = [make_entry(first + 10 * batch + i, model=f"v{batch % 3}") for i in range(10)]
        log.append(entries)
        for entry in entries:
            print(entry.prediction.id, flush=True)
"""


def start_appender(url: str, first: int, batches: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", APPENDER, url, str(first), str(batches)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_may_make_and_fill_one_log_together(empty_url: str) -> None:
    processes = [start_appender(empty_url, 100_000 * number, 20) for number in range(3)]
    printed = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    with open_database(empty_url, read_only=True) as database:
        logged = {row.prediction.id for row in PredictionLog(database).query()}
    assert logged == {prediction for ids in printed for prediction in ids}
    assert len(logged) == 600


def test_threads_may_share_one_log(database: Database, log: PredictionLog) -> None:
    def work(first: int) -> None:
        for number in range(20):
            log.append([make_entry(first + number, model=f"v{number % 4}")])

    threads = [threading.Thread(target=work, args=(1000 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.count() == 80
    assert log.count(LogFilter(model="v3")) == 20


@pytest.mark.parametrize("lines_before_kill", [1, 57, 200])
def test_killed_process_loses_nothing_that_it_printed(url: str, lines_before_kill: int) -> None:
    process = start_appender(url, 0, 10_000)
    assert process.stdout is not None
    printed = [process.stdout.readline().strip() for _ in range(lines_before_kill)]
    process.send_signal(signal.SIGKILL)
    printed += [line.strip() for line in process.stdout if len(line) == 37]
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    with open_database(url) as database:
        log = PredictionLog(database)
        assert all(log.get(prediction_id) is not None for prediction_id in printed)
        # Whole batches or nothing.
        assert log.count() % 10 == 0
        if database.engine.dialect.name == "sqlite":
            with database.read() as connection:
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


def test_a_read_sees_one_state_whatever_is_written_meanwhile(database: Database, log: PredictionLog) -> None:
    log.append([make_entry(1)])
    counted = sa.text("SELECT count(*) FROM predictions")
    with database.read() as connection:
        before = connection.execute(counted).scalar_one()
        log.append([make_entry(2)])
        assert connection.execute(counted).scalar_one() == before == 1
    assert log.count() == 2


def test_a_writer_waits_its_turn_and_then_sees_what_was_written(url: str) -> None:
    entered, order = threading.Event(), []

    def second() -> None:
        entered.wait()
        with open_database(url) as other, pytest.raises(PromotionRefused, match="meanwhile"):
            PromotionLog(other).promote("v3", "ben", "", instead_of="v1")
        order.append("second")

    with open_database(url) as database:
        PromotionLog(database).promote("v1", "ann", "")
        thread = threading.Thread(target=second)
        thread.start()
        with database.write() as connection:
            entered.set()
            time.sleep(0.5)
            connection.execute(sa.text(PROMOTE))
            order.append("first")
        thread.join()
        assert order == ["first", "second"]
        assert PromotionLog(database).current() == "v2"


def test_a_failed_transaction_leaves_nothing_and_the_next_one_works(database: Database) -> None:
    log = PromotionLog(database)

    def fail() -> None:
        with database.write() as connection:
            connection.execute(sa.text(PROMOTE))
            connection.execute(sa.text("SELECT nothing FROM nowhere"))

    with pytest.raises(StoreError):
        fail()
    assert log.current() is None
    log.promote("v1", "ann", "")
    assert log.current() == "v1"


def test_a_log_opened_to_read_is_never_made_nor_changed(empty_url: str) -> None:
    with pytest.raises(StoreError, match=r"no such prediction log|got an empty database"):
        open_database(empty_url, read_only=True)
    with open_database(empty_url) as database:
        PredictionLog(database).register_taxonomy(TAXONOMY, LABELS)
    with open_database(empty_url, read_only=True) as database:
        log = PredictionLog(database)
        assert log.count() == 0
        with pytest.raises(StoreError, match="opened to read"):
            log.append([make_entry(9)])


@pytest.mark.parametrize("read_only", [False, True])
def test_newer_schema_is_refused(empty_url: str, read_only: bool) -> None:
    with open_database(empty_url) as database, database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"(?=.*9999)(?=.*" + SCHEMA_REVISION + ")"):
        open_database(empty_url, read_only=read_only)


def test_foreign_database_is_left_alone(empty_url: str) -> None:
    engine = sa.create_engine(_driver_url(empty_url))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE songs (title TEXT)"))
    engine.dispose()
    with pytest.raises(StoreError, match="other tables"):
        open_database(empty_url)


def _driver_url(url: str) -> sa.URL:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return parsed
    socket = f"{parsed.query['host']}/.s.PGSQL.5432"
    return parsed.set(drivername="postgresql+pg8000", query={"unix_sock": socket})
