"""A growing ONNX graph: names that do not clash, constants, one call per operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._extras import needs
from .._validation import Array

OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
ML = "ai.onnx.ml"


def require() -> Any:
    """The package onnx.

    Raises
    ------
    ImportError
        If it is not installed; the message tells how to.
    """
    with needs("to_onnx needs onnx", "onnx"):
        import onnx
    return onnx


class Graph:
    """Nodes in order, for numbers of one dtype.

    Parameters
    ----------
    dtype : dtype
        float32 or float64.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.onnx, self.dtype = require(), np.dtype(dtype)
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._used: set[str] = set()
        self._seen = Counter[str]()

    def fresh(self, name: str) -> str:
        """``name``, with an underscore or a number appended if it is taken."""
        found = name
        while found in self._used:
            self._seen[name] += 1  # on from the last one: wide tables have many
            found = f"{name}_{self._seen[name]}" if self._seen[name] > 1 else f"{name}_"
        self._used.add(found)
        return found

    def kind(self, like: Any) -> int:
        """ONNX's number for a dtype."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(like)))

    def constant(self, value: Any, name: str = "constant") -> str:
        """Add an array of strings, or of numbers in its own dtype; return its name."""
        name, array = self.fresh(name), np.asarray(value)
        if array.dtype.kind in "UO":
            tensor = self.onnx.helper.make_tensor(
                name, self.onnx.TensorProto.STRING, array.shape,
                [str(text).encode() for text in array.ravel()])
        else:
            tensor = self.onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)
        self.initializers.append(tensor)
        return name

    def number(self, value: float) -> str:
        """Add a scalar of the graph's dtype; return its name."""
        return self.constant(self.dtype.type(value), "number")

    def op(self, kind: str, *inputs: str, output: str = "", domain: str = "",
           **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = output or self.fresh(kind)
        self.nodes.append(self.onnx.helper.make_node(
            kind, list(inputs), [output], name=self.fresh(f"node/{kind}"), domain=domain,
            **attributes))
        return output

    def horner(self, coefficients: Sequence[float], x: str) -> str:
        """The polynomial of x, highest power first."""
        y = self.op("Mul", x, self.number(coefficients[0]))
        for c in coefficients[1:-1]:
            y = self.op("Mul", self.op("Add", y, self.number(c)), x)
        return self.op("Add", y, self.number(coefficients[-1]))

    def take(self, name: str, like: Any, columns: int) -> str:
        """Add an input with any number of rows; return its name."""
        name = self.fresh(name)
        self.inputs.append(self.onnx.helper.make_tensor_value_info(
            name, self.kind(like), ["N", columns]))
        return name

    def give(self, name: str, value: str, like: Any, columns: int | None) -> None:
        """Add an output, with one number for each row if ``columns`` is None."""
        name = self.fresh(name)
        self.op("Identity", value, output=name)
        shape = ["N"] if columns is None else ["N", columns]
        self.outputs.append(self.onnx.helper.make_tensor_value_info(name, self.kind(like), shape))

    def model(self, properties: dict[str, str], version: str, text: str) -> bytes:
        """The whole model as bytes, checked.

        Raises
        ------
        ValueError
            If it would be larger than the 2 GiB that the format allows.
        """
        helper = self.onnx.helper
        graph = helper.make_graph(self.nodes, "fastbp", self.inputs, self.outputs,
                                  self.initializers, doc_string=text)
        model = helper.make_model(
            graph, producer_name="fastbp", producer_version=version, ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)])
        helper.set_model_props(model, properties)
        self.onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def too_large(params: Array) -> None:
    """Refuse parameters that no ONNX file can hold.

    Raises
    ------
    ValueError
        If the parameters fill 2 GiB.
    """
    if params.nbytes >= 2**31 - 2**20:
        raise ValueError(f"the parameters fill {params.nbytes / 2**30:.1f} GiB, an ONNX file "
                         "holds 2")
