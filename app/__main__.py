"""The command line: serve, worker, migrate, backup, restore, keys, demo."""

import os
import signal
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from app.key_commands import keys
from app.settings import Settings, strangers

main = typer.Typer(
    name="onelayer",
    help="Trains and serves linear and softmax regression over HTTP.",
    no_args_is_help=True,
    add_completion=False,
)
main.add_typer(keys, name="keys")

DataDir = Annotated[
    Path | None, typer.Option(help="Where the database and all files are kept.  [default: onelayer-data]")
]
Workers = Annotated[int | None, typer.Option(help="Training workers to run.  [default: 1]")]


@main.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.  [default: 8000]")] = None,
    data_dir: DataDir = None,
    workers: Workers = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask nobody for a key, whoever can reach the server.")
    ] = False,
    reload: Annotated[bool, typer.Option(help="Start again whenever the code changes (for development).")] = False,
) -> None:
    """Serve the API, with its training workers, until a signal."""
    # Until the server takes it. The first process of a container, for which nothing is done by default, would not hear
    # it. There is nothing to put in order yet: the workers end with this process. An exception instead would end in
    # whatever it interrupts.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    auth = "off" if no_auth else None
    settings = _settings(host=host, port=port, data_dir=data_dir, workers=workers, auth=auth)
    from app import server
    from app.edge.listeners import CannotListen, listen

    _begin_log(settings)
    try:
        listeners = listen(settings.host, settings.port)
    except CannotListen as refused:
        _refuse(refused)
    _open(settings)
    if reload:
        server.develop(settings, listeners)
    else:
        server.serve(settings, listeners)


@main.command()
def worker(data_dir: DataDir = None, workers: Workers = None) -> None:
    """Run training workers alone, beside a server on the same database and data directory."""
    settings = _settings(data_dir=data_dir, workers=workers)
    from app import memory

    _begin_log(settings)
    memory.spare()
    from app.obstacles import obstacles
    from app.worker.supervisor import Supervisor

    with obstacles(settings.data_dir):
        status = Supervisor(settings).run()
    raise typer.Exit(status)


@main.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the database to the newest schema."""
    settings = _settings(data_dir=data_dir)
    from app.migrate import head, made
    from app.obstacles import obstacles

    with obstacles(settings.data_dir):
        made(settings).dispose()
    typer.echo(f"The database is at {head()}.")


@main.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist yet.")], data_dir: DataDir = None
) -> None:
    """Write the database and all files into one file, while the server runs."""
    settings = _settings(data_dir=data_dir)
    from app.backup import BackupError
    from app.backup import backup as write
    from app.migrate import NoDatabase, existing
    from app.obstacles import obstacles
    from app.storage import Storage

    if not settings.data_dir.is_dir() or not any(settings.data_dir.iterdir()):
        _refuse(BackupError(f"{settings.data_dir} holds no data; say with --data-dir where it is."))
    try:
        with obstacles(settings.data_dir):
            database = existing(settings.resolved_database_url)
            written = write(database, Storage(settings.data_dir), file)
    except (BackupError, NoDatabase) as error:
        _refuse(error)
    for key in written.missing:
        typer.echo(f"{settings.data_dir / key} has lost files and is left out; restore it, or delete it.", err=True)
    what = "everything else" if written.missing else "everything"
    typer.echo(f"{file} holds {what}, in {written.bytes / 2**20:.1f} MiB.")
    raise typer.Exit(bool(written.missing))


@main.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `onelayer backup` wrote.")], data_dir: DataDir = None
) -> None:
    """Bring a backup into a new data directory."""
    settings = _settings(data_dir=data_dir)
    from app.backup import BackupError
    from app.database import Database
    from app.obstacles import obstacles
    from app.restore import restore as read
    from app.storage import Storage

    if not file.is_file():
        _refuse(BackupError(f"There is no file {file}."))
    try:
        with obstacles(settings.data_dir):
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            counts = read(Database(settings.resolved_database_url), Storage(settings.data_dir), file)
    except BackupError as error:
        _refuse(error)
    typer.echo(f"{settings.data_dir} holds " + ", ".join(f"{count} {name}" for name, count in counts.items()) + ".")


@main.command()
def demo() -> None:
    """Walk through everything once: train, watch, predict."""
    from app.demo import run

    raise typer.Exit(run())


def _begin_log(settings: Settings) -> None:
    """Set up logging, and say what of the environment is in vain: a limit with a slip in its name would be none."""
    import structlog

    from app import logs

    logs.configure(settings.log_level, settings.log_format)
    for name, meant in strangers(os.environ).items():
        hint = {"meant": meant} if meant else {}
        structlog.get_logger(__name__).warning("no setting has this name; it is ignored", variable=name, **hint)


def _open(settings: Settings) -> None:
    from app.access.entrance import NoKey, open_for
    from app.migrate import made
    from app.obstacles import obstacles
    from app.storage import Storage

    try:
        with obstacles(settings.data_dir):
            # Here, where nothing runs yet that would have to be stopped again.
            made(settings).dispose()
            Storage(settings.data_dir)
            first = open_for(settings)
    except NoKey as refused:
        _refuse(refused)
    if first is not None:
        typer.echo(f"An admin key of this server, shown this once:\n\n    {first}\n")


def _refuse(error: Exception) -> NoReturn:
    typer.echo(str(error), err=True)
    raise typer.Exit(1)


def _settings(**given: Any) -> Settings:
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for fault in error.errors():
            name = f"ONELAYER_{str(fault['loc'][0]).upper()}" if fault["loc"] else "settings"
            typer.echo(f"{name}: {fault['msg']} (it is {fault['input']!r})", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    main()
