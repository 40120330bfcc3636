"""What every table's module does with rows: insert the new ones, look many up, and turn ids into bytes."""

import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from mailroom.errors import StoreError
from mailroom.store.schema import names

# SQLite before 3.32 takes 999 variables in a statement.
CHUNK = 500
# Rows that a streaming read asks the driver for at once.
ROWS_AT_ONCE = 200


def insert_missing(
    connection: Connection, table: sa.Table, rows: list[dict[str, Any]], unique_column: str
) -> list[Any]:
    """Insert the rows whose unique column is new; returns those with their `key`, the column beside it.

    The list is empty where the database does not tell: SQLite does from 3.35 on.
    """
    if not rows:
        return []
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table).on_conflict_do_nothing(index_elements=[unique_column])
    if not connection.dialect.insert_returning:
        connection.execute(statement, rows)
        return []
    # Asked for its rows, SQLAlchemy sends one statement for many; else the driver asks once a row.
    told = statement.returning(table.c.key, table.c[unique_column])
    return list(connection.execute(told, rows).all())


def select_in(
    connection: Connection, column: sa.Column[Any], values: Sequence[Any], *others: sa.ColumnElement[Any]
) -> list[Any]:
    """The rows in which `column` has one of the values, however many there are."""
    rows: list[Any] = []
    for start in range(0, len(values), CHUNK):
        chunk = values[start : start + CHUNK]
        rows += connection.execute(sa.select(column, *others).where(column.in_(chunk))).all()
    return rows


def uuid_bytes(text: str) -> bytes | None:
    """A UUID's 16 bytes, or None where the text is none."""
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        return None


def new_uuid_bytes(text: str, what: str) -> bytes:
    """The 16 bytes of an id that is about to be written; StoreError where it is no UUID."""
    key = uuid_bytes(text)
    if key is None:
        raise StoreError(f"expected a UUID as id of a {what}, got {text!r}")
    return key


class Names:
    """The keys of texts that many rows repeat; safe to share between threads."""

    def __init__(self) -> None:
        self._keys: dict[str, int] = {}

    def intern(self, connection: Connection, wanted: set[str]) -> dict[str, int]:
        """The key of every text, made where it is new; hand them to `remember` once they are committed."""
        keys = {name: self._keys[name] for name in wanted if name in self._keys}
        missing = sorted(wanted - keys.keys())
        if missing:
            insert_missing(connection, names, [{"name": name} for name in missing], "name")
            found = select_in(connection, names.c.name, missing, names.c.key)
            keys.update({row.name: row.key for row in found})
        return keys

    def remember(self, keys: dict[str, int]) -> None:
        """Spare the next `intern` a look-up; only what is committed may be remembered."""
        self._keys.update(keys)
