"""Settings: read once from ONELAYER_* variables, then frozen. Units are part of the names."""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.cores import cores
from app.suggestion import name_like

MEBIBYTE = 1024 * 1024
PREFIX = "ONELAYER_"
OTHERS = frozenset({"ONELAYER_BENCH_BYTES", "ONELAYER_FASHION_MNIST", "ONELAYER_TEST_DATA"})
"""What the demo, the tests and the benchmarks read, which are no part of the service."""


class Settings(BaseSettings):
    """Everything that an operator may choose."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    auth: Literal["auto", "required", "off"] = Field(
        "auto",
        description="Who needs a key: everyone but who sits at this machine, where only it can reach the server "
        "(auto); everyone (required); nobody (off).",
    )
    first_key: bool = Field(False, description="Make an admin key at the first start and print it, this once.")
    data_dir: Path = Field(Path("onelayer-data"), description="Where the database and all files are kept.")
    cache_dir: Path | None = Field(
        None,
        description="Compiled training loops; by default the user's cache folder, else inside the data directory.",
    )
    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL; by default SQLite in the data directory, PostgreSQL by a postgresql+psycopg URL.",
    )
    workers: int = Field(1, ge=0, le=64, description="Training workers started and supervised by the server.")
    threads: int | None = Field(
        None, ge=1, description="Threads that train together in one worker; by default one core is left to the server."
    )
    upload_limit_mib: int = Field(8192, ge=1, description="Largest upload, as sent, in MiB.")
    unpacked_limit_mib: int = Field(65536, ge=1, description="Largest upload once decompressed, in MiB.")
    uploads_limit: int = Field(8, ge=1, description="Uploads at the same time; a further one is refused with 429.")
    rows_limit: int = Field(1_000_000_000, ge=1, description="Most rows of a dataset.")
    columns_limit: int = Field(100_000, ge=1, description="Most columns of a dataset.")
    cells_limit: int = Field(
        20_000_000_000, ge=1, description="Most values of a dataset, each element of an array counted."
    )
    synthetic_cells_limit: int = Field(
        100_000_000, ge=1, description="Most values of a synthetic dataset, which is made in memory."
    )
    json_limit_mib: int = Field(
        1, ge=1, description="Largest JSON body of a request that carries no data, such as a job, in MiB."
    )
    json_depth_limit: int = Field(64, ge=4, description="How deep arrays and objects may be nested in a JSON body.")
    event_streams_limit: int = Field(1000, ge=1, description="Open event streams; a further one is refused with 429.")
    requests_per_second: float = Field(
        0.0, ge=0.0, description="Requests a second of one key, or of one address; 0 is no limit."
    )
    body_limit_mib: int = Field(64, ge=1, description="Largest body of every other request, in MiB.")
    worker_memory_mib: int = Field(
        1024,
        ge=1,
        description="Encoded training data that a worker holds in memory, in MiB; larger data is shuffled by blocks.",
    )
    matrix_cache_mib: int = Field(
        10240,
        ge=0,
        description="Encoded training data kept on disk for further jobs, in MiB.",
    )
    predict_rows_limit: int = Field(100_000, ge=1, description="Most rows of one request to /predict.")
    model_cache_mib: int = Field(
        256, ge=1, description="Models kept in memory by each API process, in MiB; beside them one that is larger."
    )
    lease_seconds: float = Field(15.0, ge=1.0, description="A worker silent for this long has lost its job.")
    poll_seconds: float = Field(1.0, gt=0.0, description="How often to look for work when no wake-up arrives.")
    attempts: int = Field(3, ge=1, description="How often a job is tried before it is failed.")
    queue_limit: int = Field(10_000, ge=1, description="Queued jobs at most; a further one is refused with 429.")
    queue_limit_per_key: int = Field(
        1000, ge=1, description="Queued jobs of one key's owner; a further one is refused with 429."
    )
    checkpoint_seconds: float = Field(5.0, gt=0.0, description="How often the state of a running job is kept on disk.")
    keep_jobs_days: float | None = Field(
        None, ge=0.0, description="How long a job that is over is kept, with its history; its model stays."
    )
    keep_history_days: float | None = Field(
        None, ge=0.0, description="How long the loss history of a job that is over is kept."
    )
    keep_checkpoints_days: float = Field(0.0, ge=0.0, description="How long a checkpoint outlives its job.")
    keep_idempotency_hours: float = Field(24.0, gt=0.0, description="How long an Idempotency-Key is remembered.")
    cleanup_seconds: float = Field(300.0, gt=0.0, description="How often to look for what may be removed.")
    request_seconds: float = Field(
        600.0, gt=0.0, description="Longest time from the last byte of a request to the first of its reply."
    )
    slow_seconds: float = Field(
        10.0, ge=1.0, description="How long a client may take over the head of a request, or send its body too slowly."
    )
    body_rate: float = Field(
        1024.0, ge=0.0, description="Bytes a second; a client that sends its body slower for too long is cut off."
    )
    keep_alive_seconds: int = Field(
        75,
        ge=1,
        description="How long a connection without a request stays open: longer than a proxy in front keeps it.",
    )
    connections_limit: int = Field(4096, ge=1, description="Open connections at most; a further one is refused.")
    disk_budget_mib: int | None = Field(
        None, ge=1, description="What the data directory may hold, in MiB; what goes beyond it is refused with 507."
    )
    disk_reserve_mib: int = Field(
        256, ge=0, description="What new data must leave free on the disk, in MiB; more is refused with 507."
    )
    cors_origins: str = Field(
        "",
        description="Origins, with commas between, whose pages may call this server from a browser.",
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="JSON lines, or for people; auto looks for a terminal."
    )
    log_requests: bool = Field(True, description="Whether each request is a line of the log.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe log line kept.")

    @cached_property
    def resolved_database_url(self) -> str:
        """The database's URL, defaults included."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'onelayer.db'}"

    @property
    def resolved_threads(self) -> int:
        """Threads of one worker: they wait for each other, long where another process wants one of their cores."""
        return self.threads or max(1, (cores() - 1) // max(1, self.workers))

    @cached_property
    def resolved_cache_dir(self) -> Path:
        """A folder for compiled code that can be written."""
        if self.cache_dir is not None:
            return self.cache_dir
        preferred = user_cache_path("onelayer")
        try:
            preferred.mkdir(parents=True, exist_ok=True)
            probe = preferred / ".writable"
            probe.touch()
        except OSError:
            return self.data_dir / "cache"
        return preferred

    def environment(self) -> dict[str, str]:
        """The environment of this process, with these settings in it: what a child process needs to have the same."""
        own = {
            _variable(name): str(value)
            for name, value in self.model_dump(exclude={"data_dir", "cache_dir"}, exclude_none=True).items()
        }
        folders = {
            "ONELAYER_DATA_DIR": str(self.data_dir.absolute()),
            "ONELAYER_CACHE_DIR": str(self.resolved_cache_dir.absolute()),
        }
        others = {name: value for name, value in os.environ.items() if name.upper() not in _variables()}
        return {**others, **own, **folders}

    @property
    def upload_limit_bytes(self) -> int:
        """Largest upload, as sent."""
        return self.upload_limit_mib * MEBIBYTE

    @property
    def unpacked_limit_bytes(self) -> int:
        """Largest upload once decompressed."""
        return self.unpacked_limit_mib * MEBIBYTE

    @property
    def worker_memory_bytes(self) -> int:
        """Encoded training data that a worker holds in memory."""
        return self.worker_memory_mib * MEBIBYTE

    @property
    def matrix_cache_bytes(self) -> int:
        """Encoded training data kept on disk."""
        return self.matrix_cache_mib * MEBIBYTE

    @property
    def allowed_origins(self) -> list[str]:
        """The origins whose pages may call this server."""
        return [origin.strip().rstrip("/") for origin in self.cors_origins.split(",") if origin.strip()]

    @property
    def disk_limits(self) -> tuple[int | None, int]:
        """What the data directory may hold, and what must stay free beside it, in bytes."""
        budget = self.disk_budget_mib * MEBIBYTE if self.disk_budget_mib is not None else None
        return budget, self.disk_reserve_mib * MEBIBYTE

    @property
    def json_limit_bytes(self) -> int:
        """Largest JSON body of a request that carries no data."""
        return self.json_limit_mib * MEBIBYTE

    @property
    def body_limit_bytes(self) -> int:
        """Largest body of a request that is no upload."""
        return self.body_limit_mib * MEBIBYTE


def strangers(environment: Mapping[str, str]) -> dict[str, str | None]:
    """The variables of an environment that look like settings and are none, each with the one that may be meant."""
    known = _variables()
    names = (name for name in sorted(environment) if name.upper().startswith(PREFIX))
    return {name: _like(name, known) for name in names if name.upper() not in known | OTHERS}


def _like(name: str, known: set[str]) -> str | None:
    # Without what all of them begin with, which would make any two alike.
    found = name_like(name.upper().removeprefix(PREFIX), sorted(other.removeprefix(PREFIX) for other in known))
    return f"{PREFIX}{found}" if found else None


def _variables() -> set[str]:
    return {_variable(field) for field in Settings.model_fields}


def _variable(field: str) -> str:
    return f"{PREFIX}{field}".upper()
