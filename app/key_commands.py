"""`onelayer keys`: make, list, revoke; with the server running or not, since both look into the same database."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from app.access.scope import Scope
from app.settings import Settings

keys = typer.Typer(help="Keys of the API: who may do what.", no_args_is_help=True)

Result = TypeVar("Result")
DataDir = Annotated[
    Path | None, typer.Option(help="Where the database and all files are kept.  [default: onelayer-data]")
]
KeyId = Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it: the middle of the key.")]


@keys.command()
def create(
    scope: Annotated[Scope, typer.Option(help="What it may do; each scope contains those before it.")],
    name: Annotated[str | None, typer.Option(help="Who or what it is for, to know it again.")] = None,
    owner: Annotated[
        str | None, typer.Option(help="The id of a key whose owner it is to act for; by default an owner of its own.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="How long it counts; by default for ever.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, this once: only a digest of it is kept."""
    from app.access import keys as kept

    token = _with_database(data_dir, lambda database: kept.create(database, scope, name, owner, days), makes_one=True)
    typer.echo("Keep it well; it is not shown again. Send it as `Authorization: Bearer …`.", err=True)
    typer.echo(str(token))


@keys.command("list")
def list_keys(data_dir: DataDir = None) -> None:
    """List every key there has been, without their secrets."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from app.access import keys as kept

    rows = _with_database(data_dir, kept.listed)
    table = Table("id", "name", "scope", "owner", "created", "last used", "state", box=None)
    for row in rows:
        last = _shown(row.last_used_at) if row.last_used_at else "never"
        cells = (row.id, row.name or "", row.scope, row.owner, _shown(row.created_at), last, _state(row))
        table.add_row(*(Text(cell) for cell in cells))
    console = Console()
    # Whole lines wherever they go: a table that is cut off in a pipe is of no use.
    console.width = max(console.width, 120)
    console.print(table)


@keys.command()
def revoke(key_id: KeyId, data_dir: DataDir = None) -> None:
    """Refuse a key from now on, everywhere at once. What it has made stays."""
    from app.access import keys as kept

    row = _with_database(data_dir, lambda database: kept.revoke(database, key_id))
    typer.echo(f"{row.id} is revoked. What it has made belongs to the owner {row.owner}.")


@keys.command()
def adopt(key_id: KeyId, data_dir: DataDir = None) -> None:
    """Give all that has no owner, because it was made without a key, to the owner of this one."""
    from app.access import keys as kept

    counts = _with_database(data_dir, lambda database: kept.adopt(database, key_id))
    typer.echo("Adopted: " + ", ".join(f"{count} {name}" for name, count in counts.items()) + ".")


def _with_database(data_dir: Path | None, do: Callable[[Any], Result], makes_one: bool = False) -> Result:
    """Do something with the database, or say why not. Only for a new key is one made: elsewhere it would be empty."""
    from app.access.keys import KeyRefused
    from app.migrate import NoDatabase, existing, made
    from app.obstacles import obstacles

    settings = Settings(data_dir=data_dir) if data_dir is not None else Settings()
    try:
        with obstacles(settings.data_dir):
            database = made(settings) if makes_one else existing(settings.resolved_database_url)
            try:
                return do(database)
            finally:
                database.dispose()
    except (KeyRefused, NoDatabase) as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(1) from refused


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _state(row: Any) -> str:
    if row.revoked_at is not None:
        return f"revoked {_shown(row.revoked_at)}"
    if row.expires_at is None:
        return "counts"
    return ("counts until " if row.expires_at > datetime.now(UTC) else "ended ") + _shown(row.expires_at)
