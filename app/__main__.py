"""The command line: serve, worker, migrate, demo."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.settings import Settings

main = typer.Typer(
    name="onelayer",
    help="Trains and serves linear and softmax regression over HTTP.",
    no_args_is_help=True,
    add_completion=False,
)

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
    reload: Annotated[bool, typer.Option(help="Start again whenever the code changes (for development).")] = False,
) -> None:
    """Serve the API, with its training workers, until a signal."""
    settings = _settings(host=host, port=port, data_dir=data_dir, workers=workers)
    from app import server

    if reload:
        server.develop(settings)
    else:
        server.serve(settings)


@main.command()
def worker(data_dir: DataDir = None, workers: Workers = None) -> None:
    """Run training workers alone, beside a server on the same database and data directory."""
    settings = _settings(data_dir=data_dir, workers=workers)
    from app import logs
    from app.worker.supervisor import Supervisor

    logs.configure(settings.log_level)
    raise typer.Exit(Supervisor(settings).run())


@main.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the database to the newest schema."""
    settings = _settings(data_dir=data_dir)
    from app.database import Database
    from app.migrate import migrate as apply

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    typer.echo(f"The database is at {apply(Database(settings.resolved_database_url))}.")


@main.command()
def demo() -> None:
    """Walk through everything once: train, watch, predict."""
    from app.demo import run

    raise typer.Exit(run())


def _settings(**given: Any) -> Settings:
    return Settings(**{name: value for name, value in given.items() if value is not None})


if __name__ == "__main__":
    main()
