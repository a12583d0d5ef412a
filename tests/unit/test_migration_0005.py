"""The fifth migration keeps the epochs that are there, and can be taken back."""

from pathlib import Path

from alembic import command
from sqlalchemy import Connection, inspect, text

from app import migrate
from app.database import Database


def _move(connection: Connection, revision: str, up: bool = True) -> None:
    config = migrate._config()
    config.attributes["connection"] = connection
    (command.upgrade if up else command.downgrade)(config, revision)


def test_epochs_survive_the_way_up_and_down(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'onelayer.db'}")
    with database.engine.execution_options(begin="IMMEDIATE").begin() as connection:
        _move(connection, "0001")
        connection.execute(
            text(
                "INSERT INTO jobs (id, status, spec, model, requested_device, attempt, cancel_requested, epoch, "
                "epochs, created_at) VALUES ('j', 'queued', '{}', 'linear', 'auto', 1, 0, 0, 3, '2026-01-01 00:00:00')"
            )
        )
        connection.execute(text("INSERT INTO epochs (job_id, epoch, learning_rate, seconds) VALUES ('j', 1, 0.1, 0.2)"))
        _move(connection, "0005")
        assert connection.execute(text("SELECT job_id, epoch, candidate FROM epochs")).all() == [("j", 1, 0)]
        assert inspect(connection).get_pk_constraint("epochs")["constrained_columns"] == [
            "job_id",
            "epoch",
            "candidate",
        ]
        assert inspect(connection).get_foreign_keys("epochs")[0]["options"] == {"ondelete": "CASCADE"}
        connection.execute(
            text("INSERT INTO epochs (job_id, epoch, candidate, learning_rate, seconds) VALUES ('j', 1, 1, 0.1, 0.2)")
        )
        _move(connection, "0001", up=False)
        assert connection.execute(text("SELECT job_id, epoch, learning_rate FROM epochs")).all() == [("j", 1, 0.1)]
    database.dispose()
