"""A job as clients see it."""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field

from app.job_status import OVER, Status
from app.tables import JobRow

_ID = "01936f5e-8c1b-7c3e-9d55-2f6f1f0e4a10"


class Progress(BaseModel):
    """How far the training is."""

    epoch: int = Field(description="Epochs done.", examples=[3])
    epochs: int = Field(description="Epochs asked for.", examples=[3])
    fraction: float = Field(
        description="Share of the epochs that is done; 1 once it has succeeded, also where it stopped early.",
        examples=[1.0],
    )
    eta_seconds: float | None = Field(
        description="Expected time until the last epoch; null if unknown.", examples=[0.0]
    )
    samples_per_second: float | None = Field(description="Training rows a second.", examples=[45000000.0])


class JobError(BaseModel):
    """Why a job failed or diverged."""

    code: str = Field(description="A stable code; docs/jobs.md lists them.", examples=["diverged"])
    detail: str = Field(
        description="What happened and what to do.", examples=["The loss became non-finite in epoch 2."]
    )
    epoch: int | None = Field(None, description="The epoch in which it diverged.", examples=[2])
    learning_rate_to_try: float | None = Field(
        None, description="After a divergence: a learning rate that should train.", examples=[0.01]
    )


class ReplayBody(BaseModel):
    """A second run held against the first."""

    identical: bool = Field(description="Whether history, weights and receipt agree in every bit.", examples=[True])
    epochs_compared: int = Field(description="Epochs of the second run.", examples=[3])
    differences: list[str] = Field(description="Where the two runs differ.", examples=[[]])


class OptimalityBody(BaseModel):
    """How near the optimum a training has ended.

    `objective` and what follows are null unless `optimality_gap` was asked for, and where the time limit came before
    the optimum was found.
    """

    gradient_norm: float = Field(
        description="Norm of the objective's gradient over all training rows, by the weights as they are trained: of "
        "encoded columns, standardised where `standardize` is.",
        examples=[0.0021],
    )
    converged: bool | None = Field(
        None,
        description="Of `lbfgs`: true where the gradient vanished or nothing was gained any more; false where `epochs` "
        "ended it before, or an earlier epoch was kept. Null for other solvers.",
        examples=[True],
    )
    objective: float | None = Field(
        None,
        description="Mean loss over the training rows, and the penalties, of the trained model.",
        examples=[0.4471],
    )
    optimum: float | None = Field(None, description="The least that the objective can be.", examples=[0.4465])
    gap: float | None = Field(None, description="By how much the objective exceeds the optimum.", examples=[0.0006])
    optimum_gradient_norm: float | None = Field(
        None, description="Norm of the gradient where the optimum was found: how exact it is.", examples=[3e-9]
    )


class JobBody(BaseModel):
    """A training job."""

    id: str = Field(description="Sortable by time of creation.", examples=[_ID])
    kind: str = Field(description="`train`, or `predict` for a batch prediction.", examples=["train"])
    status: Status = Field(description="Where it stands.", examples=["succeeded"])
    spec: dict[str, Any] = Field(
        description="What was asked for, with every default that took effect.",
        examples=[{"dataset": _ID, "model": "linear", "epochs": 3, "batch_size": 10, "learning_rate": 0.03}],
    )
    progress: Progress = Field(description="How far the training is.")
    metrics: dict[str, float] | None = Field(
        description="The newest measurements; once it is over, those of `best_epoch` if there is one. Losses count the "
        "rows by `class_weights`, where the model's own `metrics` count each row once.",
        examples=[{"train_loss": 5.2e-05}],
    )
    attempt: int = Field(description="1, or more if a worker was lost on the way.", examples=[1])
    device: str | None = Field(description="What it trains on; null until it starts.", examples=["cpu"])
    created_at: datetime = Field(description="When it was submitted, in UTC.", examples=["2026-01-31T12:00:00Z"])
    started_at: datetime | None = Field(description="When a worker took it.", examples=["2026-01-31T12:00:00Z"])
    finished_at: datetime | None = Field(description="When it was over.", examples=["2026-01-31T12:00:01Z"])
    error: JobError | None = Field(description="Why it failed or diverged.", examples=[None])
    dataset_id: str | None = Field(description="The dataset, while it exists.", examples=[_ID])
    model_id: str | None = Field(description="The model it left.", examples=[_ID])
    resumed_epoch: int | None = Field(
        description="The epoch whose checkpoint the newest attempt went on from; null if it began anew.",
        examples=[None],
    )
    best_epoch: int | None = Field(
        description="The epoch whose weights the model holds, where they are not those of the last one: with "
        "`early_stopping`, or of a job that was cancelled or out of time; null otherwise.",
        examples=[None],
    )
    replay_of: str | None = Field(description="The job that this one runs again.", examples=[None])
    replay: ReplayBody | None = Field(description="Whether this run has every bit of the first.", examples=[None])
    receipt: dict[str, Any] | None = Field(
        description="What it takes to run it again and get the same bits.",
        examples=[
            {
                "dataset_sha256": "9f86d08…",
                "seed": 0,
                "device": "cpu",
                "threads": 2,
                "shuffle": "rows",
                "machine": "x86_64",
                "processor": "znver3-5f0c1a2b",
                "versions": {"torch": "2.13.0"},
            }
        ],
    )

    optimality: OptimalityBody | None = Field(
        description="How near the optimum it has ended; null while it runs.",
        examples=[{"gradient_norm": 0.0021, "objective": 0.4471, "optimum": 0.4465, "gap": 0.0006}],
    )
    leaderboard: list[dict[str, Any]] | None = Field(
        description="Of a sweep: its candidates, the best first.", examples=[None]
    )
    owner: str | None = Field(
        description="Whose it is: the id of the first key of the owner; null if it was made without one.",
        examples=[None],
    )

    @classmethod
    def of(cls, row: JobRow) -> "JobBody":
        """The body of a row."""
        names = cls.model_fields.keys() - {"progress"}
        return cls.model_validate({name: getattr(row, name) for name in names} | {"progress": _progress(row)})


class PreflightBody(BaseModel):
    """What a job would do and cost."""

    spec: dict[str, Any] = Field(
        description="The spec with every default that can be known before training.",
        examples=[{"dataset": _ID, "model": "linear", "epochs": 3, "batch_size": 10, "learning_rate": 0.03}],
    )
    rows: int = Field(description="Rows to train on.", examples=[16512])
    validation_rows: int = Field(description="Rows to validate on.", examples=[4128])
    features: int = Field(description="Columns of the encoded features.", examples=[14])
    outputs: int = Field(description="Targets, or classes.", examples=[1])
    memory_bytes: int = Field(description="What the encoded data occupies while it is trained on.", examples=[1651200])
    device: str = Field(description="Where it would be trained.", examples=["cpu"])
    estimated_seconds: float = Field(description="About how long the training takes.", examples=[0.4])


def _progress(row: JobRow) -> Progress:
    return Progress(
        epoch=row.epoch,
        epochs=row.epochs,
        fraction=1.0 if row.status == Status.SUCCEEDED else row.epoch / row.epochs,
        eta_seconds=_eta_seconds(row),
        samples_per_second=row.samples_per_second,
    )


def _eta_seconds(row: JobRow) -> float | None:
    if row.status in OVER:
        return 0.0
    done = row.epoch - (row.resumed_epoch or 0)
    if done <= 0 or row.started_at is None or row.status != Status.RUNNING:
        return None
    elapsed = (datetime.now(UTC) - row.started_at).total_seconds()
    return max(0.0, elapsed / done * (row.epochs - row.epoch))
