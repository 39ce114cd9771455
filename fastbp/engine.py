"""The compiled training step, in two phases over the op table.

Row phase (see ``rows``): one thread takes a row block through all layers. Parameter phase
(see ``updates``): one thread owns each tile of a gradient. The number of threads changes
no order of summation, so the bits do not depend on it.

Each thread of a team runs ``evaluate`` or ``run_steps`` (see ``kernels.team``); a team of
one is the serial engine, the same code.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .kernels.arrays import span
from .kernels.columns import ONE, ZERO
from .kernels.random import mix, shuffle_share
from .kernels.reduce import wide_sum
from .kernels.subnormal import FLUSH, get_control, set_control
from .kernels.team import assemble, barrier, claim, dismiss
from .panels import carry, part_of
from .rows import ERROR, GRADIENT, PREDICT, share_rows
from .table import call_forward
from .updates import parameter_phase, refresh_mirrors, tile_gradient

__all__ = ["ERROR", "GRADIENT", "PREDICT", "evaluate", "predict_row", "run_steps", "step_key"]

#: Fields of the cursor, which is all of the engine's position: next step (from 0), epoch, first
#: row of the next batch within the epoch, seed, whether to shuffle.
STEP, EPOCH, POSITION, SEED, SHUFFLE = 0, 1, 2, 3, 4
#: Fields of a watch on the epoch loss, error * SHARE / TOTAL: COUNT of epochs in a row that did
#: not get below BEST by TOLERANCE, the MOST that are allowed, and whether there were ENOUGH.
TOTAL, SHARE, BEST, TOLERANCE, COUNT, MOST, ENOUGH = 0, 1, 2, 3, 4, 5, 6


@kernel
def step_key(seed, step):
    """Key from which the random parts of step ``step`` (from 0) are derived; never 0."""
    return mix(np.uint64(seed) ^ mix(~np.uint64(step))) | np.uint64(1)


@kernel
def predict_row(ops, params, ws, X, Y):
    """Outputs Y (1, n) of the one row of X (1, m); returns whether X is finite."""
    total, last = ws.dtype.type(0), ops[ops.size - 1]
    row, given = ws[ops[0]["x"]:], X[0]
    for i in range(given.size):
        row[i] = given[i]
        total += given[i] - given[i]  # NaN, and stays so, if an element is not finite
    now = np.uint64(0), np.uint64(0)
    for k in range(ops.size):
        op = ops[k]
        x, y = ws[op["x"]:op["x"] + op["ld_in"]], ws[op["y"]:op["y"] + op["ld_out"]]
        if op["in_place"] != 0 and op["x"] != op["y"]:
            for i in range(y.size):
                y[i] = x[i]
        call_forward(op["forward_row"], (op, now, params, ws, x, y))
    row, out = ws[last["y"]:], Y[0]
    for i in range(out.size):
        out[i] = row[i]
    return total == 0


@kernel
def total_error(head, ws, rows):
    """Sum of the weighted row errors, in float64."""
    return wide_sum(span(ws, head[0]["error"], ws.size), rows)


@kernel
def batch_weight(weights, source):
    """Sum of the weights of the rows ``source``; their number if there are no weights."""
    if weights.size == 0:
        return float(source.size)
    total = 0.0
    for r in range(source.size):
        total += weights[source[r]]
    return total


@kernel
def evaluate(worker, size, sync, mode, key, passes, ops, tasks, head, params, grads, ws, X, T,
             labels, weights, source, scale):
    """One batch, the rows ``source`` of X, without update; returns its error.

    ``mode`` PREDICT leaves the outputs in the workspace, GRADIENT the gradients in ``grads``.
    """
    if not assemble(worker, sync, size):
        if worker > 0:
            return 0.0
        size = 1
    meeting = ZERO
    if mode == GRADIENT:
        if worker == 0:
            refresh_mirrors(ops, head, params, ws)
        meeting += 1
        barrier(sync, size, meeting)
    base, meeting = share_rows(worker, size, sync, ZERO, meeting, mode, ZERO, key, passes, ops,
                               head, params, ws, X, T, labels, weights, source,
                               span(source, ZERO, ZERO), scale)
    meeting += 1
    barrier(sync, size, meeting)
    if mode == GRADIENT:
        now = key, np.uint64(0)
        share, turn = claim(worker, size, sync, base, tasks.size, ZERO)
        while share < tasks.size:
            task = tasks[share]
            op = ops[task["op"]]
            at = op["param"] + task["first"] * op["ld_out"] + task["left"]
            tile_gradient(op, task, now, head, params, ws, X, source, ZERO, grads[at:],
                          op["ld_out"])
            share, turn = claim(worker, size, sync, base, tasks.size, turn)
        meeting += 1
        barrier(sync, size, meeting)
    dismiss(worker, sync)
    return 0.0 if mode == PREDICT else total_error(head, ws, source.size)


@kernel(cold=True)
def look(watch, error):
    """Update ``watch`` after an epoch with this error: has the loss stopped falling?"""
    loss = error / watch[TOTAL] * watch[SHARE]
    watch[COUNT] = watch[COUNT] + 1 if loss > watch[BEST] - watch[TOLERANCE] else 0
    if loss < watch[BEST]:
        watch[BEST] = loss
    watch[ENOUGH] = watch[COUNT] > watch[MOST]


@kernel
def run_steps(worker, size, sync, passes, tables, heads, tasks, moves, home, home_slots,
              home_average, params, slots, average, grads, ws, X, T, labels, weights, order, ahead,
              batch, mean, optimizer, rates, hyper, rules, sums, norms, watch, cursor, errors):
    """One training step for each row of ``rates``, from where ``cursor`` stands.

    ``order`` has the row numbers of one epoch, used in every epoch, or of each epoch of the call.
    ``errors[0]`` sums up the current epoch's error (times weight if ``mean``), and ``errors[k]``
    that of the k-th epoch after it. A non-empty ``watch`` may end the call after an epoch. The
    cursor is left at the next step. ``ahead``: whether to prefetch rows. Subnormal numbers are
    treated as 0. With ``moves``, the parameters and all that has their layout are copied in from
    ``home`` and back at the end; without, both are the same arrays. With several copies each
    thread updates its own (see ``panels``): ``tables`` has ops for each, ``heads`` two in turn.
    """
    if not assemble(worker, sync, size):
        if worker > 0:
            return
        size = 1
    control = get_control()
    set_control(control | FLUSH)
    n, shards = X.shape[0], heads[0]["shards"]
    kept = shards if heads[0]["partial"] >= 0 else ZERO
    copies = params.size // home.size if heads.size > 1 else 1
    many, per = tables.size // copies, sums.shape[0] // copies
    own, updaters = (worker, 1) if copies > 1 else (0, size)
    ops, sums = tables[own * many:(own + 1) * many], sums[own * per:(own + 1) * per]
    params, slots, average, grads, norms = (
        part_of(params, own, copies), part_of(slots, own, copies), part_of(average, own, copies),
        part_of(grads, own, copies), part_of(norms, own, copies))
    step, epoch, position = cursor[STEP], cursor[EPOCH], cursor[POSITION]
    first_epoch, meeting, base = epoch, ZERO, ZERO
    for there, here in ((home, params), (home_slots, slots), (home_average, average)):
        carry(worker, size, moves, there, home.size, here, params.size, ZERO)
    if worker == 0 or copies > 1:  # no barrier: what has a mirror is never cut for other threads
        refresh_mirrors(ops, heads, params, ws)
    for s in range(rates.shape[0]):
        if position == 0 and cursor[SHUFFLE] != 0:
            shuffle_share(worker, size, order, cursor[SEED], epoch)
        if s == 0 or position == 0:
            meeting += 1
            barrier(sync, size, meeting)
            if s > 0 and watch.size > 0 and watch[ENOUGH] != 0:
                break
        rows, head = min(batch, n - position), heads[s & (heads.size - 1):]
        at = position + (n * (epoch - first_epoch) if order.size > n else ZERO)
        source, key = span(order, at, at + rows), step_key(cursor[SEED], step)
        coming = span(order, at, at)
        if ahead:
            coming = span(order, at, min(at + rows + batch, order.size))
            if worker == 0:  # not read before the next barrier
                ops[0]["coming"] = rows if coming.size >= 2 * rows else ZERO
        weight = batch_weight(weights, source)
        scale = (1.0 / weight if weight > 0 else 0.0) if mean else 1.0
        base, meeting = share_rows(worker, size, sync, base, meeting, GRADIENT, kept, key,
                                   passes, ops, head, params, ws, X, T, labels, weights, source,
                                   coming, scale)
        meeting += 1
        barrier(sync, size, meeting)
        after, met = parameter_phase(worker, updaters, sync, base, meeting, (key, np.uint64(0)),
                                     ops, tasks, head, params, grads, slots, average, ws, X,
                                     source, weight, shards, optimizer, rates[s], hyper, rules,
                                     sums, norms)
        error = total_error(head, ws, rows) if worker == 0 else 0.0
        if copies == 1:  # else each thread ran that phase alone, without claims or barriers
            base, meeting = after, met + 1
            barrier(sync, size, meeting)
        if worker == 0:  # sums are not written again before worker 0 reaches the next barrier
            if rules[0]["l1"] + rules[0]["l2"] > 0:
                for i in range(sums.shape[0]):
                    error += sums[i, 0]
            errors[epoch - first_epoch] += error * (weight if mean else 1.0)
            if watch.size > 0 and position + rows == n:
                look(watch, errors[epoch - first_epoch])
        step += 1
        position += rows
        if position == n:
            position, epoch = 0, epoch + 1
    for there, here in ((home, params), (home_slots, slots), (home_average, average)):
        carry(worker, size, moves, there, home.size, here, params.size, ONE)
    if worker == 0:
        cursor[STEP], cursor[EPOCH], cursor[POSITION] = step, epoch, position
        ops[0]["coming"] = 0
    set_control(control)
    dismiss(worker, sync)
