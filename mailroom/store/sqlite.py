"""SQLite as the store: its engine, its transactions, and what to do about its failures."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from mailroom.errors import StoreError

BUSY_TIMEOUT_MS = 30_000
MEMORY = ":memory:"

# An email's row takes about 1 KB: pages of 4 KB leave a tenth more of the file empty, pages of 16 KB gain
# little and make every commit write more (measured with benchmarks/log.py).
_PAGE_BYTES = 8192

# What SQLite says (the start or a part of it) → what happened and what to do about it.
_ADVICE = (
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


def make_engine(url: sa.URL, read_only: bool) -> Engine:
    """The engine of a SQLite URL; ArgumentError where the URL is unusable."""
    engine = sa.create_engine(_url(url, read_only), hide_parameters=True)
    sa.event.listen(engine, "connect", _configure)
    return engine


def begin(writes: bool) -> str:
    """What opens a transaction."""
    # A transaction that starts by reading and then writes can fail at once, without waiting for its turn.
    return "BEGIN IMMEDIATE" if writes else "BEGIN"


def advice(error: BaseException) -> str | None:
    """What an error of the driver means and what to do about it, or None where that is not known."""
    said = str(error).casefold()
    return next((advice for part, advice in _ADVICE if part in said), None)


def check_file(place: str, read_only: bool) -> None:
    """StoreError where the place cannot be a database file, or is missing and may not be made."""
    path = Path(place)
    if path.is_dir():
        raise StoreError(f"{place}: expected a database file, got a folder")
    if read_only and place != MEMORY and not path.exists():
        raise StoreError(f"{place}: no such prediction log; `mailroom classify` makes one")


def switch_to_wal(engine: Engine, errors: Callable[[], AbstractContextManager[None]]) -> None:
    """Turn on the write-ahead log, for good: SQLite does not wait for other processes here, so this does."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            with errors():
                connection = engine.raw_connection()
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


def _url(url: sa.URL, read_only: bool) -> sa.URL:
    if not read_only or url.database in (None, "", MEMORY):
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


def _configure(connection: Any, _record: Any) -> None:
    # The driver's own transactions leave out reads and schema changes; `begin` opens them instead.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    # In WAL mode NORMAL may lose the last commits in a power cut; a prediction is shown once it is committed.
    connection.execute("PRAGMA synchronous = FULL")
