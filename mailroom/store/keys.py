"""Keys of the service and the browser sessions made with them → who is asking, and what they may do.

Secrets are 256 random bits, so a plain SHA-256 of them tells nothing; they are shown once and never kept.
"""

import hashlib
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import sqlalchemy as sa

from mailroom.errors import ConfigError
from mailroom.store.audit import record_change
from mailroom.store.database import Database
from mailroom.store.packing import storable
from mailroom.store.schema import api_keys, web_sessions

Scope = Literal["classify", "review", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

MAX_NAME_CHARS = 100
_TOKEN = re.compile(r"mr_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_SESSION_CHARS = 43


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it may be shown: everything but its secret."""

    id: str
    name: str
    scopes: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the key may be used for this; an admin may do everything."""
        return self.revoked_at is None and bool(self.scopes & {scope, "admin"})

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name; times in ISO 8601 UTC."""
        return {
            "id": self.id,
            "name": self.name,
            "scopes": [scope for scope in SCOPES if scope in self.scopes],
            "created_at": self.created_at.isoformat(timespec="seconds"),
            "revoked_at": self.revoked_at.isoformat(timespec="seconds") if self.revoked_at else None,
        }


class ApiKeys:
    """The keys of one database; every process that shares it accepts the same ones."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, scopes: Collection[str], created_by: str) -> tuple[ApiKey, str]:
        """Make a key; the second value is its token, which can never be shown again.

        ConfigError where the name is empty or in use by another active key, or a scope is unknown.
        """
        name = storable(" ".join(name.split()))
        _check(name, scopes)
        secret = secrets.token_urlsafe(32)
        key = ApiKey(secrets.token_hex(6), name, frozenset(scopes), datetime.now(UTC))
        row = {
            "id": key.id,
            "name": name,
            "secret_sha256": _digest(secret),
            "scopes": " ".join(sorted(key.scopes)),
            "created_at": key.created_at,
        }
        same_name = sa.select(api_keys.c.id).where(api_keys.c.name == name, api_keys.c.revoked_at.is_(None))
        with self._database.write() as connection:
            if connection.execute(same_name).first() is not None:
                raise ConfigError(
                    f"expected a name that no active key has, got {name!r}; feedback is kept under the key's "
                    "name, so choose another one or revoke the old key first"
                )
            connection.execute(sa.insert(api_keys), row)
            record_change(connection, created_by, "key.create", key.id, f"{name}: {row['scopes']}")
        return key, f"mr_{key.id}_{secret}"

    def revoke(self, key_id: str, revoked_by: str) -> ApiKey:
        """End a key and the sessions made with it, at once and for good; ConfigError where none is active."""
        now = datetime.now(UTC)
        with self._database.write() as connection:
            row = connection.execute(sa.select(api_keys).where(api_keys.c.id == key_id)).first()
            if row is None or row.revoked_at is not None:
                what = "no key has" if row is None else "a revoked key has"
                raise ConfigError(
                    f"expected the id of an active key, got {key_id!r}, which {what}; `mailroom keys list`"
                )
            connection.execute(sa.update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=now))
            connection.execute(sa.delete(web_sessions).where(web_sessions.c.api_key_key == row.key))
            record_change(connection, revoked_by, "key.revoke", key_id, row.name)
        return ApiKey(row.id, row.name, frozenset(row.scopes.split()), row.created_at, now)

    def all(self) -> list[ApiKey]:
        """Every key that was ever made, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(api_keys).order_by(api_keys.c.key)).all()
        return [_key(row) for row in rows]

    def any(self) -> bool:
        """Whether a key was ever made, revoked ones counted."""
        with self._database.read() as connection:
            return connection.execute(sa.select(api_keys.c.key).limit(1)).first() is not None

    def find(self, token: str) -> ApiKey | None:
        """The active key with this token, or None."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(sa.select(api_keys).where(api_keys.c.id == match[1])).first()
        # Compared in constant time, though a hash gives nothing away to who cannot choose its value.
        if row is None or not secrets.compare_digest(row.secret_sha256, _digest(match[2])):
            return None
        return _key(row) if row.revoked_at is None else None

    def log_in(self, token: str, lasts: timedelta) -> tuple[ApiKey, str] | None:
        """A session for the key with this token: (key, secret of the session); None where no key has it."""
        key = self.find(token)
        if key is None:
            return None
        secret, now = secrets.token_urlsafe(32), datetime.now(UTC)
        with self._database.write() as connection:
            owner = sa.select(api_keys.c.key).where(api_keys.c.id == key.id).scalar_subquery()
            connection.execute(sa.delete(web_sessions).where(web_sessions.c.expires_at < now))
            connection.execute(
                sa.insert(web_sessions).values(
                    secret_sha256=_digest(secret), api_key_key=owner, created_at=now, expires_at=now + lasts
                )
            )
            record_change(connection, key.name, "session.begin", key.id)
        return key, secret

    def of_session(self, secret: str) -> ApiKey | None:
        """The key that a session was made with; None where it ended, or the key was revoked."""
        if len(secret) != _SESSION_CHARS:
            return None
        wanted = (
            sa.select(api_keys)
            .join(web_sessions, web_sessions.c.api_key_key == api_keys.c.key)
            .where(
                web_sessions.c.secret_sha256 == _digest(secret),
                web_sessions.c.expires_at > datetime.now(UTC),
                api_keys.c.revoked_at.is_(None),
            )
        )
        with self._database.read() as connection:
            row = connection.execute(wanted).first()
        return None if row is None else _key(row)

    def log_out(self, secret: str) -> None:
        """End a session."""
        with self._database.write() as connection:
            ended = sa.delete(web_sessions).where(web_sessions.c.secret_sha256 == _digest(secret))
            connection.execute(ended)


def _check(name: str, scopes: Collection[str]) -> None:
    if not name or len(name) > MAX_NAME_CHARS:
        raise ConfigError(
            f"expected a name of 1 to {MAX_NAME_CHARS} characters for a key, got {len(name)} of them"
        )
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        got = ", ".join(map(repr, unknown)) if unknown else "none"
        raise ConfigError(f"expected scopes among {', '.join(SCOPES)}, got {got}")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def _key(row: Any) -> ApiKey:
    return ApiKey(row.id, row.name, frozenset(row.scopes.split()), row.created_at, row.revoked_at)
