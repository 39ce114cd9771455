"""The generic layer: y = f(x; w).

Forward keeps what backward needs. Backward takes dY, the gradient of the error with
respect to the output, and gives dX for the layer below and the gradient of the layer's
own parameters, if it has any. Each row is one example.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from .._configured import Configured
from .._typing import overridable
from .._validation import Array, as_matrix, check_bool, check_constants, check_dtype
from ..kernels.vectors import VECTOR_BYTES, pad, row_length
from ..table import OP, address
from .drivers import backward_rows, couple_columns, forward_rows, gradient_rows

#: Bytes of a row in a tile of parameters (``table.TASK``) that has a part of the columns. A row in
#: a tile that has all of them has at most twice as many, and with products on matrix tiles (AMX)
#: at most four times.
TASK_ROW = 16 * VECTOR_BYTES
SQUARE_TASK_ROW = 4 * TASK_ROW


class Kernels(NamedTuple):
    """The kernels of a layer, by role; see ``table`` for the signatures."""

    forward: Any
    backward: Any
    gradient: Any = None
    #: Forward of a single row, where there is a faster kernel.
    row: Any = None
    #: For layers that couple the rows of a batch: they gather what ``forward`` and ``backward``
    #: need of all rows, before these run.
    couple_forward: Any = None
    couple_backward: Any = None
    #: Forward and backward by columns, for all rows at once, where a team shares out a layer so;
    #: its parameters may be in panels.
    columns_forward: Any = None
    columns_backward: Any = None
    #: For a network's first layer, which may read the rows of X in place.
    first_forward: Any = None
    first_gradient: Any = None
    #: Whether the gradient can be added to that of other rows; and gradient kernels that can, and
    #: can also update the parameters themselves (mode SCALE).
    adds: bool = False
    correcting: tuple[Any, ...] = ()
    #: Whether the layer is max(0, x); and kernels of a layer that can do the work of such a
    #: neighbour too: forward that of the layer above, backward that of the layer below.
    rectifies: bool = False
    rectifying: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Tensor:
    """Where a named parameter lies in its layer's flat buffer, in elements."""

    name: str
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]

    def view(self, flat: Array) -> Array:
        """The tensor as a writable view of ``flat``."""
        strides = tuple(s * flat.itemsize for s in self.strides)
        return np.lib.stride_tricks.as_strided(flat[self.offset:], self.shape, strides)


class Layer(Configured):
    """Base of all layers. A subclass in NumPy alone is trained by the textbook loop.

    Override ``forward`` and ``backward``, or give ``kernels`` for the compiled engine;
    layers with parameters also ``shapes`` and ``initialize``.

    Attributes
    ----------
    kernels : Kernels or None
        Compiled block kernels; None for layers in Python only.
    buffers : tuple of str
        Parameters that are kept and saved but not trained by gradient: all those that anything
        but the optimizer changes in training.
    in_place : bool
        Whether the kernels overwrite x with y and dy with dx, which takes half the memory.
    keeps_output : bool
        Whether ``backward`` reads y: the layer above must not overwrite it.
    n_in, n_out : int or None
        Length of a row of input and output; None until the layer is in a network.
    key : int
        0 outside of training; otherwise the key from which random numbers of the layer derive.
    index : int
        Position in the network.
    """

    kernels: ClassVar[Kernels | None] = None
    buffers: ClassVar[tuple[str, ...]] = ()
    in_place: ClassVar[bool] = False
    #: Attributes that shapes follow: fixed in a network, and once kernels have parameters.
    _shaping: ClassVar[tuple[str, ...]] = ("n_in", "n_out")
    keeps_output: ClassVar[bool] = False
    # ``Any``: a user's code, which runs in a network, need not check for None.
    n_in: int | Any = None
    n_out: int | Any = None
    key: int = 0
    index: int = 0
    # Here, not in __init__, which a user's subclass need not call.
    _flat: Array | None = None
    _flat_grad: Array | None = None
    _tensors: tuple[Tensor, ...] = ()
    #: Weak reference to the network that it is in: each of them frees its memory at once.
    _owner: Any = None
    #: x, y and extra of the last forward: set at once, as several threads may predict.
    _kept: tuple[Array, Array, Array] | None = None
    _trainable: bool = True

    if TYPE_CHECKING:  # ``net.layers[0].weight``: a network's layers are of any class
        def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._shaping and (
                self._owner is not None or (self._tensors and self.kernels is not None)):
            now = getattr(self, name)
            if not (isinstance(value, numbers.Integral) and value == now):
                raise AttributeError(f"{name} of {self!r} cannot be changed from {now!r} to "
                                     f"{value!r}, as what follows it exists: make a new layer")
        super().__setattr__(name, value)
        if name[0] != "_" and (owner := self.__dict__.get("_owner")) and (net := owner()):
            net._row_plan = None  # it may contain the old value
            net._changes += 1

    @property
    def trainable(self) -> bool:
        """Whether training changes the layer. If not, its parameters stay as they are and are not
        penalised, and a layer with ``buffers`` works as in ``predict``."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = check_bool(value, "trainable")

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: the parameters, but not the network nor the last batch."""
        flat = None if self._flat is None else self._flat.copy()
        return self.__dict__ | {"_flat": flat, "_flat_grad": None, "_owner": None, "_kept": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._flat_grad = None if self._flat is None else np.zeros_like(self._flat)

    # -- sizes and parameters ---------------------------------------------------------

    def connect(self, n_in: int) -> int:
        """Accept rows of length ``n_in`` from below; return the length of the output."""
        if self.n_in is not None and self.n_in != n_in:
            raise ValueError(f"{self!r} takes {self.n_in} inputs, the layer below gives {n_in}")
        self.n_in = n_in
        if self.n_out is None:
            self.n_out = n_in
        return self.n_out

    def as_rows(self, X: Any, name: str = "X") -> Any:
        """A network's input, of which this is the first layer, in the shape that it expects."""
        return X

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters, in order."""
        return {}

    def layout(self, dtype: np.dtype[Any]) -> tuple[tuple[Tensor, ...], int]:
        """Position of each parameter in a flat buffer, and the buffer's length."""
        tensors, at = [], 0
        for name, shape in self.shapes().items():
            strides = tuple(int(np.prod(shape[i + 1:])) for i in range(len(shape)))
            tensors.append(Tensor(name, shape, at, strides))
            at += pad(int(np.prod(shape)), dtype)
        return tuple(tensors), at

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw initial parameters into the bound views."""

    def bind(self, flat: Array, flat_grad: Array) -> None:
        """Use these buffers from now on; parameters drawn before are carried over."""
        tensors, size = self.layout(flat.dtype)
        if flat.shape != (size,) or flat_grad.shape != (size,):
            raise ValueError(f"{self!r} needs buffers of {size} elements, got {flat.shape}")
        old = self.parameters() if self._flat is not None else {}
        self._flat, self._flat_grad, self._tensors = flat, flat_grad, tensors
        for name, value in old.items():
            self.parameters()[name][...] = value

    @property
    def initialized(self) -> bool:
        """Whether parameters have been drawn or set."""
        return self._flat is not None

    def parameters(self) -> dict[str, Array]:
        """Parameters by name, as writable views."""
        flat = self._flat
        return {} if flat is None else {t.name: t.view(flat) for t in self._tensors}

    def gradients(self) -> dict[str, Array]:
        """Gradients by parameter name, as writable views."""
        flat = self._flat_grad
        return {} if flat is None else {t.name: t.view(flat) for t in self._tensors}

    @property
    def n_params(self) -> int:
        """Number of parameters, padding not counted."""
        return sum(int(np.prod(shape)) for shape in self.shapes().values())

    # -- forward and backward ---------------------------------------------------------

    def constants(self) -> tuple[float, float]:
        """The constants ``a`` and ``b`` of the op, for the kernels."""
        return 0.0, 0.0

    def trained_rows(self) -> tuple[int, int]:
        """Rows of the parameters that are trained, and how many of them are penalised."""
        return 0, 0

    def extra_size(self, rows: int, ld: int) -> int:
        """Elements of the workspace that the layer needs for itself, for a batch of ``rows``."""
        return 0

    def kernels_for(self, dtype: np.dtype[Any], n_in: int, n_out: int) -> Kernels | None:
        """The kernels that the engine runs for a layer of these sizes."""
        return self.kernels

    def mirrored(self, dtype: np.dtype[Any], n_in: int, n_out: int) -> bool:
        """Whether the backward pass needs a mirror of the weights."""
        return False

    def op(self, dtype: np.dtype[Any], n_in: int, n_out: int, *, back: bool = True,
           row: bool = True) -> Array:
        """The layer as a row of the op table, with its offsets in memory left open.

        Without ``back`` the kernels of the backward pass are not compiled, without ``row`` that
        of a single row.
        """
        kernels = self.kernels_for(dtype, n_in, n_out)
        assert kernels is not None
        op = np.zeros(1, OP)
        op["forward"] = address("forward", kernels.forward, dtype)
        if row:
            op["forward_row"] = address("forward", kernels.row or kernels.forward, dtype)
        if back:
            op["backward"] = address("backward", kernels.backward, dtype)
            op["gradient"] = address("gradient", kernels.gradient, dtype)
        for field in ("couple_forward", "couple_backward"):
            op[field] = address("couple", getattr(kernels, field), dtype)
        op["n_in"], op["ld_in"], op["n_out"], op["ld_out"] = n_in, n_in, n_out, n_out
        op["dx"] = op["dy"] = op["param"] = op["mirror"] = op["extra"] = -1
        op["ld_param"] = row_length(n_out, dtype)
        op["n_rows"], op["n_decayed"] = self.trained_rows()
        op["in_place"], op["index"] = self.in_place, self.index
        op["corrects"] = kernels.gradient in kernels.correcting
        op["a"], op["b"] = self.constants()
        return op

    @overridable
    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Array:
        """Y of shape (b, n_out) for X of shape (b, n_in); keeps what ``backward`` needs.

        Parameters
        ----------
        X : array_like, shape (b, n_in)
            Numbers; a layer without parameters keeps float32 and converts the rest to float64.
        allow_nonfinite : bool
            False refuses NaN and infinity.

        Returns
        -------
        ndarray, shape (b, n_out)

        Raises
        ------
        ValueError, TypeError
            If X is not a matrix of numbers of the expected width.
        """
        if self.kernels is None:
            raise NotImplementedError(f"{type(self).__name__}.forward")
        X = self._take_input(X, allow_nonfinite)
        Y = X.copy() if self.in_place else np.empty_like(X)
        op, key, params = self._alone(X), self._key, self._values(X)
        extra = np.zeros(self.extra_size(*X.shape), X.dtype)
        if key and self.kernels.couple_forward is not None:
            couple_columns(op["couple_forward"][0], op, key, params, extra, X.ravel(), extra)
        forward_rows(op, key, params, extra, X.ravel(), Y.ravel())
        self._kept = X, Y, extra
        return Y

    def backward(self, dY: Any) -> Array:
        """dX of shape (b, n_in) for dY of shape (b, n_out); sets the gradients."""
        if self.kernels is None:
            raise NotImplementedError(f"{type(self).__name__}.backward")
        dY, X, Y, extra = self._take_gradient(dY)
        dX = dY.copy() if self.in_place else np.empty_like(dY)
        op, key, params = self._alone(dY), self._key, self._values(dY)
        x, y, dy = X.ravel(), Y.ravel(), dY.ravel()
        if key and self.kernels.couple_backward is not None:
            couple_columns(op["couple_backward"][0], op, key, params, extra, x, dy)
        backward_rows(op, key, params, extra, x, y, dy, dX.ravel())
        if self.kernels.gradient is not None:
            gradient_rows(op, key, params, extra, x, dy, self._flat_grad)
        return dX

    @property
    def _steady(self) -> bool:
        """Whether training leaves the buffers unchanged: the layer works as in ``predict``."""
        return bool(self.buffers) and not self.trainable

    @property
    def _key(self) -> np.uint64:
        """``key`` as the kernels see it: 0 if ``_steady``."""
        return np.uint64(0 if self._steady else self.key)

    def _alone(self, X: Array) -> Array:
        """The op of a layer outside of the engine, for rows of the width of X."""
        check_constants(self, X.dtype)
        op = self.op(X.dtype, X.shape[1], X.shape[1])
        op["param"] = op["extra"] = 0
        return op

    def _values(self, like: Array) -> Array:
        return np.empty(0, like.dtype) if self._flat is None else self._flat

    def _take_input(self, X: Any, allow_nonfinite: bool) -> Array:
        dtype = self._flat.dtype if self._flat is not None else _float_dtype(X)
        return as_matrix(X, "X", dtype, self.n_in, allow_nonfinite=allow_nonfinite)

    def _take_gradient(self, dY: Any) -> tuple[Array, Array, Array, Array]:
        """dY, and x, y and extra of the forward that it belongs to."""
        if self._kept is None:
            raise ValueError(f"{type(self).__name__}.backward needs a forward before it")
        Y = self._kept[1]
        dY = as_matrix(dY, "dY", Y.dtype, Y.shape[1], allow_nonfinite=True)
        if len(dY) != len(Y):
            raise ValueError(f"dY has {len(dY)} rows, the forward before it had {len(Y)}")
        return dY, *self._kept


def _float_dtype(X: Any) -> np.dtype[Any]:
    """float32 stays; everything else computes in float64."""
    found = getattr(X, "dtype", None)
    single = isinstance(found, np.dtype) and found.newbyteorder("=") == np.float32
    return check_dtype("float32" if single else "float64")
