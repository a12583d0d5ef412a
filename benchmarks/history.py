"""What recording costs: the history of many short epochs and of Fashion-MNIST, and a checkpoint."""

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from app import memory
from app.database import Database
from app.jobs.bell import Bell
from app.jobs.queue import Order, Queue
from app.jobs.roster import Roster
from app.jobs.spec import Spec
from app.migrate import migrate
from app.storage import Storage
from app.tally import Tally
from app.training.epoch import Epoch
from app.training.fit import fit
from app.training.problem import Problem, Rows
from app.worker.attendant import Attendant
from app.worker.checkpoint import Best, Checkpoint, Checkpointer
from app.worker.progress import Progress


def run() -> None:
    """The same training with and without a worker's records, side by side, as ratios."""
    memory.collect_seldom()  # as a worker does
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder))
        generator = np.random.default_rng(0)
        X = generator.standard_normal((1000, 2), np.float32)
        line = Problem(Rows(X, X @ np.array([[2.0], [-3.4]], np.float32) + np.float32(4.2)), None, 1)
        compare("100 000 epochs of 1000 x 2", recorder, line, "linear", 100_000, 10, 3)
        images = generator.integers(0, 256, (60_000, 784), np.uint8)
        labels = generator.integers(0, 10, 60_000).astype(np.int32)
        pictures = Problem(Rows(images, labels, 1 / 255), None, 10)
        compare("10 epochs of 60 000 x 784", recorder, pictures, "softmax", 10, 256, 5)
        recorder.checkpoints(pictures)
        recorder.end()


def compare(
    name: str, recorder: "Recorder", problem: Problem, model: str, epochs: int, batch: int, repeats: int
) -> None:
    """The least of several times of each, taken by turns."""
    spec = Spec.model_validate(
        {"dataset": "x", "model": model, "epochs": epochs, "batch_size": batch, "learning_rate": 1e-3}
    )
    plain, recorded = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in fit(problem, spec):
            pass
        plain.append(time.perf_counter() - began)
        recorded.append(recorder.train(problem, spec))
    ratio = min(recorded) / min(plain) - 1
    print(f"{name}: {min(plain):.2f} s, recorded {min(recorded):.2f} s: {ratio:+.1%}")


class Recorder:
    """A worker's attendant on a database of its own."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(f"sqlite:///{folder / 'onelayer.db'}")
        migrate(self._database)
        self._storage = Storage(folder)
        roster, bell = Roster(self._database, 15), Bell()
        self._queue = Queue(self._database, roster, 15, 3, 100)
        self._attendant = Attendant(
            self._database, self._queue, roster, bell, Checkpointer(self._storage, 5), 3, Tally(folder)
        )
        self._attendant.start("worker", lambda: False)

    def train(self, problem: Problem, spec: Spec) -> float:
        """Seconds of a training whose epochs are recorded; what is left is written with its end."""
        self._queue.submit(Order({}, spec.model, None, None, spec.epochs or 0, "auto"))
        job = self._queue.claim("worker", ["cpu"])
        assert job is not None
        claim = (job.id, "worker", job.attempt)
        self._attendant.take(claim)
        began = time.perf_counter()
        progress = Progress(spec, problem.train.count, self._attendant, "")
        for step in fit(problem, spec):
            progress.take(step)
            if self._attendant.should_stop() or progress.is_out_of_time():
                raise AssertionError("nobody asked for that")
        seconds = time.perf_counter() - began
        self._attendant.hand_back()
        self._queue.cancel(job.id)
        return seconds

    def checkpoints(self, problem: Problem) -> None:
        """What a checkpoint of Fashion-MNIST takes, of the five seconds between two."""
        spec = Spec.model_validate({"dataset": "x", "model": "softmax", "epochs": 1, "momentum": 0.9})
        epoch = next(step for step in fit(problem, spec) if isinstance(step, Epoch))
        times = []
        for _ in range(20):
            began = time.perf_counter()
            checkpoint = Checkpoint(epoch.state, Best(1.0, epoch.parameters), 1.0, "")
            self._storage.write("checkpoints/x.safetensors", checkpoint.to_bytes())
            times.append(time.perf_counter() - began)
        print(f"a checkpoint of Fashion-MNIST: {sorted(times)[10] * 1e3:.1f} ms every 5 s: {sorted(times)[10] / 5:.2%}")

    def end(self) -> None:
        """Stop attending."""
        self._attendant.end()
        self._database.dispose()


os.environ.setdefault("NUMBA_CACHE_DIR", str(Path.home() / ".cache" / "onelayer" / "numba"))
