"""What learning needs: threads of emails, feedback, review draws, cycles and their training examples.

The columns are written out here, not taken from `schema`: a migration must do the same thing for ever.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_Key = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the column and create the tables."""
    op.add_column("emails", sa.Column("thread_digest", sa.LargeBinary(12)))
    _create_feedback()
    op.create_table(
        "review_draws",
        sa.Column("key", _Key, primary_key=True),
        sa.Column("email_key", _Key, sa.ForeignKey("emails.key"), nullable=False, unique=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("reviewer_key", _Key, sa.ForeignKey("names.key"), nullable=False),
        sa.Column("drawn_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("answered_at", sa.BigInteger),
    )
    _create_cycles()


def _create_feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("key", _Key, primary_key=True),
        sa.Column("id", sa.LargeBinary(16), nullable=False, unique=True),
        sa.Column("email_key", _Key, sa.ForeignKey("emails.key"), nullable=False),
        sa.Column("label_key", _Key, sa.ForeignKey("names.key"), nullable=False),
        sa.Column("wrong_label_key", _Key, sa.ForeignKey("names.key")),
        sa.Column("prediction_key", _Key, sa.ForeignKey("predictions.key")),
        sa.Column("reviewer_key", _Key, sa.ForeignKey("names.key"), nullable=False),
        sa.Column("source_key", _Key, sa.ForeignKey("names.key"), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_feedback_email", "feedback", ["email_key", "created_at", "key"])
    op.create_index("ix_feedback_prediction_key", "feedback", ["prediction_key"])


def _create_cycles() -> None:
    op.create_table(
        "cycles",
        sa.Column("key", _Key, primary_key=True),
        sa.Column("id", sa.LargeBinary(16), nullable=False, unique=True),
        sa.Column("running", sa.Integer, unique=True),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger, nullable=False),
        sa.Column("takeovers", sa.Integer, nullable=False),
        sa.Column("steps", sa.Text, nullable=False),
        sa.Column("model", sa.Text),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("outcome", sa.Text),
        sa.Column("summary", sa.Text),
    )
    op.create_table(
        "training_examples",
        sa.Column("key", _Key, primary_key=True),
        sa.Column("cycle_key", _Key, sa.ForeignKey("cycles.key"), nullable=False),
        sa.Column("email_key", _Key, sa.ForeignKey("emails.key"), nullable=False),
        sa.Column("feedback_key", _Key, sa.ForeignKey("feedback.key")),
        sa.Column("label_key", _Key, sa.ForeignKey("names.key"), nullable=False),
        sa.Column("grade_key", _Key, sa.ForeignKey("names.key"), nullable=False),
        sa.Column("part_key", _Key, sa.ForeignKey("names.key"), nullable=False),
        sa.Column("source_key", _Key, sa.ForeignKey("names.key"), nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("negatives", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_training_examples_cycle_key", "training_examples", ["cycle_key"])
    op.create_index("ix_training_examples_email_key", "training_examples", ["email_key"])
