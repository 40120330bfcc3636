"""Why a prediction is marked for review.

The column is written out here, not taken from `schema`: a migration must do the same thing for ever.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of earlier predictions the reasons are unknown."""
    op.add_column("predictions", sa.Column("review_reasons", sa.SmallInteger))
