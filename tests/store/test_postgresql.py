"""What PostgreSQL alone needs: URLs as `psql` takes them, advice for its errors, connections that die."""

import threading
from pathlib import Path
from ssl import CERT_REQUIRED, SSLContext
from typing import Any

import pytest
import sqlalchemy as sa
from pg8000.core import CoreConnection
from pg8000.exceptions import DatabaseError, InterfaceError

from benchmarks.postgresql_server import Server
from mailroom.errors import ConfigError, MailroomError, StoreError
from mailroom.store import postgresql as postgresql_store
from mailroom.store.database import Database, open_database
from mailroom.store.prediction_log import PredictionLog
from mailroom.store.promotions import PromotionLog
from tests.store.conftest import LABELS, TAXONOMY, make_entry


@pytest.fixture
def url(postgresql_url: str) -> str:
    return postgresql_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://ann@/mail?host=/run/pg", {"unix_sock": "/run/pg/.s.PGSQL.5432"}),
        ("postgresql://ann@/mail?host=/run/pg&port=5433", {"unix_sock": "/run/pg/.s.PGSQL.5433"}),
        ("postgresql://ann@/mail?host=db.example.org", {"host": "db.example.org"}),
        ("postgresql://ann@db/mail?sslmode=disable", {"ssl_context": False}),
        ("postgresql+pg8000://ann@db/mail?sslmode=require", {"ssl_context": True}),
        ("postgresql://ann@db/mail?application_name=desk", {"application_name": "desk"}),
        ("postgresql://ann@db/mail", {"ssl_context": None, "application_name": "mailroom"}),
    ],
)
def test_urls_are_read_as_psql_reads_them(url: str, expected: dict[str, object]) -> None:
    arguments = postgresql_store._connect_arguments(sa.make_url(url))
    assert {name: arguments.get(name) for name in expected} == expected


def test_a_certificate_is_checked_where_that_is_asked_for() -> None:
    arguments = postgresql_store._connect_arguments(sa.make_url("postgresql://db/mail?sslmode=verify-full"))
    context = arguments["ssl_context"]
    assert isinstance(context, SSLContext)
    assert (context.verify_mode, context.check_hostname) == (CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://db/mail?sslmode=perhaps", "expected disable, prefer, require or verify-full"),
        ("postgresql://db/mail?colour=blue", "got colour"),
        ("postgresql+psycopg2://db/mail", "the driver is pg8000"),
        ("postgresql://db/mail?sslmode=verify-full&sslrootcert=/no/such.pem", "cannot be read"),
    ],
)
def test_unusable_urls_are_told_what_was_expected(url: str, problem: str) -> None:
    with pytest.raises(MailroomError, match=problem):
        open_database(url)


def test_a_password_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "from-outside")
    arguments = postgresql_store._connect_arguments(sa.make_url("postgresql://ann@db/mail"))
    assert arguments["password"] == "from-outside"
    arguments = postgresql_store._connect_arguments(sa.make_url("postgresql://ann:own@db/mail"))
    assert "password" not in arguments


def test_missing_driver_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise ImportError("no module named pg8000")

    monkeypatch.setattr("sqlalchemy.create_engine", fail)
    with pytest.raises(ConfigError, match=r"pip install 'mailroom\[postgres\]'"):
        open_database("postgresql://ann@db/mail")


def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not answer; check that it runs") as caught:
        open_database(f"postgresql://ann:secret@/mail?host={tmp_path}")
    assert "secret" not in str(caught.value)
    assert "ann" in str(caught.value)


def test_a_database_that_is_not_there_is_named(postgresql: Server) -> None:
    with pytest.raises(StoreError, match="no such database; make one with `createdb`"):
        open_database(postgresql.url("nowhere"))


def test_a_refusal_is_named_where_the_drivers_goodbye_fails_after_it() -> None:
    broken = BrokenPipeError(32, "Broken pipe")
    broken.__context__ = DatabaseError({"S": "FATAL", "C": "3D000", "M": "no database"})
    goodbye = InterfaceError("network error")
    goodbye.__cause__ = broken
    assert "no such database" in str(postgresql_store.advice(goodbye))
    assert "does not answer" in str(postgresql_store.advice(InterfaceError("network error")))


def test_a_user_without_rights_is_told_so(postgresql: Server, url: str) -> None:
    postgresql.execute("CREATE ROLE guest LOGIN")
    try:
        with pytest.raises(StoreError, match="may not do this"):
            open_database(url.replace("mailroom@", "guest@"))
    finally:
        postgresql.execute("DROP ROLE guest")


def test_a_lock_that_is_kept_is_named(url: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_store, "LOCK_TIMEOUT_MS", 50)
    with open_database(url) as other, database.write():
        assert PredictionLog(other).count() == 0
        with pytest.raises(StoreError, match="another process has kept it locked"):
            PromotionLog(other).promote("v1", "ann", "")


def test_connections_that_died_are_replaced(postgresql: Server, database: Database) -> None:
    log = PromotionLog(database)
    log.promote("v1", "ann", "")
    postgresql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'log'")
    assert log.current() == "v1"


def test_a_connection_that_dies_amid_a_transaction_is_a_store_error(
    postgresql: Server, database: Database
) -> None:
    def die() -> None:
        with database.write() as connection:
            postgresql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'log'")
            connection.execute(sa.text("SELECT 1"))

    with pytest.raises(StoreError, match="does not answer"):
        die()
    assert PromotionLog(database).current() is None


def test_what_is_answered_is_on_disk_whatever_the_server_prefers(postgresql: Server) -> None:
    postgresql.execute("ALTER DATABASE log SET synchronous_commit = off")
    try:
        with open_database(postgresql.url("log")) as database, database.read() as connection:
            assert connection.execute(sa.text("SHOW synchronous_commit")).scalar_one() == "on"
    finally:
        postgresql.execute("ALTER DATABASE log RESET synchronous_commit")


def test_the_lock_ends_with_a_process_that_idles_in_its_transaction(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_store, "_MOST_IDLE_MS", 100)
    opened, done = threading.Event(), threading.Event()

    def hang() -> None:
        with open_database(url) as other, other.write() as connection:
            opened.set()
            done.wait()
            connection.execute(sa.text("SELECT 1"))

    def fail_to_hang() -> None:
        with pytest.raises(StoreError):
            hang()

    thread = threading.Thread(target=fail_to_hang)
    thread.start()
    opened.wait()
    PromotionLog(database).promote("v1", "ann", "")
    done.set()
    thread.join()
    assert PromotionLog(database).current() == "v1"


@pytest.fixture
def round_trips(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every answer of the server that the driver waits for from now on, by the statement."""
    waited: list[str] = []
    wait = CoreConnection.handle_messages

    def count(connection: CoreConnection, context: Any) -> None:
        waited.append(str(context.statement))
        wait(connection, context)

    monkeypatch.setattr(CoreConnection, "handle_messages", count)
    return waited


def test_many_rows_take_few_round_trips(database: Database, round_trips: list[str]) -> None:
    log = PredictionLog(database)
    log.register_taxonomy(TAXONOMY, LABELS)
    log.append_once([make_entry(1000)])  # from here on the names and the labels are known
    for count in (1, 200):
        del round_trips[:]
        log.append_once([make_entry(1000 * count + number) for number in range(1, count + 1)])
        # A look at the connection, BEGIN with the lock, emails, predictions (the driver waits three times
        # for each statement with values), COMMIT.
        assert len(round_trips) == 9, round_trips
    assert log.count() == 202


def test_a_lookup_takes_few_round_trips(database: Database, round_trips: list[str]) -> None:
    log = PredictionLog(database)
    assert log.known(["<1@example.org>"]) == {}
    del round_trips[:]
    assert log.known(["<1@example.org>"]) == {}
    assert len(round_trips) == 6, round_trips
