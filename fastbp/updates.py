"""The parameter phase of the engine: gradient, rules, update, tile by tile.

Each tile of a gradient is owned by one thread, summed over the whole batch in the order of
the rows, or shard by shard, and used for the update while it is in the cache: plain descent
updates dense layers as the sums leave the registers (``correct_tile``). Only clipping by the
global norm needs all gradients first: then they are written out, and a second round updates.
"""

from __future__ import annotations

import math

import numpy as np

from ._jit import kernel
from .kernels.arrays import address_of, lanes_of, span
from .kernels.columns import ONE, ZERO
from .kernels.matmul import SCALED
from .kernels.team import barrier, claim, claims
from .kernels.tile import SCALE, WRITE
from .kernels.transpose import transpose
from .table import (
    call_first_gradient,
    call_gradient,
    call_limit,
    call_rule,
    call_update,
    place,
)


@kernel
def refresh_mirror(op, first, last, left, right, params, ws):
    """Copy a tile of W into its mirror, if there is one."""
    if op["mirror"] >= 0:
        ld = op["ld_out"]
        transpose(last - first, right - left,
                  span(params, op["param"] + first * ld + left, params.size), ld,
                  span(ws, op["mirror"] + left * op["ld_in"] + first, ws.size), op["ld_in"])


@kernel
def refresh_mirrors(ops, head, params, ws):
    for k in range(head[0]["n_train"]):
        refresh_mirror(ops[k], ZERO, ops[k]["n_in"], ZERO, ops[k]["n_out"], params, ws)


@kernel
def sum_shards(op, task, head, ws, n, shards, grad, step):
    """Gradient of one tile, summed over the first ``shards`` shards in order."""
    h, ld, columns = head[0], op["ld_out"], task["right"] - task["left"]
    at, count = h["partial"] + op["param"] + task["first"] * ld + task["left"], (
        task["last"] - task["first"])
    if columns == op["n_out"]:  # rows are contiguous: one run
        columns, count = count * ld, ONE
    for i in range(count):
        row = span(grad, i * step, i * step + columns)
        for s in range(shards):
            part = span(ws, at + s * n + i * ld, at + s * n + i * ld + columns)
            for j in range(columns):
                row[j] = part[j] if s == 0 else row[j] + part[j]


@kernel
def own_gradient(op, task, now, params, ws, X, source, lo, hi, grad, ld, mode, scale):
    """Gradient of one tile over the rows ``lo`` to ``hi`` of the batch, stored as ``mode`` says.
    Where X is read in place it is over all rows: plans with shards never do that."""
    if op["first_gradient"] != 0:
        call_first_gradient(op["first_gradient"], (
            op, ws, address_of(X), address_of(source), source.size, task["first"], task["last"],
            task["left"], task["right"], grad, ld, mode, scale))
    else:
        call_gradient(op["gradient"], (
            op, (now[0], np.uint64(lo)), params, ws, span(ws, op["x"] + lo * op["ld_in"], ws.size),
            span(ws, op["dy"] + lo * op["ld_out"], ws.size), hi - lo, task["first"], task["last"],
            task["left"], task["right"], grad, ld, mode, scale))


@kernel
def tile_gradient(op, task, now, head, params, ws, X, source, shards, grad, ld):
    """Gradient of one tile over all rows, into ``grad`` with stride ``ld``. With ``shards`` it is
    the sum of the shards' gradients, whether those are kept or not."""
    rows, lo, mode = source.size, ZERO, WRITE
    height = (rows + shards - 1) // shards if shards > 0 else rows
    if shards > 0 and head[0]["partial"] >= 0:
        sum_shards(op, task, head, ws, params.size, (rows + height - 1) // height, grad, ld)
        return
    while lo < rows:
        hi = min(lo + height, rows)
        own_gradient(op, task, now, params, ws, X, source, lo, hi, grad, ld, mode,
                     ws.dtype.type(1))
        lo, mode = hi, SCALE


@kernel(inline=True)
def gradient_of(at, worker, head, grads, ws, whole):
    """Where the gradient of a tile goes: to ``grads`` from ``at`` on if the ``whole`` gradient is
    needed before the first update, else to the thread's scratch."""
    place = head[0]["scratch"] + worker * head[0]["scratch_size"]
    return span(grads, at, grads.size) if whole else span(ws, place, ws.size)


@kernel(inline=True)
def gradient_step(op, columns, whole, lanes):
    """Stride of the gradient of a tile, in elements: whole vectors, as products write these."""
    return op["ld_param"] if whole or columns == op["n_out"] else (
        (columns + lanes - 1) // lanes * lanes)


@kernel
def correct_tile(op, task, now, params, ws, X, source, rate):
    """Gradient and plain update of a tile in one: the gradient is never written to memory.

    The bits are those of the two done separately, on hosts with fused multiply-add (FMA).
    """
    ld, at = op["ld_param"], place(op, task["first"], task["left"])
    own_gradient(op, task, now, params, ws, X, source, ZERO, source.size,
                 span(params, at, params.size), ld, SCALE, -params.dtype.type(rate))
    refresh_mirror(op, task["first"], min(task["last"], op["n_in"]), task["left"],
                   task["right"], params, ws)


@kernel
def decay(p, g, rate, weight_decay, decoupled):
    """Weight decay of p, through the gradient or directly."""
    if decoupled != 0:
        keep = p.dtype.type(1.0 - rate * weight_decay)
        for i in range(p.size):
            p[i] *= keep
    else:
        share = p.dtype.type(weight_decay)
        for i in range(p.size):
            g[i] += share * p[i]


@kernel
def update_block(params, at, ld, g, step, rows, columns, run, slots, optimizer, rates, hyper, rule,
                 shrink):
    """Update of ``rows`` x ``columns`` parameters, from ``at`` on, by their gradient ``g``; with
    ``run`` they are one row, as in ``rule_block``."""
    n = params.size
    if run:
        columns, rows = columns + (rows - 1) * ld, ONE
    for i in range(rows):
        lo, d = at + i * ld, span(g, i * step, i * step + columns)
        hi = lo + columns
        p = span(params, lo, hi)
        if shrink < 1:
            factor = p.dtype.type(shrink)
            for j in range(columns):
                d[j] *= factor
        if rule["weight_decay"] != 0:
            decay(p, d, rates[2], rule["weight_decay"], rule["decoupled"])
        call_update(optimizer, (p, d, span(slots, lo, hi), span(slots, n + lo, n + hi),
                                span(slots, 2 * n + lo, 2 * n + hi), rates[0], rates[1], hyper))


@kernel
def finish_tile(worker, op, task, head, params, grads, slots, ws, weight, optimizer, rates, hyper,
                rules, sums, shrink, prepares, updates):
    """Rules for the gradient of a tile, if this ``prepares``, then its update and mirror, if it
    ``updates``. If there is more to do than the update, it goes in blocks of a few rows, which
    stay in the L1 cache meanwhile. Whole rows are one run, unless their padding has vectors of
    its own: products do not write those (see ``row_length``)."""
    rule, count, columns = rules[0], task["last"] - task["first"], task["right"] - task["left"]
    ld, at = op["ld_param"], place(op, task["first"], task["left"])
    run = (columns == op["n_out"] or columns == ld) and ld - columns < lanes_of(params)
    whole = rule["clip_norm"] > 0
    grad = gradient_of(at, worker, head, grads, ws, whole)
    step = gradient_step(op, columns, whole, lanes_of(params))
    share = (1.0 / weight if weight > 0 else 0.0) if rule["by_rows"] != 0 else 1.0
    ruled = prepares > 0 and (whole or rule["l1"] != 0 or rule["l2"] != 0
                              or rule["clip_value"] > 0)
    height = lanes_of(params)
    if not (ruled or rule["weight_decay"] != 0 or shrink < 1):
        height = count
    for i in range(0, count, height):
        lo, g, rows = at + i * ld, span(grad, i * step, grad.size), min(height, count - i)
        if ruled:
            decayed = min(max(op["n_decayed"] - task["first"] - i, ZERO), rows)
            call_rule(rule["rule"], (span(params, lo, params.size), ld, g, step, rows, columns,
                                     run, decayed, rule, share, sums,
                                     task["sum"] + i // height * task["step"]))
        if updates > 0:
            update_block(params, lo, ld, g, step, rows, columns, run, slots, optimizer, rates,
                         hyper, rule, shrink)
    if updates > 0:
        refresh_mirror(op, task["first"], min(task["last"], op["n_in"]), task["left"],
                       task["right"], params, ws)


@kernel(cold=True)
def average_tile(op, task, params, average, fresh):
    """Move the average of a tile's parameters towards them by the fraction ``fresh``."""
    ld, at = op["ld_param"], place(op, task["first"], task["left"])
    rows, columns = task["last"] - task["first"], task["right"] - task["left"]
    if columns == op["n_out"] or columns == ld:  # as one row
        columns, rows = columns + (rows - 1) * ld, ONE
    for i in range(rows):
        lo = at + i * ld
        p, a = span(params, lo, lo + columns), span(average, lo, lo + columns)
        for j in range(columns):
            a[j] += fresh * (p[j] - a[j])


@kernel(inline=True)
def after_update(worker, size, sync, base, meeting, ops, tasks, params, average, ws, rules,
                 norms):
    """Rules that need all of a step's updates first: max_norm, and an average ``apart``."""
    rule = rules[0]
    if rule["max_norm"] > 0:
        barrier(sync, size, meeting + 1)
        meeting += 1
        share, turn = claim(worker, size, sync, base, tasks.size, ZERO)
        while share < tasks.size:
            task = tasks[share]
            if task["op"] >= 0 and task["first"] == 0 and ops[task["op"]]["n_decayed"] > 0:
                call_limit(rule["limit"], (ops[task["op"]], task, params, ws, rule["max_norm"],
                                           norms[ops[task["op"]]["param"]:]))
            share, turn = claim(worker, size, sync, base, tasks.size, turn)
        base += claims(tasks.size, size)
    if rule["average"] > 0 and rule["apart"] != 0:
        barrier(sync, size, meeting + 1)
        meeting += 1
        block = 4096
        shares, fresh = (params.size + block - 1) // block, params.dtype.type(1 - rule["average"])
        share, turn = claim(worker, size, sync, base, shares, ZERO)
        while share < shares:
            for i in range(share * block, min((share + 1) * block, params.size)):
                average[i] += fresh * (params[i] - average[i])
            share, turn = claim(worker, size, sync, base, shares, turn)
        base += claims(shares, size)
    return base, meeting


@kernel(inline=True)
def parameter_phase(worker, size, sync, base, meeting, now, ops, tasks, head, params, grads,
                    slots, average, ws, X, source, weight, shards, optimizer, rates, hyper, rules,
                    sums, norms):
    """Update every tile; returns the counts of claims and of barriers (``base``, ``meeting``)."""
    most, shrink = rules[0]["clip_norm"], 1.0
    # Sums over more rows are made in pieces: the first would be added before the rest is known.
    plain = rules[0]["plain"] != 0 and shards == 0 and source.size <= SCALED
    averages, fresh = rules[0]["average"] > 0 and rules[0]["apart"] == 0, (
        params.dtype.type(1 - rules[0]["average"]))
    share, turn = claim(worker, size, sync, base, tasks.size, ZERO)
    while share < tasks.size:
        task = tasks[share]
        if task["op"] < 0:
            pass
        elif plain and ops[task["op"]]["corrects"] != 0:
            correct_tile(ops[task["op"]], task, now, params, ws, X, source, rates[0])
        else:
            op = ops[task["op"]]
            columns, at = task["right"] - task["left"], place(op, task["first"], task["left"])
            tile_gradient(op, task, now, head, params, ws, X, source, shards,
                          gradient_of(at, worker, head, grads, ws, most > 0),
                          gradient_step(op, columns, most > 0, lanes_of(params)))
            finish_tile(worker, op, task, head, params, grads, slots, ws, weight, optimizer, rates,
                        hyper, rules, sums, shrink, ONE, ZERO if most > 0 else ONE)
        if averages and task["op"] >= 0 and most == 0:
            average_tile(ops[task["op"]], task, params, average, fresh)
        share, turn = claim(worker, size, sync, base, tasks.size, turn)
    base += claims(tasks.size, size)
    if most > 0:
        barrier(sync, size, meeting + 1)
        meeting += 1
        square = 0.0
        for i in range(sums.shape[0]):
            square += sums[i, 1]
        norm = math.sqrt(square)
        shrink = most / (norm + 1e-6) if norm > most else 1.0
        share, turn = claim(worker, size, sync, base, tasks.size, ZERO)
        while share < tasks.size:
            task = tasks[share]
            if task["op"] >= 0:
                finish_tile(worker, ops[task["op"]], task, head, params, grads, slots, ws, weight,
                            optimizer, rates, hyper, rules, sums, shrink, ZERO, ONE)
                if averages:
                    average_tile(ops[task["op"]], task, params, average, fresh)
            share, turn = claim(worker, size, sync, base, tasks.size, turn)
        base += claims(tasks.size, size)
    return after_update(worker, size, sync, base, meeting, ops, tasks, params, average, ws,
                        rules, norms)
