"""Opening, migrating, and what is said about places that are no prediction log."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from mailroom.errors import StoreError
from mailroom.store import database as database_module
from mailroom.store import sqlite as sqlite_store
from mailroom.store.database import Database, open_database, url_in_folder
from mailroom.store.examples import ExampleReader
from mailroom.store.feedback import FeedbackLog
from mailroom.store.log_query import LogFilter, count_statement, select_statement
from mailroom.store.prediction_log import PredictionLog
from mailroom.store.schema import SCHEMA_REVISION, metadata
from tests.store.conftest import LABELS, NOON, TAXONOMY, make_entry, make_word

ROOT = Path(__file__).parents[2]


def sqlite_url(path: Path) -> sa.URL:
    return sa.URL.create("sqlite", database=str(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mailroom.db"


def filled(path: Path, count: int = 3) -> None:
    with open_database(sqlite_url(path)) as database:
        log = PredictionLog(database)
        log.register_taxonomy(TAXONOMY, LABELS)
        log.append([make_entry(number) for number in range(count)])


def refusal(path: Path, *, read_only: bool = False) -> str:
    with pytest.raises(StoreError) as caught:
        open_database(sqlite_url(path), read_only=read_only)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_constant_names_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(database_module._MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_REVISION


def test_migrations_make_what_the_schema_says(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        found = {
            index["name"]: index["column_names"]
            for index in sa.inspect(connection).get_indexes("predictions")
            if "duplicates_constraint" not in index
        }
    expected = {
        index.name: [column.name for column in index.columns]
        for index in metadata.tables["predictions"].indexes
    }
    assert found == expected


def test_log_of_the_first_schema_is_brought_up_to_date_with_all_it_holds(path: Path) -> None:
    filled(path)
    connection = sqlite3.connect(path)
    for table in (
        "web_sessions",
        "api_keys",
        "audit_log",
        "training_examples",
        "cycles",
        "review_draws",
        "feedback",
    ):
        connection.execute(f"DROP TABLE {table}")
    connection.execute("ALTER TABLE emails DROP COLUMN thread_digest")
    connection.execute("ALTER TABLE emails DROP COLUMN asides")
    connection.execute("ALTER TABLE predictions DROP COLUMN review_reasons")
    connection.execute("UPDATE alembic_version SET version_num = '0001'")
    connection.commit()
    connection.close()
    assert "brings it up to date" in refusal(path, read_only=True)
    with open_database(sqlite_url(path)) as database:
        assert PredictionLog(database).count() == 3
        assert {row.prediction.review_reasons for row in PredictionLog(database).query()} == {()}
        FeedbackLog(database).append([make_word("<1@example.org>")])
        [labelled] = ExampleReader(database).labelled()
        assert labelled.thread


def test_current_database_opens_without_alembic(path: Path) -> None:
    filled(path)
    code = (
        "import sys; from mailroom.store.database import open_database\n"
        f"open_database({str(sqlite_url(path))!r}).close()\n"
        "sys.exit('alembic' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_sqlite_is_durable_and_waits_for_others(path: Path) -> None:
    with open_database(sqlite_url(path)) as database, database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
    full = 2
    assert pragmas == {"journal_mode": "wal", "synchronous": full, "busy_timeout": 30_000, "foreign_keys": 1}


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (LogFilter(labels=("label-1",)), "ix_predictions_label_key"),
        (LogFilter(email_id="<1@example.org>"), "ix_predictions_email_key"),
    ],
)
def test_filters_use_their_index(path: Path, filters: LogFilter, index: str) -> None:
    with open_database(sqlite_url(path)) as database, database.read() as connection:
        compiled = select_statement(filters).compile(connection)
        values = tuple(compiled.params[name] for name in compiled.positiontup or ())
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values).all()
    assert index in " ".join(str(row) for row in plan)


@pytest.mark.parametrize(
    "filters", [LogFilter(), LogFilter(review=True), LogFilter(waiting=True), LogFilter(margin_below=0.5)]
)
def test_listing_starts_at_once_because_nothing_is_sorted(path: Path, filters: LogFilter) -> None:
    with open_database(sqlite_url(path)) as database, database.read() as connection:
        compiled = select_statement(filters).compile(connection)
        values = tuple(compiled.params[name] for name in compiled.positiontup or ())
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values).all()
    assert "TEMP B-TREE" not in " ".join(str(row) for row in plan)


def test_tables_and_statements_are_ones_that_postgresql_understands() -> None:
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateTable

    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    tables = " ".join(str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables)
    assert "BIGSERIAL" in tables
    assert "BLOB" not in tables
    everything = LogFilter(
        ("label",), NOON, NOON, True, 0.5, 0.1, "model", "email", "subject", limit=3, waiting=True
    )
    for statement in (select_statement(everything), count_statement(everything)):
        assert "ILIKE" in str(statement.compile(dialect=dialect))


def test_wrong_file_is_no_database(path: Path) -> None:
    path.write_bytes(b"From: ann@example.org\n\nhello" * 100)
    assert "not a database" in refusal(path)
    assert path.read_bytes().startswith(b"From: ann")


def test_folder_is_no_database(tmp_path: Path) -> None:
    assert "got a folder" in refusal(tmp_path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    assert "check that the folder is there" in refusal(tmp_path / "nowhere" / "mailroom.db")


def test_foreign_database_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title)")
    connection.close()
    assert "other tables" in refusal(path)


def test_newer_schema_is_refused(path: Path) -> None:
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    assert "newer mailroom" in refusal(path)
    assert "9999" in refusal(path, read_only=True)


def test_damaged_file_is_named(path: Path) -> None:
    filled(path, 500)
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"), open_database(sqlite_url(path)) as database:
        list(PredictionLog(database).query())


def test_locked_database_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)
    monkeypatch.setattr(sqlite_store, "BUSY_TIMEOUT_MS", 50)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with open_database(sqlite_url(path)) as database:
        log = PredictionLog(database)
        assert log.count() == 3
        with pytest.raises(StoreError, match="locked"):
            log.append([make_entry(9)])
        other.execute("ROLLBACK")
        other.close()
        log.append([make_entry(9)])
        assert log.count() == 4


def test_full_disk_loses_the_batch_and_nothing_else(path: Path) -> None:
    filled(path)
    with open_database(sqlite_url(path)) as database:
        log = PredictionLog(database)
        with database.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

        @sa.event.listens_for(database.engine, "checkout")
        def limit(connection: sqlite3.Connection, _record: object, _proxy: object) -> None:
            connection.execute(f"PRAGMA max_page_count = {pages + 2}")

        with pytest.raises(StoreError, match="disk is full"):
            log.append([make_entry(number) for number in range(10, 500)])
        assert log.count() == 3


def test_unwritable_database_is_named(path: Path) -> None:
    filled(path)
    with open_database(sqlite_url(path)) as database:

        @sa.event.listens_for(database.engine, "checkout")
        def forbid(connection: sqlite3.Connection, _record: object, _proxy: object) -> None:
            connection.execute("PRAGMA query_only = ON")

        with pytest.raises(StoreError, match="cannot be written; check the rights"):
            PredictionLog(database).append([make_entry(9)])


@pytest.mark.parametrize("url", ["nonsense", "sqlite//x", "oracle9://x/y", "mysql+nodriver://secret:pw@h/x"])
def test_unusable_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StoreError, match=r"store\.url") as caught:
        open_database(url)
    assert "pw" not in str(caught.value)


def test_reader_sees_all_and_changes_nothing(path: Path) -> None:
    filled(path)
    with open_database(sqlite_url(path), read_only=True) as database:
        log = PredictionLog(database)
        assert log.count() == 3
        with pytest.raises(StoreError, match="opened to read"):
            log.append([make_entry(9)])


def test_reader_works_in_a_folder_that_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)
    monkeypatch.setattr(sqlite_store, "_is_writable", lambda folder: False)
    with open_database(sqlite_url(path), read_only=True) as database:
        assert PredictionLog(database).count() == 3
    assert [file.name for file in path.parent.iterdir()] == ["mailroom.db"]


def test_reader_makes_no_database(path: Path) -> None:
    assert "no such prediction log" in refusal(path, read_only=True)
    assert not path.exists()


def test_file_names_need_no_care(tmp_path: Path) -> None:
    path = tmp_path / "50% of #1 ü?.db"
    filled(path)
    for read_only in (False, True):
        with open_database(sqlite_url(path), read_only=read_only) as db:
            assert PredictionLog(db).count() == 3


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///mailroom.db", "sqlite:////box/mailroom.db"),
        ("sqlite:////var/log.db", "sqlite:////var/log.db"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://ann@host/mail", "postgresql://ann@host/mail"),
    ],
)
def test_relative_file_is_in_the_folder(url: str, expected: str) -> None:
    assert url_in_folder(url, Path("/box")) == sa.make_url(expected)


def test_memory_database_serves_tests() -> None:
    with open_database("sqlite://") as database:
        assert PredictionLog(database).count() == 0
