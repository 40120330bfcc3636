"""The prediction log: names, taxonomies, emails, predictions, promotions.

The columns are written out here, not taken from `schema`: a migration must do the same thing for ever.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Key = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "names",
        sa.Column("key", _Key, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "taxonomies",
        sa.Column("key", _Key, primary_key=True),
        sa.Column("revision", sa.String(64), nullable=False, unique=True),
        sa.Column("labels", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "emails",
        sa.Column("key", _Key, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("id_digest", sa.LargeBinary(12), nullable=False, unique=True),
        sa.Column("content_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("sender", sa.String(200), nullable=False),
        sa.Column("received_at", sa.BigInteger),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("text", sa.LargeBinary),
    )
    _create_predictions()
    op.create_table(
        "promotions",
        sa.Column("key", _Key, primary_key=True),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("promoted_at", sa.BigInteger, nullable=False),
        sa.Column("promoted_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )


def _create_predictions() -> None:
    op.create_table(
        "predictions",
        sa.Column("key", _Key, primary_key=True),
        sa.Column("id", sa.LargeBinary(16), nullable=False, unique=True),
        sa.Column("email_key", _Key, sa.ForeignKey("emails.key"), nullable=False),
        sa.Column("label_key", _Key, sa.ForeignKey("names.key"), nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("margin", sa.Double, nullable=False),
        sa.Column("needs_review", sa.Boolean, nullable=False),
        sa.Column("candidates", sa.LargeBinary, nullable=False),
        sa.Column("model_key", _Key, sa.ForeignKey("names.key"), nullable=False),
        sa.Column("taxonomy_key", _Key, sa.ForeignKey("taxonomies.key"), nullable=False),
        sa.Column("decided_by_key", _Key, sa.ForeignKey("names.key"), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("latency_steps_key", _Key, sa.ForeignKey("names.key"), nullable=False),
        sa.Column("latency_ms", sa.LargeBinary, nullable=False),
    )
    for column in ("email_key", "label_key", "margin", "created_at"):
        op.create_index(f"ix_predictions_{column}", "predictions", [column])
    op.create_index(
        "ix_predictions_review",
        "predictions",
        ["margin"],
        sqlite_where=sa.text("needs_review"),
        postgresql_where=sa.text("needs_review"),
    )
