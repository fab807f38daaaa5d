"""Arrays that write down what is done to them: a training step becomes a graph of nodes.

A traced array has a shape and a dtype, and no numbers. What the layers, the loss and the optimiser do
to it by operators and by functions of the standard (``namespace.py``) makes new nodes. As under JAX no
array is ever changed: ``y += x`` makes a new one, which is why all code here goes on with the operator's
result. The one exception are arrays that are there before and after the step, such as the vector of
parameters: ``p[...] = new`` is written down as a store.

What cannot be traced raises :class:`Untraceable`, and the step is run as it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnbackend.program.operations import result_dtype
from nnbackend.types import Array

__all__ = ["External", "Node", "Store", "Trace", "Traced", "Untraceable", "elementwise"]

_numbers = itertools.count()


class Untraceable(Exception):
    """A step does what a program cannot do; the message says what."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of a program.

    Attributes:
        operation: an elementwise one, a reduction, ``"matmul"``, a change of place (``"reshape"``,
            ``"transpose"``, ``"slice"``, ``"stack"``, ``"concat"``, ``"take"``, ``"rows"``), or a
            source of numbers (``"array"``, ``"constant"``, ``"arange"``, ``"random_bits"``).
        args: what it is done to.
        shape: of the result.
        dtype: of the result.
        detail: what else it depends on.
        number: its place in time.
    """

    operation: str
    args: tuple[Node, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    detail: Any = None
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class External:
    """Memory that is there before and after the program.

    Attributes:
        array: the array that lies there.
        start: the address of its first byte.
        stop: the address after its last.
    """

    array: Array
    start: int
    stop: int

    def overlaps(self, other: External) -> bool:
        """Return whether two arrays share memory."""
        return self.start < other.stop and other.start < self.stop


@dataclass(frozen=True, eq=False)
class Store:
    """A node whose numbers are put into memory that stays.

    Attributes:
        target: that memory.
        value: the node, as large as the target, or as a part of it.
        at: None: the whole target. A node: how many times the value's size to leave free before it.
        number: its place in time.
    """

    target: External
    value: Node
    at: Node | None = None
    number: int = field(default_factory=lambda: next(_numbers))


class Trace:
    """What a step does to memory that stays.

    Attributes:
        stores: in the order they are made.
    """

    def __init__(self) -> None:
        self.stores: list[Store] = []
        self._externals: dict[tuple[Any, ...], Node] = {}

    def array(self, array: Array) -> Traced:
        """Return an array that is there before the step, to be traced."""
        if not _contiguous(array):
            raise Untraceable("an array does not lie in one piece")
        start = _address(array)
        key = start, tuple(array.shape), str(array.dtype)
        if key not in self._externals:
            external = External(array, start, start + array.nbytes)
            self._externals[key] = Node(
                "array", (), tuple(array.shape), np.dtype(array.dtype), external
            )
        return Traced(self._externals[key], self)

    def rows(self, array: Array, batch: Traced, size: int) -> Traced:
        """Return rows ``batch * size`` and those after it of an array that is there before the step."""
        whole = self.array(array).node
        shape = (size, *whole.shape[1:])
        return Traced(Node("rows", (whole, batch.node), shape, whole.dtype, size), self)

    def store(self, target: Array, value: Traced, at: Traced | None = None) -> None:
        """Put a value into an array, or at a place in it."""
        if value.dtype != target.dtype:
            raise Untraceable(f"it puts {value.dtype} into {target.dtype}")
        external = self.array(target).node.detail
        self.stores.append(Store(external, value.node, None if at is None else at.node))


def _both(operation: str) -> tuple[Any, Any]:
    """Return the methods ``self o other`` and ``other o self`` for an operation."""

    def forward(self: Traced, other: Any) -> Any:
        return elementwise(operation, self, other) if _fits(other) else NotImplemented

    def backward(self: Traced, other: Any) -> Any:
        return elementwise(operation, other, self) if _fits(other) else NotImplemented

    return forward, backward


class Traced:
    """An array of which only shape and dtype are known; see the module."""

    __slots__ = ("_trace", "node")
    __array_ufunc__ = None  # NumPy's arrays leave operators to this class
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, node: Node, trace: Trace | None = None) -> None:
        self.node = node
        self._trace = trace  # of memory that stays, into which this array may be changed

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        from nnbackend.program import namespace

        return namespace

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.node.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.node.shape)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self.node.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype, as NumPy calls it."""
        return self.node.dtype

    @property
    def device(self) -> str:
        """Where it is: nowhere yet."""
        return "traced"

    @property
    def T(self) -> Traced:
        """The transposed matrix."""
        return self.mT

    @property
    def mT(self) -> Traced:
        """The array with its last two axes exchanged."""
        axes = (*range(self.ndim - 2), self.ndim - 1, self.ndim - 2)
        return transposed(self, axes)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Traced:
        return _item(self, key if isinstance(key, tuple) else (key,))

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._trace is None or self.node.operation != "array" or key is not Ellipsis:
            raise Untraceable("it changes a part of an array")
        if not isinstance(value, Traced):
            raise Untraceable("it stores what does not depend on the data")
        if value.shape != self.shape or value.dtype != self.dtype:
            raise Untraceable("it stores an array of another shape or dtype")
        self._trace.store(self.node.detail.array, value)

    def _refuse(self) -> Any:
        raise Untraceable("it asks for the value of an array")

    __bool__ = __float__ = __int__ = __index__ = __complex__ = _refuse

    def __iter__(self) -> Any:
        return (self[i, ...] for i in range(self.shape[0]))

    __add__, __radd__ = _both("add")
    __sub__, __rsub__ = _both("subtract")
    __mul__, __rmul__ = _both("multiply")
    __truediv__, __rtruediv__ = _both("divide")
    __pow__, __rpow__ = _both("pow")
    __and__, __rand__ = _both("bitwise_and")
    __or__, __ror__ = _both("bitwise_or")
    __xor__, __rxor__ = _both("bitwise_xor")
    __lshift__, __rlshift__ = _both("bitwise_left_shift")
    __rshift__, __rrshift__ = _both("bitwise_right_shift")
    __eq__, _ = _both("equal")
    __ne__, _ = _both("not_equal")
    __lt__, __gt__ = _both("less")
    __le__, __ge__ = _both("less_equal")

    def __neg__(self) -> Traced:
        return elementwise("negative", self)

    def __pos__(self) -> Traced:
        return self

    def __abs__(self) -> Traced:
        return elementwise("abs", self)

    def __invert__(self) -> Traced:
        return elementwise("logical_not", self) if self.dtype == np.bool_ else self ^ -1

    def __matmul__(self, other: Any) -> Any:
        if not isinstance(other, Traced):
            return NotImplemented
        return product(self, other)


def elementwise(operation: str, *operands: Any) -> Traced:
    """Return the result of an elementwise operation on traced arrays and numbers."""
    traced = [x for x in operands if isinstance(x, Traced)]
    kinds = [x.dtype if isinstance(x, Traced) else _kind(x) for x in operands]
    dtype = result_dtype(operation, *kinds)
    if operation == "pow" and dtype.kind != "f":
        raise Untraceable("it raises whole numbers to a power")
    partner = next((x.dtype for x in traced if x.dtype != np.bool_), dtype)
    args = tuple(
        x.node if isinstance(x, Traced) else constant(x, partner if type(x) is not float else None)
        for x in operands
    )
    shape = np.broadcast_shapes(*(arg.shape for arg in args))
    return Traced(Node(operation, args, shape, dtype))


def constant(value: float, dtype: Any = None, shape: tuple[int, ...] = ()) -> Node:
    """Return a number as a node; without a dtype it takes that of what it is combined with."""
    if dtype is None:
        dtype = np.bool_ if isinstance(value, bool) else np.float64
    return Node("constant", (), shape, np.dtype(dtype), value)


def transposed(x: Traced, axes: Sequence[int]) -> Traced:
    """Return the array with its axes in another order."""
    shape = tuple(x.shape[axis] for axis in axes)
    return Traced(Node("transpose", (x.node,), shape, x.dtype, tuple(axes)))


def product(a: Traced, b: Traced) -> Traced:
    """Return the product of two matrices, or of rows with more axes before them and a matrix."""
    if a.ndim > 2 and b.ndim == 2:
        rows = reshaped(a, (-1, a.shape[-1]))
        return reshaped(product(rows, b), (*a.shape[:-1], b.shape[1]))
    if a.ndim != 2 or b.ndim != 2:
        raise Untraceable("it multiplies arrays that are not matrices")
    if a.dtype != b.dtype:
        raise Untraceable("it multiplies matrices of different dtypes")
    return Traced(Node("matmul", (a.node, b.node), (a.shape[0], b.shape[1]), a.dtype))


def _item(x: Traced, key: tuple[Any, ...]) -> Traced:
    """Return a part of an array: slices of step 1, single places, new axes."""
    used = sum(k is not None and k is not Ellipsis for k in key)
    if Ellipsis not in key:
        key = (*key, Ellipsis)
    starts: list[int] = []
    sliced: list[int] = []  # the shape before single places are dropped
    shape: list[int] = []  # the final one
    axis = 0
    for k in key:
        if k is Ellipsis:
            rest = x.shape[axis : axis + x.ndim - used]
            starts += [0] * len(rest)
            sliced += rest
            shape += rest
            axis += len(rest)
        elif k is None:
            shape.append(1)
        elif isinstance(k, slice):
            start, stop, step = k.indices(x.shape[axis])
            if step != 1:
                raise Untraceable("it takes every second element, or the like")
            starts.append(start)
            sliced.append(max(stop - start, 0))
            shape.append(sliced[-1])
            axis += 1
        elif isinstance(k, int):
            starts.append(k % x.shape[axis])
            sliced.append(1)
            axis += 1
        else:
            raise Untraceable("it takes elements whose places data decide")
    part = x.node
    if tuple(sliced) != x.shape:
        part = Node("slice", (x.node,), tuple(sliced), x.dtype, tuple(starts))
    return reshaped(Traced(part), tuple(shape))


def reshaped(x: Traced, shape: tuple[int, ...]) -> Traced:
    """Return the array in another shape."""
    if -1 in shape:
        known = math.prod(n for n in shape if n != -1)
        shape = tuple(x.size // max(known, 1) if n == -1 else n for n in shape)
    if math.prod(shape) != x.size:
        raise ValueError(f"cannot reshape an array of shape {x.shape} to {shape}")
    return x if shape == x.shape else Traced(Node("reshape", (x.node,), shape, x.dtype))


def _fits(x: Any) -> bool:
    return isinstance(x, (Traced, bool, int, float))


def _kind(x: Any) -> type:
    """Return of which of Python's types a number is."""
    if not isinstance(x, (bool, int, float)):
        raise Untraceable(f"it computes with {type(x).__name__}")
    return bool if isinstance(x, bool) else int if isinstance(x, int) else float


def _contiguous(array: Array) -> bool:
    return bool(array.flags.c_contiguous)


def _address(array: Array) -> int:
    address: int = array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr
    return address
