"""The compiled training step, in two phases over the op table.

Rows: one thread takes a block of rows all the way, gather, forward, loss, backward; no
barrier inside, the block stays in its cache. Parameters: each tile of a weight gradient
is owned by one thread, summed over the whole batch in the order of the rows, and used for
the update while it is hot. Nothing depends on the number of threads, so neither do bits.

``evaluate`` and ``run_steps`` are what each member of a team of threads runs (see
``kernels.team``); a team of one is the serial engine, in the same code.
"""

from __future__ import annotations

from . import dispatch
from ._jit import kernel
from .kernels.matmul import ONE, ZERO, matmul
from .kernels.prefetch import prefetch, prefetch_rows
from .kernels.random import shuffle
from .kernels.team import assemble, barrier, claim
from .kernels.transpose import transpose
from .layers.dense import add_rows, dense_bias_grad, dense_forward_row, dense_weight_grad

#: What the row phase does: forward through every op, forward to the loss, or there and back.
PREDICT, ERROR, GRADIENT = 0, 1, 2
#: Fields of the cursor, the engine's whole position: next step (from 0), epoch, first row
#: of the next batch in the epoch, seed, whether to shuffle.
STEP, EPOCH, POSITION, SEED, SHUFFLE = 0, 1, 2, 3, 4


@kernel
def load_targets(h, ws, at, source, T, labels, scale):
    """Targets of ``source`` as rows of numbers from row ``at`` on, and their weight."""
    n, ld = h["n"], h["ld"]
    for r in range(source.size):
        row = ws[h["target"] + (at + r) * ld:h["target"] + (at + r + 1) * ld]
        if labels.size > 0:
            for i in range(n):
                row[i] = 0
            row[labels[source[r]]] = 1
        else:
            given = T[source[r]]
            for i in range(n):
                row[i] = given[i]
        ws[h["weight"] + at + r] = scale


@kernel(inline=True)
def rows_phase(mode, ops, head, params, ws, X, T, labels, source, at, error, scale):
    """The rows ``source`` of X, in the workspace from row ``at`` on; errors to ``error``."""
    h, lo, hi = head[0], at, at + source.size
    m, ld = h["n_features"], h["ld_features"]
    x0 = ops[0]["x"] + lo * ld
    for r in range(source.size):
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
    load_targets(h, ws, at, source, T, labels, scale)
    n, ld = h["n"], h["ld"]
    dispatch.loss(h["loss"], ws[h["x"] + lo * ld:h["x"] + hi * ld],
                  ws[h["target"] + lo * ld:h["target"] + hi * ld],
                  ws[h["weight"] + lo:h["weight"] + hi], n, ld, error,
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
        refresh_mirror(ops[k], ZERO, ops[k]["n_in"], ZERO, ops[k]["n_out"], params, ws)


@kernel(inline=True)
def add_block_gradients(ops, head, ws, at, rows, partial):
    """Add what a block of rows gives to the gradients of its shard."""
    for k in range(head[0]["n_train"]):
        op = ops[k]
        if op["param"] >= 0:
            m, n, ldx, ldy = op["n_in"], op["n_out"], op["ld_in"], op["ld_out"]
            grad, dy = partial[op["param"]:], ws[op["dy"] + at * ldy:]
            matmul(m, n, rows, ws[op["x"] + at * ldx:], ONE, ldx, dy, ldy, grad, ldy, grad, ldy)
            if op["bias"] != 0:
                add_rows(dy, ldy, rows, grad[m * ldy:m * ldy + n])


@kernel
def sum_shards(op, task, head, ws, n, grad):
    """Gradient of one tile of whole rows, summed over the shards in their order."""
    h, ld = head[0], op["ld_out"]
    count = task["last"] - task["first"]
    if task["last"] == op["n_in"] and op["bias"] != 0:
        count += 1
    grad = grad[:count * ld]
    at = h["partial"] + op["param"] + task["first"] * ld
    for s in range(h["shards"]):
        part = ws[at + s * n:at + s * n + grad.size]
        for i in range(grad.size):
            grad[i] = part[i] if s == 0 else grad[i] + part[i]
    return count


@kernel(inline=True)
def param_phase(worker, t, ops, tasks, head, params, slots, ws, rows, kind, sizes, hyper):
    """Gradient, update and mirror of the tile of task ``t``: the gradient stays in cache."""
    task, h, n = tasks[t], head[0], params.size
    op = ops[task["op"]]
    grad = ws[h["scratch"] + worker * h["scratch_size"]:]
    columns, ld = task["right"] - task["left"], op["ld_out"]
    whole = columns == op["n_out"]
    step = ld if whole else columns
    at = op["param"] + task["first"] * ld + task["left"]
    height = task["last"] - task["first"]
    prefetch_rows(params, at, height, columns, ld)
    if kind == dispatch.ADAM_KIND:
        prefetch_rows(slots, at, height, columns, ld)
        prefetch_rows(slots, n + at, height, columns, ld)
    if op["mirror"] >= 0:
        mirror = op["mirror"] + task["left"] * op["ld_in"] + task["first"]
        prefetch_rows(ws, mirror, columns, height, op["ld_in"])
    if h["shards"] > 0:
        count = sum_shards(op, task, head, ws, n, grad)
    else:
        count = tile_gradient(op, task, ws, rows, grad, step)
    if whole:  # rows follow each other: one run
        columns, count = columns + (count - 1) * ld, 1
    for i in range(count):
        lo = at + i * ld
        hi = lo + columns
        dispatch.update(kind, params[lo:hi], grad[i * step:i * step + columns], slots[lo:hi],
                        slots[n + lo:n + hi], sizes, hyper)
    refresh_mirror(op, task["first"], task["last"], task["left"], task["right"], params, ws)


@kernel
def predict_row(ops, params, ws, X, Y):
    """Outputs Y (1, n) of the one row of X (1, m); returns whether X is finite."""
    total, last = ws.dtype.type(0), ops[ops.size - 1]
    row, given = ws[ops[0]["x"]:], X[0]
    for i in range(given.size):
        row[i] = given[i]
        total += given[i] - given[i]  # 0, or NaN for good
    for k in range(ops.size):
        op = ops[k]
        x, y = ws[op["x"]:op["x"] + op["ld_in"]], ws[op["y"]:op["y"] + op["ld_out"]]
        if op["kind"] == dispatch.DENSE:
            dense_forward_row(x, op["n_in"], params[op["param"]:], y)
        else:
            dispatch.forward(op, params, x, y)
    row, out = ws[last["y"]:], Y[0]
    for i in range(out.size):
        out[i] = row[i]
    return total == 0


@kernel
def total_error(head, ws, rows):
    """Sum of the weighted row errors, in order, in float64."""
    total, at = 0.0, head[0]["error"]
    for r in range(rows):
        total += ws[at + r]
    return total


@kernel
def prefetch_source(X, T, source):
    """Ask for rows that come next: shuffled, they lie where no hardware expects them."""
    for r in range(source.size):
        row = X[source[r]]
        prefetch_rows(row, ZERO, ONE, row.size, ZERO)
        if T.shape[0] > 0:
            prefetch(T[source[r]], ZERO)


@kernel
def share_rows(worker, size, sync, base, mode, shards, ops, head, params, ws, X, T, labels,
               source, scale):
    """The row phase of a batch, share by share as they are claimed; returns the next base.

    Without shards a share is a block with a place of its own in the workspace. A shard is
    many blocks, one after the other in the place of the thread, which leave the sum of
    their gradients: nothing of a block outlives the cache.
    """
    h, rows, n, own = head[0], source.size, params.size, ZERO
    block = h["row_block"]
    height = block if shards == 0 else (rows + shards - 1) // shards
    shares = (rows + height - 1) // height if shards == 0 else shards
    share = claim(sync, size, base, own)
    while share < shares:
        lo, last = min(share * height, rows), min((share + 1) * height, rows)
        partial = ws[h["partial"] + share * n:h["partial"] + (share + 1) * n]
        if shards > 0:
            for i in range(n):
                partial[i] = 0
        while lo < last:
            hi = min(lo + block, last)
            at = lo if shards == 0 else worker * block
            prefetch_source(X, T, source[hi:min(hi + block, last if shards > 0 else rows)])
            rows_phase(mode, ops, head, params, ws, X, T, labels, source[lo:hi], at,
                       ws[h["error"] + lo:h["error"] + hi], scale)
            if shards > 0:
                add_block_gradients(ops, head, ws, at, hi - lo, partial)
            lo = hi
        own += 1
        share = claim(sync, size, base, own)
    return base + shares + size


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
    base = share_rows(worker, size, sync, ZERO, mode, ZERO, ops, head, params, ws, X, T, labels,
                      source, scale)
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
        base = share_rows(worker, size, sync, base, mode, head[0]["shards"], ops, head, params,
                          ws, X, T, labels, order[position:position + rows],
                          1.0 / rows if mean else 1.0)
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
