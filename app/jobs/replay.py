"""A replay: the receipt of a job, ordered again."""

from app.errors import Fault, InvalidSpec, JobNotReplayable
from app.job_status import Status
from app.jobs.order import Order
from app.tables import JobRow

_REPLAYABLE = (Status.SUCCEEDED, Status.DIVERGED)


def order_again(job: JobRow, devices: set[str]) -> Order:
    """The same job once more, on the device that it ran on; it leaves a verdict instead of a model."""
    if job.kind != "train":
        raise JobNotReplayable(
            f"The job {job.id!r} predicted a dataset; POST /models/{{model}}/predictions does that again."
        )
    if job.status not in _REPLAYABLE:
        raise JobNotReplayable(
            f"The job {job.id!r} is {job.status}; only one that succeeded or diverged ends where it did before."
        )
    if job.dataset_id is None or ("dataset" in (job.spec.get("validation") or {}) and not job.validation_dataset_id):
        raise JobNotReplayable(f"The data of the job {job.id!r} is deleted, so that it cannot run again.")
    device = job.device or "cpu"
    if devices and device not in devices:
        raise InvalidSpec(Fault("device", f"the job ran on {device}, and no worker has that"))
    return Order(
        spec={**job.spec, "device": device, "time_limit_seconds": None},
        model=job.model,
        dataset_id=job.dataset_id,
        validation_dataset_id=job.validation_dataset_id,
        epochs=job.epochs,
        requested_device=device,
        rank=job.rank,
        replay_of=job.id,
    )
