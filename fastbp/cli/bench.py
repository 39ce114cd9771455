"""``fastbp bench``: speed on this machine, compared with other installed libraries."""

from __future__ import annotations

import json
from typing import Any

import click

from .exits import tell
from .kinds import Real, json_option

#: Default workload: a network for the digits.
WORK = "64-100-10:32:relu:adam"
PEERS = ("numpy", "torch", "jax", "jax.scan", "sklearn")


@click.command("bench")
@click.argument("work", default=WORK)
@click.option("--peer", "peers", multiple=True, type=click.Choice([*PEERS, "torch.compile"]),
              help="Library to compare with; repeatable. Default: those that are installed, "
                   "without torch.compile.")
@click.option("--seconds", type=Real(with_low=False), default=1.0, show_default=True,
              help="Time for each library and number of threads.")
@json_option
def command(work: str, peers: tuple[str, ...], seconds: float, as_json: bool) -> None:
    """Time a training step here, and compare it with the machine's peak and other libraries.

    WORK is SIZES:BATCH[:HIDDEN[:OPTIMIZER[:LOSS[:DTYPE]]]], such as 784-128-10:64:relu:adam. All
    libraries start from the same weights and must reach the same error. They run in turns, on one
    thread and on all, and the better time counts.
    """
    from ..peers.measure import best, compare
    from ..peers.workload import row_of

    try:
        row = row_of(work)
    except ValueError as error:
        raise click.UsageError(f"{work!r} is no work like {WORK}: {error}") from None
    results = compare([row], ["fastbp", *(peers or PEERS)], seconds)
    table = best(results["records"])[work]
    own = table["fastbp"]
    found: dict[str, Any] = {
        "work": work, "cpu": results["cpu"], "cores": results["cores"],
        "versions": results["versions"], "us_per_step": own["us"], "gflops": own["gflops"],
        "peak_gflops": own["gflops"] / own["share_of_peak"], "share_of_peak":
        own["share_of_peak"], "threads": own["threads"],
        "peers": {name: {"us_per_step": r["us"], "threads": r["threads"],
                         "over_fastbp": r["us"] / own["us"]}
                  for name, r in table.items() if name != "fastbp"}}
    if as_json:
        tell(json.dumps(found))
        return
    tell(f"{work} on {found['cores']} cores ({found['cpu']})")
    tell(f"{'':14}{'us/step':>10}{'threads':>9}{'/ fastbp':>10}")
    tell(f"{'fastbp':14}{own['us']:>10.1f}{own['threads']:>9}{1:>10.2f}")
    for name, r in found["peers"].items():
        tell(f"{name:14}{r['us_per_step']:>10.1f}{r['threads']:>9}{r['over_fastbp']:>10.2f}")
    tell(f"{own['gflops']:.1f} of {found['peak_gflops']:.1f} GFLOP/s multiply-add peak on "
         f"{own['threads']} thread(s): {own['share_of_peak']:.0%}")
