"""The epoch whose weights a job that stopped early has kept."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("best_epoch", sa.Integer(), nullable=True))


def downgrade() -> None:
    # Never in a batch: SQLite would make the table anew, and dropping the old one would take the epochs with it.
    op.drop_column("jobs", "best_epoch")
