"""One job, from its row to its model: encode, fit, record, save.

Whatever goes wrong ends the job with an error that says what to do; only a lost lease leaves it to another worker.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from sqlalchemy.orm import Session

from app.datasets.catalogue import Catalogue
from app.datasets.encoding import Encoding
from app.errors import OnelayerError
from app.identifiers import new_id
from app.jobs import history
from app.jobs.history import Measurement
from app.jobs.queue import Claim, LeaseLost, Queue
from app.jobs.spec import Spec
from app.jobs.status import Status
from app.models.features import describe
from app.models.registry import Registry, key
from app.models.weights import Weights
from app.storage import Storage
from app.tables import JobRow
from app.training import devices
from app.training.epoch import Epoch
from app.training.errors import Diverged
from app.training.fit import fit
from app.training.problem import Parameters, Problem
from app.worker.attendant import Attendant
from app.worker.evaluation import evaluate
from app.worker.preparation import Prepared, prepare
from app.worker.receipt import receipt
from app.worker.statistics import statistics

log = structlog.get_logger(__name__)


@dataclass
class Outcome:
    """How the training ended."""

    status: Status
    parameters: Parameters | None = None
    error: dict[str, Any] | None = None


class Execution:
    """Carries one claimed job out."""

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
        self._device: str | None = None
        self._last: Epoch | None = None

    def run(self) -> None:
        """Train and save; every end but a lost lease is written into the job's row."""
        try:
            spec = Spec.model_validate(self._job.spec)
            prepared = prepare(spec, self._job, self._catalogue)
            outcome = self._train(spec, prepared)
            self._conclude(spec, prepared, outcome)
        except LeaseLost:
            raise
        except OnelayerError as error:
            self._fail(error.code, error.detail)
        except MemoryError:
            self._fail("out-of-memory", "The data does not fit into the worker's memory; use fewer rows or columns.")
        except Exception:
            log.exception("a job failed", job=self._job.id)
            self._fail("internal-error", f"A fault of the worker; its log holds more under {self._job.id}.")

    def _train(self, spec: Spec, prepared: Prepared) -> Outcome:
        self._device = device = devices.choose(spec.device, prepared.problem, spec.batch_size or 1, spec.epochs or 1)
        try:
            for _ in self._epochs(prepared.problem, spec, device):
                if self._attendant.should_stop():
                    return self._stopped()
        except Diverged as diverged:
            return Outcome(Status.DIVERGED, diverged.parameters, _divergence(diverged))
        return Outcome(Status.SUCCEEDED, self._last.parameters if self._last else None)

    def _epochs(self, problem: Problem, spec: Spec, device: str) -> Iterator[None]:
        """Fit, and record each epoch with the time it took. Yields also between epochs, where it may be stopped."""
        rows = problem.train.count
        began = started = time.perf_counter()
        for step in fit(problem, spec, device):
            if isinstance(step, Epoch):
                now = time.perf_counter()
                self._attendant.record(_measured(step, now - started), rows * step.number / (now - began))
                self._last = step
                started = now
            yield

    def _stopped(self) -> Outcome:
        if self._attendant.lease_lost.is_set():
            raise LeaseLost(self._job.id)
        if not self._attendant.cancel_requested.is_set():
            self._queue.hand_back(self._claim)
            raise LeaseLost(self._job.id)
        return Outcome(Status.CANCELLED, self._last.parameters if self._last else None)

    def _conclude(self, spec: Spec, prepared: Prepared, outcome: Outcome) -> None:
        """Save the model and end the job in one transaction."""
        record = receipt(prepared.dataset_sha256, spec, self._device)
        if outcome.parameters is None:
            self._finish(outcome, receipt=record)
            return
        encoding = prepared.encoding
        weights = Weights(*encoding.fold(outcome.parameters.weights, outcome.parameters.bias))
        model_id = new_id()
        with self._storage.stage() as stage:
            weights.save(stage.path, encoding, statistics(prepared.problem.train, encoding, spec, outcome.parameters))
            stage.publish(key(model_id))
            self._finish(outcome, self._model(model_id, spec, prepared, outcome), model_id=model_id, receipt=record)

    def _model(self, model_id: str, spec: Spec, prepared: Prepared, outcome: Outcome) -> dict[str, Any]:
        assert outcome.parameters is not None
        encoding: Encoding = prepared.encoding
        return {
            "model_id": model_id,
            "name": spec.model_name,
            "kind": spec.model,
            "job_id": self._job.id,
            "dataset_id": self._job.dataset_id,
            "features": describe(encoding),
            "target": list(encoding.target.columns),
            "classes": list(encoding.target.classes) if encoding.target.classes else None,
            "metrics": evaluate(prepared.problem, outcome.parameters),
            "partial": outcome.status is not Status.SUCCEEDED,
        }

    def _finish(self, outcome: Outcome, model: dict[str, Any] | None = None, **values: Any) -> None:
        def write(session: Session, epochs: list[Measurement], samples_per_second: float) -> None:
            history.record(session, self._queue, self._claim, epochs, samples_per_second=samples_per_second or None)
            if model is not None:
                self._registry.add(session, **model)
            self._queue.finish(session, self._claim, outcome.status, error=outcome.error, device=self._device, **values)

        self._attendant.conclude(write)

    def _fail(self, code: str, detail: str) -> None:
        self._finish(Outcome(Status.FAILED, error={"code": code, "detail": detail}))


def _measured(epoch: Epoch, seconds: float) -> Measurement:
    return {
        "epoch": epoch.number,
        "train_loss": _finite(epoch.train_loss),
        "train_accuracy": epoch.train_accuracy,
        "validation_loss": _finite(epoch.validation_loss),
        "validation_accuracy": epoch.validation_accuracy,
        "learning_rate": epoch.learning_rate,
        "seconds": seconds,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _divergence(diverged: Diverged) -> dict[str, Any]:
    rate = diverged.learning_rate_to_try
    return {
        "code": "diverged",
        "detail": f"The loss or a weight became non-finite in epoch {diverged.epoch}; try learning_rate {rate:.3g}, "
        'or "auto". The last finite weights are kept as a partial model.',
        "epoch": diverged.epoch,
        "learning_rate_to_try": rate,
    }
