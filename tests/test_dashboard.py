"""The published asv pages in a browser; they are there after ``python -m bench.dashboard``."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .browser import open_browser

PAGES = Path(__file__).parents[1] / ".asv" / "html"
pytestmark = pytest.mark.skipif(not (PAGES / "index.json").exists(),
                                reason="no dashboard: python -m bench.dashboard makes it")
TRAINING = "bench_training.Training.time_epoch"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(
            _Quiet, directory=str(PAGES))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_there_are_three_commits_and_both_backends_of_each_row() -> None:
    index = json.loads((PAGES / "index.json").read_text())
    assert len(index["revision_to_hash"]) >= 3
    training = index["benchmarks"][TRAINING]
    assert training["unit"] == "seconds" and training["param_names"] == ["row", "backend"]
    assert training["params"][1] == ["'numpy'", "'fastbp'"] or set(training["params"][1]) == {
        "'numpy'", "'fastbp'"}
    [graph] = [p for p in (PAGES / "graphs").rglob(f"{TRAINING}.json") if "summary" not in
               p.parts]
    points = json.loads(graph.read_text())
    assert len(points) >= 3, "commits"
    combinations = len(training["params"][0]) * 2
    for _, values in points:
        assert len(values) == combinations
        assert all(v is not None and 0 < v < 100 for v in values)


def test_pages_show_both_lines_and_the_grid(address: str, tmp_path: Path) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    with open_browser(tmp_path / "profile") as browser:
        driver = browser.driver
        driver.set_window_size(1280, 900)
        wait = WebDriverWait(driver, 30)
        driver.get(address)
        cards = wait.until(lambda d: d.execute_script(
            "return [...document.querySelectorAll('#summarygrid-display .benchmark-container')]"
            ".map(e => e.innerText)"))
        assert any("time_epoch" in card for card in cards)
        driver.get(f"{address}#{TRAINING}?p-row='digits'")
        legend = wait.until(lambda d: d.execute_script(
            "const e = document.querySelector('#graphdisplay'); "
            "return e && e.innerText.includes('fastbp') && e.querySelector('canvas') "
            "? e.innerText : null"))
        assert "numpy" in legend and "fastbp" in legend, legend
        driver.save_screenshot(str(PAGES / "screenshot.png"))
        errors = [e for e in driver.get_log("browser") if e["level"] == "SEVERE"
                  and address in e["message"]]
        assert not errors, errors
