"""Migrations: brings a database to the newest schema, from whatever version it has."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import Connection

from app.database import Database
from app.settings import Settings

_SCRIPTS = Path(__file__).resolve().parent.parent / "migrations"


class UnknownSchema(Exception):
    """No migration leads to this version of the schema."""

    def __init__(self) -> None:
        super().__init__("The database was made by a newer version of Onelayer; install that one, or restore a backup.")


class NoDatabase(Exception):
    """There is no database of this version where it is looked for; the text says what to do."""


def migrate(database: Database) -> str:
    """Apply every migration that is missing; several processes at once are safe. Returns the version reached."""
    with database.engine.execution_options(begin="IMMEDIATE").connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")  # another's migration may take long
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7061001)")
        upgrade(connection)
    return head()


def upgrade(connection: Connection, version: str = "head") -> None:
    """Bring the schema to a version, in the caller's transaction."""
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, version)
    except CommandError as error:
        raise UnknownSchema from error


def is_current(database: Database) -> bool:
    """Whether the database has the schema that this code expects."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == head()


def refuse_newer(database: Database) -> None:
    """Raise `UnknownSchema` if the database has a schema that no migration here leads to."""
    with database.engine.connect() as connection:
        version = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(_config())
    if version is not None and version not in {script.revision for script in scripts.walk_revisions()}:
        raise UnknownSchema


def made(settings: Settings) -> Database:
    """The database of these settings at the newest schema, made where there is none."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.resolved_database_url)
    migrate(database)
    return database


def existing(url: str) -> Database:
    """The database at a place as it is: where there is none, SQLite would make an empty one of whatever it is given.

    Raises:  NoDatabase, UnknownSchema
    """
    database = Database(url)
    if database.file is not None and not database.file.is_file():
        raise NoDatabase(f"There is no database {database.file}; say with --data-dir where the data is.")
    if not is_current(database):
        refuse_newer(database)
        database.dispose()
        raise NoDatabase("The database has another schema than this version; run `onelayer migrate` first.")
    return database


def head() -> str:
    """The newest version there is."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    if found is None:
        raise RuntimeError(f"no migrations in {_SCRIPTS}")
    return found


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
