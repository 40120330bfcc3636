"""The tables of the store, in types that SQLite and PostgreSQL share: predictions, feedback, cycles.

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
    SmallInteger,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator

# The newest migration; a database that names it needs no Alembic to be opened.
SCHEMA_REVISION = "0005"

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


def _name_reference(name: str, nullable: bool = False) -> Column[int]:
    return Column(name, ForeignKey("names.key"), nullable=nullable)


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
    # Null where the email is the first of its thread, as most are: its own id names the thread then.
    Column("thread_digest", LargeBinary(ID_DIGEST_BYTES)),
    # Null where nothing was taken out that people see, and in rows from before it was kept.
    Column("asides", LargeBinary),
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
    Column("review_reasons", SmallInteger),
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

# People's words on emails: rows are added and never changed.
feedback = Table(
    "feedback",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("id", LargeBinary(16), nullable=False, unique=True),
    Column("email_key", ForeignKey("emails.key"), nullable=False),
    _name_reference("label_key"),
    _name_reference("wrong_label_key", nullable=True),
    Column("prediction_key", ForeignKey("predictions.key")),
    _name_reference("reviewer_key"),
    _name_reference("source_key"),
    # When it was said, and when it was written down: history that is imported was said long before.
    Column("created_at", UtcTime, nullable=False),
    Column("recorded_at", UtcTime, nullable=False),
)

# Emails handed to a reviewer. An audit draw stays one, whoever skips it, until it is answered.
review_draws = Table(
    "review_draws",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("email_key", ForeignKey("emails.key"), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    _name_reference("reviewer_key"),
    Column("drawn_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("answered_at", UtcTime),
)

# Runs of the learning loop. `running` is 1 or null, and unique: at most one row can hold it.
cycles = Table(
    "cycles",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("id", LargeBinary(16), nullable=False, unique=True),
    Column("running", Integer, unique=True),
    Column("started_at", UtcTime, nullable=False),
    Column("owner", String(64), nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("heartbeat_at", UtcTime, nullable=False),
    Column("takeovers", Integer, nullable=False),
    Column("steps", Text, nullable=False),
    Column("model", Text),
    Column("ended_at", UtcTime),
    Column("outcome", Text),
    Column("summary", Text),
)

# What a cycle learned from, and what it kept apart: the snapshot of its training data.
training_examples = Table(
    "training_examples",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("cycle_key", ForeignKey("cycles.key"), nullable=False),
    Column("email_key", ForeignKey("emails.key"), nullable=False),
    Column("feedback_key", ForeignKey("feedback.key")),
    _name_reference("label_key"),
    _name_reference("grade_key"),
    _name_reference("part_key"),
    _name_reference("source_key"),
    Column("weight", Double, nullable=False),
    Column("negatives", LargeBinary, nullable=False),
)

# Keys of the service; of a key's secret only the hash is kept, since it is random and long.
api_keys = Table(
    "api_keys",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("id", String(16), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("secret_sha256", LargeBinary(32), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
)

# Browsers that logged in with a key; a session ends with its key.
web_sessions = Table(
    "web_sessions",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("secret_sha256", LargeBinary(32), nullable=False, unique=True),
    Column("api_key_key", ForeignKey("api_keys.key"), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
)

# Changes that leave no history of their own; promotions and feedback are histories already.
audit_log = Table(
    "audit_log",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("target", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

# The latest word on an email is found by the end of this index.
Index("ix_feedback_email", feedback.c.email_key, feedback.c.created_at, feedback.c.key)
Index("ix_feedback_prediction_key", feedback.c.prediction_key)
Index("ix_training_examples_cycle_key", training_examples.c.cycle_key)
Index("ix_training_examples_email_key", training_examples.c.email_key)

for column in ("email_key", "label_key", "margin", "created_at"):
    Index(f"ix_predictions_{column}", predictions.c[column])
# Reviewers ask for the few that need them, the closest calls first.
Index(
    "ix_predictions_review",
    predictions.c.margin,
    sqlite_where=text("needs_review"),
    postgresql_where=text("needs_review"),
)
