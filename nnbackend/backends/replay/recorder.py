"""Record the NumPy calls that a function makes, to make them again without the function.

What is recorded is what NumPy computes: every universal function, copies, and other functions by name.
Views (slices, transposes, reshapes) are no calls: memory stays where it is, so a view stays valid. A
function that asks for the value of an array (``if``, ``float``), or calls an unknown one, is
refused: :attr:`Recorder.refused` says why. The results are right all the same.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nnbackend.backends.replay.calls import (
    NUMBER,
    Call,
    Operand,
    address_of,
    assign,
    call_and_copy,
    nested_arrays,
    owner_of,
    take_item,
)
from nnbackend.backends.replay.recorded_array import Block, RecordedArray, plain
from nnbackend.backends.replay.rewrites import without_copies
from nnbackend.core.types import Array

__all__ = ["MAX_CALLS", "NotPlayableError", "Recorder"]

MAX_CALLS = 4000
"""Calls of a recording: a loop over many times is unrolled, and its memory with it."""

_reduce: Any = np.ufunc.reduce

# Functions, other than universal ones, that only read what they are given, and whose result has a shape
# that follows from shapes.
_FUNCTION_NAMES = """all any argmax argmin argsort broadcast_to clip concatenate cumprod cumsum
cumulative_prod cumulative_sum diff einsum empty_like expand_dims flip full_like inner max
matrix_transpose mean
min moveaxis ones_like outer permute_dims prod repeat reshape roll searchsorted sort squeeze stack std
sum swapaxes take take_along_axis tensordot tile transpose tril triu var where zeros_like"""
_KNOWN_FUNCTIONS = {getattr(np, name) for name in _FUNCTION_NAMES.split() if hasattr(np, name)} | {
    sliding_window_view
}

# Functions that ask for no numbers of an array.
_ABOUT_SHAPES = {np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.may_share_memory,
                 np.iscomplexobj, np.isrealobj}  # fmt: skip


class NotPlayableError(Exception):
    """A function cannot be played from a recording; the message says why."""


class Recorder:
    """Writes down the calls of a function.

    Args:
        free: pieces of memory that results may be given; None: none yet. What is free again when
            the recording has been used is back in it.
        spoil: ``spoil(array)``, which overwrites every array that is watched or computed: what the
            function reads of them past the recorder, as ``table[index]`` of a plain table does, then
            shows in the constants of the signature. None (the default): nothing is.

    Attributes:
        calls: the calls so far.
        signature: what they do, without their memory: of two recordings of the same calls it is equal.
            Constants are in it by their contents: what depends on data in a way that was not recorded
            shows as a constant that differs.
        blocks: all memory that results were given.
        refused: why the recording must not be used, or None.
        is_recording: whether it still writes down calls.
    """

    def __init__(
        self,
        free: list[np.ndarray[Any, Any]] | None = None,
        spoil: Callable[[Array], None] | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self.signature: list[Any] = []
        self.blocks: list[np.ndarray[Any, Any]] = []
        self.refused: str | None = None
        self.is_recording = True
        self._free = [] if free is None else free
        self._spoil = spoil or (lambda array: None)
        self._raises = spoil is not None
        self._ids = itertools.count()
        self._starts: dict[int, int] = {}  # the address of each buffer
        self._known: dict[int, tuple[Any, int | None]] = {}  # owners by their id; None: hidden ones

    def watch(self, array: Array, hidden: bool = False) -> RecordedArray:
        """Return a view of an array that exists before and after the calls.

        Args:
            array: what the function is given.
            hidden: whether its memory must be reached through what this returns only, because another
                array takes its place when the calls are played.
        """
        known = None if hidden else self._known_id(array)
        buffer_id = next(self._ids) if known is None else known
        if known is None:
            owner = owner_of(array)
            self._starts[buffer_id] = address_of(array if hidden else owner)
            self._known[id(owner)] = owner, None if hidden else buffer_id
        self._spoil(array)
        return self._recorded(array, buffer_id)

    def refuse(self, reason: str) -> None:
        """Say that the recording must not be used; the first reason stays.

        Raises:
            NotPlayableError: arrays are spoiled, so that a loop may wait for a number in vain.
        """
        self.refused = self.refused or reason
        if self._raises:
            raise NotPlayableError(reason)

    def finish(self, results: Iterable[Any]) -> None:
        """Stop recording; ``results`` are the arrays that will be looked at when calls are played."""
        kept = set()
        for result in results:
            if isinstance(result, RecordedArray):
                kept.add(self._operand(result).buffer_id)
            else:
                self.refuse("a result does not depend on the data")
        self.is_recording = False
        self.calls = [] if self.refused else without_copies(self.calls, kept)

    # Called by recorded arrays.

    def ufunc(
        self, ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call a universal function, or its ``reduce``, and write the call down."""
        out = kwargs.pop("out", (None,))[0]
        args = [plain(x) for x in inputs]
        target = None if out is None else self._writable(out)
        reads = [self._operand(x) for x in inputs if isinstance(x, np.ndarray)]
        if method == "__call__" and ufunc.nout == 1 and not kwargs:
            numbers = [i for i, x in enumerate(args) if not isinstance(x, np.ndarray)]
            args, dtype = _prepared(ufunc, args)
            reads += [Operand(args[i], NUMBER) for i in numbers]
            if target is None:
                target = self._new(_shape(ufunc, args), dtype)
            self._write(ufunc, [*args, plain(target)], len(args), reads, target)
        elif method == "reduce" and kwargs.keys() <= {"axis", "dtype", "keepdims"}:
            axis, dtype = kwargs.get("axis", 0), kwargs.get("dtype")
            keepdims = bool(kwargs.get("keepdims", False))
            if target is None:
                result = np.asarray(_reduce(ufunc, args[0], axis, dtype, None, keepdims))
                target = self._new(result.shape, result.dtype)
            args = [args[0], axis, dtype, plain(target), keepdims]
            self._write(ufunc.reduce, args, 3, reads, target)
        elif method == "at" and len(inputs) == 3 and isinstance(inputs[0], RecordedArray):
            self._write(ufunc.at, args, 0, reads, inputs[0])
            return None
        else:
            everywhere = kwargs.get("where", True) is True
            if method in ("__call__", "reduce", "accumulate") and everywhere:
                function = ufunc if method == "__call__" else getattr(ufunc, method)
                return self._general(function, args, plain(kwargs), reads, target)
            self.refuse(f"it calls {ufunc.__name__}.{method} in a way that is not known here")
            if out is not None:
                kwargs["out"] = (plain(out),)
            result = getattr(ufunc, method)(*args, **plain(kwargs))
            return result if out is None else out
        # The operator's result must be the very array that was to be changed.
        return out if isinstance(out, RecordedArray) else target

    def function(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function that is not universal."""
        given = list(nested_arrays((args, kwargs)))
        args, kwargs = plain(args), plain(kwargs)
        if function in _ABOUT_SHAPES:
            return function(*args, **kwargs)
        shaped_by_data = function in (np.repeat, np.tile) and len(given) > 1
        if function not in _KNOWN_FUNCTIONS or shaped_by_data or kwargs.get("out") is not None:
            self.refuse(f"it calls {getattr(function, '__name__', function)}")
        result = function(*args, **kwargs)
        for parent in given:
            is_view = isinstance(result, np.ndarray) and np.may_share_memory(result, plain(parent))
            if is_view and isinstance(parent, RecordedArray):
                return self._recorded(result, parent._buffer_id, parent._block)
        reads = [self._operand(x) for x in given]
        return self._general(function, list(args), kwargs, reads, None)

    def copy(self, source: RecordedArray, dtype: Any = None) -> RecordedArray:
        """Return a copy of an array, in another dtype if one is given."""
        array = plain(source)
        target = self._new(array.shape, array.dtype if dtype is None else dtype)
        self._copy_call(plain(target), source, target._buffer_id)
        return target

    def item(self, array: Array, key: Any) -> Any:
        """Return ``array[key]``, for a key with arrays in it."""
        reads = [self._operand(x) for x in nested_arrays((array, key))]
        if any(r.array.dtype.kind == "b" for r in reads[1:]):
            self.refuse("it chooses by a mask: how many there are depends on the data")
        return self._general(take_item, [plain(array), plain(key)], {}, reads, None)

    def assign(self, target: Any, key: Any, value: Any) -> None:
        """Do ``target[key] = value``."""
        array = plain(target)
        part = None if any(True for _ in nested_arrays(key)) else array[key]
        if isinstance(part, np.ndarray) and part.size and not np.may_share_memory(part, array):
            part = None  # a list in the key, which takes copies
        if part is None:
            self.refuse("it assigns to places that data or a list decide")
            array[plain(key)] = plain(value)
            return
        if not isinstance(part, np.ndarray):
            part = array[(*(key if isinstance(key, tuple) else (key,)), ...)]
        self._copy_call(part, value, self._operand(target).buffer_id)

    def written(
        self,
        function: Any,
        inputs: tuple[Array, ...],
        shape: tuple[int, ...],
        settings: tuple[Any, ...],
    ) -> RecordedArray:
        """Call a function that writes a new array; see :func:`.recorded_array.written`."""
        reads = [self._operand(x) for x in inputs]
        target = self._new(shape, plain(inputs[0]).dtype)
        args = [*(plain(x) for x in inputs), plain(target), *settings]
        self._write(function, args, len(inputs), reads, target)
        return target

    # Inside

    def _copy_call(self, target: Array, value: Any, buffer_id: Any) -> None:
        if isinstance(value, np.ndarray):
            reads = [self._operand(value)]
        else:
            value = np.asarray(value)
            reads = [Operand(value, NUMBER)]
        self._append(Call(assign, [target, ..., plain(value)], 0, reads, buffer_id))
        target[...] = plain(value)
        self._spoil(target)

    def _general(
        self,
        function: Any,
        args: list[Any],
        kwargs: dict[str, Any],
        reads: list[Operand],
        target: RecordedArray | None,
    ) -> Any:
        """Call any function and copy its result; write both down as one call."""
        result = function(*args, **kwargs)
        if not isinstance(result, np.ndarray | np.generic):
            self.refuse("it calls a function that does not return one array")
            return result
        if target is None:
            target = self._new(result.shape, result.dtype)
        array, buffer_id = plain(target), target._buffer_id
        self._append(Call(call_and_copy, [array, function, kwargs, *args], 0, reads, buffer_id))
        array[...] = result
        self._spoil(array)
        return target

    def _write(
        self, function: Any, args: list[Any], out: int, reads: list[Operand], target: RecordedArray
    ) -> None:
        """Write a call down, and make it."""
        call = Call(function, args, out, reads, target._buffer_id)
        self._append(call)
        call.bind()()
        self._spoil(call.target)

    def _append(self, call: Call) -> None:
        if self.refused is not None:  # it is never played
            return
        if len(self.calls) == MAX_CALLS:
            self.refuse(f"it makes more than {MAX_CALLS} calls")
            return
        self.calls.append(call)
        self.signature.append(
            (
                call.function,
                call.out,
                call.buffer_id,
                [_description(arg) for arg in call.args],
                [r.array.tobytes() if r.is_constant else r.buffer_id for r in call.reads],
                [self._offset(r.array, r.buffer_id) for r in call.reads if not r.is_constant],
                self._offset(call.target, call.buffer_id),
            )
        )

    def _offset(self, array: Array, buffer_id: Any) -> int:
        """Return the offset of an array in its memory."""
        return address_of(array) - self._starts[buffer_id]

    def _writable(self, out: Array) -> RecordedArray:
        """Return an array that is changed in place, recorded.

        If it is not known it was made on the way, from constants, and must be made so each time.
        """
        if isinstance(out, RecordedArray):
            self._operand(out)
            return out
        if self._known_id(out) is None:
            owner, buffer_id = owner_of(out), next(self._ids)
            self._known[id(owner)] = owner, buffer_id
            self._starts[buffer_id] = address_of(owner)
            made = out.copy()
            self._append(Call(assign, [out, ..., made], 0, [Operand(made, None)], buffer_id))
        return self.watch(out)

    def _operand(self, array: Array) -> Operand:
        """Return an argument; refuse one that is not what it was recorded as."""
        if not isinstance(array, RecordedArray):
            return Operand(array, self._known_id(array))
        view = plain(array)
        if array._recorder() is not self:
            self.refuse("it keeps an array from one step to the next")
            return Operand(view, None)
        if view.size and not np.may_share_memory(view, array._block.raw):  # no rows, no memory
            self.refuse("it calls a method of an array that is not known here")
        return Operand(view, array._buffer_id)

    def _known_id(self, array: Array) -> int | None:
        """Return the number of the memory of a plain array, or None."""
        owner, buffer_id = self._known.get(id(owner_of(array)), (None, None))
        if owner is not None and buffer_id is None:
            self.refuse("it takes an array out of the recording, as numpy.asarray does")
        return buffer_id

    def _recorded(self, array: Array, buffer_id: int, block: Block | None = None) -> RecordedArray:
        recorded: RecordedArray = array.view(RecordedArray)
        recorded._recorder = weakref.ref(self)
        recorded._buffer_id, recorded._plain = buffer_id, array
        recorded._block = Block(array, None) if block is None else block
        return recorded

    def _new(self, shape: tuple[int, ...], dtype: Any) -> RecordedArray:
        """Return memory for a result: a piece that is no longer referred to, or a new one."""
        dtype = np.dtype(dtype)
        count = math.prod(shape)
        size = max(count * dtype.itemsize, 1)
        fitting = [raw for raw in self._free if size <= raw.nbytes <= 2 * size]
        if fitting:
            raw = min(fitting, key=lambda raw: raw.nbytes)
            del self._free[next(i for i, free in enumerate(self._free) if free is raw)]
        else:
            raw = np.empty(size, dtype=np.uint8)
        owner = owner_of(raw)
        if id(owner) not in self._known:
            self._known[id(owner)] = owner, None
            self.blocks.append(raw)
        buffer_id = next(self._ids)
        self._starts[buffer_id] = address_of(raw)
        array = raw[: count * dtype.itemsize].view(dtype).reshape(shape)
        return self._recorded(array, buffer_id, Block(raw, self._free))


def _description(x: Any) -> Any:
    """Return the part of an argument that must be equal in two recordings."""
    if isinstance(x, np.ndarray):
        return x.shape, x.strides, x.dtype
    if isinstance(x, (list, tuple)):
        return [_description(item) for item in x]
    if isinstance(x, dict):
        return {name: _description(item) for name, item in x.items()}
    return type(x), x


def _prepared(ufunc: np.ufunc, args: list[Any]) -> tuple[list[Any], Any]:
    """Return the arguments with numbers as arrays, and the dtype of the result.

    NumPy would convert the numbers in every call, to the same dtype.
    """
    kinds = [type(x) if type(x) in (int, float) else np.asarray(x).dtype for x in args]
    *dtypes, result = ufunc.resolve_dtypes((*kinds, None))
    numbers = [
        x if isinstance(x, np.ndarray) else np.asarray(x, dtype=dtype)
        for x, dtype in zip(args, dtypes, strict=True)
    ]
    return numbers, result


def _shape(ufunc: np.ufunc, args: list[Any]) -> tuple[int, ...]:
    """Return the shape of the result."""
    if ufunc.signature is None:
        return np.broadcast_shapes(*(x.shape for x in args))
    if ufunc is np.matmul and all(x.ndim == 2 for x in args):
        return args[0].shape[0], args[1].shape[1]
    return np.shape(ufunc(*args))
