"""When a process began, as its machine counts: who has the number of a dead one is another."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("processes", sa.Column("birth", sa.String(length=80), nullable=True))


def downgrade() -> None:
    op.drop_column("processes", "birth")
