"""The published asv pages in a browser; they are there after ``python -m bench.dashboard``.

asv's pages load jQuery, Flot, Bootstrap and more from the network. Where there is none,
``FASTBP_ASV_SCRIPTS`` names a folder that has these files.
"""

from __future__ import annotations

import http.server
import json
import os
import re
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


class _Pages(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def translate_path(self, path: str) -> str:
        """Scripts from their own folder."""
        if path.startswith("/_scripts/"):
            return os.path.join(os.environ["FASTBP_ASV_SCRIPTS"], os.path.basename(path))
        return super().translate_path(path)

    def do_GET(self) -> None:
        """index.html with scripts from here, if there is a folder of them."""
        if self.path != "/" or "FASTBP_ASV_SCRIPTS" not in os.environ:
            return super().do_GET()
        page = (PAGES / "index.html").read_text()
        page = re.sub(r'https://[^"]*/([^/"]+\.(?:js|css))"', r'/_scripts/\1"', page)
        page = re.sub(r'\s(?:integrity|crossorigin)="[^"]*"', "", page)
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(page.encode())
        return None


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(
            _Pages, directory=str(PAGES))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_there_are_three_commits_and_both_backends_of_each_row() -> None:
    index = json.loads((PAGES / "index.json").read_text())
    assert len(index["revision_to_hash"]) >= 3
    training = index["benchmarks"][TRAINING]
    assert training["unit"] == "seconds" and training["param_names"] == ["row", "backend"]
    assert training["params"][1] == ["'numpy'", "'fastbp'"]
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
        wait.until(lambda d: "Training.time_epoch" in d.execute_script(
            "const e = document.querySelector('#summarygrid-display'); "
            "return e ? e.innerText : ''"))
        driver.get(f"{address}#{TRAINING}?p-row='digits'&p-backend='numpy'&p-backend='fastbp'")
        shown = wait.until(lambda d: d.execute_script(
            "const e = document.querySelector('#graph-display'); return e && "
            "e.querySelector('canvas') && e.innerText.includes('fastbp; row-digits') "
            "? e.innerText : ''"))
        assert "backend-numpy; row-digits" in shown, "both lines in one graph"
        assert TRAINING in driver.execute_script("return document.body.innerText")
        driver.save_screenshot(str(PAGES / "screenshot.png"))
        # Benchmarks that did not run, of a subset, have no summary.
        errors = [e for e in driver.get_log("browser") if e["level"] == "SEVERE"
                  and "/graphs/summary/" not in e["message"]]
        assert not errors, errors
