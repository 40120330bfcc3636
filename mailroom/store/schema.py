"""The tables of the prediction log, in types that SQLite and PostgreSQL share.

Whatever many rows repeat (label ids, model versions, step names) stands once in `names`; times are
microseconds since 1970 in UTC. `docs/prediction-log.md` describes the columns.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator

# The newest migration; a database that names it needs no Alembic to be opened.
SCHEMA_REVISION = "0001"

MAX_SUBJECT_CHARS = 200
MAX_SENDER_CHARS = 200
ID_DIGEST_BYTES = 12

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC to the microsecond, kept as an integer; a naive time is taken as UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:  # noqa: ARG002
        """Python → database."""
        if value is None:
            return None
        return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """Database → Python."""
        return None if value is None else _EPOCH + value * _MICROSECOND


metadata = MetaData()

# SQLite numbers rows by itself only where the type is spelled INTEGER.
_Key = BigInteger().with_variant(Integer, "sqlite")


def _name_reference(name: str) -> Column[int]:
    return Column(name, ForeignKey("names.key"), nullable=False)


names = Table(
    "names",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)

taxonomies = Table(
    "taxonomies",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("revision", String(64), nullable=False, unique=True),
    Column("labels", LargeBinary, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

emails = Table(
    "emails",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("id", Text, nullable=False),
    # Message-IDs are long: indexing a digest in their place saves 40 bytes an email and more.
    Column("id_digest", LargeBinary(ID_DIGEST_BYTES), nullable=False, unique=True),
    Column("content_sha256", LargeBinary(32), nullable=False),
    Column("subject", String(MAX_SUBJECT_CHARS), nullable=False),
    Column("sender", String(MAX_SENDER_CHARS), nullable=False),
    Column("received_at", UtcTime),
    Column("origin", Text, nullable=False),
    Column("text", LargeBinary),
)

predictions = Table(
    "predictions",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("id", LargeBinary(16), nullable=False, unique=True),
    Column("email_key", ForeignKey("emails.key"), nullable=False),
    _name_reference("label_key"),
    Column("probability", Double, nullable=False),
    Column("margin", Double, nullable=False),
    Column("needs_review", Boolean, nullable=False),
    Column("candidates", LargeBinary, nullable=False),
    _name_reference("model_key"),
    Column("taxonomy_key", ForeignKey("taxonomies.key"), nullable=False),
    _name_reference("decided_by_key"),
    Column("created_at", UtcTime, nullable=False),
    _name_reference("latency_steps_key"),
    Column("latency_ms", LargeBinary, nullable=False),
)

promotions = Table(
    "promotions",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("version", Text, nullable=False),
    Column("promoted_at", UtcTime, nullable=False),
    Column("promoted_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

for column in ("email_key", "label_key", "margin", "created_at"):
    Index(f"ix_predictions_{column}", predictions.c[column])
# Reviewers ask for the few that need them, the closest calls first.
Index(
    "ix_predictions_review",
    predictions.c.margin,
    sqlite_where=text("needs_review"),
    postgresql_where=text("needs_review"),
)
