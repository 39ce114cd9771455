"""A network as a readable table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .network import Network


def table(network: Network) -> str:
    """One line per layer: its repr, output size, number of parameters."""
    rows = [("", "layer", "output", "parameters"), ("", "input", f"{network.n_in}", "")]
    for i, layer in enumerate(network.layers):
        held = "" if layer.trainable or not layer.shapes() else ", not trainable"
        rows.append((str(i), f"{layer!r}{held}", f"{layer.n_out}", f"{layer.n_params:,}"))
    rows.append(("", repr(network.loss_function), "", f"{network.n_params:,}"))
    widths = [max(len(row[c]) for row in rows) for c in range(4)]
    lines = [f"{a:>{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}"
             for a, b, c, d in rows]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
