"""Pieces of HTML. All text goes through ``text``: nothing from users is taken as markup."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from unicodedata import category

#: Decimals and units of time.
_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def text(value: Any) -> str:
    """``value`` as text of a page, escaped; spaces of any width are kept."""
    shown = "".join(c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else
                    "\N{REPLACEMENT CHARACTER}" for c in str(value))
    return html.escape(shown)


def number(value: float | None, digits: int = 4) -> str:
    """A number with ``digits`` significant digits; a dash if there is none."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "NaN")
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{int(value):,}".replace("-", "−")
    shown = f"{value:.{digits}g}"
    if "e" not in shown and abs(value) >= 1000:
        shown = f"{value:,.0f}"
    return shown.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e").replace("-", "−")


def compact(value: float) -> str:
    """A count, or a rate, in few characters."""
    for size, unit in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f}"


def share(value: float | None, digits: int = 1) -> str:
    """A share in percent."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}%}"


def seconds(value: float) -> str:
    """A time with its unit."""
    if not math.isfinite(value):
        return number(value)
    for size, unit in _UNITS:
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} s"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], label: str,
          foot: Sequence[Sequence[Any]] = ()) -> str:
    """A table in a box that scrolls by itself; the first column names the row.

    Parameters
    ----------
    head : sequence of str
        Names of the columns; those after the first hold numbers unless they end with a space.
    rows, foot : sequences
        Cells, as strings to display.
    label : str
        What the table holds.
    """
    kinds = ["" if name.endswith(" ") else ' class="n"' for name in head]
    kinds[0] = ' class="name"'

    def line(cells: Sequence[Any]) -> str:
        first = f'<th scope="row" class="name">{text(cells[0])}</th>'
        return "<tr>" + first + "".join(f"<td{kind}>{text(cell)}</td>" for kind, cell in
                                        zip(kinds[1:], cells[1:], strict=True)) + "</tr>"

    rows = list(rows)
    width = max((len(str(row[0])) for row in [*rows, *foot, head]), default=0) + 1
    columns = "".join(f'<th scope="col"{kind}>{text(name.strip())}</th>'
                      for name, kind in zip(head, kinds, strict=True))
    body = "\n".join(map(line, rows))
    below = f"<tfoot>{''.join(map(line, foot))}</tfoot>" if foot else ""
    return _box(label, f'<table style="--name:{width}ch"><thead><tr>{columns}</tr></thead>'
                f"<tbody>{body}</tbody>{below}</table>")


def facts(entries: Mapping[str, Any], label: str) -> str:
    """Names and values in two columns; nested entries have dotted names."""
    width = max((len(name) for name, _ in flat(entries)), default=0) + 1
    lines = "\n".join(f'<tr><th scope="row" class="name">{text(name)}</th>'
                      f"<td>{text(value)}</td></tr>" for name, value in flat(entries))
    return _box(label, f'<table class="facts" style="--name:{width}ch"><tbody>{lines}</tbody>'
                "</table>")


def _box(label: str, table: str) -> str:
    return (f'<div class="card"><h3>{text(label)}</h3><div class="scroll" role="region" '
            f'aria-label="{text(label)}" tabindex="0">{table}</div></div>')


def flat(entries: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """The entries of nested mappings, by dotted names."""
    found: list[tuple[str, Any]] = []
    for name, value in entries.items():
        own = f"{above}{name}"
        if isinstance(value, Mapping) and value:
            found += flat(value, f"{own}.")
        else:
            found.append((own, value))
    return found


def tiles(entries: Sequence[tuple[str, str]]) -> str:
    """The most important figures, large."""
    return '<dl class="tiles">' + "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in entries
    ) + "</dl>"


def figure(svg: str, caption: str) -> str:
    """A chart and the sentence under it."""
    return f"<figure>{svg}<figcaption>{text(caption)}</figcaption></figure>"


def note(sentence: str) -> str:
    """A sentence that stands out."""
    return f'<p class="note" role="note">{text(sentence)}</p>'
