"""The migrations build the very tables that the code declares, and can be undone."""

from collections.abc import Callable

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, inspect

from app import migrate as module
from app.database import Database
from app.migrate import is_current, migrate
from app.tables import Row


def move(database: Database, to: Callable[[Config, str], None], version: str) -> None:
    with database.engine.execution_options(begin="IMMEDIATE").begin() as connection:
        config = module._config()
        config.attributes["connection"] = connection
        to(config, version)


def test_the_newest_schema_is_what_the_tables_declare(database: Database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": Row.metadata}
        )
        assert compare_metadata(context, Row.metadata) == []


def test_constraints_have_the_names_that_migrations_will_call_them_by(database: Database):
    built = MetaData()
    built.reflect(database.engine)

    for table in Row.metadata.sorted_tables:
        declared = {constraint.name for constraint in table.constraints if constraint.name}
        found = {constraint.name for constraint in built.tables[table.name].constraints}
        assert {str(name) for name in declared} <= {str(name) for name in found}
        assert {index.name for index in table.indexes} == {index.name for index in built.tables[table.name].indexes}


def test_what_happens_to_a_row_whose_parent_goes_is_what_the_tables_declare(database: Database):
    for table in Row.metadata.sorted_tables:
        declared = {(key.parent.name, key.ondelete) for key in table.foreign_keys}
        built = inspect(database.engine).get_foreign_keys(table.name)
        assert {(key["constrained_columns"][0], key["options"].get("ondelete")) for key in built} == declared


def test_every_migration_can_be_undone_and_done_again(database: Database):
    before = schema(database)

    move(database, command.downgrade, "base")
    assert set(schema(database)) == {"alembic_version"}

    migrate(database)
    assert is_current(database)
    assert schema(database) == before


def test_there_is_one_newest_version():
    scripts = module.ScriptDirectory.from_config(module._config())

    assert len(scripts.get_heads()) == 1


@pytest.mark.parametrize("table", [table.name for table in Row.metadata.sorted_tables])
def test_every_table_has_a_primary_key(database: Database, table: str):
    assert inspect(database.engine).get_pk_constraint(table)["constrained_columns"]


def schema(database: Database) -> dict[str, str]:
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        return {row[0]: row[1] for row in rows}
