"""The row phase of the engine: forward, loss, and backward by row blocks.

One thread takes a row block through all layers: no barrier inside, the block stays in its
cache. Layers that couple the rows of a batch (batch norm) cut this way into passes; between two
passes the team meets at a barrier and divides the work over all rows by columns. Where few rows
are left for each thread, wide layers are divided by columns too (see ``layers.wide``, ``panels``).
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .kernels.arrays import address_of, array_at, span
from .kernels.columns import ONE, TWO, ZERO
from .kernels.copy import clear_row, copy_row, prefetch_row
from .kernels.team import barrier, claim, claims
from .kernels.tile import ADD, WRITE
from .table import (
    call_backward,
    call_couple,
    call_first,
    call_forward,
    call_gradient,
    call_loss,
)

#: What the row phase does: forward through every op, forward to the loss, or forward and back.
PREDICT, ERROR, GRADIENT = ZERO, ONE, TWO
#: Columns of a share in a layer that couples rows; and the fewest of one in a layer divided by
#: columns, where wider shares would be too few for the team.
_COLUMNS, _LEAST = 64, 16
#: Bytes of a row of X from which the hardware prefetcher fetches the rest of the row by itself.
_LONG = 512
#: Fields of ``given``, the data of a batch: addresses, and the numbers of labels and of weights.
_X, _T, _LABELS, _N_LABELS, _WEIGHTS, _N_WEIGHTS = range(6)


@kernel
def load_rows(h, op, ws, at, source, X):
    """Copy the rows ``source`` of X into the first op's input, from row ``at`` on."""
    m, ld = h["n_features"], h["ld_features"]
    x0 = op["x"] + at * ld
    for r in range(source.size):
        copy_row(ws, x0 + r * ld, X, source[r] * m, m)


@kernel
def load_targets(h, ws, at, source, given, scale):
    """Write the targets of the rows ``source`` (labels one-hot) and their weights into the
    workspace, from row ``at`` on."""
    n, ld, zero = h["n"], h["ld"], ws.dtype.type(0)
    first, own = h["target"] + at * ld, h["weight"] + at
    if given[_N_LABELS] > 0:
        labels = array_at(given[_LABELS], ONE)
        clear_row(ws, first, source.size * ld)
        for r in range(source.size):
            ws[first + r * ld + labels[source[r]]] = 1
    else:
        T = array_at(given[_T], zero)
        for r in range(source.size):
            copy_row(ws, first + r * ld, T, source[r] * n, n)
    if given[_N_WEIGHTS] > 0:
        weights = array_at(given[_WEIGHTS], zero)
        for r in range(source.size):
            ws[own + r] = scale * weights[source[r]]
    else:
        for r in range(source.size):
            ws[own + r] = scale


@kernel
def prefetch_rows(h, zero, given, later, fetched, count):
    """Prefetch ``count`` more of the rows ``later``, after the first ``fetched``; returns the new
    ``fetched``. Long rows of X are left to the hardware."""
    m, n = h["n_features"], h["n"]
    X, T = array_at(given[_X], zero), array_at(given[_T], zero)
    labels = array_at(given[_LABELS], ONE)
    for i in range(fetched, min(fetched + count, later.size)):
        if m * X.itemsize < _LONG:
            prefetch_row(X, later[i] * m, m)
        if given[_N_LABELS] > 0:
            prefetch_row(labels, later[i], ONE)
        else:
            prefetch_row(T, later[i] * n, n)
    return fetched + count


@kernel(inline=True)
def rows_of(ws, at, ld, lo, hi):
    """Rows ``lo`` to ``hi`` of the matrix at offset ``at`` with stride ``ld``."""
    return span(ws, at + lo * ld, at + hi * ld)


@kernel
def forward(op, now, params, ws, lo, hi):
    """One op for the rows ``lo`` to ``hi`` of the workspace."""
    if op["forward"] == 0:  # done already: by the op below, or as rows were loaded
        return
    x, y = rows_of(ws, op["x"], op["ld_in"], lo, hi), rows_of(ws, op["y"], op["ld_out"], lo, hi)
    if op["in_place"] != 0 and op["x"] != op["y"]:
        for i in range(y.size):
            y[i] = x[i]
    call_forward(op["forward"], (op, now, params, ws, x, y))


@kernel
def backward(op, now, params, ws, lo, hi):
    """One op back for the rows ``lo`` to ``hi`` of the workspace."""
    if op["backward"] == 0:
        return
    m, n = op["ld_in"], op["ld_out"]
    call_backward(op["backward"], (
        op, now, params, ws, rows_of(ws, op["x"], m, lo, hi), rows_of(ws, op["y"], n, lo, hi),
        rows_of(ws, op["dy"], n, lo, hi), rows_of(ws, op["dx"], m, lo, hi)))


@kernel
def pass_block(mode, part, now, ops, h, params, ws, given, rows, first, last, coming, after, until,
               at, scale):
    """One pass over the rows ``first`` to ``last`` of the batch, in the workspace from row ``at``
    on; meanwhile rows ``after`` to ``until`` of ``coming`` are prefetched.

    ``rows`` and ``coming`` are addresses, as is most of ``given``: as arrays they would be seven
    or nine words each on the stack, and where these were 2 KiB from the place they were copied
    from, a step of a tiny network took two fifths longer (Zen 4).
    """
    source, later = (span(array_at(rows, ONE), first, last),
                     span(array_at(coming, ONE), after, until))
    lo, hi, fetched, some = at, at + source.size, ZERO, ZERO
    zero, error = ws.dtype.type(0), rows_of(ws, h["error"], ONE, first, last)
    if later.size > 0:
        turns = part["last"] - part["first"] + part["top"] - part["bottom"] + 1
        some = later.size // max(turns, ONE) + 1
    if part["load"] != 0:
        if ops[0]["first"] == 0:
            load_rows(h, ops[0], ws, at, source, array_at(given[_X], zero))
        else:
            call_first(ops[0]["first"], (ops[0], params, ws, given[_X], address_of(source),
                                         source.size, at, ZERO, ops[0]["n_out"]))
    for k in range(part["first"], ops.size if mode == PREDICT else part["last"]):
        if fetched < later.size:
            fetched = prefetch_rows(h, zero, given, later, fetched, some)
        forward(ops[k], now, params, ws, lo, hi)
    if mode == PREDICT:
        return
    if part["loss"] != 0:
        load_targets(h, ws, at, source, given, scale)
        ld = h["ld"]
        call_loss(h["loss"], (
            h, rows_of(ws, h["x"], ld, lo, hi), rows_of(ws, h["target"], ld, lo, hi),
            rows_of(ws, h["weight"], ONE, lo, hi), error, rows_of(ws, h["dx"], ld, lo, hi)))
    if mode == ERROR:
        return
    for k in range(part["top"], part["bottom"] - 1, -1):
        if fetched < later.size:
            fetched = prefetch_rows(h, zero, given, later, fetched, some)
        backward(ops[k], now, params, ws, lo, hi)


@kernel
def block_gradients(ops, head, now, params, ws, at, rows, partial, mode):
    """Gradients of a row block into those of its shard: ``mode`` WRITE for the first, then ADD."""
    for k in range(head[0]["n_train"]):
        op = ops[k]
        if op["n_rows"] > 0:
            call_gradient(op["gradient"], (
                op, now, params, ws, span(ws, op["x"] + at * op["ld_in"], ws.size),
                span(ws, op["dy"] + at * op["ld_out"], ws.size), rows, ZERO, op["n_rows"], ZERO,
                op["n_out"], span(partial, op["param"], partial.size), op["ld_out"], mode,
                ws.dtype.type(0)))


@kernel
def gather(worker, size, sync, base, part, now, ops, params, ws, X, source):
    """What a layer does with all rows of the batch at once, divided among the team by columns."""
    back = part["back"] >= 0
    op = ops[part["back"] if back else part["couple"]]
    columns = op["n_in"] if back and op["by_columns"] != 0 else op["n_out"]
    width = np.int64(_COLUMNS) if op["by_columns"] == 0 else op["by_columns"]
    while op["by_columns"] != 0 and width > _LEAST and columns < width * size:
        width //= 2
    if op["width"] > 0 and not back:
        width = op["width"]
    shares = (columns + width - 1) // width
    share, turn = claim(worker, size, sync, base, shares, ZERO)
    while share < shares:
        left, right = share * width, min((share + 1) * width, columns)
        if op["first"] != 0:  # never in backward: the gradient of X is not needed
            call_first(op["first"], (op, params, ws, address_of(X), address_of(source),
                                     source.size, ZERO, left, right))
        else:
            dy = ws[op["dy"]:] if back else ws[:0]
            call_couple(op["couple_backward"] if back else op["couple_forward"],
                        (op, now, params, ws, ws[op["x"]:], dy, source.size, left, right))
        share, turn = claim(worker, size, sync, base, shares, turn)
    return base + claims(shares, size)


@kernel(inline=True)
def share_rows(worker, size, sync, base, meeting, mode, shards, key, passes, ops, head, params,
               ws, X, T, labels, weights, source, coming, scale):
    """The row phase of a batch, share by share as they are claimed.

    ``coming`` has the rows ``source`` and those of the next batch if they are to be prefetched,
    else nothing.

    If ``shards`` is 0 (no shard gradients to keep), a share is a row block with its own rows of
    the workspace. Else it is a shard: its blocks go through the thread's part of the workspace one
    after the other and leave the sum of their gradients, so that no block has to leave the cache.
    Returns the counts of claims and of barriers (``base``, ``meeting``).
    """
    h, rows, n = head[0], source.size, params.size
    # Threads' parts as far apart as possible: what one core prefetches beyond the end of its part,
    # another has to get back before it writes (a third of the time where cores share no cache).
    block, apart = h["row_block"], h["capacity"] // size
    given = (address_of(X), address_of(T), address_of(labels), labels.size, address_of(weights),
             weights.size)
    height = block if shards == 0 else (rows + shards - 1) // shards
    shares = (rows + height - 1) // height if shards == 0 else shards
    begin, end = ZERO, rows  # the thread's own run of rows
    if size > 1 and coming.size > 0:
        run = (shares + size - 1) // size * height
        begin, end = worker * run, (worker + 1) * run
    for p in range(passes.size):
        part = passes[p]
        if p > 0:
            meeting += 1
            barrier(sync, size, meeting)
        if p > 0 or part["couple"] >= 0:
            base = gather(worker, size, sync, base, part, (key, np.uint64(0)), ops, params, ws, X,
                          source)
            meeting += 1
            barrier(sync, size, meeting)
        share, turn = claim(worker, size, sync, base, shares, ZERO)
        while share < shares:
            lo, last = min(share * height, rows), min((share + 1) * height, rows)
            how = WRITE
            while lo < last:
                hi = min(lo + block, last)
                # Prefetch the next block of this batch, or the thread's first one of the next.
                after = min(hi if hi < rows and hi != end else rows + begin, coming.size)
                until = min(after + block, coming.size) if part["load"] != 0 else after
                at = lo if shards == 0 else worker * apart
                now = key, np.uint64(lo)
                pass_block(mode, part, now, ops, h, params, ws, given, address_of(source), lo, hi,
                           address_of(coming), after, until, at, scale)
                if shards > 0:
                    block_gradients(ops, head, now, params, ws, at, hi - lo,
                                    rows_of(ws, h["partial"], n, share, share + 1), how)
                lo, how = hi, ADD
            share, turn = claim(worker, size, sync, base, shares, turn)
        base += claims(shares, size)
    return base, meeting
