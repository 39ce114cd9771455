"""Chromium without a screen, for tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--hide-scrollbars")
#: What a page says of itself once drawn.
_LOOK = """
const seen = e => { const b = e.getBoundingClientRect(); return b.width > 0 && b.height > 0; };
const some = e => { const b = e.getBoundingClientRect(); return b.width > 0 || b.height > 0; };
const size = e => { const m = e.getScreenCTM();
                    return parseFloat(getComputedStyle(e).fontSize) * Math.hypot(m.a, m.b); };
return {
  wide: document.documentElement.scrollWidth, width: window.innerWidth,
  charts: [...document.querySelectorAll('figure > svg')].map(svg => ({
    label: svg.getAttribute('aria-label'), drawn: seen(svg),
    marks: [...svg.querySelectorAll('[style*="var(--c"], image')].filter(some).length,
    words: [...svg.querySelectorAll('text')].filter(seen).map(t => t.textContent),
    inside: svg.getBoundingClientRect().right <= window.innerWidth,
    cut: [...svg.querySelectorAll('text')].filter(t => {
      const a = t.getBoundingClientRect(), b = svg.getBoundingClientRect();
      return a.width && (a.left < b.left - 1 || a.right > b.right + 1
                         || a.top < b.top - 1 || a.bottom > b.bottom + 1);
    }).map(t => t.textContent),
    text: Math.min(...[...svg.querySelectorAll('text')].filter(seen).map(size))})),
  ids: [...document.querySelectorAll('[id]')].map(e => e.id),
  broken: [...document.querySelectorAll('use')].map(u => u.getAttribute('href'))
          .filter(h => !document.querySelector(h)).length,
  ink: getComputedStyle(document.body).color, ground: getComputedStyle(document.body)
       .backgroundColor,
  line: getComputedStyle(document.querySelector('svg text') || document.body).fill,
  resources: performance.getEntriesByType('resource').map(r => r.name),
  scripts: document.scripts.length, injected: window.injected === true};
"""


class Browser:
    """A driver and how to look at a page with it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def look(self, path: Path, width: int, dark: bool = False) -> dict[str, Any]:
        """Open ``path`` on a screen ``width`` wide; what there is to see, and the console."""
        from selenium.webdriver.support.ui import WebDriverWait

        command = self.driver.execute_cdp_cmd
        command("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500})
        command("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})
        self.driver.get("about:blank")  # so that what is waited for is the new page
        self.driver.get_log("browser")
        self.driver.get(path.as_uri())
        WebDriverWait(self.driver, 30).until(lambda driver: driver.execute_script(
            "return document.readyState == 'complete' && location.protocol == 'file:'"))
        found = dict(self.driver.execute_script(_LOOK))
        found["console"] = self.driver.get_log("browser")
        return found


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """A browser with the fresh ``profile``; skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chrome = next(filter(None, map(shutil.which, _NAMES)), None)
    driver = shutil.which("chromedriver")
    if chrome is None or driver is None:
        pytest.skip("no Chromium with chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    for option in (*_OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver, env={**os.environ, "SE_OFFLINE": "true"})
    own = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(own)
    finally:
        own.quit()
