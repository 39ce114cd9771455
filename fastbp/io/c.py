"""Networks as one C99 file without dependencies: for microcontrollers, and for services.

Numbers have the network's dtype, weights are hexadecimal literals, which are exact. Buffers are
static, nothing is allocated, only math.h and string.h are used. Element-wise formulas are those
of ``layers``; a product takes four inputs at a time, which compilers vectorise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from string import Template
from typing import Any

import numpy as np

from .._validation import check_dtype
from ..network import Network
from .c_ends import inputs_of, outputs_of
from .c_layers import CALLS, HELPERS
from .c_text import array, comment, literally, number, to_dtype
from .files import write_whole
from .parts import Parts, take_apart, warn_of_digits
from .safetensors import version


def to_c(model: Any, path: str | os.PathLike[str] | None = None, name: str = "model", *,
         classes: Sequence[Any] | None = None, dtype: Any = None) -> str:
    """Export a trained model as one self-contained C99 file.

    Parameters
    ----------
    model : Network, Model, or fitted MLPClassifier or MLPRegressor of fastbp
    path : str or path, optional
        Where to write it, whole or not at all.
    name : str
        Prefix of all declared names; characters that C does not allow there become "_".
    classes : sequence of str, int, float or bool, optional
        Labels of the outputs by index, in place of the model's own.
    dtype : {"float32", "float64"}, optional
        Of the arithmetic; by default the network's.

    Returns
    -------
    str
        The source. Compile with ``cc -O2 -std=c99 -c model.c``, link with ``-lm``; it is
        valid C++17 too.

    Raises
    ------
    TypeError
        If ``model`` is something else, or has a layer of the user's own: names it.
    ValueError
        For a name without letters or digits, classes that do not fit the outputs,
        parameters that are not finite, an epsilon that rounds to 0, or a target's mean or scale
        beyond the dtype.
    OSError
        If the file cannot be written; an earlier one stays as it was.

    Notes
    -----
    With name "model" and float32 there are

    - ``MODEL_N_IN`` and ``MODEL_N_OUT``, sizes of a row of input and of output
    - ``void model_predict(const float *x, float *y)``: what ``predict`` gives, in the units of
      the target column
    - for losses that give probabilities ``MODEL_N_PROBABILITIES`` and ``void
      model_predict_proba(const float *x, float *p)``; unless each output is a label of its
      own also ``int model_predict_class(const float *x)``, an index into
      ``model_classes[]``, which exists if the classes are known
    - for a model with a preprocessor x is a row of the raw columns, with NaN for missing
      values and for a word its index, as given by ``int model_category(int column, const
      char *word)`` (-1 for unknown ones), which exists if a column holds words. Missing values
      and unknown words that ``predict`` refuses make the outputs NaN and the class -1.
      Booleans are not checked to be 0 or 1.

    Columns and predictions of float32 have seven digits, unlike ``predict``'s, so that numbers
    around 1.7e9 are 128 apart; with ``dtype="float64"`` they have all. A warning names columns
    whose rows that makes alike.

    The buffers are static, so only one thread at a time may run a model; compiled with
    ``-DMODEL_STORAGE=`` they are on the stack, and several may.
    """
    parts = take_apart(model, classes, CALLS, "C")
    prefix = identifier(name)
    found = parts.network.dtype if dtype is None else check_dtype(dtype)
    source = _source(parts, prefix, found)
    warn_of_digits(parts, found, "not with dtype='float64'")
    if path is not None:
        write_whole(path, source.encode())
    return source


def identifier(name: Any) -> str:
    """``name`` as an identifier of C.

    Raises
    ------
    TypeError, ValueError
        If it is not a string, or has no ASCII letters or digits.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}")
    found = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")
    if not found:
        raise ValueError(f"name must have letters or digits, got {name!r}")
    return f"model_{found}" if found[0].isdigit() else found


def _source(parts: Parts, name: str, dtype: np.dtype[Any]) -> str:
    network, single = parts.network, dtype == np.float32
    reads, gives = inputs_of(parts), outputs_of(parts, dtype)
    tables, steps, helpers, last = _layers(network, dtype)
    helpers += [h for h in gives.helpers if h not in helpers]
    predict = "void ${name}_predict(const $real *x, $real *y)"
    head = [f"$name: written by fastbp {version()}.", literally(repr(network)), "",
            f"{predict};", *reads.about, *gives.about,
            "One call at a time, unless compiled with -D${upper}_STORAGE= , which puts the "
            "buffers on the stack."]
    defines = [f"#define ${{upper}}_{key} {value}"
               for key, value in (reads.defines | gives.defines).items()]
    width = max(network.n_in, *(int(layer.n_out or 0) for layer in network.layers))
    body = [f"${{upper}}_STORAGE $real {buffer}[{width}];"
            for buffer in ("ab" if any("b, " in step for step in steps) else "a")]
    body += ["int i;"] * bool(gives.body)
    body += [*reads.body, *steps,
             f"memcpy(y, {last}, {network.n_out} * sizeof y[0]);", *gives.body]
    text = "\n".join([
        "#include <math.h>\n#include <string.h>\n", *defines,
        "#ifndef ${upper}_STORAGE\n#define ${upper}_STORAGE static\n#endif\n",
        '#ifdef __cplusplus\n#define restrict __restrict\nextern "C" {\n#endif',
        f"{predict};", *reads.prototypes, *gives.prototypes, "#ifdef __cplusplus\n}\n#endif\n",
        *tables, *reads.tables, *gives.tables, *(HELPERS[h] for h in helpers),
        f"{predict}\n{{", *(f"    {line}" for line in body), "}\n",
        *gives.functions, *reads.functions])
    values = {"name": name, "upper": name.upper(), "real": "float" if single else "double",
              "f": "f" if single else ""}
    return "\n".join([comment(Template("\n".join(head)).substitute(values)),
                      Template(text).substitute(values)])


def _layers(network: Network, dtype: np.dtype[Any]
            ) -> tuple[list[str], list[str], list[str], str]:
    """(tables, calls, functions called, buffer with the last output)."""
    tables: list[str] = []
    steps: list[str] = []
    helpers: list[str] = []
    here, there = "a", "b"
    for k, layer in enumerate(network.layers):
        epsilon = getattr(layer, "epsilon", 1)
        if to_dtype(epsilon, dtype) == 0:
            raise ValueError(f"layer {k}: epsilon={epsilon} is 0 in {dtype}")
        call = CALLS[type(layer)](layer)
        if call is None:
            continue
        arguments = [here, *([there] if call.moves else []), *map(str, call.sizes)]
        for tensor, values in call.tensors.items():
            arguments.append("0" if values is None else f"${{name}}_{k}_{tensor}")
            if values is None:
                continue
            try:
                tables.append(array(arguments[-1], to_dtype(values, dtype), "$real"))
            except ValueError as error:
                raise ValueError(f"{k}.{tensor}: {error}") from None
        arguments += [number(to_dtype(value, dtype)[()]) for value in call.numbers]
        steps.append(f"${{name}}_{call.helper}({', '.join(arguments)});")
        helpers += [call.helper] if call.helper not in helpers else []
        if call.moves:
            here, there = there, here
    return tables, steps, helpers, here
