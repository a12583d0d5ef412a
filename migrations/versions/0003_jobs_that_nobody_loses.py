"""Jobs: their place in the queue, where they resumed, replays; idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("rank", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("resumed_epoch", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("replay_of", sa.String(length=36), nullable=True))
    op.add_column("jobs", sa.Column("replay", sa.JSON(), nullable=True))
    op.drop_index("ix_jobs_status_id", table_name="jobs")
    op.create_index("ix_jobs_status_rank_id", "jobs", ["status", "rank", "id"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("holder", sa.String(length=36), nullable=False),
        sa.Column("process_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("location", sa.String(length=200), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.JSON(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index("ix_jobs_status_rank_id", table_name="jobs")
    op.create_index("ix_jobs_status_id", "jobs", ["status", "id"], unique=False)
    for name in ("replay", "replay_of", "resumed_epoch", "rank"):
        op.drop_column("jobs", name)
