"""Matrices larger than memory is to hold: the order of their rows, and what stays resident."""

import mmap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.training import kernels, paging
from app.training.epoch import Epoch
from app.training.fit import fit
from app.training.hyperparameters import Hyperparameters
from app.training.paging import Pages, collected
from app.training.problem import Problem, Rows

WIDTH = 32
ROWS = 262_144
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 32 MiB with a matrix."""
    path = tmp_path_factory.mktemp("matrix") / "matrix.npy"
    np.save(path, np.random.default_rng(0).standard_normal((ROWS, WIDTH), np.float32))
    return path


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "GROUP_BYTES", 2 * MEBIBYTE)
    monkeypatch.setattr(paging, "BLOCK_BYTES", MEBIBYTE // 8)


def _problem(path: Path, memory_bytes: int) -> Problem:
    X = np.load(path, mmap_mode="r")
    y = np.asarray(X[:, :1] - 2 * X[:, 5:6] + 1, np.float32)
    X = np.load(path, mmap_mode="r")
    return Problem(Rows(X, y, memory_bytes=memory_bytes), None, 1)


def _order(rows: int, block: int, group: int, seed: int = 0, epoch: int = 1) -> NDArray[np.int32]:
    order = np.full(rows, -1, np.int32)
    kernels.permute_by_blocks(order, np.empty(-(-rows // block), np.int32), seed, epoch, block, group)
    return order


@pytest.mark.parametrize(
    ("rows", "block", "group"), [(1, 5, 10), (10, 1, 1), (1000, 7, 70), (1003, 10, 100), (64, 64, 64)]
)
def test_an_epoch_by_blocks_visits_each_row_once(rows: int, block: int, group: int) -> None:
    assert sorted(_order(rows, block, group)) == list(range(rows))


def test_a_group_holds_whole_blocks_in_a_mixed_order() -> None:
    groups = _order(1000, 10, 100).reshape(10, 100)
    for group in groups:
        assert len({row // 10 for row in group}) == 10
        assert list(group) != sorted(group)


def test_the_order_by_blocks_is_a_function_of_seed_and_epoch_alone() -> None:
    assert list(_order(500, 10, 50, 3, 4)) == list(_order(500, 10, 50, 3, 4))
    assert len({tuple(_order(500, 10, 50, seed, epoch)) for seed in range(5) for epoch in range(1, 6)}) == 25


def test_rows_in_memory_and_small_maps_have_no_pages(matrix: Path) -> None:
    X = np.load(matrix, mmap_mode="r")
    assert Pages.of(np.asarray(np.load(matrix)), 0) is None
    assert Pages.of(X, X.nbytes) is None
    assert Pages.of(X, X.nbytes - 1) is not None
    assert Pages.of(np.asarray(X)[100:].view(), 0) is not None


def test_pages_go_once_half_a_group_is_passed() -> None:
    advised: list[int] = []

    class Mapping:
        def madvise(self, option: int) -> None:
            advised.append(option)

    X = np.zeros((10, 1 << 20), np.float32)
    pages = Pages(X, Mapping())  # type: ignore[arg-type]
    assert (pages.block_rows, pages.group_rows, pages.stretch) == (1, 16, 8)
    pages.passed(7)
    assert advised == []
    pages.passed(1)
    assert advised == [mmap.MADV_DONTNEED]
    pages.passed(7)
    assert len(advised) == 1


def _mapped_kilobytes() -> int:
    """What is resident of mapped files, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))


def _most_resident(work: Callable[[], object]) -> tuple[object, int]:
    """What the work gives, and the most that it had resident at a pause or an epoch's end, in KiB."""
    return work(), _mapped_kilobytes()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("precondition", ["none", "whiten"])
def test_a_training_from_the_map_keeps_little_resident(matrix: Path, small_groups: None, precondition: str) -> None:
    problem = _problem(matrix, MEBIBYTE)
    assert problem.train.pages is not None
    problem.train.pages.passed(ROWS)
    options = Hyperparameters(model="linear", epochs=2, batch_size=64, precondition=precondition, standardize=True)
    before, most, losses = _mapped_kilobytes(), 0, []
    for step in fit(problem, options):
        most = max(most, _mapped_kilobytes())
        losses += [step.train_loss] if isinstance(step, Epoch) else []
    assert losses[-1] < 1e-3
    assert most - before < 8 * 1024  # of 32 MiB


@pytest.mark.parametrize("solver", ["exact", "lbfgs"])
def test_solvers_that_take_all_rows_find_the_same_bits(matrix: Path, small_groups: None, solver: str) -> None:
    def found(memory_bytes: int) -> Epoch:
        options = Hyperparameters(model="linear", solver=solver)
        *_, last = fit(_problem(matrix, memory_bytes), options)
        assert isinstance(last, Epoch)
        return last

    mapped, resident = found(MEBIBYTE), found(1 << 40)
    assert mapped.train_loss == resident.train_loss
    assert (mapped.parameters.weights == resident.parameters.weights).all()


def test_the_same_seed_gives_the_same_bits(matrix: Path, small_groups: None) -> None:
    def weights(seed: int) -> bytes:
        options = Hyperparameters(model="linear", epochs=1, batch_size=512, learning_rate=0.01, seed=seed)
        return [step for step in fit(_problem(matrix, MEBIBYTE), options) if isinstance(step, Epoch)][
            -1
        ].parameters.weights.tobytes()

    assert weights(1) == weights(1) != weights(2)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_sample_is_that_of_the_whole_matrix(matrix: Path, small_groups: None) -> None:
    whole = np.load(matrix)
    rows = _problem(matrix, MEBIBYTE).train
    for stride in (1, 7, 100, 5000):
        before = _mapped_kilobytes()
        assert (rows.taken(rows.draw(stride)) == whole[rows.draw(stride)]).all()
        assert _mapped_kilobytes() - before < 8 * 1024


@pytest.mark.parametrize(("count", "stride"), [(10, 1), (10, 3), (9, 3), (1, 5)])
def test_one_row_of_each_stretch_is_drawn(count: int, stride: int) -> None:
    drawn = Rows(np.zeros((count, 2), np.float32), np.zeros(count, np.int32)).draw(stride)
    assert (drawn // stride == np.arange(-(-count // stride))).all()
    assert drawn[-1] < count


def test_blocks_collect_to_the_same_matrix_in_memory_and_in_a_file() -> None:
    blocks = [np.full((3, 4), number, np.float32) for number in range(5)]
    memory, file = (collected(iter(blocks), (15, 4), size) for size in (240, 239))
    assert not isinstance(memory, np.memmap)
    assert isinstance(file, np.memmap)
    assert (memory == file).all()
    assert memory[4, 0] == 1
