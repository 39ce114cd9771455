"""The two ends of a model in C: raw columns to features, outputs to predictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .c_text import literally, number, to_dtype, words
from .parts import Parts

_PLACES = """\
/* The place of a word, -1 for an unknown one, fill for a missing one; below lowest: NaN. */
static int ${name}_place($real x, int count, int fill)
{
    if (x != x)
        return fill;
    return x >= 0 && x < count ? (int)x : -1;
}
"""
_ONEHOT = """\
static void ${name}_onehot($real x, $real *a, int count, int fill, int lowest)
{
    const int at = ${name}_place(x, count, fill);
    int i;
    for (i = 0; i < count; i++)
        a[i] = at < lowest ? NAN : at == i;
}
"""
_ORDINAL = """\
static void ${name}_ordinal($real x, $real *a, int count, int fill, int lowest)
{
    const int at = ${name}_place(x, count, fill);
    a[0] = at < lowest ? NAN : at;
}
"""


@dataclass
class End:
    """Pieces of source; ``about`` is for the comment at its top."""

    about: list[str] = field(default_factory=list)
    defines: dict[str, int] = field(default_factory=dict)
    prototypes: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    helpers: list[str] = field(default_factory=list)


def inputs_of(parts: Parts) -> End:
    """From the row x to the features in the buffer a."""
    end, columns = End(), parts.columns
    if columns is None:
        end.defines["N_IN"] = parts.network.n_in
        end.about += [f"x[{i}]: {literally(name)}" for i, name in enumerate(parts.features)]
        end.body.append(f"memcpy(a, x, {parts.network.n_in} * sizeof a[0]);")
        return end
    end.defines["N_IN"] = len(columns)
    at, cases, used = 0, [], set()
    for i, column in enumerate(columns):
        hole = "" if column.fill is None else " or NaN for missing"
        if type(column).__name__ != "Categorical":
            end.body.append(f"a[{at}] = {_scaled(column, f'x[{i}]')};")
            end.about.append(literally(f"x[{i}]: {column.name}, a number{hole}"))
            at += 1
            continue
        places, kind = list(column.categories), column.encoding
        fill = -2 if column.fill is None else places.index(column.fill)
        lowest = 0 if column.unknown == "error" else -1
        end.body.append(f"${{name}}_{kind}(x[{i}], a + {at}, {len(places)}, {fill}, {lowest});")
        listed = ", ".join(f"{k} {place}" for k, place in enumerate(places[:20]))
        listed += ", ..." if len(places) > 20 else ""
        end.about.append(literally(f"x[{i}]: {column.name}, the place of its word{hole}: "
                                   f"{listed}"))
        end.tables.append(words(f"${{name}}_words_{i}", places, "static const char *const"))
        cases.append(f"    case {i}:\n        words = ${{name}}_words_{i};\n"
                     f"        count = {len(places)};\n        break;\n")
        used.add(kind)
        at += 1 if kind == "ordinal" else len(places)
    if used:
        end.tables += [_PLACES, *([_ONEHOT] if "onehot" in used else []),
                       *([_ORDINAL] if "ordinal" in used else [])]
        end.prototypes.append("int ${name}_category(int column, const char *word);")
        end.about.append("${name}_category(i, word) tells the place of a word in x[i], or -1.")
        end.functions.append(
            "int ${name}_category(int column, const char *word)\n{\n"
            "    const char *const *words = 0;\n    int count = 0, i;\n"
            "    switch (column) {\n" + "".join(cases) + "    default:\n        break;\n    }\n"
            "    for (i = 0; i < count; i++)\n        if (strcmp(words[i], word) == 0)\n"
            "            return i;\n    return -1;\n}\n")
    return end


def _scaled(column: Any, x: str) -> str:
    """As the preprocessor does: in float64, then rounded once."""
    value = f"(double){x}"
    if column.fill is not None:
        value = f"({x} != {x} ? {number(np.float64(column.fill))} : {value})"
    mean, scale = getattr(column, "mean", 0.0), getattr(column, "scale", 1.0)
    if mean != 0:
        value = f"({value} - {number(np.float64(mean))})"
    if scale != 1:
        value = f"{value} / {number(np.float64(scale))}"
    return f"($real)({value})"


def outputs_of(parts: Parts, dtype: np.dtype[Any]) -> End:
    """From outputs of the last layer in y to predictions, probabilities and classes."""
    end, n = End(), parts.network.n_out
    end.defines["N_OUT"] = n
    if parts.exponential:
        end.body.append(f"for (i = 0; i < {n}; i++)\n        y[i] = exp$f(y[i]);")
    if parts.scale != 1 or parts.mean != 0:
        scale, mean = (number(to_dtype(v, dtype)[()]) for v in (parts.scale, parts.mean))
        end.body.append(f"for (i = 0; i < {n}; i++)\n        y[i] = y[i] * {scale} + {mean};")
    if parts.link is not None:
        _probabilities(end, parts, n)
    if not parts.several and (parts.link is not None or parts.classes is not None):
        _class(end, parts, n)
    if parts.classes is not None:
        kind = {str: "const char *const", int: "const long long", float: "const double",
                bool: "const int"}[type(parts.classes[0])]
        end.prototypes.append(f"extern {kind} ${{name}}_classes[{len(parts.classes)}];")
        end.tables.append(words("${name}_classes", parts.classes, kind))
        end.about.append("${name}_classes holds the label of each "
                         f"{'output' if parts.several else 'index'}.")
    return end


def _probabilities(end: End, parts: Parts, n: int) -> None:
    end.defines["N_PROBABILITIES"] = count = 2 if parts.binary else n
    own = "${name}_predict_proba(const $real *x, $real *p)"
    end.prototypes.append(f"void {own};")
    text = f"void {own}\n{{\n    ${{name}}_predict(x, p);\n"
    if parts.link != "identity":
        end.helpers.append(str(parts.link))
        text += f"    ${{name}}_{parts.link}(p, {n});\n"
    if parts.binary:
        text += "    p[1] = p[0];\n    p[0] = 1 - p[1];\n"
    end.functions.append(text + "}\n")
    end.about.append(f"${{name}}_predict_proba writes {count} probabilities to p.")


def _class(end: End, parts: Parts, n: int) -> None:
    size, said = max(n, 2) if parts.binary else n, "predict" + "_proba" * (parts.link is not None)
    end.prototypes.append("int ${name}_predict_class(const $real *x);")
    last = f"p[{size - 1 if parts.link else 0}]"
    threshold = float(parts.network.loss_function.threshold)
    choice = f"    best = {last} != {last} ? -1 : {last} > {threshold}$f;\n"
    if n > 1:
        choice = (f"    for (i = 0; i < {n}; i++) {{\n"
                  "        if (p[i] != p[i])\n            return -1;\n"
                  "        if (p[i] > p[best])\n            best = i;\n    }\n")
    index = "int best;" if n == 1 else "int i, best = 0;"
    end.functions.append(
        "int ${name}_predict_class(const $real *x)\n{\n"
        f"    ${{upper}}_STORAGE $real p[{size}];\n    {index}\n    ${{name}}_{said}(x, p);\n"
        f"{choice}    return best;\n}}\n")
    end.about.append("${name}_predict_class gives the index of the class, -1 where there is NaN.")
