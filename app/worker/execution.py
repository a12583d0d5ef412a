"""One job, from its row to its model: encode, fit, record, save.

Whatever goes wrong ends the job with an error that says what to do; only a lost lease leaves it to another worker.
"""

from pathlib import Path
from typing import Any

import structlog
from safetensors import SafetensorError
from sqlalchemy.orm import Session

from app.database import Database
from app.datasets.catalogue import Catalogue
from app.datasets.encoding import Encoding
from app.errors import StorageFull
from app.identifiers import new_id
from app.job_status import Status
from app.jobs import history
from app.jobs.history import Measurement
from app.jobs.queue import Claim, LeaseLost, Queue
from app.jobs.spec import Spec
from app.models.features import describe
from app.models.registry import Registry, key
from app.models.statistics import Statistics
from app.models.weights import Weights
from app.storage import Storage
from app.tables import JobRow
from app.training import devices
from app.training.epoch import Epoch
from app.training.errors import DeviceFull, Diverged
from app.training.fit import fit
from app.training.hyperparameters import Hyperparameters
from app.training.inference import infer
from app.training.optimum import Objectives, objectives
from app.training.patience import is_last
from app.training.problem import Problem
from app.training.state import State
from app.worker.attendant import Attendant
from app.worker.checkpoint import Checkpoint, identity
from app.worker.conclusion import coefficient_errors, nearness
from app.worker.evaluation import evaluate
from app.worker.failure import told
from app.worker.outcome import Outcome, divergence, finite_or_diverged, out_of_time
from app.worker.preparation import Prepared, prepare
from app.worker.progress import Progress
from app.worker.receipt import receipt
from app.worker.replay import Replay
from app.worker.statistics import statistics

log = structlog.get_logger(__name__)

SAMPLED_ENTRIES = 2_000_000
"""What a cancelled job measures its model on at most: it is to end within a second, however large its data."""


class Execution:
    """Carries one claimed job out."""

    def __init__(
        self,
        job: JobRow,
        claim: Claim,
        database: Database,
        storage: Storage,
        catalogue: Catalogue,
        registry: Registry,
        queue: Queue,
        attendant: Attendant,
    ) -> None:
        self._job = job
        self._claim = claim
        self._database = database
        self._storage = storage
        self._catalogue = catalogue
        self._registry = registry
        self._queue = queue
        self._attendant = attendant
        self._device: str | None = None
        self._progress: Progress | None = None
        self._settled: Hyperparameters | None = None

    def run(self) -> Outcome:
        """Train and save; every end but a lost lease is written into the job's row."""
        try:
            outcome = self._run()
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the job says so
            outcome = Outcome(Status.FAILED, error=told(error, self._job.id))
            self._finish(outcome)
        if self._progress is not None and self._progress.epoch is not None:
            outcome.epochs = self._progress.epoch.number
        return outcome

    def _run(self) -> Outcome:
        spec = Spec.model_validate(self._job.spec)
        prepared = prepare(spec, self._job, self._catalogue, self._registry)
        found = self._try_on(devices.choose(spec, prepared.problem), spec, prepared)
        if found is None:
            log.warning("the GPU's memory does not hold the training, which goes to the CPU", job=self._job.id)
            devices.release()
            found = self._train_on("cpu", spec, prepared)
        outcome, record = finite_or_diverged(found[0]), found[1]
        self._conclude(spec, prepared, outcome, record)
        return outcome

    def _try_on(self, device: str, spec: Spec, prepared: Prepared) -> tuple[Outcome, dict[str, Any]] | None:
        """The training, or None where it found no room on a device that it need not be on.

        None, so that the error is gone with all that it holds of the device's memory.
        """
        try:
            return self._train_on(device, spec, prepared)
        except DeviceFull:
            if spec.device != "auto" or self._has_begun():
                raise
            return None

    def _train_on(self, device: str, spec: Spec, prepared: Prepared) -> tuple[Outcome, dict[str, Any]]:
        """The training's end, and its receipt."""
        record = receipt(prepared.dataset_sha256, spec, device, prepared.problem.train)
        return self._train(spec, prepared.problem, device, identity(record, self._job.spec)), record

    def _has_begun(self) -> bool:
        """Whether there are epochs, of this attempt or of one before, which another device would not go on from."""
        return bool(self._job.epoch) or (self._progress is not None and self._progress.epoch is not None)

    def _train(self, spec: Spec, problem: Problem, device: str, own: str) -> Outcome:
        self._device = device
        progress = self._progress = Progress(spec, problem.train.count, self._attendant, own)
        try:
            for step in fit(problem, spec, device, resume=self._resume(progress, own)):
                progress.take(step)
                if self._attendant.should_stop() and not progress.wants_one_more(step):
                    return self._stopped(progress)
                if progress.is_out_of_time() and not (isinstance(step, Epoch) and is_last(step)):
                    return self._interrupted(progress, out_of_time(spec))
        except Diverged as diverged:
            self._settled = diverged.options
            return Outcome(Status.DIVERGED, diverged.parameters, divergence(diverged))
        outcome = finite_or_diverged(Outcome(Status.SUCCEEDED, progress.last))
        if spec.optimality_gap and self._job.replay_of is None and outcome.parameters is not None:
            return self._with_optimum(outcome, spec, problem, progress)
        return outcome

    def _with_optimum(self, outcome: Outcome, spec: Spec, problem: Problem, progress: Progress) -> Outcome:
        """The same with the optimum of its objective, if there is time to find it."""
        assert outcome.parameters is not None
        for step in objectives(problem, outcome.parameters, self._options(spec)):
            if isinstance(step, Objectives):
                outcome.objectives = step
            elif self._attendant.should_stop():
                return self._stopped(progress)
            elif progress.is_out_of_time():
                break
        return outcome

    def _resume(self, progress: Progress, own: str) -> State | None:
        """Where an earlier attempt has left the job, if its history is whole until there."""
        checkpoint = Checkpoint.load(self._storage, self._job.id, own)
        if checkpoint is None and not self._job.epoch:
            return None
        epoch = checkpoint.state.epoch if checkpoint is not None else 0
        reached = self._attendant.insist(lambda: self._rewind(epoch))
        if checkpoint is None or not reached:
            return None
        self._attendant.go_on_from(reached)
        progress.go_on_from(checkpoint)
        return checkpoint.state

    def _rewind(self, epoch: int) -> int:
        with self._database.write() as session:
            return history.rewind(session, self._queue, self._claim, epoch)

    def _stopped(self, progress: Progress) -> Outcome:
        self._attendant.leave()
        return self._interrupted(progress)

    def _interrupted(self, progress: Progress, error: dict[str, Any] | None = None) -> Outcome:
        return Outcome(Status.CANCELLED, progress.best.parameters if progress.best else None, error)

    def _conclude(self, spec: Spec, prepared: Prepared, outcome: Outcome, record: dict[str, Any]) -> None:
        """Save the model, once there is room for it, and end the job in one transaction."""
        self._attendant.listen()
        if outcome.parameters is None:
            self._finish(outcome, receipt=record)
            return
        if outcome.status is Status.CANCELLED:
            prepared = prepared.sampled(SAMPLED_ENTRIES)
        encoding = prepared.encoding
        options = self._options(spec)
        found = infer(prepared.problem, outcome.parameters, options, encoding.fold_features)
        weights = Weights(*encoding.fold(found.parameters.weights, found.parameters.bias))
        if self._job.replay_of is not None:
            self._finish(outcome, receipt=record, replay=Replay(self._job, self._registry, weights, record))
            return
        remembered = statistics(prepared.problem.train, encoding, options, found.covariance)
        near = nearness(options, prepared, found.parameters, outcome.objectives, self._progress)
        model_id = new_id()
        model = self._model(model_id, spec, prepared, outcome)

        def keep() -> None:
            with self._storage.stage(is_due=True) as stage:
                _save(weights, stage.path, encoding, remembered)
                coefficient_errors(found, prepared).save(stage.path)
                stage.publish(key(model_id))
                self._finish(outcome, model, model_id=model_id, receipt=record, optimality=near)

        self._attendant.insist(keep)

    def _options(self, spec: Spec) -> Hyperparameters:
        """The options that held, all defaults settled; of a sweep those of its best."""
        epoch = self._progress.epoch if self._progress is not None else None
        if epoch is None:
            return self._settled or spec
        if epoch.leaderboard is None:
            return epoch.options
        return epoch.options.model_copy(update={**epoch.leaderboard[0]["options"], "sweep": None})

    def _model(self, model_id: str, spec: Spec, prepared: Prepared, outcome: Outcome) -> dict[str, Any]:
        assert outcome.parameters is not None
        encoding: Encoding = prepared.encoding
        return {
            "model_id": model_id,
            "name": spec.model_name,
            "owner": self._job.owner,
            "shared": spec.shared,
            "kind": spec.model,
            "job_id": self._job.id,
            "dataset_id": self._job.dataset_id,
            "features": describe(encoding),
            "target": list(encoding.target.columns),
            "classes": list(encoding.target.classes) if encoding.target.classes else None,
            "metrics": evaluate(prepared.problem, outcome.parameters),
            "partial": outcome.status is not Status.SUCCEEDED,
        }

    def _kept(self, outcome: Outcome) -> tuple[int, int] | None:
        """The epoch and candidate whose weights are kept, where they are not the last ones."""
        progress = self._progress
        if progress is None or outcome.parameters is None:
            return None
        if outcome.status is Status.CANCELLED and progress.best is not None:
            return progress.best.epoch, progress.best.candidate
        return (progress.best_epoch, 0) if progress.best_epoch else None

    def _finish(
        self,
        outcome: Outcome,
        model: dict[str, Any] | None = None,
        replay: Replay | None = None,
        **values: Any,
    ) -> None:
        def write(session: Session, epochs: list[Measurement], samples_per_second: float) -> None:
            history.record(session, self._queue, self._claim, epochs, samples_per_second=samples_per_second or None)
            if model is not None:
                self._registry.add(session, **model)
            if replay is not None:
                values["replay"] = replay.compare(session)
            if kept := self._kept(outcome):
                values["best_epoch"] = kept[0]
                values["metrics"] = history.metrics_at(session, self._job.id, *kept)
            if self._progress is not None and self._progress.epoch is not None:
                values["leaderboard"] = self._progress.epoch.leaderboard
                self._settled = self._progress.epoch.options
            if self._settled is not None:
                values["spec"] = self._settled.model_dump(mode="json")
            self._queue.finish(session, self._claim, outcome.status, error=outcome.error, device=self._device, **values)

        self._attendant.conclude(outcome.status, write)


def _save(weights: Weights, folder: Path, encoding: Encoding, remembered: Statistics) -> None:
    try:
        weights.save(folder, encoding, remembered)
    except SafetensorError as error:
        if "No space left" in str(error) or "os error 28" in str(error):
            raise StorageFull("The disk under the data directory is full: the model could not be saved.") from error
        raise
