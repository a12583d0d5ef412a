"""The compiled loops of a sweep: candidates stand side by side, k columns each, in every row of z and of theta."""

import math

import numpy as np

from app.training.compilation import compiled, frozen, inlined
from app.training.kernels import ONE, ZERO
from app.training.losses import CROSS_ENTROPY, exponential, residual_loss


@inlined
def cross_entropy_block(z, row, first, k, label, weight):  # type: ignore[no-untyped-def]
    """Columns first…first+k−1 of a row become slopes; the loss, and whether argmax hit (see `losses`)."""
    best = first
    for c in range(first + 1, first + k):
        if z[row, c] > z[row, best]:
            best = c
    top = z[row, best]
    at_label = z[row, first + label] - top
    total = ZERO
    for c in range(first, first + k):
        z[row, c] = exponential(z[row, c] - top)
        total += z[row, c]
    share = weight / total
    for c in range(first, first + k):
        z[row, c] *= share
    z[row, first + label] -= weight
    return weight * (math.log(total) - at_label), best == first + label


@compiled
def answer_all(z, biases, scale, chosen, truth, loss, k, totals):  # type: ignore[no-untyped-def]
    """Products z = XW become scale·z + b, then slopes, candidate by candidate; sums go to totals (C, 2).

    The slopes' sums are added to the second of `biases`, the bias's gradient.
    """
    order, start, stop = chosen
    targets, labels, shares = truth
    bias, bias_gradient = biases
    for i in range(stop - start):
        row = order[start + i]
        for c in range(z.shape[1]):
            z[i, c] = scale * z[i, c] + bias[c]
        for candidate in range(totals.shape[0]):
            first = candidate * k
            if loss == CROSS_ENTROPY:
                label = labels[row]
                value, hit = cross_entropy_block(z, i, first, k, label, shares[label])
                totals[candidate, 0] += value
                totals[candidate, 1] += hit
            else:
                for c in range(k):
                    value, z[i, first + c] = residual_loss(loss, z[i, first + c] - targets[row, c])
                    totals[candidate, 0] += value
        for c in range(totals.shape[0] * k):
            bias_gradient[c] += z[i, c]


@compiled
def step_all(state, rates, momenta, directions, thresholds, scales):  # type: ignore[no-untyped-def]
    """The step of `kernels.step` with a rate, a momentum and directions for each column.

    Shapes:  theta, velocity, gradient, decay (d + 1, K), bias last; rates, momenta, along_*, thresholds (K,)
    """
    theta, velocity, gradient, decay = state
    along_gradient, along_velocity = directions
    scale, bias_scale = scales
    last = theta.shape[0] - 1
    for j in range(theta.shape[0]):
        share = bias_scale if j == last else scale
        penalised = ZERO if j == last else ONE
        for c in range(theta.shape[1]):
            w = theta[j, c]
            g = share * gradient[j, c] + decay[j, c] * w
            v = momenta[c] * velocity[j, c] + g
            velocity[j, c] = v
            w -= rates[c] * (along_gradient[c] * g + along_velocity[c] * v)
            theta[j, c] = math.copysign(max(abs(w) - rates[c] * penalised * thresholds[c], ZERO), w)


def warm() -> None:
    """Compile the loops, or load them from the cache."""
    truth = frozen(np.zeros((2, 1), np.float32)), frozen(np.zeros(2, np.int32)), frozen(np.ones(1, np.float32))
    state = tuple(np.zeros((4, 2, 2), np.float32))
    columns, z, order = np.zeros((3, 2), np.float32), np.zeros((2, 2), np.float32), np.zeros(2, np.int32)
    biases, chosen = (state[0][-1], state[2][-1]), (order, 0, 2)
    answer_all(z, biases, ONE, chosen, truth, CROSS_ENTROPY, 1, np.zeros((2, 2)))
    step_all(state, columns[0], columns[1], (columns[1], columns[2]), columns[2], (ONE, ONE))
