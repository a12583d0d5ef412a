"""Datasets know the format that they were uploaded in."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("format", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("datasets", "format")
