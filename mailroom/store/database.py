"""Database URL → open, migrated database whose every failure is a StoreError with advice.

Knows the two kinds of database and their settings, and nothing of what the tables hold.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from mailroom.errors import StoreError
from mailroom.store import postgresql, sqlite
from mailroom.store.schema import SCHEMA_REVISION

_WRITES = "mailroom_writes"
_MIGRATIONS = Path(__file__).parent / "migrations"


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
        # PostgreSQL's driver lets some errors of its socket through as they are.
        except (SQLAlchemyError, sqlite3.Error, ConnectionError, TimeoutError) as exc:
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

    `read_only` never makes, migrates or changes anything. StoreError or ConfigError says what is wrong
    with the place.
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
        sqlite.check_file(database.place, database.read_only)
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
        sqlite.switch_to_wal(database.engine, database.errors)
    with database.write() as connection:
        _migrate(connection, database.place)


def _schema_revision(connection: Connection, place: str) -> str | None:
    tables = sa.inspect(connection).get_table_names()
    if "alembic_version" in tables:
        query = sa.text("SELECT version_num FROM alembic_version")
        return connection.execute(query).scalar_one_or_none()
    if tables:
        raise StoreError(
            f"{place}: expected a prediction log, got a database with other tables in it; name one of its own"
        )
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
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", sqlite.MEMORY):
        return parsed
    return parsed.set(database=str(folder / (parsed.database or "")))


def _parse_url(url: str | sa.URL) -> sa.URL:
    with _url_errors():
        return sa.make_url(url)


def _engine(url: sa.URL, read_only: bool) -> Engine:
    with _url_errors():
        if url.get_backend_name() == "sqlite":
            engine, begin = sqlite.make_engine(url, read_only), sqlite.begin
        elif url.get_backend_name() == "postgresql":
            engine, begin = postgresql.make_engine(url), postgresql.begin
        else:
            raise ArgumentError(url.get_backend_name())

    @sa.event.listens_for(engine, "begin")
    def open_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin(connection.get_execution_options().get(_WRITES, False)))

    return engine


@contextmanager
def _url_errors() -> Iterator[None]:
    try:
        yield
    except (ArgumentError, NoSuchModuleError, ImportError) as exc:
        raise StoreError(
            "store.url: expected a database URL such as sqlite:///mailroom.db or "
            f"postgresql://user@host/name, got one that is unusable ({type(exc).__name__}); correct it"
        ) from exc


def _advice(exc: Exception) -> str:
    cause = getattr(exc, "orig", None) or exc
    advice = sqlite.advice(cause) if isinstance(cause, sqlite3.Error) else postgresql.advice(cause)
    return advice or (
        f"expected the database to answer, got {type(exc).__name__}: {str(cause).splitlines()[0]}"
    )


def _place(url: sa.URL) -> str:
    """The file for SQLite, the URL without its password and its options for others."""
    if url.get_backend_name() != "sqlite":
        return url.set(query={}).render_as_string(hide_password=True)
    return url.database or sqlite.MEMORY
