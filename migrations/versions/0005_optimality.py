"""How near the optimum a job has ended; the leaderboard of a sweep, and the candidate of each of its epochs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("optimality", sa.JSON(), nullable=True))
    op.add_column("jobs", sa.Column("leaderboard", sa.JSON(), nullable=True))
    with op.batch_alter_table("epochs", recreate="always") as epochs:
        epochs.add_column(sa.Column("candidate", sa.Integer(), nullable=False, server_default="0"))
        epochs.drop_constraint("pk_epochs", type_="primary")
        epochs.create_primary_key("pk_epochs", ["job_id", "epoch", "candidate"])


def downgrade() -> None:
    op.execute("DELETE FROM epochs WHERE candidate > 0")
    with op.batch_alter_table("epochs", recreate="always") as epochs:
        epochs.drop_constraint("pk_epochs", type_="primary")
        epochs.drop_column("candidate")
        epochs.create_primary_key("pk_epochs", ["job_id", "epoch"])
    # Never in a batch: SQLite would make the table anew, and dropping the old one would take the epochs with it.
    op.drop_column("jobs", "leaderboard")
    op.drop_column("jobs", "optimality")
