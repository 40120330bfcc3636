"""PostgreSQL as the store: its engine, its transactions, and what to do about its failures.

Writers take turns, as SQLite's do: a transaction that writes holds one lock of the database from its start,
so that whatever it has read still holds when it writes, in every process and on every host.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.pg8000 import PGDialect_pg8000
from sqlalchemy.engine import Engine

from mailroom.config import database_password
from mailroom.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from ssl import SSLContext

LOCK_TIMEOUT_MS = 30_000

# What is named postgresql:// in a URL is reached by this driver, which is pure Python.
_DRIVER = "pg8000"
# How SQLAlchemy is told of that driver with transactions of our own (`_Dialect`).
_DIALECT = "mailroom_pg8000"
# "mailroom" in ASCII: locks of other programs in the same database have other numbers.
_WRITE_LOCK = 0x6D61696C726F6F6D
# A host that vanishes amid its transaction must not keep the others waiting for good.
_MOST_IDLE_MS = 60_000
# Beyond it the network is taken for dead; no statement of the store comes near.
_SOCKET_TIMEOUT_SECONDS = 120

# PostgreSQL's error code, or the start of it → what happened and what to do about it.
_ADVICE = (
    ("28", "the server refuses the user or the password; check store.url, and PGPASSWORD where it has none"),
    ("3D000", "the server has no such database; make one with `createdb`, or correct store.url"),
    ("42501", "the user may not do this; let it own the database, or grant it the rights on its tables"),
    ("53100", "the server's disk is full; free some space there and run the same command again"),
    ("53300", "the server takes no more connections; raise its max_connections or serve with fewer workers"),
    ("55P03", "another process has kept it locked; wait for it or end it, then try again"),
    ("25006", "it cannot be written; name the primary server, not a standby"),
    ("57P", "the server is starting or ending; try again in a moment"),
)
_REPEATED_ID = "a prediction with this id is in the log already; every prediction needs its own"
_UNREACHABLE = "the server does not answer; check that it runs and that store.url names its host and port"


def make_engine(url: sa.URL) -> Engine:
    """The engine of a PostgreSQL URL.

    The URL may be written as `psql` takes it: `host=/folder` names the folder of a Unix socket, and
    `sslmode` (disable, prefer, require, verify-full) with `sslrootcert` asks for TLS. ConfigError where the
    driver is missing or a value is unknown.
    """
    if "+" in url.drivername and url.get_driver_name() != _DRIVER:
        raise ConfigError(
            f"store.url: expected postgresql://…, got {url.drivername}://…; the driver is {_DRIVER}"
        )
    arguments = _connect_arguments(url)
    plain = url.set(drivername=f"postgresql+{_DIALECT}", query={})
    try:
        engine = sa.create_engine(plain, hide_parameters=True, connect_args=arguments, client_encoding="utf8")
    except ImportError as exc:
        raise ConfigError(
            f"store.url: expected the driver of PostgreSQL, found no {_DRIVER}; "
            "`pip install 'mailroom[postgres]'`"
        ) from exc
    # One statement for many rows: the driver would ask the server once a row.
    engine.dialect.use_insertmanyvalues_wo_returning = True
    sa.event.listen(engine, "connect", _configure)
    sa.event.listen(engine, "checkout", _check)
    return engine


def begin(writes: bool) -> str:
    """What opens a transaction, sent to the server in one go."""
    if not writes:
        return "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    # Read committed: what the transaction before has written is seen once its lock is had.
    return (
        "BEGIN ISOLATION LEVEL READ COMMITTED; "
        f"SET LOCAL idle_in_transaction_session_timeout = {_MOST_IDLE_MS}; "
        f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})"
    )


class _Dialect(PGDialect_pg8000):
    """Leaves the opening of transactions to `begin`, and ends them in one round trip.

    The driver asks the server once for its own BEGIN, and three times for a COMMIT, since it prepares it.
    """

    driver = _DRIVER
    supports_statement_cache = True

    def do_commit(self, dbapi_connection: Any) -> None:
        dbapi_connection.cursor().execute("COMMIT")


sa.dialects.registry.register(f"postgresql.{_DIALECT}", __name__, _Dialect.__name__)


def advice(error: BaseException) -> str | None:
    """What an error of the driver means and what to do about it, or None where that is not known.

    Never more of the server's message than its first line, which holds no values.
    """
    fields = _server_word(error)
    if fields is None:
        gone = isinstance(error, OSError) or type(error).__name__ == "InterfaceError"
        return _UNREACHABLE if gone else None
    if fields.get("n") == "predictions_id_key":
        return _REPEATED_ID
    code = fields.get("C", "")
    known = next((advice for start, advice in _ADVICE if code.startswith(start)), None)
    return known or f"expected the server to do as asked, got error {code}: {fields.get('M', '')}"


def _server_word(error: BaseException) -> dict[str, str] | None:
    """What the server itself said, as the driver keeps it: fields by their letters; None where it is silent.

    A server that refuses a client hangs up at once, and the driver's own goodbye may then fail in its turn:
    the refusal stands behind that error.
    """
    behind: BaseException | None = error
    while behind is not None:
        if behind.args and isinstance(behind.args[0], dict):
            return behind.args[0]
        behind = behind.__cause__ or behind.__context__
    return None


def _connect_arguments(url: sa.URL) -> dict[str, Any]:
    query = {name: value if isinstance(value, str) else value[0] for name, value in url.query.items()}
    host = query.pop("host", None)
    arguments: dict[str, Any] = {"timeout": _SOCKET_TIMEOUT_SECONDS}
    if host is not None and host.startswith("/"):
        arguments["unix_sock"] = f"{host}/.s.PGSQL.{query.pop('port', None) or url.port or 5432}"
    elif host is not None:
        arguments["host"] = host
    arguments["ssl_context"] = _tls(query.pop("sslmode", "prefer"), query.pop("sslrootcert", None))
    arguments["application_name"] = query.pop("application_name", "mailroom")
    if query:
        raise ConfigError(
            f"store.url: expected host, port, sslmode, sslrootcert or application_name behind the question "
            f"mark, got {', '.join(sorted(query))}"
        )
    password = database_password()
    if url.password is None and password is not None:
        arguments["password"] = password
    return arguments


def _tls(mode: str, root_certificate: str | None) -> "SSLContext | bool | None":
    from ssl import create_default_context

    plain: Mapping[str, bool | None] = {"disable": False, "prefer": None, "require": True}
    if mode in plain:
        return plain[mode]
    if mode != "verify-full":
        raise ConfigError(
            f"store.url: sslmode: expected disable, prefer, require or verify-full, got {mode!r}"
        )
    try:
        return create_default_context(cafile=root_certificate)
    except OSError as exc:
        raise StoreError(
            f"store.url: sslrootcert: {root_certificate} cannot be read as certificates: {exc.strerror}"
        ) from exc


def _configure(connection: Any, _record: Any) -> None:
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
    # A prediction is shown once it is committed, and then it must be on disk, whatever the server's default.
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'"
    )
    cursor.close()


def _check(connection: Any, _record: Any, _proxy: Any) -> None:
    """Have connections that died since their last use replaced; the driver's errors are of several kinds."""
    try:
        connection.cursor().execute(";")
    except Exception as exc:
        raise sa.exc.InvalidatePoolError("the connection has died") from exc
