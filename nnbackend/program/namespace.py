"""The functions of the array API standard on traced arrays: the ``xp`` of a step that is traced.

Only what layers, losses, optimisers and constraints of this library call in a training step is here;
another function raises :class:`Untraceable`, and the step is run as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnbackend.backend import register_namespace
from nnbackend.program.operations import OPERATIONS, REDUCTIONS
from nnbackend.program.trace import (
    Node,
    Traced,
    Untraceable,
    constant,
    elementwise,
    product,
    reshaped,
    transposed,
)

bool = np.bool_
int32, int64, float16, float32, float64 = np.int32, np.int64, np.float16, np.float32, np.float64
finfo = np.finfo
matmul = product


def _elementwise(operation: str) -> Callable[..., Traced]:
    def function(*operands: Any) -> Traced:
        return elementwise(operation, *operands)

    function.__name__ = operation
    return function


def _reduction(operation: str) -> Callable[..., Traced]:
    def function(
        x: Traced, /, *, axis: Any = None, dtype: Any = None, keepdims: Any = False
    ) -> Any:
        if dtype is not None:
            x = astype(x, dtype)
        return _reduced(operation, x, axis, keepdims)

    function.__name__ = operation
    return function


for _name in OPERATIONS:
    globals()[_name] = _elementwise(_name)
for _name in REDUCTIONS:
    globals()[_name] = _reduction(_name)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise Untraceable(f"it calls {name}, which is not traced")


def vecdot(a: Traced, b: Traced, /, *, axis: int = -1) -> Traced:
    """Return the sum of products along an axis."""
    return _reduced("sum", a * b, axis, False)


def astype(x: Traced, dtype: Any, /, *, copy: Any = True, device: Any = None) -> Traced:
    """Return the array in another dtype."""
    dtype = np.dtype(dtype)
    return x if x.dtype == dtype else Traced(Node("astype", (x.node,), x.shape, dtype))


def asarray(x: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Traced:
    """Return a traced array, which is never changed and so never copied."""
    if not isinstance(x, Traced):
        x = Traced(constant(x, dtype))
    return x if dtype is None else astype(x, dtype)


def reshape(x: Traced, /, shape: Sequence[int], *, copy: Any = None) -> Traced:
    """Return the array in another shape."""
    return reshaped(x, tuple(shape))


def expand_dims(x: Traced, /, *, axis: int = 0) -> Traced:
    """Return the array with a new axis of length 1."""
    shape = list(x.shape)
    shape.insert(axis % (x.ndim + 1), 1)
    return reshaped(x, tuple(shape))


def squeeze(x: Traced, /, axis: Any) -> Traced:
    """Return the array without axes of length 1."""
    axes = _axes(axis, x.ndim)
    return reshaped(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def broadcast_to(x: Traced, /, shape: Sequence[int]) -> Traced:
    """Return the array repeated along axes of length 1."""
    return Traced(Node("broadcast", (x.node,), tuple(shape), x.dtype))


def permute_dims(x: Traced, /, axes: Sequence[int]) -> Traced:
    """Return the array with its axes in another order."""
    return transposed(x, axes)


def matrix_transpose(x: Traced, /) -> Traced:
    """Return the array with its last two axes exchanged."""
    return x.mT


def concat(arrays: Sequence[Traced], /, *, axis: int = 0) -> Traced:
    """Return arrays one after the other, along the first axis."""
    if axis != 0:
        raise Untraceable("it joins arrays along another axis than the first")
    if len(arrays) == 1:
        return arrays[0]
    nodes = tuple(x.node for x in arrays)
    shape = (sum_of(x.shape[0] for x in arrays), *arrays[0].shape[1:])
    return Traced(Node("concat", nodes, shape, np.result_type(*(n.dtype for n in nodes))))


def stack(arrays: Sequence[Traced], /, *, axis: int = 0) -> Traced:
    """Return arrays side by side along a new axis."""
    nodes = tuple(x.node for x in arrays)
    shape = list(nodes[0].shape)
    axis %= len(shape) + 1
    shape.insert(axis, len(nodes))
    dtype = np.result_type(*(n.dtype for n in nodes))
    return Traced(Node("stack", nodes, tuple(shape), dtype, axis))


def take(x: Traced, indices: Traced, /, *, axis: int = 0) -> Traced:
    """Return the rows of the given numbers."""
    if axis != 0 or not isinstance(indices, Traced):
        raise Untraceable("it takes elements along another axis than the first")
    shape = (*indices.shape, *x.shape[1:])
    return Traced(Node("take", (x.node, indices.node), shape, x.dtype))


def arange(
    start: Any, /, stop: Any = None, step: int = 1, *, dtype: Any = None, device: Any = None
) -> Traced:
    """Return whole numbers from ``start`` to below ``stop``."""
    first, last = (0, start) if stop is None else (start, stop)
    if step != 1:
        raise Untraceable("it counts in other steps than 1")
    dtype = np.dtype(np.int64 if dtype is None else dtype)
    return Traced(Node("arange", (), (last - first,), dtype, first))


def full(shape: Any, value: Any, *, dtype: Any = None, device: Any = None) -> Traced:
    """Return an array of one number again and again."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return Traced(constant(value, np.float64 if dtype is None else dtype, shape))


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Traced:
    """Return zeros."""
    return full(shape, 0, dtype=dtype)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Traced:
    """Return ones."""
    return full(shape, 1, dtype=dtype)


def zeros_like(x: Traced, /, *, dtype: Any = None, device: Any = None) -> Traced:
    """Return zeros in the shape of ``x``."""
    return full(x.shape, 0, dtype=x.dtype if dtype is None else dtype)


def ones_like(x: Traced, /, *, dtype: Any = None, device: Any = None) -> Traced:
    """Return ones in the shape of ``x``."""
    return full(x.shape, 1, dtype=x.dtype if dtype is None else dtype)


def mean(x: Traced, /, *, axis: Any = None, keepdims: Any = False) -> Traced:
    """Return the mean along axes."""
    axes = _axes(axis, x.ndim)
    count = 1
    for i in axes:
        count *= x.shape[i]
    return _reduced("sum", x, axis, keepdims) * (1.0 / count)  # type: ignore[no-any-return]


def _reduced(operation: str, x: Traced, axis: Any, keepdims: Any) -> Traced:
    """Return a reduction over the last axis, the first ones, or all."""
    axes = _axes(axis, x.ndim)
    if operation in ("all", "any"):
        x = astype(x, np.bool_)
    elif operation == "sum" and x.dtype.kind in "bi":  # as NumPy and CuPy add whole numbers
        x = astype(x, np.int64)
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    shape = kept if keepdims else tuple(n for i, n in enumerate(x.shape) if i not in axes)
    if axes == tuple(range(x.ndim)):
        over = "all"
    elif axes == (x.ndim - 1,):
        over = "last"
    elif axes == tuple(range(x.ndim - 1)):
        over = "first"
    else:
        raise Untraceable("it reduces over axes in the middle")
    if operation == "argmax" and over != "last":
        raise Untraceable("it looks for the place of the largest number along another axis")
    dtype = np.dtype(np.int64) if operation == "argmax" else x.dtype
    return reshaped(Traced(Node(operation, (x.node,), _flat(kept, over), dtype, over)), shape)


def _flat(kept: tuple[int, ...], over: str) -> tuple[int, ...]:
    """Return the shape of a reduction as it is computed: rows, columns, or one number."""
    if over == "all":
        return ()
    return kept[:-1] if over == "last" else kept[-1:]


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(a % ndim for a in given))


def sum_of(numbers: Any) -> int:
    """Return the sum of Python numbers: ``sum`` is the standard's here."""
    total = 0
    for number in numbers:
        total += number
    return total


register_namespace(Traced, sys.modules[__name__])
