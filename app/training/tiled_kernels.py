"""The compiled loops of the large regime: minibatches in blocks of rows that the caches hold, outputs by column.

Several candidates of a sweep stand side by side, k outputs each, and share the rows. A lone training is one candidate.
The members of a team (see `team`) take a share of each minibatch's rows, and then a share of the parameters.

    rows     X (n, d) as uint8 or as float32, of which one is empty; targets (n, k) float32 or labels (n,) int32,
             of which one is empty; shares (k,), the classes' weights; the bytes of X (n, bytes of a row)
    model    W (K, D), b (K,), the features' scale, the loss, k             K = candidates·k, D = d padded
    scratch  block (B, D), Z (K, B), notes (4, B), contrasts (K − 1, D) or (0, D), all float32
    state    theta, velocity, gradient, decay (P,): weights first, then biases, then padding;
             updates (candidates, 4): momentum, along_gradient, along_velocity, threshold
    shared   theta (P,), gradients (members, P): how the members of a team hand each other theirs
    chosen   order (n,) int32, start, stop, coming, as in `tiles`

Model, scratch and state are a member's own, but for decay and updates; of the velocity it has its span alone.
"""

import numpy as np

from app.training.compilation import aligned, compiled, frozen, inlined
from app.training.kernels import ONE, ZERO, step_span
from app.training.losses import CROSS_ENTROPY, exponential, logarithm, residual_loss
from app.training.team import NUMBERS, meet, publish, share_of, span_of
from app.training.tiles import FEATURES, ROWS, ROWS_AHEAD, backward, forward, take


@compiled
def contrast(W, contrasts):  # type: ignore[no-untyped-def]
    """Weights less the last class's: the loss depends on them alone, and there is one output less to compute."""
    last = contrasts.shape[0]
    for c in range(last):
        for j in range(np.uint64(W.shape[1])):
            contrasts[c, j] = W[c, j] - W[last, j]


@compiled
def find_best(Z, first, count, k, top, best):  # type: ignore[no-untyped-def]
    """The largest logit of each row, and the first class that has it."""
    for i in range(count):
        top[i], best[i] = Z[first, i], ZERO
    for c in range(1, k):
        number = np.float32(c)
        for i in range(count):
            z, until = Z[first + c, i], top[i]
            best[i] = number if z > until else best[i]
            top[i] = max(until, z)


@compiled
def exponentiate(Z, first, count, k, top, total):  # type: ignore[no-untyped-def]
    """Logits become e^(z − top), and `total` their sums."""
    total[:count] = ZERO
    for c in range(k):
        for i in range(count):
            power = exponential(Z[first + c, i] - top[i])
            Z[first + c, i] = power
            total[i] += power


@compiled
def softmax_slopes(Z, first, chosen, labels, shares, notes, totals):  # type: ignore[no-untyped-def]
    """Logits of one candidate become weight·(softmax − onehot(label)); adds loss and hits to `totals` (see `losses`).

    Column by column of Z rather than row by row: the loops run along the rows, which LLVM vectorises where an index is
    unsigned, since it then does not count from the end.
    """
    order, start, stop, _ = chosen
    count, k, loss, hits = np.uint64(stop - start), shares.size, 0.0, 0
    top, best, total, weight = notes[0], notes[1], notes[2], notes[3]
    find_best(Z, first, count, k, top, best)
    for i in range(count):
        label = labels[order[start + i]]
        hits += best[i] == np.float32(label)
        weight[i] = shares[label]
        loss -= weight[i] * (Z[first + label, i] - top[i])
    exponentiate(Z, first, count, k, top, total)
    for i in range(count):
        loss += weight[i] * logarithm(total[i])
        total[i] = weight[i] / total[i]
    for c in range(k):
        for i in range(count):
            Z[first + c, i] *= total[i]
    for i in range(count):
        Z[first + labels[order[start + i]], i] -= weight[i]
    totals[0] += loss
    totals[1] += hits


@compiled
def residual_slopes(Z, first, chosen, targets, loss, totals):  # type: ignore[no-untyped-def]
    """Predictions of one candidate become the loss's slopes; adds the losses to `totals`."""
    order, start, stop, _ = chosen
    total = 0.0
    for c in range(targets.shape[1]):
        for i in range(np.uint64(stop - start)):
            residual = Z[first + c, i] - targets[order[start + i], c]
            value, Z[first + c, i] = residual_loss(loss, residual)
            total += value
    totals[0] += total


@inlined
def answer(rows, chosen, model, scratch, totals):  # type: ignore[no-untyped-def]
    """Outputs of a block of rows, turned into slopes in Z; losses and hits go to totals (candidates, 2)."""
    octets, numbers, targets, labels, shares, _ = rows
    _, start, stop, _ = chosen
    W, b, scale, loss, k = model
    block, Z, notes, contrasts = scratch
    contrasted = contrasts.shape[0] > 0
    factors, zero = (contrasts, b[-1]) if contrasted else (W, ZERO)
    done = take(octets, chosen, block, factors, Z) if octets.size > 0 else take(numbers, chosen, block, factors, Z)
    forward(block, stop - start, factors, Z, done)
    for c in range(factors.shape[0]):
        bias = b[c] - zero
        for i in range(np.uint64(stop - start)):
            Z[c, i] = scale * Z[c, i] + bias
    if contrasted:
        Z[-1] = ZERO
    for candidate in range(totals.shape[0]):
        if loss == CROSS_ENTROPY:
            softmax_slopes(Z, candidate * k, chosen, labels, shares, notes, totals[candidate])
        else:
            residual_slopes(Z, candidate * k, chosen, targets, loss, totals[candidate])


@compiled
def complete(G):  # type: ignore[no-untyped-def]
    """The last class's gradient, where it is 0 so far: the slopes of a row sum to 0 over the classes."""
    last = G.shape[0] - 1
    for c in range(last):
        for j in range(np.uint64(G.shape[1])):
            G[last, j] -= G[c, j]


@compiled
def differentiate(rows, chosen, model, scratch, gradient, totals):  # type: ignore[no-untyped-def]
    """Losses and hits of rows are added to `totals`; the gradient (P,) is set, unless it is empty.

    The gradient is Σᵢ z_ic x_ij, without the features' scale, and Σᵢ z_ic for the biases. Where there are contrasts,
    the outputs are those less the last class's, and its weights' gradient follows from the others'.
    """
    order, start, stop, coming = chosen
    block, Z, _, contrasts = scratch
    outputs, features = model[0].shape
    contrasted = contrasts.shape[0] > 0
    free = outputs - 1 if contrasted else outputs
    if contrasted:
        contrast(model[0], contrasts)
    gradient[:] = ZERO
    for first in range(start, stop, block.shape[0]):
        last = min(first + block.shape[0], stop)
        answer(rows, (order, first, last, last if last < stop else coming), model, scratch, totals)
        if gradient.size > 0:
            slopes = gradient[: free * features].reshape(free, features)
            backward(block, last - first, Z, slopes, rows[5], chosen, last - start + ROWS_AHEAD)
            for c in range(outputs):
                total = ZERO
                for i in range(np.uint64(last - first)):
                    total += Z[c, i]
                gradient[outputs * features + c] += total
    if contrasted and gradient.size > 0:
        complete(gradient[: outputs * features].reshape(outputs, features))


@inlined
def overlap(first, size, span):  # type: ignore[no-untyped-def]
    """What first…first+size−1 and a span have in common."""
    return max(first, span[0]), min(first + size, span[1])


@compiled
def move(state, span, rates, sizes, scales):  # type: ignore[no-untyped-def]
    """The step of every candidate, with its own rate and update, for the parameters of a span."""
    theta, velocity, gradient, decay, updates = state
    arrays, (weights, biases) = (theta, velocity, gradient, decay), sizes
    for c in range(rates.size):
        momentum, along_gradient, along_velocity, threshold = updates[c]
        for part in range(2):
            first, size = (c * weights, weights) if part == 0 else (rates.size * weights + c * biases, biases)
            update = momentum, along_gradient, along_velocity, threshold if part == 0 else ZERO
            step_span(arrays, overlap(first, size, span), rates[c], scales[part], update)


@inlined
def share_gradient(gradient, gradients, place):  # type: ignore[no-untyped-def]
    """Hand the other members what they have to move, and add what they have found for one's own span."""
    meetings, member = place
    members = meetings.shape[0]
    first, last = span_of(member, members, gradient.size)
    publish(gradient, gradients[member], 0, first)
    publish(gradient, gradients[member], last, gradient.size)
    meet(meetings, member)
    for other in range(members):
        if other != member:
            for i in range(np.uint64(first), np.uint64(last)):
                gradient[i] += gradients[other, i]


@inlined
def share_parameters(theta, parameters, place):  # type: ignore[no-untyped-def]
    """Hand the other members one's own span, and take theirs."""
    meetings, member = place
    first, last = span_of(member, meetings.shape[0], theta.size)
    publish(theta, parameters, first, last)
    meet(meetings, member)
    for i in range(np.uint64(first)):
        theta[i] = parameters[i]
    for i in range(np.uint64(last), np.uint64(theta.size)):
        theta[i] = parameters[i]


@compiled
def descend(rows, epoch, state, shared, model, scratch, place, totals):  # type: ignore[no-untyped-def]
    """A member's part in some steps of an epoch.

    epoch  order (n,), rates (steps, candidates), and the span: first, last, batch_size, summed
    place  the team's meetings, and which member this is
    """
    order, rates, (first, last, batch_size, summed) = epoch
    theta, _, gradient, _, _ = state
    parameters, gradients = shared
    weights, _, scale, _, k = model
    meetings, member = place
    members, sizes = meetings.shape[0], (k * weights.shape[1], k)
    own = span_of(member, members, theta.size)
    for s in range(first, last):
        start, stop = s * batch_size, min((s + 1) * batch_size, order.size)
        mine = share_of(member, members, start, stop)
        coming = share_of(member, members, stop, min(stop + batch_size, order.size))
        chosen = order, mine[0], mine[1], coming[0]
        differentiate(rows, chosen, model, scratch, gradient, totals)
        if members > 1:
            share_gradient(gradient, gradients, place)
        share = ONE if summed else ONE / np.float32(stop - start)
        move(state, own, rates[s], sizes, (scale * share, share))
        if members > 1:
            share_parameters(theta, parameters, place)


def warm() -> None:
    """Compile the loops, or load them from the cache."""
    truth = frozen(np.zeros((2, 1), np.float32)), frozen(np.zeros(2, np.int32)), frozen(np.ones(1, np.float32))
    order, size = np.zeros(2, np.int32), FEATURES + 1
    theta, velocity, gradient, decay = np.zeros((4, size), np.float32)
    state = theta, velocity, gradient, decay, np.zeros((1, 4), np.float32)
    shared = aligned(size), aligned(1, size)
    model = theta[:-1].reshape(1, FEATURES), theta[-1:], ONE, CROSS_ENTROPY, 1
    epoch, totals = (order, np.zeros((1, 1), np.float32), (0, 1, 2, False)), np.zeros((1, 2))
    scratch = tuple(aligned(*shape) for shape in ((ROWS, FEATURES), (1, ROWS), (4, ROWS), (0, FEATURES)))
    X = frozen(np.zeros((2, 1), np.uint8)), frozen(np.zeros((0, 1), np.float32))
    rows, meetings = (*X, *truth, X[0]), np.zeros((1, NUMBERS), np.int64)
    descend(rows, epoch, state, shared, model, scratch, (meetings, 0), totals)
    differentiate(rows, (order, 0, 2, 2), model, scratch, gradient, totals)
