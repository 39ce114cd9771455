"""``fastbp warmup``: compile all kernels now, as when a container image is built."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import click

from .exits import tell
from .kinds import json_option

if TYPE_CHECKING:
    import numpy as np

#: Roles of a layer's kernels in the op table, by their names in ``Kernels``.
_ROLES = {"forward": "forward", "row": "forward", "backward": "backward", "gradient": "gradient",
          "couple_forward": "couple", "couple_backward": "couple"}
#: The same for kernels that only large dense layers have.
_LARGE = {"columns_forward": "couple", "columns_backward": "couple", "first_forward": "first",
          "first_gradient": "first_gradient"}


@click.command("warmup")
@click.option("--dtype", "dtypes", multiple=True, type=click.Choice(["float32", "float64"]),
              help="Only this dtype; default: both.")
@json_option
def command(dtypes: tuple[str, ...], as_json: bool) -> None:
    """Fill the kernel cache: every layer, loss, optimizer and rule.

    After that no process of this user on this kind of CPU waits for the compiler. The folder is
    FASTBP_CACHE_DIR, else fastbp in the user's cache directory; in an image, set it to a place
    that the image keeps and its user owns.
    """
    import numpy as np

    from .._cache import cache_dir
    from .._jit import DISABLED

    folder = cache_dir()
    if folder is None or DISABLED or not os.access(folder, os.W_OK):
        raise ValueError("the kernel cache is off, or its folder cannot be written or is open to "
                         "others: set FASTBP_CACHE_DIR to a folder of your own")
    began, before = time.monotonic(), _files(folder)
    for name in dtypes or ("float32", "float64"):
        _compile(np.dtype(name))
    found: dict[str, Any] = {"folder": str(folder), "seconds": round(time.monotonic() - began, 3),
             "compiled": len(_files(folder) - before), "kernels": len(_files(folder)),
             "bytes": sum(path.stat().st_size for path in folder.iterdir())}
    if as_json:
        tell(json.dumps(found))
        return
    tell(f"{found['kernels']} kernels in {folder}, {found['bytes'] / 1e6:.1f} MB\n"
         f"{found['compiled']} compiled in {found['seconds']:.1f} s")


def _files(folder: Any) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".tmp")}


def _compile(dtype: np.dtype[Any]) -> None:
    """Compile all kernels of one dtype, and the code that calls them."""
    import warnings

    import numpy as np

    from .._validation import PRECISIONS
    from ..data import Boolean, Numeric, Preprocessor
    from ..engine import step_key
    from ..kernels.launch import compile_station
    from ..kernels.random import shuffle
    from ..layers import LAYERS, Dense, ReLU
    from ..layers.square import is_square, use_squares
    from ..losses import LOSSES, MSELoss, SoftmaxCrossEntropyLoss
    from ..network import Network
    from ..optimizers import OPTIMIZERS
    from ..peak import spin
    from ..rules import Rules
    from ..table import address

    Rules(l2=1.0, max_norm=1.0).kernels(dtype)
    for layer in LAYERS.values():
        for field, role in _ROLES.items():
            address(role, getattr(layer.kernels, field), dtype)
    for loss in LOSSES.values():
        address("loss", loss.kernel, dtype)
    optimizers: list[Any] = [*OPTIMIZERS.values()]
    for optimizer in optimizers:
        address("update", optimizer.kernel, dtype)
    wide = Dense(1024, 1024)
    op = wide.op(dtype, 1024, 1024)
    if is_square(wide, dtype, 1024, 1024, 1024, "highest"):
        op["by_columns"] = 1
        for precision in PRECISIONS:
            use_squares(op, dtype, precision)
    kernels = wide.kernels_for(dtype, 1024, 1024)
    for field, role in _LARGE.items():
        address(role, getattr(kernels, field), dtype)
    spin(dtype.type(1), 1)  # for the share of the peak in a report
    shuffle(np.arange(2), 0, 0)  # of a stream's blocks
    for column in (np.ones(8), np.ones(8, np.float32)):
        still = column.copy()
        still.flags.writeable = False  # as files give them
        for table in ({"a": column}, {"a": column, "b": column}, {"a": still, "b": still}):
            features = (Numeric("a"), Boolean("b"))[:len(table)]
            Preprocessor(features).transform(table, dtype=dtype)
    compile_station()
    step_key(0, 0)  # of a network that runs layer by layer
    X = np.ones((8, 3), dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for labels, T in ((True, np.zeros(8, np.int64)), (False, np.ones((8, 2), dtype))):
            network = Network([Dense(3, 32), ReLU(), Dense(32, 2)],  # the second is narrow
                              SoftmaxCrossEntropyLoss() if labels else MSELoss(), dtype)
            network.fit(X, T, epochs=1, batch_size=4, average=0.5, validation_split=0.5)
            network.loss_and_grad(X, T)
            network.predict(X)
            network.predict(X[:1])
            network.jacobian(X)
            network.textbook(X, T)  # layer by layer, and the drivers of ``Layer.forward``
            slots = np.zeros((2, network.params.size), dtype)
            OPTIMIZERS["Adam"]().update(network.params, network.grads, slots, 1, 1e-3)
            if labels:
                network.predict_proba(X)
