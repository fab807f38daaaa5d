"""What a recorded call is, and where its arrays are in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nnbackend.core.types import Array

__all__ = [
    "NUMBER",
    "Call",
    "Operand",
    "address_of",
    "assign",
    "call_and_copy",
    "nested_arrays",
    "owner_of",
    "same_place",
    "take_item",
]

NUMBER = -1
"""The buffer id of an operand that was a plain number, which never changes."""

_SMALL_SIZE = 512  # numbers of a result for which a number need not be written out
_SPREAD_BYTES = 1 << 19  # of a number that is written out; more would not stay in the cache
_NARROW_COLUMNS = 32  # of rows whose maxima are found column by column
_FEW_ROWS = 16  # that are not worth it

assign: Any = np.ndarray.__setitem__
_maximum: Any = np.maximum.reduce


@dataclass(frozen=True)
class Operand:
    """An array that a call reads.

    Attributes:
        array: the plain array.
        buffer_id: the number of the memory that it is in; None for a constant, NUMBER for a number.
    """

    array: Array
    buffer_id: int | None

    @property
    def is_constant(self) -> bool:
        """Whether no recorded call writes it, and it is no input."""
        return self.buffer_id is None or self.buffer_id == NUMBER


@dataclass
class Call:
    """A call of a function that writes into an array.

    Attributes:
        function: the function.
        args: its arguments by position; the arrays among them are plain.
        out: which of them it writes into.
        reads: the arrays it reads, also those inside a list among ``args``.
        buffer_id: the number of the memory that it writes to.
        form: the form in which NumPy makes the call fastest; None: not looked for yet.
    """

    function: Any
    args: list[Any]
    out: int
    reads: list[Operand]
    buffer_id: int
    form: Callable[[Call], Callable[[], Any]] | None = None

    @property
    def target(self) -> Array:
        """The array that is written into."""
        return self.args[self.out]

    def bind(self) -> Callable[[], Any]:
        """Return the call as a function without arguments, in NumPy's fastest form, to the same bits."""
        if self.form is None:
            self.form = _find_form(self)
        return self.form(self)


def _find_form(call: Call) -> Callable[[Call], Callable[[], Any]]:
    function = call.function
    if function is np.matmul and _suits_dot(*call.args):
        return _dot
    if function in (np.maximum, np.minimum):
        return _larger
    if function == _maximum and _is_of_short_rows(*call.args):
        return _row_maxima
    if isinstance(function, np.ufunc) and function.signature is None:
        return _elementwise
    return lambda call: partial(call.function, *call.args)


def _suits_dot(a: Array, b: Array, c: Array) -> bool:
    """Return whether ``a @ b`` into ``c`` is a product of matrices that ``a.dot(b, c)`` does as well."""
    return all(x.ndim == 2 and x.dtype == a.dtype for x in (a, b, c)) and bool(c.flags.c_contiguous)


def _dot(call: Call) -> Callable[[], Any]:
    """Take the same product by the same BLAS; on the way to it there is a microsecond less."""
    return partial(call.args[0].dot, *call.args[1:])


def _elementwise(call: Call) -> Callable[[], Any]:
    return partial(call.function, *_without_broadcasting(call))


def _without_broadcasting(call: Call) -> list[Array]:
    """Return the arguments, single rows and numbers in a shape that needs no broadcasting.

    It is the same loop over the same memory, begun half a microsecond earlier.
    """
    target, args = call.target, []
    for x in call.args:
        if x.shape != target.shape and x.dtype == target.dtype:
            if x.size == 1:
                x = x.reshape(())
            elif x.size == target.size:
                x = x.reshape(target.shape)
        args.append(x)
    return args


def _larger(call: Call) -> Callable[[], Any]:
    """Write a number out: of an array and a number, NumPy finds the larger one number at a time."""
    target = call.target
    args = _without_broadcasting(call)[:2]
    if target.size >= _SMALL_SIZE and target.nbytes <= _SPREAD_BYTES:
        numbers = [r.array for r in call.reads if r.buffer_id == NUMBER]
        for i, given in enumerate(call.args[:2]):
            if any(given is number for number in numbers):
                args[i] = np.full(target.shape, given, dtype=given.dtype)
    return partial(call.function, *args, out=target)  # the third argument is not an output


def _is_of_short_rows(x: Array, axis: Any, dtype: Any, out: Array, keepdims: bool) -> bool:
    """Return whether a call finds the maxima of many rows that are short."""
    if x.ndim != 2 or axis not in (-1, 1) or dtype is not None or not out.flags.c_contiguous:
        return False
    return bool(x.shape[1] <= _NARROW_COLUMNS and x.shape[0] >= _FEW_ROWS)


def _row_maxima(call: Call) -> Callable[[], Any]:
    """Find the largest number of each row by whole columns: for NumPy that is several times as fast."""
    x, out = call.args[0], call.target.reshape(-1)
    columns = np.empty(x.shape[::-1], x.dtype)

    def find() -> None:
        columns.T[...] = x
        _maximum(columns, 0, None, out)

    return find


def call_and_copy(target: Array, function: Any, kwargs: dict[str, Any], *args: Any) -> None:
    """Call a function that makes a new array, and copy its result into ``target``."""
    target[...] = function(*args, **kwargs)


def take_item(array: Array, key: Any) -> Any:
    """Return ``array[key]``, for a key with arrays in it."""
    return array[key]


def nested_arrays(x: Any) -> Iterator[Any]:
    """Yield the arrays among arguments, also those inside lists, tuples and dictionaries."""
    if isinstance(x, np.ndarray):
        yield x
    elif isinstance(x, (list, tuple)):  # called so often that a union's time shows
        for item in x:
            yield from nested_arrays(item)
    elif isinstance(x, dict):
        yield from nested_arrays(list(x.values()))


def owner_of(array: Array) -> np.ndarray[Any, Any]:
    """Return the array that holds the memory of a view."""
    owner: np.ndarray[Any, Any] = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return owner


def address_of(array: Array) -> int:
    """Return the address of an array's first element."""
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


def same_place(a: Array, b: Array) -> bool:
    """Return whether two arrays are the same elements of the same memory."""
    return (address_of(a), a.shape, a.strides, a.dtype) == (
        address_of(b), b.shape, b.strides, b.dtype
    )  # fmt: skip
