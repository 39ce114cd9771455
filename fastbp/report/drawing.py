"""Charts as pieces of a page: SVG that takes its colours and fonts from the page."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

from .._extras import needs

#: Colours as drawn (light), and their names in the page's style sheet.
COLOURS = {"#1c2430": "--ink", "#5b6675": "--muted", "#e2e6eb": "--line", "#2f6fde": "--c0",
           "#e0701a": "--c1", "#16916b": "--c2", "#8c8c8c": "--muted"}
INK, MUTED, LINE, *SERIES = list(COLOURS)[:6]
#: Points of the smallest text: 9.6 px on a screen of 360.
TEXT = 10.5
_STYLE = {
    "font.size": TEXT, "axes.titlesize": 12, "axes.labelsize": TEXT, "xtick.labelsize": TEXT,
    "ytick.labelsize": TEXT, "legend.fontsize": TEXT, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.titlepad": 8, "text.color": INK, "axes.titlecolor": INK,
    "axes.labelcolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED, "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7, "xtick.major.width": 0.7, "ytick.major.width": 0.7,
    "xtick.minor.visible": False, "ytick.minor.visible": False, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": LINE, "grid.linewidth": 0.8,
    "axes.axisbelow": True, "lines.linewidth": 1.7, "legend.frameon": False,
    "legend.handlelength": 1.4, "legend.borderaxespad": 0.3, "legend.labelspacing": 0.3,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "svg.fonttype": "none", "svg.hashsalt": "fastbp"}


def draw(plot: Callable[[], Any], key: str, label: str) -> str:
    """The figure of the axes that ``plot`` makes, as an <svg> element.

    Parameters
    ----------
    plot : function
        Draws on a figure of its own and returns the axes.
    key : str
        Prefix of all ids, which makes them unique on the page.
    label : str
        The chart in words, for readers who do not see it.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    with needs("a report needs matplotlib", "plot"):
        import matplotlib.style
        from cycler import cycler
    out = io.StringIO()
    style = _STYLE | {"axes.prop_cycle": cycler(color=SERIES)}
    with matplotlib.style.context(["default", style]), warnings.catch_warnings():
        # The browser has glyphs that matplotlib's own font, used for measuring, lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        plot().figure.savefig(out, format="svg", metadata={
            "Date": None, "Creator": None, "Format": None, "Type": None})
    return _embed(out.getvalue(), key, label)


def _embed(svg: str, key: str, label: str) -> str:
    root = ET.fromstring(svg)
    for parent in root.iter():
        for child in [c for c in parent if c.tag.endswith("}style")]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rsplit("}", 1)[-1]
        for name, value in list(element.attrib.items()):
            del element.attrib[name]
            element.set(name.rsplit("}", 1)[-1], _attribute(name, value, key))
        element.tail = None
        if element.tag != "text" and not (element.text or "").strip():
            element.text = None
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", label)
    return ET.tostring(root, encoding="unicode")


def _attribute(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name.endswith("href"):
        return f"#{key}-{value[1:]}" if value.startswith("#") else re.sub(r"\s", "", value)
    if name == "d":
        return re.sub(r"(\.\d\d)\d+", r"\1", " ".join(value.split()))
    if name in ("x", "y"):
        return f"{float(value):.2f}"
    value = re.sub(r"url\(#", f"url(#{key}-", value)
    if name == "style":
        value = re.sub(r"\s*font-family:[^;]*;?", "", value)
        value = re.sub(r"font: (?:(bold|\d{3}) )?([\d.]+px)[^;]*",
                       lambda m: f"font-size: {m[2]}" + (m[1] and f"; font-weight: {m[1]}" or ""),
                       value)
        value = re.sub(r"#[0-9a-f]{6}", lambda m: f"var({COLOURS[m[0]]})"
                       if m[0] in COLOURS else m[0], value)
    return value
