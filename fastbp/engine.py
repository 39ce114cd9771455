"""The compiled training step, in two phases over the op table.

Rows: one thread takes a block of rows all the way, gather, forward, loss, backward; no
barrier inside, the block stays in its cache. Parameters: each tile of a weight gradient
is owned by one thread, summed over the whole batch in the order of the rows, and used for
the update while it is hot. Nothing depends on the number of threads, so neither do bits.

``evaluate`` and ``run_steps`` are what each member of a team of threads runs (see
``kernels.team``); a team of one is the serial engine, in the same code.
"""

from __future__ import annotations

import numpy as np

from . import dispatch
from ._jit import kernel
from .kernels.matmul import transpose
from .kernels.random import shuffle
from .kernels.team import assemble, barrier, claim
from .layers.dense import dense_bias_grad, dense_weight_grad

#: What the row phase does: forward through every op, forward to the loss, or there and back.
PREDICT, ERROR, GRADIENT = 0, 1, 2
#: A zero of type int64: a literal 0 would compile what it is passed to once more.
ZERO = np.int64(0)
#: Fields of the cursor, the engine's whole position: next step (from 0), epoch, first row
#: of the next batch in the epoch, seed, whether to shuffle.
STEP, EPOCH, POSITION, SEED, SHUFFLE = 0, 1, 2, 3, 4


@kernel
def load_targets(h, ws, lo, hi, source, T, labels, scale):
    """Targets of rows lo to hi as rows of numbers, and their weight ``scale``."""
    n, ld = h["n"], h["ld"]
    for r in range(lo, hi):
        row = ws[h["target"] + r * ld:h["target"] + (r + 1) * ld]
        if labels.size > 0:
            for i in range(n):
                row[i] = 0
            row[labels[source[r]]] = 1
        else:
            for i in range(n):
                row[i] = T[source[r], i]
        ws[h["weight"] + r] = scale


@kernel(inline=True)
def rows_phase(mode, ops, head, params, ws, X, T, labels, source, lo, hi, scale):
    """Rows ``lo`` to ``hi`` of a batch whose row r is X[source[r]]."""
    h = head[0]
    m, ld = h["n_features"], h["ld_features"]
    x0 = ops[0]["x"]
    for r in range(lo, hi):
        row, given = ws[x0 + r * ld:x0 + r * ld + m], X[source[r]]
        for i in range(m):
            row[i] = given[i]
    n_ops = ops.size if mode == PREDICT else h["n_train"]
    for k in range(n_ops):
        op = ops[k]
        dispatch.forward(op, params, ws[op["x"] + lo * op["ld_in"]:op["x"] + hi * op["ld_in"]],
                         ws[op["y"] + lo * op["ld_out"]:op["y"] + hi * op["ld_out"]])
    if mode == PREDICT:
        return
    load_targets(h, ws, lo, hi, source, T, labels, scale)
    n, ld = h["n"], h["ld"]
    dispatch.loss(h["loss"], ws[h["x"] + lo * ld:h["x"] + hi * ld],
                  ws[h["target"] + lo * ld:h["target"] + hi * ld],
                  ws[h["weight"] + lo:h["weight"] + hi], n, ld,
                  ws[h["error"] + lo:h["error"] + hi],
                  ws[h["dx"] + lo * ld:h["dx"] + hi * ld])
    if mode == ERROR:
        return
    for k in range(n_ops - 1, 0, -1):
        op = ops[k]
        i0, i1 = lo * op["ld_in"], hi * op["ld_in"]
        o0, o1 = lo * op["ld_out"], hi * op["ld_out"]
        dispatch.backward(op, ws[max(op["mirror"], 0):], ws[op["y"] + o0:op["y"] + o1],
                          ws[op["dy"] + o0:op["dy"] + o1], ws[op["dx"] + i0:op["dx"] + i1])


@kernel(inline=True)
def tile_gradient(op, task, ws, rows, grad, ld):
    """Gradient of one tile of a weight over all ``rows``, and under it of its bias.

    Rows of ``grad`` are ``ld`` apart. Returns how many it has.
    """
    inputs, columns = task["last"] - task["first"], task["right"] - task["left"]
    dy, ldy = ws[op["dy"] + task["left"]:], op["ld_out"]
    dense_weight_grad(ws[op["x"] + task["first"]:], op["ld_in"], dy, ldy, rows, inputs, columns,
                      grad, ld)
    if task["last"] < op["n_in"] or op["bias"] == 0:
        return inputs
    dense_bias_grad(dy, ldy, rows, grad[inputs * ld:inputs * ld + columns])
    return inputs + 1


@kernel
def refresh_mirror(op, first, last, left, right, params, ws):
    """Copy a tile of W into the other layout, where there is one."""
    if op["mirror"] >= 0:
        ld = op["ld_out"]
        transpose(last - first, right - left, params[op["param"] + first * ld + left:], ld,
                  ws[op["mirror"] + left * op["ld_in"] + first:], op["ld_in"])


@kernel
def refresh_mirrors(ops, head, params, ws):
    for k in range(head[0]["n_train"]):
        refresh_mirror(ops[k], 0, ops[k]["n_in"], 0, ops[k]["n_out"], params, ws)


@kernel(inline=True)
def param_phase(worker, t, ops, tasks, head, params, slots, ws, rows, kind, sizes, hyper):
    """Gradient, update and mirror of the tile of task ``t``: the gradient stays in cache."""
    task, h, n = tasks[t], head[0], params.size
    op = ops[task["op"]]
    grad = ws[h["scratch"] + worker * h["scratch_size"]:]
    columns, ld = task["right"] - task["left"], op["ld_out"]
    whole = columns == op["n_out"]
    step = ld if whole else columns
    count = tile_gradient(op, task, ws, rows, grad, step)
    at = op["param"] + task["first"] * ld + task["left"]
    if whole:  # rows follow each other: one run
        columns, count = columns + (count - 1) * ld, 1
    for i in range(count):
        lo = at + i * ld
        hi = lo + columns
        dispatch.update(kind, params[lo:hi], grad[i * step:i * step + columns], slots[lo:hi],
                        slots[n + lo:n + hi], sizes, hyper)
    refresh_mirror(op, task["first"], task["last"], task["left"], task["right"], params, ws)


@kernel
def total_error(head, ws, rows):
    """Sum of the weighted row errors, in order, in float64."""
    total, at = 0.0, head[0]["error"]
    for r in range(rows):
        total += ws[at + r]
    return total


@kernel
def share_rows(size, sync, base, mode, ops, head, params, ws, X, T, labels, source, scale):
    """The row phase of a batch, block by block as they are claimed; returns the next base."""
    rows, height, own = source.size, head[0]["row_block"], ZERO
    blocks = (rows + height - 1) // height
    block = claim(sync, size, base, own)
    while block < blocks:
        rows_phase(mode, ops, head, params, ws, X, T, labels, source, block * height,
                   min((block + 1) * height, rows), scale)
        own += 1
        block = claim(sync, size, base, own)
    return base + blocks + size


@kernel
def evaluate(worker, size, sync, mode, ops, tasks, head, params, grads, ws, X, T, labels,
             source, scale):
    """One batch, the rows ``source`` of X, without update; returns its error.

    ``mode`` PREDICT leaves outputs in the workspace, GRADIENT gradients in ``grads``.
    """
    if not assemble(sync, size):
        if worker > 0:
            return 0.0
        size = 1
    if mode == GRADIENT:
        if worker == 0:
            refresh_mirrors(ops, head, params, ws)
        barrier(sync, size, 1)
    base = share_rows(size, sync, ZERO, mode, ops, head, params, ws, X, T, labels, source, scale)
    barrier(sync, size, 2 if mode == GRADIENT else 1)
    if mode == GRADIENT:
        own = ZERO
        share = claim(sync, size, base, own)
        while share < tasks.size:
            task = tasks[share]
            op = ops[task["op"]]
            at = op["param"] + task["first"] * op["ld_out"] + task["left"]
            tile_gradient(op, task, ws, source.size, grads[at:], op["ld_out"])
            own += 1
            share = claim(sync, size, base, own)
        barrier(sync, size, 3)
    return 0.0 if mode == PREDICT else total_error(head, ws, source.size)


@kernel
def run_steps(worker, size, sync, mode, ops, tasks, head, params, slots, ws, X, T, labels, order,
              batch, mean, kind, hyper, rates, cursor, errors):
    """One training step for each of ``rates``, from where ``cursor`` stands.

    ``errors[0]`` gathers the error times rows of the epoch under way; an epoch that ends
    moves on to the next place. The cursor is left at the next step.
    """
    if not assemble(sync, size):
        if worker > 0:
            return
        size = 1
    n = X.shape[0]
    step, epoch, position = cursor[STEP], cursor[EPOCH], cursor[POSITION]
    first_epoch, meeting, base = epoch, ZERO, ZERO
    if worker == 0:
        refresh_mirrors(ops, head, params, ws)
    for s in range(rates.size):
        if worker == 0 and position == 0 and cursor[SHUFFLE] != 0:
            shuffle(order, cursor[SEED], epoch)
        if s == 0 or position == 0:
            meeting += 1
            barrier(sync, size, meeting)
        rows = min(batch, n - position)
        base = share_rows(size, sync, base, mode, ops, head, params, ws, X, T, labels,
                          order[position:position + rows], 1.0 / rows if mean else 1.0)
        meeting += 1
        barrier(sync, size, meeting)
        step, own = step + 1, ZERO
        sizes = dispatch.step_sizes(kind, rates[s], step, hyper)
        share = claim(sync, size, base, own)
        while share < tasks.size:
            param_phase(worker, share, ops, tasks, head, params, slots, ws, rows, kind, sizes,
                        hyper)
            own += 1
            share = claim(sync, size, base, own)
        base += tasks.size + size
        if worker == 0:
            errors[epoch - first_epoch] += total_error(head, ws, rows) * (rows if mean else 1)
        meeting += 1
        barrier(sync, size, meeting)
        position += rows
        if position == n:
            position, epoch = 0, epoch + 1
    if worker == 0:
        cursor[STEP], cursor[EPOCH], cursor[POSITION] = step, epoch, position
