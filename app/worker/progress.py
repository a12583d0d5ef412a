"""The progress of one training: what is recorded of each epoch, the best weights so far, the time that is left."""

import math
import time

from app.jobs.history import Measurement
from app.jobs.spec import Spec
from app.training.epoch import Epoch, Pause
from app.training.patience import is_last
from app.training.problem import Parameters
from app.worker.attendant import Attendant
from app.worker.checkpoint import Best, Checkpoint

PATIENCE_SECONDS = 1.5
"""How long a worker that is asked to stop waits for the end of the epoch, so that no part of it is lost."""


class Progress:
    """Takes in the steps of `fit`."""

    def __init__(self, spec: Spec, rows: int, attendant: Attendant, identity: str) -> None:
        self._attendant = attendant
        self._identity = identity
        self._rows = rows
        self._limit_seconds = spec.time_limit_seconds or float("inf")
        self._began = self._epoch_began = time.perf_counter()
        self._done = 0
        self._spent = 0.0
        self._is_deaf = True
        self._asked_at: float | None = None
        self._group: list[Measurement] = []
        self.best: Best | None = None
        """Of the least loss, on validation rows where there are any; or what the rule of early stopping keeps."""
        self.last: Parameters | None = None
        self.best_epoch: int | None = None
        self.epoch: Epoch | None = None

    @property
    def converged(self) -> bool | None:
        """Whether a search for the optimum has ended there, and its last epoch is kept. None for other solvers."""
        if self.epoch is None or self.epoch.converged is None:
            return None
        return self.epoch.converged and self.best_epoch in (None, self.epoch.number)

    def go_on_from(self, checkpoint: Checkpoint) -> None:
        """Count on from where an earlier attempt was."""
        self._done, self._spent = checkpoint.state.epoch, checkpoint.seconds
        self.best = checkpoint.best
        self.last, self.best_epoch = checkpoint.state.model, checkpoint.state.best_epoch

    def take(self, step: Epoch | Pause) -> None:
        """Note a step, and copy the state if a checkpoint is due."""
        if self._is_deaf:
            self._is_deaf = False
            self._attendant.listen()
        if isinstance(step, Pause):
            return
        now = time.perf_counter()
        measured = _measured(step, now - self._epoch_began)
        if step.leaderboard is not None:
            self._group.append(measured)
            if step.candidate != step.leaderboard[0]["candidate"]:
                return  # of a sweep, the candidates of an epoch come one after the other, the best one last
            group, self._group = self._group, []
        else:
            group = [measured]
        self._attendant.record(group, self._rows * (step.number - self._done) / (now - self._began), self._rows)
        self.epoch = step
        loss = step.train_loss if step.validation_loss is None else step.validation_loss
        self.last = parameters = step.state.model
        self.best_epoch = step.state.best_epoch
        if self.best is None or loss < self.best.loss or self.best_epoch is not None:
            self.best = Best(loss, parameters, self.best_epoch or step.number, step.candidate)
        # No checkpoint of an end: who went on from it would have no epoch to tell what was settled and found.
        if not is_last(step) and (self._attendant.checkpointer.wanted or self._is_leaving()):
            self._keep(step, now)
        self._epoch_began = now

    def is_out_of_time(self) -> bool:
        """Whether the job's time limit is reached."""
        return self._limit_seconds < math.inf and self._spent + time.perf_counter() - self._began > self._limit_seconds

    def wants_one_more(self, step: Epoch | Pause) -> bool:
        """Whether to go on to the end of the epoch before handing the job back."""
        if not self._is_leaving() or isinstance(step, Epoch):
            return False
        now = time.perf_counter()
        self._asked_at = self._asked_at or now
        return now - self._asked_at < PATIENCE_SECONDS

    def _is_leaving(self) -> bool:
        asked = self._attendant
        return asked.stop_requested.is_set() and not (asked.cancel_requested.is_set() or asked.lease_lost.is_set())

    def _keep(self, epoch: Epoch, now: float) -> None:
        assert self.best is not None
        checkpoint = Checkpoint(epoch.state, self.best, self._spent + now - self._began, self._identity)
        self._attendant.checkpointer.offer(checkpoint, time.perf_counter() - now)


def _measured(epoch: Epoch, seconds: float) -> Measurement:
    train, validation = epoch.train_loss, epoch.validation_loss
    return Measurement(
        epoch.number,
        train if math.isfinite(train) else None,
        epoch.train_accuracy,
        validation if validation is not None and math.isfinite(validation) else None,
        epoch.validation_accuracy,
        epoch.learning_rate,
        seconds,
        epoch.candidate,
    )
