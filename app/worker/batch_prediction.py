"""One batch prediction, from its job's row to the file that is downloaded: the sibling of a training's execution."""

import time

import structlog

from app.datasets.catalogue import Catalogue
from app.errors import DatasetNotFound, OnelayerError
from app.jobs.queue import Claim, LeaseLost, Queue
from app.jobs.status import Status
from app.models import batch as batches
from app.models import weights as stored
from app.models.batch import Batch
from app.models.predictor import Loaded
from app.models.registry import Registry
from app.models.registry import key as model_key
from app.models.results import key
from app.storage import Storage
from app.tables import JobRow
from app.worker.attendant import Attendant

log = structlog.get_logger(__name__)

REPORT_SECONDS = 0.5


class BatchPrediction:
    """Carries one claimed batch prediction out."""

    def __init__(
        self,
        job: JobRow,
        claim: Claim,
        storage: Storage,
        catalogue: Catalogue,
        registry: Registry,
        queue: Queue,
        attendant: Attendant,
    ) -> None:
        self._job = job
        self._claim = claim
        self._storage = storage
        self._catalogue = catalogue
        self._registry = registry
        self._queue = queue
        self._attendant = attendant

    def run(self) -> None:
        """Predict and save; every end but a lost lease is written into the job's row."""
        try:
            self._predict()
        except LeaseLost:
            raise
        except OnelayerError as error:
            self._finish(Status.FAILED, {"code": error.code, "detail": error.detail})
        except Exception:
            log.exception("a batch prediction failed", job=self._job.id)
            detail = f"A fault of the worker; its log holds more under {self._job.id}."
            self._finish(Status.FAILED, {"code": "internal-error", "detail": detail})

    def _predict(self) -> None:
        if self._job.dataset_id is None:
            raise DatasetNotFound(str(self._job.spec["dataset"]))
        dataset = self._catalogue.files(self._job.dataset_id)
        row = self._registry.get(str(self._job.spec["model"]))
        loaded = Loaded(row, *stored.load(self._storage.path(model_key(row.id))))
        started = reported = time.perf_counter()
        with self._storage.stage() as stage:
            for done in batches.write(loaded, dataset, Batch.of(self._job.spec), stage.path):
                if self._attendant.should_stop():
                    self._stopped()
                    return
                now = time.perf_counter()
                if now - reported > REPORT_SECONDS:
                    reported = now
                    self._queue.report(self._claim, done, done / (now - started))
            # An attempt before this one may have died between its file and its row.
            self._storage.delete(key(self._job.id))
            stage.publish(key(self._job.id))
            self._finish(Status.SUCCEEDED, epoch=self._job.epochs)

    def _stopped(self) -> None:
        if self._attendant.lease_lost.is_set():
            raise LeaseLost(self._job.id)
        if not self._attendant.cancel_requested.is_set():
            self._queue.hand_back(self._claim)
            raise LeaseLost(self._job.id)
        self._finish(Status.CANCELLED)

    def _finish(self, status: Status, error: dict[str, str] | None = None, **values: int) -> None:
        self._attendant.conclude(
            lambda session, _, __: self._queue.finish(session, self._claim, status, error=error, device="cpu", **values)
        )
