"""What every test can rely on: no workspace from the environment, a wide terminal, a Ctrl-C that works.

Tests that ask for a `url` run on every kind of database.
"""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.postgresql_server import Server, find_binaries, running_server

# A shell starts jobs in the background with SIGINT ignored, which every child inherits: tests that interrupt
# a command would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _neutral_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAILROOM_WORKSPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("PGPASSWORD", raising=False)


@pytest.fixture(scope="session")
def _made_learning_desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.cycle.desk import make_workspace

    return make_workspace(tmp_path_factory.mktemp("cycle"), "none")


@pytest.fixture
def learning_desk(_made_learning_desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace that learns in seconds, and whose encoders pass the int8 gate whatever they are trained to.

    Only tests that set `train_from_gold` train any: that takes seconds in each cycle.

    Random weights of 32 dimensions lie so close together that rounding alone can change an answer, on some
    processors and not on others: nothing that a cycle's tests are about.
    """
    from tests.cycle.desk import set_settings

    monkeypatch.setattr("mailroom.models.parity.MAX_RELATIVE_DIFFERENCE", 1e9)
    monkeypatch.setattr("mailroom.models.parity.MIN_TOP1_AGREEMENT", 0.0)
    desk = shutil.copytree(_made_learning_desk, tmp_path / "desk")
    set_settings(desk, train_from_gold=1_000_000)
    return desk


KINDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A server with an empty log in its database `log`; skips where none is installed."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    from mailroom.store.database import open_database

    with running_server(binaries) as server:
        open_database(server.create_database("log")).close()
        yield server


@pytest.fixture
def postgresql_url(postgresql: Server) -> str:
    """The URL of an empty prediction log in PostgreSQL."""
    from mailroom.store.schema import metadata

    # To empty the tables takes a tenth of the time that a new database does.
    postgresql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'log'")
    tables = ", ".join(table.name for table in metadata.sorted_tables)
    postgresql.execute(f"TRUNCATE {tables} RESTART IDENTITY", "log")
    return postgresql.url("log")


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty prediction log."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'mailroom.db'}"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a place where no prediction log has been made yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'mailroom.db'}"
        return
    server: Server = request.getfixturevalue("postgresql")
    yield server.create_database("empty")
    server.drop_database("empty")
