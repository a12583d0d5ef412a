"""The setting of a training: what every solver and every engine is made from, all defaults settled."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.training import class_weights, learning_rate
from app.training.errors import UnsuitableOption
from app.training.hyperparameters import Hyperparameters
from app.training.preconditioning import conditioned
from app.training.problem import Parameters, Problem
from app.training.state import State
from app.training.whitening import BOUNDED, Frame


@dataclass(frozen=True, slots=True)
class Setting:
    """The problem as it is trained, options without open defaults, where to start from.

    frame           the coordinates of a preconditioned problem; `problem`, `start` and `velocity` are in them
    class_weights   (k,), or None where every class counts the same
    """

    problem: Problem
    options: Hyperparameters
    start: Parameters
    velocity: Parameters | None = None
    frame: Frame | None = None
    class_weights: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, problem: Problem, hyperparameters: Hyperparameters, resume: State | None = None) -> Self:
        """Settle what is open, from the data; start anew, from given parameters, or from a state.

        Raises:  UnsuitableOption
        """
        options = _chosen(hyperparameters.effective(problem.train.count), problem)
        weights = class_weights.resolve(options.class_weights, problem)
        frame = None
        if options.precondition == "whiten":
            frame = (Frame.from_arrays(resume.memory) if resume else None) or _frame(options, problem, weights)
        framed = frame.problem(problem) if frame else problem
        start, velocity = _start(options, framed, frame is not None, resume)
        setting = cls(framed, options, start, velocity, frame, weights)
        return setting._at_a_rate() if options.solver == "sgd" and options.sweep is None else setting

    def _at_a_rate(self) -> Self:
        if self.options.learning_rate != "auto":
            return self
        rate = learning_rate.safe_rate(self.options, self.problem.train, self.class_weights)
        if rate < np.finfo(np.float32).tiny:
            raise UnsuitableOption("learning_rate", "the features are too large for any step; use standardize: true")
        return replace(self, options=self.options.model_copy(update={"learning_rate": rate}))

    @property
    def batch_size(self) -> int:
        """Rows of a step, at most all."""
        return min(self.options.batch_size or 1, self.problem.train.count)

    @property
    def rate(self) -> float:
        """The learning rate, which is settled."""
        assert self.options.learning_rate != "auto"
        return self.options.learning_rate

    @property
    def directions(self) -> tuple[float, float]:
        """(along_gradient, along_velocity) of the step: (0, 1), and (1, momentum) for Nesterov."""
        return (1.0, self.options.momentum or 0.0) if self.options.nesterov else (0.0, 1.0)

    @property
    def threshold(self) -> float:
        """l1 as the proximal step takes it, times the rate.

        Momentum lengthens a lasting gradient to 1/(1 − momentum) of itself, so l1 has to be lengthened alike: else
        the steps would come to rest at the optimum of (1 − momentum)·l1.
        """
        return self.options.l1 / (1 - (self.options.momentum or 0.0))

    @property
    def decay(self) -> NDArray[np.float32]:
        """The l2 penalty of each row of W, (d,): in a frame it depends on the direction."""
        d = self.problem.train.features
        directions = np.ones(d) if self.frame is None else self.frame.decay
        return (self.options.l2 * directions).astype(np.float32)

    def restarted(self, options: Hyperparameters) -> Parameters:
        """Where a candidate with these options starts: its own draw, or what was given."""
        return _start(options, self.problem, self.frame is not None, None)[0]

    def model_of(self, parameters: Parameters) -> Parameters:
        """Parameters as they act on the features."""
        return parameters if self.frame is None else self.frame.fold(parameters)

    def state(
        self, epoch: int, parameters: Parameters, velocity: Parameters | None = None, **memory: NDArray[np.float64]
    ) -> State:
        """The state at the end of an epoch."""
        frame = {} if self.frame is None else self.frame.to_arrays()
        return State(epoch, parameters, self.model_of(parameters), velocity, memory={**frame, **memory})


def _chosen(options: Hyperparameters, problem: Problem) -> Hyperparameters:
    """Precondition, momentum and the watched metric, as they follow from the data."""
    train, rule = problem.train, options.early_stopping
    options = conditioned(options, train.count, train.features, train.X.dtype != np.float32)
    if rule is None:
        return options
    metric = rule.metric or ("train_loss" if problem.validation is None else "validation_loss")
    if metric.startswith("validation") and problem.validation is None:
        raise UnsuitableOption("early_stopping.metric", f"{metric} needs validation rows")
    return options.model_copy(update={"early_stopping": rule.model_copy(update={"metric": metric})})


def _frame(options: Hyperparameters, problem: Problem, weights: NDArray[np.float32] | None) -> Frame:
    of_rows = None if weights is None else weights[problem.train.y]
    ridge = options.l2 / learning_rate.curvature(options, problem.train)
    return Frame.of(problem.train, of_rows, ridge, problem.outputs, str(options.loss))


def _start(
    options: Hyperparameters, problem: Problem, is_framed: bool, resume: State | None
) -> tuple[Parameters, Parameters | None]:
    if resume is not None:
        return resume.parameters, resume.velocity
    if problem.start is not None:
        return problem.start, None
    weights = options.init.draw(problem.train.features, problem.outputs, options.seed)
    if (is_framed or options.solver == "lbfgs") and problem.train.y.ndim == 2:
        y = problem.train.y  # whatever its units, and whatever a few rows are to which the loss pays little heed
        weights *= np.float32(learning_rate.spread(y) if options.loss in BOUNDED else y.std(dtype=np.float64))
    return Parameters(weights, np.zeros(problem.outputs, np.float32)), None
