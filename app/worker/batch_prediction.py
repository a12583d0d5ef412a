"""One batch prediction, from its job's row to the file that is downloaded: the sibling of a training's execution."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.datasets.catalogue import Catalogue
from app.errors import DatasetNotFound
from app.job_status import Status
from app.jobs.history import Measurement
from app.jobs.queue import Claim, LeaseLost, Queue
from app.models import batch as batches
from app.models import weights as stored
from app.models.batch import Batch
from app.models.predictor import Loaded
from app.models.registry import Registry
from app.models.results import key
from app.storage import Storage
from app.tables import JobRow
from app.worker.attendant import Attendant
from app.worker.failure import told
from app.worker.outcome import Outcome

REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class BatchPrediction:
    """Carries one claimed batch prediction out."""

    job: JobRow
    claim: Claim
    storage: Storage
    catalogue: Catalogue
    registry: Registry
    queue: Queue
    attendant: Attendant

    def run(self) -> Outcome:
        """Predict and save; every end but a lost lease is written into the job's row."""
        try:
            return self._predict()
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the job says so
            return self._finish(Status.FAILED, told(error, self.job.id))

    def _predict(self) -> Outcome:
        if self.job.dataset_id is None:
            raise DatasetNotFound(str(self.job.spec["dataset"]))
        dataset = self.catalogue.files(self.job.dataset_id)
        loaded = self._model()
        self.attendant.listen()
        started = reported = time.perf_counter()
        with self.storage.stage() as stage:
            for done in batches.write(loaded, dataset, Batch.of(self.job.spec), stage.path):
                if self.attendant.should_stop():
                    self.attendant.leave()
                    return self._finish(Status.CANCELLED)
                now = time.perf_counter()
                if now - reported > REPORT_SECONDS:
                    reported = now
                    self._report(done, done / (now - started))
            own = key(self.job.id, self.job.attempt)
            # A worker that handed the job back leaves its file where it does not know whether the end was committed.
            self.storage.delete(own)
            stage.publish(own)
            return self._finish(Status.SUCCEEDED, epoch=self.job.epochs)

    def _model(self) -> Loaded:
        row = self.attendant.insist(lambda: self.registry.get(str(self.job.spec["model"])))
        with self.registry.files(row.id) as folder:
            return Loaded(row, *stored.load(folder))

    def _report(self, done: int, per_second: float) -> None:
        self.attendant.insist(lambda: self.queue.report(self.claim, done, per_second))

    def _finish(self, status: Status, error: dict[str, Any] | None = None, **values: int) -> Outcome:
        def write(session: Session, _: list[Measurement], __: float) -> None:
            self.queue.finish(session, self.claim, status, error=error, device="cpu", **values)

        self.attendant.conclude(status, write)
        return Outcome(status, error=error)
