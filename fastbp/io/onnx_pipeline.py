"""Pipelines of scikit-learn as ONNX: skl2onnx converts the steps, and gets fastbp's estimators.

An estimator becomes the nodes that ``to_onnx`` writes for it, between casts from the type that
the step before it gives and back to that type.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._extras import needs
from .._validation import Array
from .onnx import NODES, graph_of
from .onnx_graph import ML, ML_OPSET, OPSET
from .parts import Parts, take_apart
from .safetensors import version

#: The oldest opset in which the nodes of an estimator mean the same.
OLDEST = 13


def _require() -> Any:
    with needs("pipelines as ONNX need skl2onnx", "skl2onnx"):
        import skl2onnx
    return skl2onnx


def register_skl2onnx() -> None:
    """Let skl2onnx convert ``MLPClassifier`` and ``MLPRegressor`` of fastbp.

    From then on ``skl2onnx.to_onnx`` and ``skl2onnx.convert_sklearn`` know them: alone, in
    pipelines, and inside estimators of scikit-learn such as ``VotingClassifier`` and
    ``CalibratedClassifierCV``. ``to_onnx`` of fastbp does this itself for pipelines. Calling it
    again changes nothing.

    Raises
    ------
    ImportError
        Without the package skl2onnx (extra of the same name).

    Notes
    -----
    Options of the classifier are ``zipmap`` and ``output_class_labels``, and labels are strings
    or int64, as for scikit-learn's. Probabilities and values are float64 if that goes in, else
    float32; the network computes in its own dtype. ``target_opset`` must be at least 13.
    """
    _require()
    from ..estimators import MLPClassifier, MLPRegressor

    _register(MLPClassifier)
    _register(MLPRegressor)


def _register(kind: type) -> None:
    """Register an estimator's class; one that is registered already is replaced."""
    from ..estimators import MLPClassifier

    if issubclass(kind, MLPClassifier):
        _require().update_registered_converter(
            kind, "FastbpMLPClassifier", _shapes, _convert, overwrite=True,
            options={"zipmap": [True, False, "columns"], "output_class_labels": [False, True],
                     "nocl": [False]})  # skl2onnx asks for it
    else:
        _require().update_registered_converter(
            kind, "FastbpMLPRegressor", _shapes, _convert, overwrite=True, parser=_named_y)


# -- what skl2onnx calls ---------------------------------------------------------------------


def _named_y(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> Any:
    """The regressor's operator, its output named as in fastbp's other exports."""
    from skl2onnx.common.data_types import guess_tensor_type

    operator = scope.declare_local_operator("FastbpMLPRegressor", model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("Y", guess_tensor_type(inputs[0].type)))
    return operator.outputs


def _parts(model: Any) -> Parts:
    return take_apart(model, None, NODES, "ONNX")


def _shapes(operator: Any) -> None:
    """Set the types and shapes of the outputs; refuse a number of features that is not fit's."""
    from skl2onnx.common import data_types as types

    model, inputs = operator.raw_operator, operator.inputs
    parts = _parts(model)
    shapes = [x.type.shape for x in inputs]
    several = len(inputs) > 1 and any(len(shape) != 2 for shape in shapes)
    widths: list[Any] = [shape[1] if len(shape) == 2 else None for shape in shapes]
    if several or (None not in widths and sum(widths) != parts.network.n_in):
        raise ValueError(f"{type(model).__name__} was fitted on {parts.network.n_in} features "
                         f"and gets the shapes {shapes}: skl2onnx converts the step before it to "
                         "something else, or the types given do not fit")
    rows, n_out = inputs[0].get_first_dimension(), parts.network.n_out
    number = type(types.guess_tensor_type(inputs[0].type))
    if parts.classes is None:
        operator.outputs[0].type = number([rows, n_out])
        return
    words = isinstance(parts.classes[0], str) and not parts.several
    kind = types.StringTensorType if words else types.Int64TensorType  # as scikit-learn's own
    operator.outputs[0].type = kind([rows, n_out] if parts.several else [rows])
    operator.outputs[1].type = number([rows, max(n_out, 2)])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of the estimator's own export, under names that are free here."""
    from onnx import TensorProto, helper
    from skl2onnx.common.data_types import guess_proto_type

    if container.target_opset_onnx < OLDEST:
        raise ValueError(f"target_opset must be at least {OLDEST} for fastbp's estimators, got "
                         f"{container.target_opset_onnx}")
    graph = graph_of(_parts(operator.raw_operator))

    def add(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        container.add_node(kind, list(inputs), [output], name=scope.get_unique_operator_name(kind),
                           **attributes)
        return output

    own = graph.kind(graph.dtype)
    x = [add("Cast", [given.full_name], scope.get_unique_variable_name("features"), to=own)
         for given in operator.inputs]
    if len(x) > 1:
        x = [add("Concat", x, scope.get_unique_variable_name("features"), axis=1)]
    names = {graph.inputs[0].name: x[0]}
    for tensor in graph.initializers:
        names[tensor.name] = scope.get_unique_variable_name(tensor.name)
        if tensor.data_type == TensorProto.STRING:
            container.add_initializer(names[tensor.name], tensor.data_type, list(tensor.dims),
                                      list(tensor.string_data))
        else:
            container.add_initializer(names[tensor.name], tensor.data_type, None, tensor)
    for node in graph.nodes:
        output = names[node.output[0]] = scope.get_unique_variable_name(node.output[0])
        add(node.op_type, [names[name] for name in node.input], output,
            **{a.name: helper.get_attribute_value(a) for a in node.attribute})
    for given, wanted in zip(graph.outputs, operator.outputs, strict=True):
        add("Cast", [names[given.name]], wanted.full_name, to=guess_proto_type(wanted.type))


# -- pipelines -------------------------------------------------------------------------------


def pipeline_to_onnx(pipeline: Any, X: Any = None) -> bytes:
    """The content of an ONNX file of a fitted pipeline; see ``to_onnx``.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Its last step, or that of its last step, is an estimator of fastbp.
    X : DataFrame or array_like, optional
        Some rows of what the pipeline reads.

    Raises
    ------
    ImportError, TypeError, ValueError
        As ``to_onnx``.
    """
    skl2onnx = _require()
    from onnx import checker, helper
    from skl2onnx.common.data_types import StringTensorType

    pipeline = _bare(pipeline)
    last = _end(pipeline, -1)
    parts = _parts(_checked(last))
    _register(type(last))
    columns = _columns(pipeline)
    odd: dict[str, str] = {}
    if columns is None:
        types = [("X", _matrix_type(pipeline, X))]
    else:
        kinds, odd = _column_types(columns, X)
        types = [(name, kinds.get(name, StringTensorType([None, 1]))) for name in columns]
    options = {id(last): {"zipmap": False}} if parts.classes is not None else None
    try:
        model = skl2onnx.convert_sklearn(pipeline, "fastbp", types, options=options,
                                         target_opset={"": OPSET, ML: ML_OPSET})
    except Exception as error:
        if odd:  # it was told that they are words, which need not be the cause
            raise ValueError(f"{_complaint(odd)}; skl2onnx says: {error}") from error
        raise
    _rename(model.graph, [name for name, _ in types], odd)
    opsets = {"": OPSET}
    for given in model.opset_import:  # it lists some twice
        opsets[given.domain] = max(given.version, opsets.get(given.domain, 1))
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*pair) for pair in opsets.items())
    names = [str(name) for name in getattr(pipeline, "feature_names_in_", ())]
    properties = {"fastbp": version(), "fastbp.features": json.dumps(names)}
    if parts.classes is not None:
        properties["fastbp.classes"] = json.dumps(parts.classes)
    helper.set_model_props(model, properties)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _bare(part: Any) -> Any:
    """The pipeline, or what joins transformers, without the steps that do nothing, which skl2onnx
    takes for estimators; None for a pipeline without others."""
    kinds = ("steps", "transformers_", "transformer_list")  # the second of columns, in a fit
    kind = next((name for name in kinds if isinstance(getattr(part, name, None), list)), None)
    if kind is None:
        return part
    own = [(name, _bare(step), *columns) for name, step, *columns in getattr(part, kind)]
    if kind == "steps":
        own = [pair for pair in own if pair[1] is not None and not isinstance(pair[1], str)]
        if not own:
            return None
    bare = copy.copy(part)
    setattr(bare, kind, [(name, "passthrough" if step is None else step, *columns)
                         for name, step, *columns in own])
    return bare


def _end(pipeline: Any, k: int) -> Any:
    """The first or last step, of the innermost pipeline there."""
    while hasattr(pipeline, "named_steps"):
        pipeline = pipeline.steps[k][1]
    return pipeline


def _checked(last: Any) -> Any:
    """The last step, if it is a fitted estimator of fastbp."""
    from ..estimators import MLPClassifier, MLPRegressor

    if not isinstance(last, (MLPClassifier, MLPRegressor)):
        raise TypeError("the last step of the pipeline must be MLPClassifier or MLPRegressor of "
                        f"fastbp, got {type(last).__name__}: convert it with skl2onnx.to_onnx, "
                        "after fastbp.register_skl2onnx() if fastbp's estimators are inside")
    if not hasattr(last, "network_"):
        raise TypeError("model must be fitted, got a pipeline whose last step is an unfitted "
                        f"{type(last).__name__}")
    return last


def _columns(pipeline: Any) -> list[str] | None:
    """Names of the columns, if each is an input of its own: only few steps take these apart."""
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    names = getattr(pipeline, "feature_names_in_", None)
    if names is None or not isinstance(_end(pipeline, 0),
                                       (ColumnTransformer, OneHotEncoder, OrdinalEncoder)):
        return None
    return [str(name) for name in names]


def _matrix_type(pipeline: Any, X: Any) -> Any:
    """Type of the one input: numbers, or words if ``X`` holds words."""
    from skl2onnx.common.data_types import FloatTensorType

    shape = [None, int(pipeline.n_features_in_)]
    if X is None:
        return FloatTensorType(shape)
    values = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
    if values.ndim != 2 or values.shape[1] != shape[1]:
        raise ValueError(f"X must have {shape[1]} columns, got shape {values.shape}")
    found = _type_of(values, values.dtype, shape)
    if found is None:
        raise ValueError("X must hold numbers or words, not both: fit a ColumnTransformer on a "
                         f"DataFrame; got values like {_odd_one(values)!r}")
    return found


def _column_types(columns: list[str], X: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Types by column, and for columns that ONNX has no type for, what they hold."""
    if X is None or not hasattr(X, "columns"):
        raise ValueError(f"X must be a DataFrame, some rows with the columns {columns[:10]} that "
                         f"the pipeline was fitted on, for their types; got {type(X).__name__}")
    kinds, odd = {}, {}
    for name in columns:
        if name not in X.columns:
            odd[name] = "is missing"
            continue
        values = np.asarray(X[name])
        found = _type_of(values, X[name].dtype, [None, 1])
        if found is None:
            odd[name] = f"holds {_odd_one(values)!r}"
        else:
            kinds[name] = found
    return kinds, odd


def _type_of(values: Array, dtype: Any, shape: list[int | None]) -> Any:
    """float32 for numbers, strings for words, None for anything else."""
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    # pandas keeps numbers with pd.NA as objects, but says of the column that it is numeric
    if values.dtype.kind in "biuf" or getattr(dtype, "kind", "O") in "biuf":
        return FloatTensorType(shape)
    if values.dtype.kind in "OUT" and all(isinstance(v, str) for v in values.ravel()):
        return StringTensorType(shape)
    return None


def _odd_one(values: Array) -> Any:
    return next((v for v in values.ravel() if not isinstance(v, str)), None)


def _complaint(odd: dict[str, str]) -> str:
    told = ", ".join(f"{name!r} {what}" for name, what in odd.items())
    return (f"X must have numbers or words in the columns that the pipeline uses, and \"\" for "
            f"missing words: {told}")


def _rename(graph: Any, names: list[str], odd: dict[str, str]) -> None:
    """Give the inputs the names of the columns, and drop those that no node reads."""
    read = {name for node in graph.node for name in node.input}
    own = {given.name: name for given, name in zip(graph.input, names, strict=True)}
    used = {name: odd[name] for given, name in own.items() if given in read and name in odd}
    if used:
        raise ValueError(_complaint(used))
    kept = [given for given in graph.input if given.name in read]
    # what else has the name of a column, an output for one, makes room
    values = [name for node in graph.node for name in node.output]
    values += [tensor.name for tensor in graph.initializer]
    taken = {*values, *names}
    for name in set(values) & {*names}:
        own[name] = name
        while own[name] in taken:
            own[name] += "_"
        taken.add(own[name])
    for named in (*kept, *graph.output, *graph.initializer):
        named.name = own.get(named.name, named.name)
    for node in graph.node:
        node.input[:] = [own.get(name, name) for name in node.input]
        node.output[:] = [own.get(name, name) for name in node.output]
    del graph.input[:]
    graph.input.extend(kept)
