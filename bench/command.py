"""What the commands that compare backends on workloads share: arguments and results."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastbp.peers.measure import PEERS, compare
from fastbp.peers.workload import row_of

from .grid import ROWS


def parse(description: str | None, rows: Sequence[str], backends: Sequence[str], budget: float,
          repeat: int) -> tuple[argparse.Namespace, list[dict[str, Any]]]:
    """Arguments, with these defaults, and the workloads that they name; no ``rows`` means all.
    The other backends are compared to the first."""
    p = argparse.ArgumentParser(description=description,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("rows", nargs="*", help="names in grid.json, or sizes:batch[:hidden...]")
    p.add_argument("--backends", nargs="+", default=list(backends),
                   choices=list(dict.fromkeys((*backends, *PEERS))))
    p.add_argument("--budget", type=float, default=budget, help="seconds a row and backend")
    p.add_argument("--repeat", type=int, default=repeat, help="turns")
    p.add_argument("--report", action="store_true",
                   help="only report the last run of all rows and backends")
    p.add_argument("--last", action="store_true",
                   help="only report the last run of others: part of the rows or backends, own "
                        "rows, less time, fewer turns")
    arguments = p.parse_args()
    if backends[0] not in arguments.backends:
        p.error(f"--backends: {backends[0]} must be among them, which the others are compared "
                "with")
    if not 0 < arguments.budget < float("inf") or arguments.repeat < 1:
        p.error("--budget must be above 0 and finite, --repeat at least 1, got "
                f"{arguments.budget:g} and {arguments.repeat}")
    known = {row["name"]: row for row in ROWS}
    try:
        return arguments, [known[name] if name in known else row_of(name)
                           for name in arguments.rows or rows or known]
    except ValueError as error:
        p.error(f"a row is one of {', '.join(known)}, or sizes:batch[:hidden...]: {error}")


def measured(path: Path, description: str | None, rows: Sequence[str], backends: Sequence[str],
             budget: float, repeat: int, settings: Sequence[int] | None = None
             ) -> tuple[dict[str, Any], Path]:
    """Results of ``compare`` by the arguments, and where they are: ``path``, which is committed,
    has all rows and backends, with no smaller budget and no fewer turns than here; what ran
    otherwise goes to a file that git ignores. With --report or --last those stored."""
    arguments, chosen = parse(description, rows, backends, budget, repeat)
    last = path.with_name(f"last-{path.name}")
    if not (arguments.report or arguments.last):
        found = compare(chosen, arguments.backends, arguments.budget, arguments.repeat, settings)
        whole = arguments.budget >= budget and arguments.repeat >= repeat and _whole(
            found["records"], rows or [row["name"] for row in ROWS], backends)
        store(found, path if whole else last)
        return found, path if whole else last
    stored = last if arguments.last else path
    if not stored.exists():
        raise SystemExit(f"nothing to report: there is no {stored}")
    return json.loads(stored.read_text()), stored


def store(results: dict[str, Any], path: Path) -> None:
    """Write results to ``path`` and say so."""
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(f"results written to {path}", file=sys.stderr)


def _whole(records: Sequence[dict[str, Any]], rows: Sequence[str],
           backends: Sequence[str]) -> bool:
    """Whether these rows, no others, and all these backends ran: one may not be installed."""
    return ({r["row"] for r in records} == set(rows)
            and {r["backend"] for r in records} >= set(backends))


def place(results: dict[str, Any]) -> str:
    """Where results are from: "2 cores (zen); numpy 2.4, ..."."""
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items())
    return f"{results['cores']} cores ({results['cpu']}); {versions}"
