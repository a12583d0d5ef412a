"""The large regime: minibatches in compiled tiles, by a team of threads, for one training or all candidates of a sweep.

Weights are stored by output, with the features padded to whole vectors; nothing is allocated in the loop, and rows are
read where they lie, pixels as bytes. The scale of the features enters behind the products.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.training import tiled_kernels
from app.training.compilation import aligned, frozen
from app.training.engine import RUNNING, Report
from app.training.losses import CODES
from app.training.pieces import MEASURED_ROWS, Answers, answers, permute, update_of
from app.training.problem import Parameters, Rows
from app.training.setting import Setting
from app.training.team import Team, span_of
from app.training.tiles import FEATURES, ROWS, padded

BLOCK_BYTES = 100_000
"""Rows that are worked on at a time, which the second-level cache holds beside the gradient of some classes."""
FEWEST_ROWS, MOST_ROWS = 16, 256
"""Rows of a block at least, where they are wide, and at most."""
MOST_CONTRASTED = 16
"""Classes of a softmax whose logits are taken less the last class's: of more, its gradient would gather rounding."""

NO_GRADIENT = np.empty(0, np.float32)

Scratch = tuple[NDArray[np.float32], ...]
Given = tuple[
    NDArray[np.uint8],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.int32],
    NDArray[np.float32],
    NDArray[np.uint8],
]


def scratch(features: int, outputs: int, longest: int, are_classes: bool = False) -> Scratch:
    """What a member works in: a block of rows, their outputs, notes, and contrasts if the outputs are a few classes.

    There are never more than `longest` rows.
    """
    width = padded(features, FEATURES)
    size = max(FEWEST_ROWS, min(MOST_ROWS, BLOCK_BYTES // (4 * width)))
    size = padded(min(longest, size), ROWS)
    contrasts = outputs - 1 if are_classes and outputs <= MOST_CONTRASTED else 0
    return aligned(size, width), aligned(outputs, size), aligned(4, size), aligned(contrasts, width)


def flat_size(features: int, outputs: int) -> int:
    """Numbers of a flat vector of weights and biases."""
    return padded(outputs * padded(features, FEATURES) + outputs, FEATURES)


def views(flat: NDArray[Any], features: int, outputs: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """W (outputs × D), padding included, and b (outputs) within a flat vector."""
    width = padded(features, FEATURES)
    weights = outputs * width
    return flat[:weights].reshape(outputs, width), flat[weights : weights + outputs]


def given(X: NDArray[Any], truth: Answers) -> Given:
    """Rows as the kernels take them: as bytes or as numbers, the other being empty; at last, the bytes of either."""
    octets, numbers = (X if X.dtype == kind else np.empty((0, X.shape[1]), kind) for kind in (np.uint8, np.float32))
    return frozen(octets), frozen(numbers), *truth, frozen(X.view(np.uint8))


def part_of(rows: Given, chosen: slice) -> Given:
    """Some of the rows."""
    octets, numbers, targets, labels, shares, held = rows
    return octets[chosen], numbers[chosen], targets[chosen], labels[chosen], shares, held[chosen]


class TiledEngine:
    """Minibatch SGD of a large problem on the CPU; `settings` are the candidates of a sweep, or a lone training's.

    `members` of a team share each step; the bits depend on how many they are.

    Shapes:  theta = [W (C·k × D) | b (C·k)]; rows c·k … (c+1)·k − 1 are candidate c's, and columns from d on are 0
    """

    def __init__(self, settings: list[Setting], pace: int, members: int = 1) -> None:
        self.pace = pace
        self._settings, self._setting = settings, settings[0]
        problem = self._setting.problem
        self._k, self._features = problem.outputs, problem.train.features
        self._splits = [rows for rows in (problem.train, problem.train, problem.validation) if rows is not None]
        self._rows = [given(rows.X, answers(rows, self._setting)) for rows in self._splits]
        self._order = np.empty(problem.train.count, np.int32)
        longest = max(rows.count for rows in self._splits)
        self._sequence = np.arange(min(longest, MEASURED_ROWS), dtype=np.int32)
        outputs = len(settings) * self._k
        self._team = Team(members)
        are_classes = problem.train.y.ndim == 1 and len(settings) == 1
        self._scratch = [scratch(self._features, outputs, longest, are_classes) for _ in range(members)]
        self._sums = [aligned(3, len(settings), 4).view(np.float64) for _ in range(members)]
        self._lay_out_parameters(outputs)

    def _lay_out_parameters(self, outputs: int) -> None:
        size, members = flat_size(self._features, outputs), range(self._team.size)
        decay, updates = aligned(size), np.array([update_of(setting) for setting in self._settings], np.float32)
        self._states = [(aligned(size), aligned(size), aligned(size), decay, updates) for _ in members]
        self._shared = aligned(size), aligned(self._team.size, size)
        self._spans = [slice(*span_of.py_func(member, self._team.size, size)) for member in members]  # type: ignore[attr-defined]
        for number, setting in enumerate(self._settings):
            for theta, velocity, *_ in self._states:
                self._put(theta, number, setting.start)
                if setting.velocity is not None:
                    self._put(velocity, number, setting.velocity)
            self._views(decay, number)[0][:, : self._features] = setting.decay

    def _views(self, flat: NDArray[np.float32], number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A candidate's W (k × D) and b (k) within a flat vector."""
        weights, bias = views(flat, self._features, len(self._settings) * self._k)
        own = slice(number * self._k, (number + 1) * self._k)
        return weights[own], bias[own]

    def _put(self, flat: NDArray[np.float32], number: int, parameters: Parameters) -> None:
        weights, bias = self._views(flat, number)
        weights[:, : self._features], bias[:] = parameters.weights.T, parameters.bias

    def _model_for(self, rows: Rows, member: int) -> tuple[object, ...]:
        weights, bias = views(self._states[member][0], self._features, len(self._settings) * self._k)
        return weights, bias, np.float32(rows.scale), CODES[str(self._setting.options.loss)], self._k

    def begin(self, epoch: int) -> None:
        """See `Engine`."""
        permute(self._order, self._setting, epoch)
        for sums in self._sums:
            sums.fill(0)

    def descend(self, first: int, last: int, rates: NDArray[np.float32]) -> None:
        """See `Engine`; in a sweep rates[s, c] is candidate c's at step s."""
        summed = self._setting.options.gradient_reduction == "sum"
        epoch = self._order, rates.reshape(len(rates), -1), (first, last, self._setting.batch_size, summed)

        def steps(member: int) -> None:
            model, place = self._model_for(self._splits[0], member), (self._team.meetings, member)
            own, sums = (self._states[member], self._shared, model, self._scratch[member]), self._sums[member][RUNNING]
            tiled_kernels.descend(self._rows[0], epoch, *own, place, sums)

        self._team.run(steps)

    def measure(self, split: int, start: int, stop: int) -> None:
        """See `Engine`."""
        for first in range(start, stop, MEASURED_ROWS):
            self._measure(split, slice(first, min(first + MEASURED_ROWS, stop)))

    def _measure(self, split: int, chosen: slice) -> None:
        rows = part_of(self._rows[split], chosen)

        def part(member: int) -> None:
            model = self._model_for(self._splits[split], member)
            first, last = self._team.share(member, chosen.stop - chosen.start)
            sums, share = self._sums[member][split], (self._sequence, first, last, last)
            tiled_kernels.differentiate(rows, share, model, self._scratch[member], NO_GRADIENT, sums)

        self._team.run(part)

    @property
    def totals(self) -> NDArray[np.float64]:
        """Sums of losses and of hits, (3, candidates, 2), as in a `Report`."""
        summed: NDArray[np.float64] = np.sum(self._sums, axis=0)
        return summed

    def report(self) -> Report:
        """See `Engine`."""
        velocity = self.velocity(0) if self._setting.options.momentum else None
        return Report(self.totals[:, 0], self.parameters(0), velocity)

    def parameters(self, number: int) -> Parameters:
        """W and b of a candidate."""
        return self._copied(self._states[0][0], number)

    def velocity(self, number: int) -> Parameters:
        """The velocity of a candidate."""
        spans = zip(self._states, self._spans, strict=True)
        return self._copied(np.concatenate([velocity[span] for (_, velocity, *_), span in spans]), number)

    def _copied(self, flat: NDArray[np.float32], number: int) -> Parameters:
        weights, bias = self._views(flat, number)
        return Parameters(weights[:, : self._features].T.copy(order="C"), bias.copy())

    def drop(self, number: int) -> None:
        """Let a candidate that diverged rest at 0."""
        for theta, velocity, gradient, decay, _ in self._states:
            for flat in (theta, velocity, gradient, decay):
                weights, bias = self._views(flat, number)
                weights[:], bias[:] = 0, 0
