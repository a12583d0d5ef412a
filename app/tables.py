"""The rows of the database. Alembic's migrations build the tables; a test holds the two to each other.

datasets ──< jobs ──< epochs          models keep the id of the job and dataset they came from as plain text,
                                      since they outlive both
models ──< aliases                    words for versions; model_names counts the versions of each name
processes                             who is alive: API processes and workers, with the port that wakes them
idempotency_keys                      POSTs that carried a key, with the reply that the first of them got
keys                                  who may do what; datasets, jobs and models keep the owner of their key
"""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.database import UtcTime


class Row(DeclarativeBase):
    """The root of every row; constraint names are fixed so that migrations can name them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        datetime: UtcTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
    }


class DatasetRow(Row):
    """A dataset: what it holds, not the data itself, which lies in the storage under `datasets/<id>`."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(100), unique=True)
    created_at: Mapped[datetime]
    rows: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    target: Mapped[str | None] = mapped_column(String(1000))
    columns: Mapped[list[Any]]
    splits: Mapped[dict[str, Any]]
    truth: Mapped[dict[str, Any] | None]
    format: Mapped[dict[str, Any] | None]
    owner: Mapped[str | None] = mapped_column(String(12))
    shared: Mapped[bool] = mapped_column(default=False, server_default=false())


class JobRow(Row):
    """A job: the queue's entry and the resource that clients watch."""

    __tablename__ = "jobs"
    # The order in which the queue is served; a claim reads its first entry.
    __table_args__ = (Index(None, "status", "rank", "id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    status: Mapped[str] = mapped_column(String(16))
    spec: Mapped[dict[str, Any]]
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id", ondelete="SET NULL"), index=True)
    validation_dataset_id: Mapped[str | None] = mapped_column(
        ForeignKey("datasets.id", ondelete="SET NULL"), index=True
    )
    model: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(8), default="train", server_default="train")
    requested_device: Mapped[str] = mapped_column(String(16))
    # The priority with its sign turned, so that the smallest comes first.
    rank: Mapped[int] = mapped_column(default=0, server_default="0")
    attempt: Mapped[int] = mapped_column(default=1)
    worker_id: Mapped[str | None] = mapped_column(String(36))
    lease_until: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    device: Mapped[str | None] = mapped_column(String(16))
    epoch: Mapped[int] = mapped_column(default=0)
    epochs: Mapped[int]
    resumed_epoch: Mapped[int | None]
    best_epoch: Mapped[int | None]
    samples_per_second: Mapped[float | None]
    metrics: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    model_id: Mapped[str | None] = mapped_column(String(36))
    receipt: Mapped[dict[str, Any] | None]
    replay_of: Mapped[str | None] = mapped_column(String(36))
    replay: Mapped[dict[str, Any] | None]
    optimality: Mapped[dict[str, Any] | None]
    leaderboard: Mapped[list[Any] | None]
    owner: Mapped[str | None] = mapped_column(String(12))


class EpochRow(Row):
    """One line of a job's loss history."""

    __tablename__ = "epochs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    train_loss: Mapped[float | None]
    train_accuracy: Mapped[float | None]
    validation_loss: Mapped[float | None]
    validation_accuracy: Mapped[float | None]
    learning_rate: Mapped[float]
    seconds: Mapped[float]
    candidate: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=0, server_default="0")


class ModelRow(Row):
    """A model: what it is and how good; its weights lie in the storage under `models/<id>`."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(100))
    version: Mapped[int | None]
    kind: Mapped[str] = mapped_column(String(16))
    # One model a job: a worker that lost its lease cannot add a second.
    job_id: Mapped[str | None] = mapped_column(String(36), unique=True)
    dataset_id: Mapped[str | None] = mapped_column(String(36))
    features: Mapped[list[Any]]
    target: Mapped[list[Any]]
    classes: Mapped[list[Any] | None]
    metrics: Mapped[dict[str, Any]]
    partial: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    owner: Mapped[str | None] = mapped_column(String(12))
    shared: Mapped[bool] = mapped_column(default=False, server_default=false())


class ModelNameRow(Row):
    """A name that models have or had: its versions count on, so that no number is ever given twice."""

    __tablename__ = "model_names"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    newest_version: Mapped[int]
    # All models of one name have this owner; a job that is to make the first of them takes the name at once.
    owner: Mapped[str | None] = mapped_column(String(12))


class AliasRow(Row):
    """A word for one version of a name, such as `champion`; it moves in one statement and goes with its model."""

    __tablename__ = "aliases"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    alias: Mapped[str] = mapped_column(String(100), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), index=True)
    moved_at: Mapped[datetime]


class ProcessRow(Row):
    """A living process of the service and the loopback port at which it can be woken."""

    __tablename__ = "processes"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    role: Mapped[str] = mapped_column(String(8))
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    # Tells it from others that have or had its number: the machine's start, and the process's since then.
    birth: Mapped[str | None] = mapped_column(String(80))
    port: Mapped[int]
    devices: Mapped[list[Any]]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime] = mapped_column(index=True)


class IdempotencyRow(Row):
    """A POST that carried an Idempotency-Key: what it asked, what it made, and how it was answered."""

    __tablename__ = "idempotency_keys"

    # The key of the API that it came with, or nothing: nobody gets the replies of another.
    sender: Mapped[str] = mapped_column(String(12), primary_key=True, default="")
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    # The request that holds the key: another one may take it over once that one's process is gone.
    holder: Mapped[str] = mapped_column(String(36))
    process_id: Mapped[str] = mapped_column(String(36))
    created_at: Mapped[datetime] = mapped_column(index=True)
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    location: Mapped[str | None] = mapped_column(String(200))
    status: Mapped[int | None]
    headers: Mapped[list[Any] | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)


class KeyRow(Row):
    """A key of the API. Its secret is not kept, only what tells whether a secret is the right one."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(String(12), primary_key=True)
    # To whom belongs what it makes: the id of a key, its own or that of an earlier one.
    owner: Mapped[str] = mapped_column(String(12))
    name: Mapped[str | None] = mapped_column(String(100))
    scope: Mapped[str] = mapped_column(String(8))
    digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
