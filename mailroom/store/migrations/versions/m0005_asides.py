"""What people see of an email and the models do not: quoted replies, signatures and the like.

The column is written out here, not taken from `schema`: a migration must do the same thing for ever.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of earlier emails these pieces are not known."""
    op.add_column("emails", sa.Column("asides", sa.LargeBinary))
