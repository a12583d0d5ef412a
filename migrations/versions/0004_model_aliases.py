"""Aliases of models, version numbers that are never given twice, and jobs that predict instead of train."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "model_names",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("newest_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_model_names"),
    )
    op.execute(
        "INSERT INTO model_names (name, newest_version) "
        "SELECT name, MAX(version) FROM models WHERE name IS NOT NULL GROUP BY name"
    )
    op.create_table(
        "aliases",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("alias", sa.String(length=100), nullable=False),
        sa.Column("model_id", sa.String(length=36), nullable=False),
        sa.Column("moved_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_aliases_model_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("name", "alias", name="pk_aliases"),
    )
    op.create_index("ix_aliases_model_id", "aliases", ["model_id"], unique=False)
    op.add_column("jobs", sa.Column("kind", sa.String(length=8), nullable=False, server_default="train"))


def downgrade() -> None:
    op.drop_column("jobs", "kind")
    op.drop_index("ix_aliases_model_id", table_name="aliases")
    op.drop_table("aliases")
    op.drop_table("model_names")
