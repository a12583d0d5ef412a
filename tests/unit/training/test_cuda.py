"""The CUDA engine: its steps against the straightforward loop, streamed, recorded, resumed; on a GPU if there is one.

Without a GPU the same steps run on the CPU, where a stand-in records and replays them as a CUDA graph would.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from app.training import cuda, cuda_rows, paging, pieces
from app.training.cuda import CudaEngine, products
from app.training.cuda_rows import Resident, Streamed
from app.training.cuda_steps import row_bytes
from app.training.epoch import Epoch
from app.training.errors import DeviceFailed, DeviceFull, TrainingError
from app.training.fit import run
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem, Rows
from app.training.setting import Setting
from tests.unit.training.graph_stand_in import StandInGraph, recording, stand_in
from tests.unit.training.reference import blobs, engine_of, line, several_targets, trained_by_reference
from tests.unit.training.test_engines import OPTIONS

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
every_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
GIVEN: dict[str, Any] = {"epochs": 3, "batch_size": 16, "seed": 5, "learning_rate": 0.01, "train_metrics": "running"}


class InOrderOfTheCpu(CudaEngine):
    """With the permutation of the other engines, so that the two can be held against each other."""

    def begin(self, epoch: int) -> None:
        super().begin(epoch)
        order = np.empty(self._count, np.int32)
        pieces.permute(order, self._setting, epoch)
        self._host_order = order.astype(np.int64)
        self._order.copy_(torch.from_numpy(self._host_order))


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors that lie elsewhere, as CUDA does; a lone number may."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                assert tensor.device.type == "meta" or not tensor.dim(), f"an operand of {function} lies elsewhere"
        return function(*args, **(kwargs or {}))


def problems(kind: str) -> Problem:
    return {
        "softmax": lambda: blobs(rows=101),
        "pixels": lambda: blobs(rows=101, pixels=True),
        "linear": lambda: line(rows=101),
        "several targets": lambda: several_targets(rows=101),
    }[kind]()


def options_of(kind: str, **options: Any) -> Hyperparameters:
    model = "softmax" if kind in {"softmax", "pixels"} else "linear"
    return Hyperparameters(model=model, **{**GIVEN, **options})


def trained(
    engine: type[CudaEngine], problem: Problem, given: Hyperparameters, device: str = "cpu", budget: float | None = None
) -> list[Epoch]:
    setting = Setting.of(problem, given)
    steps = run(setting, engine(setting, device, budget))
    return [step for step in steps if isinstance(step, Epoch)]


def bits(epochs: list[Epoch]) -> list[bytes]:
    return [epoch.parameters.weights.tobytes() + epoch.parameters.bias.tobytes() for epoch in epochs]


@every_device
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("kind", ["softmax", "pixels", "linear", "several targets"])
def test_three_epochs_end_where_the_straightforward_loop_ends(
    device: str, options: dict[str, Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "RECORDED_STEPS", 3)
    problem, given = problems(kind), options_of(kind, **options)
    done = trained(InOrderOfTheCpu, problem, given, device)
    W, b, history = trained_by_reference(problem, given, rate=0.01)
    np.testing.assert_allclose(done[-1].parameters.weights, W, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(done[-1].parameters.bias, b, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose([epoch.train_loss for epoch in done], history, rtol=1e-4)


@every_device
@pytest.mark.parametrize("loss", ["absolute", "huber", "mse"])
def test_each_linear_loss_trains_as_on_the_cpu(device: str, loss: str) -> None:
    problem, given = several_targets(rows=120), options_of("linear", loss=loss, momentum=0.5, l2=0.1)
    theirs = trained(InOrderOfTheCpu, problem, given, device)[-1]
    setting = Setting.of(problem, given)
    *_, ours = run(setting, engine_of("compiled", setting))
    assert isinstance(ours, Epoch)
    np.testing.assert_allclose(theirs.parameters.weights, ours.parameters.weights, rtol=1e-4, atol=1e-5)
    assert theirs.train_loss == pytest.approx(ours.train_loss, rel=1e-4)


@every_device
@pytest.mark.parametrize("kind", ["softmax", "pixels", "several targets"])
@pytest.mark.parametrize("metrics", ["running", "full"])
def test_rows_that_do_not_fit_are_streamed_to_the_same_bits(
    device: str, kind: str, metrics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "BLOCK_BYTES", 2 * 16 * row_bytes(problems(kind).train.features, 3))  # of two
    problem = Problem(problems(kind).train, problems(kind).train, problems(kind).outputs)
    given = options_of(kind, momentum=0.5, train_metrics=metrics)
    resident = trained(CudaEngine, problem, given, device)
    for budget in (0.0, float(problem.train.X.nbytes)):  # neither split fits, or the first
        streamed = trained(CudaEngine, problem, given, device, budget)
        assert bits(streamed) == bits(resident)
        for one, other in zip(streamed, resident, strict=True):
            assert one.train_loss == pytest.approx(other.train_loss, rel=1e-6)
            assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-6)
            assert one.validation_accuracy == other.validation_accuracy


def test_the_budget_decides_where_rows_are() -> None:
    problem = Problem(line(rows=100).train, line(rows=100).train, 1)
    setting, size = Setting.of(problem, options_of("linear")), float(line(rows=100).train.X.nbytes)
    kinds = {
        budget: [type(source) for source in CudaEngine(setting, "cpu", budget)._sources[1:]]
        for budget in (2 * size, size, size - 1)
    }
    assert list(kinds.values()) == [[Resident, Resident], [Resident, Streamed], [Streamed, Streamed]]
    assert cuda_rows.budget(torch.device("cpu"), 1e9) == float("inf")


@pytest.mark.parametrize("budget", [None, 0.0], ids=["resident", "streamed"])
@pytest.mark.parametrize("options", [
    {}, {"momentum": 0.8, "nesterov": True}, {"l1": 0.01, "l2": 0.1, "momentum": 0.5}, {"batch_size": 10_000},
    {"lr_schedule": {"type": "cosine"}}, {"gradient_reduction": "sum"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("kind", ["softmax", "several targets"])
def test_what_is_recorded_once_serves_every_epoch(
    kind: str, options: dict[str, Any], budget: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "RECORDED_STEPS", 3)  # of seven in an epoch, the last a smaller one
    problem, given = problems(kind), options_of(kind, **options)
    eager = trained(CudaEngine, problem, given, budget=budget)
    with monkeypatch.context() as patched:
        graphs = stand_in(patched)
        recorded = trained(CudaEngine, problem, given, budget=budget)
    assert bits(recorded) == bits(eager)
    assert [epoch.train_loss for epoch in recorded] == [epoch.train_loss for epoch in eager]
    whole_epoch = options.get("batch_size", 0) > 101
    assert [graph.replays for graph in graphs] == ([3] if whole_epoch else [6, 3])


def test_an_epoch_of_moderate_length_is_one_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        graphs = stand_in(patched)
        trained(CudaEngine, problems("softmax"), options_of("softmax", batch_size=2))
    assert [graph.replays for graph in graphs] == [3]


@every_device
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "lr_schedule": {"type": "linear"}}], ids=str)
def test_a_training_goes_on_from_a_state_with_the_same_bits(device: str, options: dict[str, Any]) -> None:
    problem, given = problems("softmax"), options_of("softmax", epochs=5, **options)
    whole = trained(CudaEngine, problem, given, device)
    resume = whole[1].state
    setting = Setting.of(problem, given, resume)
    rest = [step for step in run(setting, CudaEngine(setting, device), 2) if isinstance(step, Epoch)]
    assert bits(rest) == bits(whole[2:])


@pytest.mark.parametrize("budget", [None, 0.0], ids=["resident", "streamed"])
def test_rows_beyond_the_workers_memory_come_in_the_blocks_of_the_cpu(
    budget: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(paging, "GROUP_BYTES", 8 << 10)
    rows = several_targets(rows=2000).train
    np.save(tmp_path / "X.npy", rows.X)
    problem = Problem(Rows(np.load(tmp_path / "X.npy", mmap_mode="r"), rows.y, memory_bytes=1), None, 3)
    assert problem.train.pages is not None
    given = options_of("linear", epochs=2)
    theirs = trained(CudaEngine, problem, given, budget=budget)[-1]
    setting = Setting.of(problem, given)
    at_once = cuda.RECORDED_STEPS if budget is None else problem.train.pages.stretch // given.batch_size
    assert CudaEngine(setting, "cpu", budget).pace == at_once
    *_, ours = run(setting, engine_of("compiled", setting))
    assert isinstance(ours, Epoch)
    np.testing.assert_allclose(theirs.parameters.weights, ours.parameters.weights, rtol=1e-4, atol=1e-5)


def test_a_step_that_runs_away_is_seen_in_its_weights() -> None:
    problem, given = problems("linear"), options_of("linear", learning_rate=1e6, epochs=1, l1=0.1)
    setting = Setting.of(problem, given)
    engine = CudaEngine(setting, "cpu")
    engine.begin(1)
    for _ in range(10):
        engine.descend(0, 7, np.full(7, 1e6, np.float32))
    assert not np.isfinite(engine.report().parameters.weights).all()


def test_products_are_in_tf32_only_where_asked_and_only_meanwhile() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    with products(tf32=True):
        assert matmul.fp32_precision == "tf32"
        with products(tf32=False):
            assert matmul.fp32_precision == "ieee"
    assert matmul.fp32_precision == before


@pytest.mark.parametrize(("error", "told"), [
    (torch.OutOfMemoryError("CUDA"), DeviceFull),
    (torch.AcceleratorError("CUDA error: out of memory"), DeviceFull),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), DeviceFull),
    (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), DeviceFailed),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), RuntimeError),
], ids=str)  # fmt: skip
def test_a_device_that_is_full_or_has_failed_is_told(
    error: Exception, told: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = CudaEngine(Setting.of(problems("linear"), options_of("linear")), "cpu")
    monkeypatch.setattr(engine._steps, "take", lambda *_: (_ for _ in ()).throw(error))
    engine.begin(1)
    with pytest.raises(RuntimeError if told is RuntimeError else TrainingError) as raised:
        engine.descend(0, 7, np.full(7, 0.1, np.float32))
    assert type(raised.value) is told


def test_room_is_left_for_a_minibatch_that_is_larger_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(cuda, "budget", lambda _, others: asked.append(others) or 1e9)
    for block_bytes in (1 << 20, 1):
        monkeypatch.setattr(cuda, "BLOCK_BYTES", block_bytes)
        CudaEngine(Setting.of(problems("linear"), options_of("linear")), "cpu")
    assert asked == [101 * cuda.ROW_BYTES + 2 * size for size in (1 << 20, 16 * row_bytes(2, 1))]


@pytest.mark.parametrize("budget", [None, 0.0], ids=["resident", "streamed"])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.8, "nesterov": True, "l1": 0.01}, {"l2": 0.1}], ids=str)
@pytest.mark.parametrize("kind", ["softmax", "pixels", "several targets"])
def test_steps_touch_nothing_but_what_lies_on_their_device(
    kind: str, options: dict[str, Any], budget: float | None
) -> None:
    """The device `meta` has shapes and no numbers, so that what is computed with anything else can be told."""
    weights = {} if kind == "several targets" else {"class_weights": "balanced"}
    setting = Setting.of(problems(kind), options_of(kind, **options, **weights))
    engine = CudaEngine(setting, "meta", float("inf") if budget is None else budget)
    with OneDevice():
        engine._steps.take(2, 5)
        if budget is None:
            engine.measure(1, 0, 50)
            engine._lay_ready(slice(0, 37), 0, 3)
    engine._steps._slope = torch.zeros(engine._steps._slope.shape)
    with pytest.raises(AssertionError, match="lies elsewhere"), OneDevice():
        engine._steps.take(2, 5)


@pytest.mark.parametrize(("kind", "options", "operations"), [
    ("softmax", {}, 5), ("softmax", {"momentum": 0.9}, 5), ("several targets", {}, 4),
], ids=str)  # fmt: skip
def test_a_step_is_a_handful_of_operations(kind: str, options: dict[str, Any], operations: int) -> None:
    engine = CudaEngine(Setting.of(problems(kind), options_of(kind, **options)), "cpu")
    graph = StandInGraph()
    with recording(graph):
        engine._steps.take(5, 0)
    launched = [str(function) for function, *_ in graph.operations]
    views = ("slice", "permute", "select")
    assert len([name for name in launched if not any(view in name for view in views)]) == 5 * operations


@pytest.mark.parametrize("kind", ["softmax", "pixels", "several targets"])
def test_where_products_may_be_tf32_the_bias_is_added_behind_them(kind: str) -> None:
    problem = problems(kind)
    plain, fast = (trained(CudaEngine, problem, options_of(kind, device="cuda", tf32=tf32)) for tf32 in (False, True))
    np.testing.assert_allclose(fast[-1].parameters.weights, plain[-1].parameters.weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fast[-1].parameters.bias, plain[-1].parameters.bias, rtol=1e-4, atol=1e-6)


@every_device
def test_a_target_far_from_zero_loses_nothing_beside_a_large_bias(device: str) -> None:
    rows = line(rows=2000, bias=200_000.0, noise_std=0.1).train
    problem = Problem(rows, None, 1)
    given = options_of("linear", epochs=30, batch_size=64, learning_rate=0.05)
    setting = Setting.of(problem, given)
    *_, ours = run(setting, engine_of("compiled", setting))
    theirs = trained(InOrderOfTheCpu, problem, given, device)[-1]
    assert isinstance(ours, Epoch)
    assert theirs.train_loss == pytest.approx(ours.train_loss, rel=0.2)


def test_a_block_is_of_its_size_however_many_outputs_there_are() -> None:
    problem = several_targets(rows=5000, features=2, outputs=200)
    engine = CudaEngine(Setting.of(problem, options_of("linear", batch_size=1)), "cpu", float("inf"))
    assert engine.pace <= cuda.BLOCK_BYTES // (4 * 400)
    held = [engine._block.X, engine._block.answers, engine._block.outputs, engine._block.weights]
    assert sum(tensor.nbytes for tensor in held) <= cuda.BLOCK_BYTES


@needs_cuda
def test_tf32_is_near_float32_and_not_the_same() -> None:
    generator = np.random.default_rng(0)
    X, labels = generator.normal(0, 1, (4096, 256)).astype(np.float32), generator.integers(0, 64, 4096).astype(np.int32)
    problem = Problem(Rows(X, labels), None, 64)
    given = {"epochs": 2, "batch_size": 256, "learning_rate": 0.1, "device": "cuda"}
    plain, fast = (
        trained(CudaEngine, problem, Hyperparameters(model="softmax", tf32=tf32, **given), "cuda")[-1]
        for tf32 in (False, True)
    )
    assert bits([plain]) != bits([fast])
    assert fast.train_loss == pytest.approx(plain.train_loss, rel=1e-2)
