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

assign: Any = np.ndarray.__setitem__


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
        uses_dot: whether it is made as ``a.dot(b, out)``; None: not decided yet.
    """

    function: Any
    args: list[Any]
    out: int
    reads: list[Operand]
    buffer_id: int
    uses_dot: bool | None = None

    @property
    def target(self) -> Array:
        """The array that is written into."""
        return self.args[self.out]

    def bind(self) -> Callable[[], Any]:
        """Return the call as a function without arguments."""
        if self.uses_dot is None:
            self.uses_dot = self.function is np.matmul and _suits_dot(*self.args)
        if self.uses_dot:
            # The same product by the same BLAS; on the way to it there is a microsecond less.
            return partial(self.args[0].dot, *self.args[1:])
        args = self.args
        if isinstance(self.function, np.ufunc) and self.function.signature is None:
            target = self.target
            args = [_without_broadcasting(x, target) for x in args]
        if self.function in (np.maximum, np.minimum):  # their third argument is not an output
            return partial(self.function, *args[:2], out=self.target)
        return partial(self.function, *args)


def call_and_copy(target: Array, function: Any, kwargs: dict[str, Any], *args: Any) -> None:
    """Call a function that makes a new array, and copy its result into ``target``."""
    target[...] = function(*args, **kwargs)


def take_item(array: Array, key: Any) -> Any:
    """Return ``array[key]``, for a key with arrays in it."""
    return array[key]


def nested_arrays(x: Any) -> Iterator[Any]:
    """Yield the arrays among arguments, also those inside lists, tuples, dictionaries and slices."""
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


def _suits_dot(a: Array, b: Array, c: Array) -> bool:
    """Return whether ``a @ b`` into ``c`` is a product of matrices that ``a.dot(b, c)`` does as well."""
    return all(x.ndim == 2 and x.dtype == a.dtype for x in (a, b, c)) and bool(c.flags.c_contiguous)


def _without_broadcasting(x: Array, target: Array) -> Array:
    """Return the operand in a shape that needs no broadcasting, if it is a single row or number.

    It is the same loop over the same memory, begun half a microsecond earlier.
    """
    if x.shape == target.shape or x.dtype != target.dtype:
        return x
    if x.size == 1:
        return x.reshape(())
    return x.reshape(target.shape) if x.size == target.size else x
