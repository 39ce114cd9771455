"""Equations as MathML, made by docutils while building: no script, no font, no network."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

_log = logging.getLogger(__name__)


def _markup(node: nodes.Element, block: bool) -> str:
    try:
        return tex2mathml(node.astext().strip(), as_block=block)
    except MathError as error:
        _log.warning("equation %r: %s", node.astext(), error, location=node)
        return ""


def visit_inline(writer: Any, node: nodes.math) -> None:
    """An equation in a line."""
    writer.body.append(_markup(node, False))
    raise nodes.SkipNode


def visit_block(writer: Any, node: nodes.math_block) -> None:
    """An equation of its own; one that is too wide for a phone scrolls in its box."""
    writer.body.append(f'<div class="math-block">{_markup(node, True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("config-inited",
                lambda _, config: setattr(config, "html_math_renderer", "mathml"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
