"""Keys of the API; owners of datasets, jobs and models; what is shared; idempotency keys apart for each sender."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

OWNED = ("datasets", "jobs", "models", "model_names")
SHARED = ("datasets", "models")


def upgrade() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=12), nullable=False),
        sa.Column("owner", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=True),
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
        sa.Column("last_used_at", sa.DateTime(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    # Never in a batch: SQLite would make the tables anew, and dropping the old ones would take rows of others along.
    for table in OWNED:
        op.add_column(table, sa.Column("owner", sa.String(length=12), nullable=True))
    for table in SHARED:
        op.add_column(table, sa.Column("shared", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("idempotency_keys", recreate="always") as keys:
        keys.add_column(sa.Column("sender", sa.String(length=12), nullable=False, server_default=""))
        keys.drop_constraint("pk_idempotency_keys", type_="primary")
        keys.create_primary_key("pk_idempotency_keys", ["sender", "key"])
    # The default was for the rows that are there.
    with op.batch_alter_table("idempotency_keys") as keys:
        keys.alter_column("sender", server_default=None)


def downgrade() -> None:
    op.execute("DELETE FROM idempotency_keys WHERE sender <> ''")
    with op.batch_alter_table("idempotency_keys", recreate="always") as keys:
        keys.drop_constraint("pk_idempotency_keys", type_="primary")
        keys.drop_column("sender")
        keys.create_primary_key("pk_idempotency_keys", ["key"])
    for table in SHARED:
        op.drop_column(table, "shared")
    for table in OWNED:
        op.drop_column(table, "owner")
    op.drop_table("keys")
