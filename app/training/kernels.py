"""The compiled loops of small problems: permutations, whole epochs, and the step that all regimes take.

Arguments travel in plain tuples, which cost a compiled call nothing:

    truth   targets (n, k) float32, labels (n,) int32, of which one is empty; shares (k,), the classes' weights
    rows    X (n, d), and truth
    state   theta, velocity, gradient, decay: flat float32, weights first, then bias; z: the outputs of a block
    update  momentum, along_gradient, along_velocity, threshold as float32 (see `step`)
"""

import math

import numpy as np

from app.training.compilation import LINE_BYTES, compiled, fetched_halfway, frozen, inlined
from app.training.losses import CROSS_ENTROPY, cross_entropy, residual_loss, residuals

ONE, ZERO = np.float32(1), np.float32(0)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@inlined
def mixed(bits):  # type: ignore[no-untyped-def]
    """SplitMix64's output function, a bijection of 64 bits (Steele, Lea and Flood, 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@compiled
def permute(order, seed, epoch):  # type: ignore[no-untyped-def]
    """Write the permutation of 0…n−1 that belongs to (seed, epoch) into `order` (n,) int32.

    Fisher and Yates from the identity, so that an epoch depends on none before it and a job can resume
    anywhere. The index is drawn by multiply and shift (Lemire, 2019), whose bias is below n/2³².
    """
    for i in range(order.size):
        order[i] = i
    shuffle(order, 0, order.size, started(seed, epoch))


@inlined
def started(seed, epoch):  # type: ignore[no-untyped-def]
    """The generator's state at the beginning of an epoch."""
    return mixed(mixed(np.uint64(seed) + GOLDEN) + np.uint64(epoch) * GOLDEN)


@inlined
def shuffle(order, start, stop, state):  # type: ignore[no-untyped-def]
    """Permute order[start…stop−1]; the generator's state afterwards."""
    for i in range(stop - start - 1, 0, -1):
        state += GOLDEN
        j = np.int64(((mixed(state) >> np.uint64(32)) * np.uint64(i + 1)) >> np.uint64(32))
        order[start + i], order[start + j] = order[start + j], order[start + i]
    return state


@compiled
def permute_by_blocks(order, blocks, seed, epoch, block_rows, group_rows):  # type: ignore[no-untyped-def]
    """The same for rows that lie in a file larger than memory (see `paging`): blocks, then rows within groups.

    `blocks` (⌈n/block_rows⌉,) int32 is room for the blocks' permutation.
    """
    count = order.size
    for i in range(blocks.size):
        blocks[i] = i
    state = shuffle(blocks, 0, blocks.size, started(seed, epoch))
    place = 0
    for block in blocks:
        first = np.int64(block) * block_rows
        for row in range(first, min(first + block_rows, count)):
            order[place] = row
            place += 1
    for start in range(0, count, group_rows):
        state = shuffle(order, start, min(start + group_rows, count), state)


@inlined
def moved(w, v, g, rate, update):  # type: ignore[no-untyped-def]
    """New value and velocity of one parameter."""
    momentum, along_gradient, along_velocity, threshold = update
    v = momentum * v + g
    w -= rate * (along_gradient * g + along_velocity * v)
    size = abs(w) - rate * threshold
    return math.copysign(max(size, ZERO), w), v


@inlined
def step_span(arrays, span, rate, scale, update):  # type: ignore[no-untyped-def]
    """One SGD step on theta[first…last−1], in place; threshold (the l1) and decay (the l2) are the penalties.

    g ← scale·gradient + decay·w
    v ← momentum·v + g
    w ← w − rate·v                           torch.optim.SGD;  Nesterov: w ← w − rate·(g + momentum·v)
    w ← sign(w)·max(|w| − rate·threshold, 0) the proximal step of l1; threshold = l1/(1 − momentum)

    No branch: those two steps are one for (along_gradient, along_velocity) = (0, 1) and (1, momentum). A NaN
    stays one. Unsigned indices are seen not to count from the end, and the loop is vectorised.
    """
    theta, velocity, gradient, decay = arrays
    for i in range(np.uint64(span[0]), np.uint64(span[1])):
        slope = scale * gradient[i] + decay[i] * theta[i]
        theta[i], velocity[i] = moved(theta[i], velocity[i], slope, rate, update)


@inlined
def step(state, rate, scale, penalised, update):  # type: ignore[no-untyped-def]
    """The step on all of theta = [W | b]: the weights, and the bias without threshold; its decay is 0."""
    theta, velocity, gradient, decay, _ = state
    momentum, along_gradient, along_velocity, _ = update
    arrays = theta, velocity, gradient, decay
    step_span(arrays, (0, penalised), rate, scale, update)
    step_span(arrays, (penalised, theta.size), rate, scale, (momentum, along_gradient, along_velocity, ZERO))


@compiled
def softmax_slopes(z, order, start, stop, labels, shares, totals):  # type: ignore[no-untyped-def]
    """Logits z of the rows order[start…stop−1] become the loss's slopes; adds to `totals`."""
    total, hits = 0.0, 0
    for i in range(start, stop):
        label = labels[order[i]]
        value, hit = cross_entropy(z, i - start, label, shares[label])
        total += value
        hits += hit
    totals[0] += total
    totals[1] += hits


@compiled
def residual_slopes(z, order, start, stop, targets, loss, totals):  # type: ignore[no-untyped-def]
    """Predictions z of the rows order[start…stop−1] become the loss's slopes; adds to `totals`."""
    total = 0.0
    for i in range(start, stop):
        total += residuals(z, i - start, targets, order[i], loss)
    totals[0] += total


@inlined
def approach(X, order, start, stop):  # type: ignore[no-untyped-def]
    """Have the rows order[start…stop−1], those of a coming step, brought near."""
    line = LINE_BYTES // X.itemsize
    for i in range(start, stop):
        for j in range(0, X.shape[1], line):
            fetched_halfway(X, order[i], j)


@inlined
def forward(X, order, start, stop, theta, z):  # type: ignore[no-untyped-def]
    """Outputs of the rows order[start…stop−1]: z_ic = b_c + Σⱼ x_ij W_cj; theta = [W (k × d) | b (k)]."""
    d, k = X.shape[1], z.shape[1]
    for i in range(start, stop):
        row = order[i]
        for c in range(k):
            total = ZERO
            for j in range(d):
                total += X[row, j] * theta[c * d + j]
            z[i - start, c] = total + theta[k * d + c]


@inlined
def backward(X, order, start, stop, z, gradient):  # type: ignore[no-untyped-def]
    """Sums over the rows of slope times feature, G_cj = Σᵢ z_ic x_ij, and for the bias Σᵢ z_ic."""
    d, k = X.shape[1], z.shape[1]
    gradient[:] = ZERO
    for i in range(start, stop):
        row = order[i]
        for c in range(k):
            slope = z[i - start, c]
            for j in range(d):
                gradient[c * d + j] += slope * X[row, j]
            gradient[k * d + c] += slope


@inlined
def differentiate_line(X, order, start, stop, theta, targets, loss, gradient):  # type: ignore[no-untyped-def]
    """Forward, slopes and backward at once for a lone output, row by row: no more is needed of a row than its slope."""
    d, total, bias_slope = X.shape[1], 0.0, ZERO
    gradient[:] = ZERO
    for i in range(start, stop):
        row = order[i]
        output = theta[d]
        for j in range(d):
            output += X[row, j] * theta[j]
        value, slope = residual_loss(loss, output - targets[row, 0])
        total += value
        bias_slope += slope
        for j in range(d):
            gradient[j] += slope * X[row, j]
    gradient[d] = bias_slope
    return total


@compiled
def descend(rows, order, span, rates, state, update, loss, totals):  # type: ignore[no-untyped-def]
    """The steps of `span` = (first, last, batch_size, summed, ahead) in an epoch of a small problem.

    Step s takes the rows order[s·batch_size …], at most batch_size of them, and divides by their number
    unless summed. `ahead` rows of the next step are asked for meanwhile: 0 where
    the caches hold them all.
    """
    X, targets, labels, shares = rows
    theta, _, gradient, _, z = state
    first, last, batch_size, summed, ahead = span
    penalised = z.shape[1] * X.shape[1]
    for s in range(first, last):
        start, stop = s * batch_size, min((s + 1) * batch_size, order.size)
        approach(X, order, stop, min(stop + ahead, order.size))
        if loss != CROSS_ENTROPY and z.shape[1] == 1:
            totals[0] += differentiate_line(X, order, start, stop, theta, targets, loss, gradient)
        else:
            forward(X, order, start, stop, theta, z)
            if loss == CROSS_ENTROPY:
                softmax_slopes(z, order, start, stop, labels, shares, totals)
            else:
                residual_slopes(z, order, start, stop, targets, loss, totals)
            backward(X, order, start, stop, z, gradient)
        scale = ONE if summed else ONE / np.float32(stop - start)
        step(state, rates[s], scale, penalised, update)


@compiled
def survey(rows, order, span, state, loss, totals):  # type: ignore[no-untyped-def]
    """Add the losses and hits of the rows of `span` = (start, stop) of a small problem to `totals`."""
    X, targets, labels, shares = rows
    theta, _, _, _, z = state
    start, last = span
    while start < last:
        stop = min(start + z.shape[0], last)
        forward(X, order, start, stop, theta, z)
        if loss == CROSS_ENTROPY:
            softmax_slopes(z, order, start, stop, labels, shares, totals)
        else:
            residual_slopes(z, order, start, stop, targets, loss, totals)
        start = stop


@compiled
def finite(values):  # type: ignore[no-untyped-def]
    """Whether a flat vector holds no NaN and no infinity."""
    for value in values:  # noqa: SIM110 — a generator is not compiled
        if not math.isfinite(value):
            return False
    return True


def warm() -> None:
    """Compile every loop, or load it from the cache: half a minute the first time, half a second later."""
    from app.training import tiled_kernels

    truth = frozen(np.zeros((2, 1), np.float32)), frozen(np.zeros(2, np.int32)), frozen(np.ones(1, np.float32))
    theta, velocity, gradient, decay = (np.zeros(2, np.float32) for _ in range(4))
    z, order, totals = np.zeros((2, 1), np.float32), np.zeros(2, np.int32), np.zeros(2)
    state, update = (theta, velocity, gradient, decay, z), (ZERO, ZERO, ONE, ZERO)
    rows = frozen(np.zeros((2, 1), np.float32)), *truth
    permute(order, 0, 1)
    permute_by_blocks(order, np.zeros(order.size, np.int32), 0, 1, 1, 2)
    descend(rows, order, (0, 1, 2, False, 2), np.zeros(1, np.float32), state, update, CROSS_ENTROPY, totals)
    survey(rows, order, (0, 2), state, CROSS_ENTROPY, totals)
    finite(theta)
    tiled_kernels.warm()
