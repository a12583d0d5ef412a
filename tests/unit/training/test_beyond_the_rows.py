"""Kernels read no memory beyond the rows: a map of a file ends there, and reading on would end the process."""

import ctypes
import mmap
import subprocess
import sys

import numpy as np

from app.training.epoch import uninterrupted
from app.training.hyperparameters import Hyperparameters
from app.training.objective import Objective
from app.training.problem import Problem, Rows
from app.training.setting import Setting
from app.training.tiled import TiledEngine

PAGE = mmap.PAGESIZE
NO_ACCESS = 0


def before_a_wall(rows: int, features: int, kind: type) -> np.ndarray:
    """An array that ends where the next byte may not be touched."""
    size = rows * features * np.dtype(kind).itemsize
    pages = -(-size // PAGE)
    memory = mmap.mmap(-1, (pages + 1) * PAGE)
    wall = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + pages * PAGE
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(wall), PAGE, NO_ACCESS) == 0
    return np.frombuffer(memory, np.uint8)[pages * PAGE - size : pages * PAGE].view(kind).reshape(rows, features)


def search(rows: int, features: int, kind: type) -> None:
    """Loss and gradient of one output, in blocks of which the last one is shorter."""
    X = before_a_wall(rows, features, kind)
    X[:] = np.random.default_rng(0).integers(0, 256, X.shape)
    part = Rows(X, np.ones((rows, 1), np.float32), 1 / 255)
    setting = Setting.of(Problem(part, None, 1), Hyperparameters(model="linear", solver="lbfgs"))
    objective = Objective(setting, part, precise=False)
    objective._block = 64
    assert uninterrupted(objective.at(np.zeros((features + 1, 1)))).loss == 0.5


def train_and_measure(rows: int, features: int, kind: type, classes: int) -> None:
    X = before_a_wall(rows, features, kind)
    X[:] = np.random.default_rng(0).integers(0, 256, X.shape)
    part = Rows(X, (np.arange(rows) % classes).astype(np.int32), 1 / 255)
    setting = Setting.of(Problem(part, part, classes), Hyperparameters(model="softmax", batch_size=100))
    for members in (1, 2, 3):
        engine = TiledEngine([setting], 1000, members)
        engine.begin(1)
        engine.descend(0, -(-rows // 100), np.full(-(-rows // 100), 1e-3, np.float32))
        engine.measure(1, 0, rows)
        engine.measure(2, rows - 7, rows)


def test_nothing_is_read_beyond_the_rows() -> None:
    told = subprocess.run([sys.executable, "-m", __name__], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


if __name__ == "__main__":
    for shape in ((301, 64, np.uint8), (301, 50, np.uint8), (33, 784, np.uint8), (1025, 37, np.float32)):
        for outputs in (2, 3, 5, 10):
            train_and_measure(*shape, outputs)
    search(201, 33, np.uint8)
    search(201, 1041, np.float32)
