"""The workloads of grid.json."""

from __future__ import annotations

import json
from pathlib import Path

from fastbp.peers.workload import read

ROWS = json.loads((Path(__file__).parent / "grid.json").read_text())["rows"]
GRID = read(ROWS)
