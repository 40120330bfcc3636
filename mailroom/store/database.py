"""Database URL → open, migrated database whose every failure is a StoreError with advice.

Knows the two kinds of database and their settings, and nothing of what the tables hold.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from mailroom.errors import StoreError
from mailroom.store.schema import SCHEMA_REVISION

BUSY_TIMEOUT_MS = 30_000

# An email's row takes about 1 KB: pages of 4 KB leave a tenth more of the file empty, pages of 16 KB gain
# little and make every commit write more (measured with benchmarks/log.py).
_PAGE_BYTES = 8192

_MEMORY = ":memory:"
_WRITES = "mailroom_writes"
_MIGRATIONS = Path(__file__).parent / "migrations"

# What SQLite says (the start or a part of it) → what happened and what to do about it.
_SQLITE_ADVICE = (
    ("database or disk is full", "the disk is full; free some space and run the same command again"),
    ("database is locked", "another process has kept it locked; wait for it or end it, then try again"),
    ("database table is locked", "another process has kept it locked; wait for it or end it, then try again"),
    ("readonly database", "it cannot be written; check the rights of the file and of its folder"),
    ("unable to open", "it cannot be opened; check that the folder is there and can be written"),
    ("file is not a database", "it is not a database; name the mailroom.db of a workspace"),
    ("file is encrypted", "it is not a database; name the mailroom.db of a workspace"),
    ("malformed", "it is damaged; restore it from a backup, or save what `sqlite3 FILE .recover` finds"),
    (
        "failed: predictions.id",
        "a prediction with this id is in the log already; every prediction needs its own",
    ),
    ("disk i/o error", "the disk does not answer; check it and the space on it, then try again"),
)


class Database:
    """An open database; every read and write goes through one of its two transactions."""

    def __init__(self, engine: Engine, place: str, *, read_only: bool = False) -> None:
        self.engine = engine
        self.read_only = read_only
        self.place = place

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database."""
        with self.errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the only write lock; committed and on disk at the end, or nothing is."""
        if self.read_only:
            raise StoreError(f"{self.place}: expected a database that can be written, got one opened to read")
        with self.errors(), self.engine.connect() as connection:
            connection = connection.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn every database error inside into a StoreError."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as exc:
            raise StoreError(f"{self.place}: {_advice(exc)}") from exc

    def close(self) -> None:
        """Close all connections; SQLite then tidies its write-ahead log away."""
        with self.errors():
            self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_database(url: str | sa.URL, *, read_only: bool = False) -> Database:
    """Open the database of a URL, made or migrated to the newest schema where that is needed.

    `read_only` never makes, migrates or changes anything. StoreError says what is wrong with the place.
    """
    parsed = _parse_url(url)
    database = Database(_engine(parsed, read_only), _place(parsed), read_only=read_only)
    try:
        _prepare(database)
    except BaseException:
        database.engine.dispose()
        raise
    return database


def _prepare(database: Database) -> None:
    is_sqlite = database.engine.dialect.name == "sqlite"
    if is_sqlite:
        _check_file(database)
    with database.read() as connection:
        revision = _schema_revision(connection, database.place)
    if revision == SCHEMA_REVISION:
        return
    if database.read_only:
        raise StoreError(
            f"{database.place}: expected a prediction log of schema {SCHEMA_REVISION}, "
            f"got {revision or 'an empty database'}; any command that writes brings it up to date"
        )
    if is_sqlite:
        _switch_to_wal(database)
    with database.write() as connection:
        _migrate(connection, database.place)


def _check_file(database: Database) -> None:
    path = Path(database.place)
    if path.is_dir():
        raise StoreError(f"{database.place}: expected a database file, got a folder")
    if database.read_only and database.place != _MEMORY and not path.exists():
        raise StoreError(f"{database.place}: no such prediction log; `mailroom classify` makes one")


def _schema_revision(connection: Connection, place: str) -> str | None:
    tables = sa.inspect(connection).get_table_names()
    if "alembic_version" in tables:
        query = sa.text("SELECT version_num FROM alembic_version")
        return connection.execute(query).scalar_one_or_none()
    if tables:
        raise StoreError(f"{place}: expected a prediction log, got a database with other tables in it")
    return None


def _migrate(connection: Connection, place: str) -> None:
    # Alembic takes 0.15 s to import, and is needed once in the life of most databases.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    # Another process may have migrated while this one waited for the lock.
    revision = _schema_revision(connection, place)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise StoreError(
            f"{place}: expected schema {SCHEMA_REVISION} or older, got {revision!r}; "
            "it was written by a newer mailroom: update this one"
        )
    command.upgrade(config, "head")


def url_in_folder(url: str, folder: Path) -> sa.URL:
    """The URL, with a relative SQLite path taken as one in `folder`."""
    parsed = _parse_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", _MEMORY):
        return parsed
    return parsed.set(database=str(folder / (parsed.database or "")))


def _parse_url(url: str | sa.URL) -> sa.URL:
    with _url_errors():
        return sa.make_url(url)


def _engine(url: sa.URL, read_only: bool) -> Engine:
    with _url_errors():
        engine = sa.create_engine(_sqlite_url(url, read_only), hide_parameters=True)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def _url_errors() -> Iterator[None]:
    try:
        yield
    except (ArgumentError, NoSuchModuleError, ImportError) as exc:
        raise StoreError(
            f"store.url: expected a database URL such as sqlite:///mailroom.db, got one that is unusable "
            f"({type(exc).__name__}); correct it in mailroom.toml"
        ) from exc


def _sqlite_url(url: sa.URL, read_only: bool) -> sa.URL:
    if url.get_backend_name() != "sqlite" or not read_only or url.database in (None, "", _MEMORY):
        return url
    path = Path(url.database or "").absolute()
    query = {"mode": "ro", "uri": "true"}
    # In a folder that cannot be written SQLite cannot make the shared index of its log; without a log
    # there is nothing to share.
    if not _is_writable(path.parent) and not Path(f"{path}-wal").exists():
        query = {"immutable": "1", "uri": "true"}
    return url.set(database=f"file:{path.as_uri().removeprefix('file://')}", query=query)


def _is_writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK)


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions leave out reads and schema changes; `_begin_sqlite` opens them instead.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    # In WAL mode NORMAL may lose the last commits in a power cut; a prediction is shown once it is committed.
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that starts by reading and then writes can fail at once, without waiting for its turn.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _switch_to_wal(database: Database) -> None:
    """Turn on the write-ahead log, for good: SQLite does not wait for other processes here, so this does."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            with database.errors():
                connection = database.engine.raw_connection()
                try:
                    connection.cursor().execute(f"PRAGMA page_size = {_PAGE_BYTES}").close()
                    connection.cursor().execute("PRAGMA journal_mode = WAL").close()
                finally:
                    connection.close()
                return
        except StoreError as exc:
            if "locked" not in str(exc) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _advice(exc: Exception) -> str:
    said = str(getattr(exc, "orig", None) or exc).splitlines()[0]
    lowered = said.casefold()
    for part, advice in _SQLITE_ADVICE:
        if part in lowered:
            return advice
    return f"expected the database to answer, got {type(exc).__name__}: {said}"


def _place(url: sa.URL) -> str:
    """The file for SQLite, the URL without its password for others."""
    if url.get_backend_name() != "sqlite":
        return url.render_as_string(hide_password=True)
    return url.database or _MEMORY
