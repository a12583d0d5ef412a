"""The sixth migration: what is there has no owner, idempotency keys stay, and it can be taken back."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from app.database import Database
from tests.unit.test_migration_0005 import _move


def _insert(connection: Connection, table: str, **values: object) -> None:
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)


def test_rows_survive_the_way_up_and_down(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'onelayer.db'}")
    now = "2026-01-01 00:00:00"
    with database.engine.execution_options(begin="IMMEDIATE").begin() as connection:
        _move(connection, "0005")
        _insert(connection, "datasets", id="d", created_at=now, rows=1, bytes=1, sha256="", columns="[]", splits="{}")
        _insert(connection, "model_names", name="fashion", newest_version=3)
        _insert(connection, "idempotency_keys", key="k", holder="h", process_id="p", created_at=now, status=201)
        _move(connection, "0006")
        assert connection.execute(text("SELECT id, owner, shared FROM datasets")).all() == [("d", None, 0)]
        assert connection.execute(text("SELECT name, newest_version, owner FROM model_names")).all() == [
            ("fashion", 3, None)
        ]
        assert connection.execute(text("SELECT sender, key, status FROM idempotency_keys")).all() == [("", "k", 201)]
        primary = inspect(connection).get_pk_constraint("idempotency_keys")["constrained_columns"]
        assert primary == ["sender", "key"]
        _insert(connection, "idempotency_keys", sender="ann", key="k", holder="h", process_id="p", created_at=now)
        _move(connection, "0005", up=False)
        assert connection.execute(text("SELECT key, status FROM idempotency_keys")).all() == [("k", 201)]
        assert connection.execute(text("SELECT id FROM datasets")).all() == [("d",)]
    database.dispose()
