"""How the pages are built: Markdown, docstrings, equations as MathML, plots drawn on the spot.

    pip install -e ".[docs]"
    sphinx-build -W --keep-going -n -b html docs docs/_build && python docs/check.py docs/_build

Nothing is fetched while building or reading.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import fastbp  # noqa: E402

project = "fastbp"
author = "the authors of fastbp"
copyright = "the authors of fastbp, MIT license"  # noqa: A001
version = release = fastbp.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_parser",
              "sphinx_copybutton", "matplotlib.sphinxext.plot_directive", "mathml", "speed",
              "reference"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_generated/*.md"]
nitpicky = True
smartquotes = False

# Types stand in the docstrings, in words; signatures stay short.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = ["reference/index.md"]
autosummary_ignore_module_all = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

plot_formats = ["svg"]
plot_html_show_formats = plot_html_show_source_link = plot_include_source = False
plot_rcparams = {"figure.figsize": (7.2, 2.8), "axes.grid": True, "grid.alpha": 0.3,
                 "axes.spines.top": False, "axes.spines.right": False, "font.size": 10,
                 "figure.constrained_layout.use": True, "svg.hashsalt": "fastbp"}
plot_apply_rcparams = True

html_theme = "pydata_sphinx_theme"
html_title = "fastbp"
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["fastbp.css"]
templates_path = ["_templates"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_toc_level": 2, "navigation_with_keys": False, "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "footer_start": ["copyright"], "footer_end": ["sphinx-version"],
    "secondary_sidebar_items": ["page-toc"], "show_prev_next": True,
    "pygments_light_style": "tango", "pygments_dark_style": "monokai"}
html_sidebars = {"index": [], "theory": [], "speed": [], "layer": []}


def _language(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Chinese pages say so: fonts, hyphenation and screen readers go by it."""
    if page.startswith("zh/"):
        context["language"] = "zh-CN"


def _plain(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """|x| and val_ in a docstring are what they are, no markup of reStructuredText's."""
    for i, line in enumerate(lines):
        parts = line.split("``")
        lines[i] = "``".join(part if k % 2 else re.sub(r"(\||(?<=\w)_(?!\w))", r"\\\1", part)
                             for k, part in enumerate(parts))


def _foreign(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what an estimator inherits from scikit-learn: its own pages have it."""
    home = getattr(getattr(thing, "fget", thing), "__module__", None) or "fastbp"
    asked = name == "get_metadata_routing" or (name.startswith("set_") and "_request" in name)
    return True if asked or not home.startswith("fastbp") else None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("html-page-context", _language)
    app.connect("autodoc-process-docstring", _plain, priority=400)  # before numpydoc
    app.connect("autodoc-skip-member", _foreign)
