"""``predict`` of one row against ONNX Runtime, called from Python, in turns in one run.

    pip install -e ".[peers]"
    python -m bench.latency
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

import fastbp

SIZES = (64, 100, 10)


def onnx_session(weights: list[np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """The same network in ONNX Runtime, on one thread: its best setting for one row."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, name = [], "x"
    for k in range(0, len(weights), 2):
        nodes.append(helper.make_node("Gemm", [name, f"w{k}", f"w{k + 1}"], [f"z{k}"]))
        name = f"y{k}"
        last = k + 2 == len(weights)
        nodes.append(helper.make_node("Softmax" if last else "Relu", [f"z{k}"], [name]))
    graph = helper.make_graph(
        nodes, "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, SIZES[0]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, SIZES[-1]])],
        [numpy_helper.from_array(w, f"w{k}") for k, w in enumerate(weights)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return lambda X: session.run(None, {"x": X})[0]


def main(calls: int = 20_000, repeat: int = 9) -> None:
    """Median over turns of the mean microseconds of a call."""
    first, second = fastbp.Dense(*SIZES[:2]), fastbp.Dense(*SIZES[1:])
    network = fastbp.Network([first, fastbp.ReLU(), second, fastbp.Softmax()],
                             fastbp.CrossEntropyLoss())
    weights = [np.ascontiguousarray(a) for a in (first.weight.T, first.bias, second.weight.T,
                                                 second.bias)]
    X = np.random.default_rng(0).standard_normal((1, SIZES[0]), np.float32)
    runs = {"fastbp": network.predict, "onnxruntime": onnx_session(weights)}
    np.testing.assert_allclose(runs["fastbp"](X), runs["onnxruntime"](X), atol=1e-5)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, run in runs.items():
            began = time.perf_counter()
            for _ in range(calls):
                run(X)
            times[name].append((time.perf_counter() - began) / calls * 1e6)
    medians = {name: statistics.median(spent) for name, spent in times.items()}
    for name, spent in medians.items():
        print(f"{name:12} {spent:6.2f} us a call")
    print(f"onnxruntime / fastbp: {medians['onnxruntime'] / medians['fastbp']:.2f}")


if __name__ == "__main__":
    main()
