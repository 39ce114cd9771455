"""The pages as they were built: whole, without a network, readable on a phone.

    sphinx-build -W --keep-going -n -q -b html docs docs/_build
"""

from __future__ import annotations

import functools
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import fastbp

from .browser import open_browser

DOCS = Path(__file__).parent.parent / "docs"
BUILT = DOCS / "_build"


def _old() -> bool:
    """Whether there are no pages, or pages of other sources than these."""
    made = BUILT / "objects.inv"
    sources = [*DOCS.glob("*.*"), *DOCS.glob("guides/*"), *DOCS.glob("zh/*"),
               *DOCS.glob("_[est]*/**/*.*"), Path(fastbp.__file__)]
    return not made.exists() or made.stat().st_mtime < max(p.stat().st_mtime for p in sources
                                                           if "__pycache__" not in p.parts)


pytestmark = pytest.mark.skipif(_old(), reason="docs/_build is old: see the top of this file")
#: Where links may lead outside, with nothing loaded from there.
EXTERNAL = {"arunmallya.github.io", "www.sphinx-doc.org", "pydata-sphinx-theme.readthedocs.io"}
WIDTHS = (1280, 390)
#: What is wider than its box. The theme hides what sticks out of the page; the boxes tell.
STICKING_OUT = """
const boxes = document.querySelectorAll('.bd-article-container, article, article div');
const scrolls = '.highlight, .math-block, .pst-scrollable-table-container';
return [...boxes].filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1
                              && !e.matches(scrolls)).map(e => e.className);
"""


class Page(HTMLParser):
    """Ids, links and what is loaded."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.language = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.ids |= {found[k] for k in ("id", "name") if k in found}
        if tag == "html":
            self.language = found.get("lang", "")
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and found.get("rel") not in ("canonical", "search", "index", "next",
                                                      "prev", "author", "copyright"):
            self.loaded.append(found["href"])
        if "src" in found:
            self.loaded.append(found["src"])


@functools.cache
def parsed(path: Path) -> Page:
    return Page(path)


def pages() -> list[Path]:
    return [p for p in sorted(BUILT.rglob("*.html")) if "_static" not in p.parts]


def test_links_and_resources_are_there() -> None:
    assert len(pages()) > 60
    for path in pages():
        page = parsed(path)
        for target in page.loaded:
            parts = urlsplit(target)
            assert parts.scheme in ("", "data"), f"{path.name} loads {target}"
            if parts.path and not parts.scheme:
                assert (path.parent / unquote(parts.path)).exists(), (path.name, target)
        for target in page.links:
            parts = urlsplit(target)
            if parts.scheme:
                assert parts.hostname in EXTERNAL, (path.name, target)
                continue
            other = path.parent / unquote(parts.path) if parts.path else path
            assert other.exists(), (path.name, target)
            if parts.fragment and other.suffix == ".html" and "search" not in other.name:
                assert unquote(parts.fragment) in parsed(other.resolve()).ids, (path.name, target)


def test_every_public_name_has_a_place() -> None:
    lines = (BUILT / "objects.inv").read_bytes().split(b"\n", 4)
    found = {line.split()[0] for line in zlib.decompress(lines[4]).decode().splitlines()}
    for name in fastbp.__all__:
        known = {f"fastbp.{name}"} & found or {x for x in found if x.startswith(f"fastbp.{name}.")}
        assert known, name


def test_chinese_pages_say_so() -> None:
    assert parsed(BUILT / "zh" / "theory.html").language == "zh-CN"
    assert parsed(BUILT / "theory.html").language == "en"


def test_pages_in_a_browser(tmp_path: Path) -> None:
    with open_browser(tmp_path / "profile") as browser:
        for name in ("index", "theory", "zh/theory", "zh/README", "speed", "guides/deploy",
                     "reference/index", "reference/fastbp.Network"):
            path = BUILT / f"{name}.html"
            for width in WIDTHS:
                seen = browser.look(path, width)
                script = browser.driver.execute_script
                assert seen["wide"] <= seen["width"], (name, width)
                assert script(STICKING_OUT) == [], (name, width)
                assert script("return document.querySelector('article h1').offsetHeight") > 20
                assert not [m for m in seen["console"] if m["level"] in ("SEVERE", "WARNING")], (
                    name, seen["console"])
                assert not [r for r in seen["resources"] if not r.startswith("file:")], name
                heights = script("return [...document.querySelectorAll('math')].map("
                                 "m => m.getBoundingClientRect().height)")
                assert len(heights) == parsed(path).tags.count("math")
                assert all(h > 8 for h in heights), name
                assert not script("return [...document.images].filter("
                                  "i => !i.complete || !i.naturalWidth).map(i => i.src)"), name
            if name.endswith("theory"):
                assert len(heights) > 50
