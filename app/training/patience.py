"""Early stopping carried out, on the epochs of any solver."""

from collections.abc import Iterator
from dataclasses import replace

from app.training.early_stopping import EarlyStopping
from app.training.epoch import Epoch, Pause
from app.training.errors import Diverged
from app.training.state import State


def keep_best(
    steps: Iterator[Epoch | Pause], rule: EarlyStopping, resume: State | None = None
) -> Iterator[Epoch | Pause]:
    """The same steps, each epoch's state holding the best model so far, until patience is over.

    Raises:  Diverged, with the best model instead of the last
    """
    best = resume
    try:
        for step in steps:
            if isinstance(step, Pause):
                yield step
                continue
            best = _better(step, rule, best)
            state = replace(step.state, model=best.model, best_epoch=best.best_epoch, best_value=best.best_value)
            yield replace(step, state=state)
            if step.number - (best.best_epoch or 0) >= rule.patience:
                return
    except Diverged as diverged:
        if best is not None:
            diverged.parameters = best.model
        raise


def is_over(rule: EarlyStopping | None, state: State) -> bool:
    """Whether a training that left this state had run out of patience."""
    return rule is not None and state.best_epoch is not None and state.epoch - state.best_epoch >= rule.patience


def is_last(epoch: Epoch) -> bool:
    """Whether the training ends with this epoch."""
    options = epoch.options
    return epoch.number == options.epochs or bool(epoch.converged) or is_over(options.early_stopping, epoch.state)


def _better(epoch: Epoch, rule: EarlyStopping, best: State | None) -> State:
    value = getattr(epoch, str(rule.metric))
    if best is not None and best.best_value is not None and not rule.improves(value, best.best_value):
        return best
    return replace(epoch.state, best_epoch=epoch.number, best_value=float(value))
