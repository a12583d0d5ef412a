"""The options of a training, each declared once: type, bounds, meaning, default.

None means "not given"; `effective` says what then holds, and `applicability` which options go together.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.training import applicability
from app.training.bounds import LearningRate, Momentum, Penalty, Seed
from app.training.early_stopping import EarlyStopping
from app.training.initialisation import Init, NormalInit
from app.training.schedules import ConstantSchedule, LearningRateSchedule, LinearSchedule
from app.training.sweep import Sweep

LBFGS_ITERATIONS, LBFGS_ITERATIONS_KINKED = 200, 1000
"""By default the most: with l1 and huber, whose curvature comes in pieces, more."""

ClassWeight = Annotated[float, Field(gt=0, le=1e6)]


class Hyperparameters(BaseModel):
    """How a model is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    model: Literal["linear", "softmax"] = Field(
        description="`linear` regression, or `softmax` regression, which is classification.",
        examples=["softmax"],
    )
    solver: Literal["sgd", "exact", "lbfgs"] = Field(
        "sgd",
        description="How the loss is minimised: `sgd` is minibatch stochastic gradient descent; `lbfgs` goes to the "
        "optimum by quasi-Newton iterations over all rows; `exact` solves linear least squares, with or without l2.",
        examples=["sgd"],
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Passes over the training rows. Default: 600 000 / rows, from 10 to 1000. For `lbfgs` the most "
        "iterations, by default 200, with l1 or huber 1000; it stops at the optimum (see `optimality.converged`).",
        examples=[10],
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Rows of a step. Default: the power of two nearest to √rows, from 8 to 256.",
        examples=[256],
    )
    learning_rate: LearningRate | Literal["auto"] = Field(
        "auto",
        description="Length of a step along the gradient. `auto`: safe for the data; what was chosen is echoed.",
        examples=[0.1],
    )
    momentum: Momentum | None = Field(
        None,
        description="Share of the last step that is added to the next. Default: 0, but 0.9 where the learning rate is "
        "`auto` and nothing is preconditioned.",
        examples=[0.9],
    )
    nesterov: bool = Field(
        False, description="Look ahead along the momentum (Nesterov). Needs a momentum.", examples=[False]
    )
    lr_schedule: LearningRateSchedule | None = Field(
        None,
        description="How the learning rate changes over the epochs. Default: `constant` for a rate that is given, "
        "`linear` (to 0) for `auto`.",
        examples=[{"type": "constant"}],
    )
    precondition: Literal["auto", "none", "whiten"] = Field(
        "auto",
        description="`whiten` trains on decorrelated features of variance 1, so that one learning rate suits every "
        "direction, and folds the weights back. `auto`: for standardised tables of up to 512 features, unless a "
        "learning rate or l1 is given, or classes are learnt by sgd without l2, or by lbfgs with it.",
        examples=["auto"],
    )
    l1: Penalty = Field(
        0.0,
        description="Weight of Σ|w| in the objective, not on the bias: by proximal steps, or orthant-wise in `lbfgs`. "
        "The weights are those of the columns as they are trained, standardised where `standardize` is.",
        examples=[0.0],
    )
    l2: Penalty = Field(
        0.0,
        description="Weight of ½Σw² in the objective, not on the bias; of the same weights as `l1`.",
        examples=[0.0],
    )
    loss: Literal["squared", "mse", "absolute", "huber", "cross_entropy"] | None = Field(
        None,
        description="`squared` ½(ŷ−y)² (default for linear), `mse` (ŷ−y)², `absolute` |ŷ−y|, `huber`: `squared` up to "
        "|ŷ−y| = 1 in the target's own units, and from there on as `absolute` (scale the target to what suits it, or "
        "use `absolute`); or `cross_entropy` (softmax).",
        examples=["cross_entropy"],
    )
    gradient_reduction: Literal["mean", "sum"] = Field(
        "mean",
        description="Whether a step divides the gradient by the rows of its minibatch.",
        examples=["mean"],
    )
    init: Init = Field(
        NormalInit(),
        description="Where the weights start; the bias starts at 0.",
        examples=[{"type": "normal", "mean": 0.0, "std": 0.01}],
    )
    class_weights: Literal["balanced"] | dict[str, ClassWeight] | None = Field(
        None,
        description="Softmax: how much a row of each class counts, in the losses too; classes left out count 1. "
        "`balanced`: rows / (classes · rows of the class).",
        examples=[None],
        max_length=1000,
    )
    early_stopping: EarlyStopping | None = Field(
        None,
        description="Stop when a metric no longer improves, and restore the weights of the best epoch.",
        examples=[None],
    )
    train_metrics: Literal["running", "full"] | None = Field(
        None,
        description="`full` measures the training rows after each epoch (default for linear), "
        "`running` accumulates over the minibatches as they are trained (default for softmax).",
        examples=["running"],
    )
    seed: Seed = Field(
        0,
        description="Seed of the first weights and of each epoch's permutation.",
        examples=[0],
    )
    standardize: bool | None = Field(
        None,
        description="Give every column mean 0 and standard deviation 1 while training. "
        "Default: true for tables, false for synthetic and image data.",
        examples=[False],
    )
    sweep: Sweep | None = Field(
        None,
        description="Try several values of some options, and keep the best on the validation rows.",
        examples=[None],
    )
    time_limit_seconds: float | None = Field(
        None,
        gt=0,
        le=31_536_000,
        description="Stop after so many seconds of training and keep what has been learned, as a `partial` model.",
        examples=[None],
    )
    optimality_gap: bool = Field(
        False,
        description="After the training, find the optimum of the objective in float64, and tell in the job's "
        "`optimality` how far above it the trained model is. May take longer than the training itself.",
        examples=[False],
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to train. `auto`: where it is likely to be over first.", examples=["auto"]
    )
    tf32: bool = Field(
        False,
        description="On a GPU, compute matrix products with the 10 bits of TF32 instead of float32's 23: faster, and "
        "less exact. Of no effect where `device: auto` chooses the cpu.",
        examples=[False],
    )

    @model_validator(mode="after")
    def _only_what_applies(self) -> Self:
        applicability.check(self)
        return self

    @property
    def is_rate_open(self) -> bool:
        """Whether the learning rate is left to the data."""
        return self.learning_rate == "auto" and not (self.sweep and self.sweep.learning_rate)

    def effective(self, rows: int) -> Self:
        """The same with the defaults that depend on the model and the number of training rows.

        What depends on the data itself (learning_rate "auto", precondition "auto", momentum) is settled when the
        training starts (see `setting`).
        """
        defaults: dict[str, object] = {"loss": applicability.LOSSES[self.model][0]}
        if self.solver == "sgd":
            falling = self.is_rate_open
            defaults |= {
                "train_metrics": "full" if self.model == "linear" else "running",
                "epochs": min(max(round(600_000 / rows), 10), 1000),
                "batch_size": min(max(2 ** round(math.log2(rows) / 2), 8), 256),
                "lr_schedule": LinearSchedule(type="linear") if falling else ConstantSchedule(),
            }
        elif self.solver == "lbfgs":
            kinked = self.l1 or self.loss == "huber"
            defaults["epochs"] = LBFGS_ITERATIONS_KINKED if kinked else LBFGS_ITERATIONS
        return self.model_copy(update={name: value for name, value in defaults.items() if getattr(self, name) is None})
