"""Record the NumPy calls that a function makes, to make them again without the function.

A training step of a small network is some forty NumPy calls on tiny arrays, and most of its time goes
into what lies between them: Python's calls, closures, new memory for each result. But for given shapes
the calls are always the same. So the step is run with arrays that write down what is done to them, and
from then on the list is gone through: the same functions, on the same memory, and nothing in between.
It is what a CUDA graph is on a GPU.

What is recorded is what NumPy computes: every universal function, copies, and other functions by name.
Views (slices, transposes, reshapes) are no calls: memory stays where it is, so a view stays valid. A
function that asks for the value of an array (``if``, ``float``), or calls what is not known here, is
refused: :attr:`Recorder.refused` says why, and the caller goes on without a recording. What was computed
meanwhile is right.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nnbackend.backends.replay.rewrites import reformed
from nnbackend.core.types import Array

__all__ = ["Call", "RecordedArray", "Recorder", "essence"]

_ALIGNMENT = 64  # bytes; a line of the cache
_assign: Any = np.ndarray.__setitem__
_reduce: Any = np.ufunc.reduce

# Functions, other than universal ones, that only read what they are given.
_NAMES = """all any argmax argmin argsort broadcast_to clip concatenate cumulative_sum empty_like
expand_dims flip full_like matrix_transpose max mean min moveaxis ones_like permute_dims prod reshape
roll sort squeeze stack std sum take take_along_axis transpose tril triu var where zeros_like"""
_KNOWN = {getattr(np, name) for name in _NAMES.split() if hasattr(np, name)}


@dataclass
class Call:
    """One call of a function that writes into an array.

    Attributes:
        function: what is called.
        args: with what, by position.
        out: which of them it writes into.
        reads: the arrays it reads, also those inside a list among ``args``.
    """

    function: Any
    args: list[Any]
    out: int
    reads: list[_Operand]
    token: int

    @property
    def target(self) -> Array:
        """The array that is written into."""
        return self.args[self.out]

    def bound(self) -> Callable[[], Any]:
        """Return the call without arguments."""
        if self.function is np.matmul and _suits_dot(self.args):
            # The same product by the same BLAS; on the way to it there is a microsecond less.
            return partial(self.args[0].dot, *self.args[1:])
        args = self.args
        if isinstance(self.function, np.ufunc) and self.function.signature is None:
            args = [_like(x, self.target) for x in args]
        if self.function in (np.maximum, np.minimum):  # their third argument is not an output
            return partial(self.function, *args[:2], out=self.target)
        return partial(self.function, *args)


@dataclass(frozen=True)
class _Operand:
    """An array that a call reads, and the number of the memory it lies in (None: a constant)."""

    array: Array
    token: int | None


class Recorder:
    """Writes down the calls of a function.

    Args:
        memory: of an earlier recording that is not needed any more.

    Attributes:
        calls: so far.
        refused: why the recording must not be used, or None.
        memory: all that results were given.
    """

    def __init__(self, memory: Iterable[np.ndarray[Any, Any]] = ()) -> None:
        self.calls: list[Call] = []
        self.refused: str | None = None
        self.memory = list(memory)
        self._free = list(self.memory)
        self._numbers = itertools.count()
        self._known: list[tuple[np.ndarray[Any, Any], int]] = []

    def watch(self, array: Array, own: bool = False) -> RecordedArray:
        """Return a view of an array that exists before and after the calls.

        Args:
            array: what the function is given.
            own: whether it is a number of its own, also if its memory is part of something known.
        """
        token = None if own else self._token_of(array)
        if token is None:
            token = next(self._numbers)
            if not own:
                self._known.append((_owner(array), token))
        return self._watched(array, token)

    def token(self, array: RecordedArray) -> int:
        """Return the number of the memory that ``array`` lies in."""
        return int(array._token)

    def refuse(self, reason: str) -> None:
        """Say that the recording must not be used."""
        self.refused = self.refused or reason

    def finished(self, results: Iterable[Array | None]) -> list[Call]:
        """Return the calls, without copies of results that can be written where they go at once.

        Args:
            results: the arrays that will be looked at when the calls have been made.
        """
        # RecordedArray arrays know their recorder: what they are recorded in must not be kept by it.
        calls, self.calls = self.calls, []
        kept = {r._token for r in results if isinstance(r, RecordedArray)}
        for i in range(len(calls) - 1, -1, -1):
            if calls[i].function is _assign and _is_needless(calls, i, kept):
                _redirect(calls[:i], calls[i])
                del calls[i]
        return reformed(calls)

    # What RecordedArray arrays tell it.

    def ufunc(
        self, ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call a universal function, or its ``reduce``, and write the call down."""
        out = kwargs.pop("out", (None,))[0]
        plain = [_plain(x) for x in inputs]
        target = None if out is None else self._writable(out)
        reads = [self._operand(x) for x in inputs if isinstance(x, np.ndarray)]
        if method == "__call__" and ufunc.nout == 1 and not kwargs:
            numbers = [i for i, x in enumerate(plain) if not isinstance(x, np.ndarray)]
            plain, dtype = _prepared(ufunc, plain)
            reads += [_Operand(plain[i], None) for i in numbers]
            if target is None:
                target = self._new(_shape(ufunc, plain), dtype)
            self._write(ufunc, [*plain, _plain(target)], len(plain), reads, target)
        elif method == "reduce" and kwargs.keys() <= {"axis", "dtype", "keepdims"}:
            axis, dtype = kwargs.get("axis", 0), kwargs.get("dtype")
            keepdims = bool(kwargs.get("keepdims", False))
            result = _reduce(ufunc, plain[0], axis, dtype, None, keepdims)
            target = self._target(result, target)
            args = [plain[0], axis, dtype, _plain(target), keepdims]
            self._write(ufunc.reduce, args, 3, reads, target)
        else:
            if method not in ("__call__", "reduce", "accumulate"):
                self.refuse(f"it calls {ufunc.__name__}.{method}")
            function = ufunc if method == "__call__" else getattr(ufunc, method)
            return self._general(function, plain, kwargs, reads, target)
        # The operator's result must be the very array that was to be changed.
        return out if isinstance(out, RecordedArray) else target

    def function(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function that is not universal."""
        name = getattr(function, "__name__", str(function))
        if function not in _KNOWN:
            self.refuse(f"it calls {name}")
        given = list(_arrays((args, kwargs)))
        args, kwargs = _plain(args), _plain(kwargs)
        result = function(*args, **kwargs)
        for parent in given:
            is_view = isinstance(result, np.ndarray) and _shares(result, parent)
            if is_view and isinstance(parent, RecordedArray):
                return self._watched(result, parent._token, parent._block)
        reads = [self._operand(x) for x in given]
        return self._general(function, list(args), kwargs, reads, None)

    def copy(self, source: RecordedArray, dtype: Any = None) -> RecordedArray:
        """Return a copy of an array, in another dtype if one is given."""
        plain = _plain(source)
        target = self._new(plain.shape, plain.dtype if dtype is None else dtype)
        self._copy_call(_plain(target), source, target._token)
        return target

    def assign(self, target: RecordedArray, key: Any, value: Any) -> None:
        """Do ``target[key] = value``."""
        if any(True for _ in _arrays(key)):
            self.refuse("it assigns to places that data decide")
            _plain(target)[_plain(key)] = _plain(value)
            return
        part = _plain(target)[key]
        if not isinstance(part, np.ndarray):
            part = _plain(target)[(*(key if isinstance(key, tuple) else (key,)), ...)]
        self._copy_call(part, value, target._token)

    # Inside

    def _copy_call(self, target: Array, value: Any, token: int) -> None:
        reads = [self._operand(value)] if isinstance(value, np.ndarray) else []
        self.calls.append(Call(_assign, [target, ..., _plain(value)], 0, reads, token))
        target[...] = _plain(value)

    def _general(
        self,
        function: Any,
        args: list[Any],
        kwargs: dict[str, Any],
        reads: list[_Operand],
        target: RecordedArray | None,
    ) -> Any:
        """Call any function and copy its result; write both down as one call."""
        result = function(*args, **kwargs)
        if not isinstance(result, np.ndarray | np.generic):
            self.refuse("it calls a function that does not return one array")
            return result
        target = self._target(result, target)
        self._write(_into, [_plain(target), function, kwargs, *args], 0, reads, target)
        return target

    def _write(
        self, function: Any, args: list[Any], out: int, reads: list[_Operand], target: RecordedArray
    ) -> None:
        """Write a call down, and make it."""
        call = Call(function, args, out, reads, target._token)
        self.calls.append(call)
        call.bound()()

    def _target(self, result: Any, target: RecordedArray | None) -> RecordedArray:
        if target is not None:
            return target
        result = np.asarray(result)
        return self._new(result.shape, result.dtype)

    def _writable(self, out: Array) -> RecordedArray:
        """Return an array that is changed in place, watched.

        If it is not known it was made on the way, from constants, and must be made so each time.
        """
        if isinstance(out, RecordedArray):
            return out
        if self._token_of(out) is None:
            token = next(self._numbers)
            self._known.append((_owner(out), token))
            made = out.copy()
            self.calls.append(Call(_assign, [out, ..., made], 0, [_Operand(made, None)], token))
        return self.watch(out)

    def _operand(self, array: Array) -> _Operand:
        if not isinstance(array, RecordedArray):
            return _Operand(array, self._token_of(array))
        if not _shares(array, array._block.raw):
            self.refuse("it calls a method of an array that is not known here")
        return _Operand(_plain(array), array._token)

    def _token_of(self, array: Array) -> int | None:
        owner = _owner(array)
        return next((token for known, token in self._known if known is owner), None)

    def _watched(self, array: Array, token: int, block: _Block | None = None) -> RecordedArray:
        watched: RecordedArray = array.view(RecordedArray)
        watched._recorder, watched._token, watched._plain = self, token, array
        watched._block = _Block(array, None) if block is None else block
        return watched

    def _new(self, shape: tuple[int, ...], dtype: Any) -> RecordedArray:
        """Return memory for a result: a piece that nobody refers to any more, or a new one."""
        dtype = np.dtype(dtype)
        count = math.prod(shape)
        size = max(-(-count * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT, _ALIGNMENT)
        fitting = [raw for raw in self._free if size <= raw.nbytes <= 2 * size]
        if fitting:
            raw = min(fitting, key=lambda raw: raw.nbytes)
            del self._free[next(i for i, free in enumerate(self._free) if free is raw)]
        else:
            raw = _aligned(size)
            self.memory.append(raw)
        array = raw[: count * dtype.itemsize].view(dtype).reshape(shape)
        return self._watched(array, next(self._numbers), _Block(raw, self._free))


class _Block:
    """A piece of memory in use; it is free again when the last watched array in it is gone.

    Args:
        raw: the memory.
        free: where free memory is kept; None for memory that is there before and after.
    """

    __slots__ = ("free", "raw")

    def __init__(self, raw: np.ndarray[Any, Any], free: list[np.ndarray[Any, Any]] | None) -> None:
        self.raw, self.free = raw, free

    def view(self, array: RecordedArray) -> Array:
        """Return the plain array that lies where a watched one does, and does not keep that alive."""
        plain = array.view(np.ndarray)
        if self.free is None or not np.may_share_memory(plain, self.raw):
            return plain
        start = _address(plain) - _address(self.raw)
        return np.ndarray(array.shape, array.dtype, self.raw, start, array.strides)

    def __del__(self) -> None:
        if self.free is not None:
            self.free.append(self.raw)


class RecordedArray(np.ndarray):
    """An array that tells a recorder what is done to it."""

    _recorder: Any
    _token: Any
    _block: Any
    _plain: Any

    def __array_finalize__(self, parent: Any) -> None:
        # A view lies in its parent's memory, and keeps it from being used for something else.
        self._recorder = getattr(parent, "_recorder", None)
        self._token = getattr(parent, "_token", None)
        self._block = getattr(parent, "_block", None)
        self._plain = None

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        watched = next(x for x in (*inputs, *kwargs.get("out", ())) if isinstance(x, RecordedArray))
        return watched._recorder.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        watched = next(x for x in _arrays((args, kwargs)) if isinstance(x, RecordedArray))
        return watched._recorder.function(function, args, kwargs)

    def astype(  # type: ignore[override]
        self, dtype: Any, *_: Any, copy: bool = True, **__: Any
    ) -> Any:
        """Return a copy in another dtype."""
        if not copy and self.dtype == dtype:
            return self
        return self._recorder.copy(self, dtype)

    def copy(self, *_: Any, **__: Any) -> Any:
        """Return a copy."""
        return self._recorder.copy(self)

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        """Return the array in another shape; a copy where a view is not possible."""
        result = super().reshape(*shape, **kwargs)
        if _shares(result, self):
            return result
        return self._recorder.copy(self).reshape(*shape, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        if not any(True for _ in _arrays(key)):
            part = super().__getitem__(key)
            if isinstance(part, np.ndarray):
                return part
            return super().__getitem__((*(key if isinstance(key, tuple) else (key,)), ...))
        recorder = self._recorder
        reads = [recorder._operand(x) for x in _arrays((self, key))]
        return recorder._general(_item, [_plain(self), _plain(key)], {}, reads, None)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._recorder.assign(self, key, value)

    def _value(self, convert: Callable[[Any], Any]) -> Any:
        self._recorder.refuse("it asks for the value of an array")
        return convert(_plain(self))

    def __bool__(self) -> bool:
        return bool(self._value(bool))

    def __float__(self) -> float:
        return float(self._value(float))

    def __int__(self) -> int:
        return int(self._value(int))

    def __index__(self) -> int:
        return int(self._value(int))

    def item(self, *args: Any) -> Any:
        """Return a number, which ends the recording."""
        return self._value(lambda plain: plain.item(*args))

    def tolist(self) -> Any:
        """Return numbers, which ends the recording."""
        return self._value(lambda plain: plain.tolist())


def essence(calls: list[Call]) -> list[Any]:
    """Return what makes a recording, without its memory: two recordings of the same calls are equal.

    Constants are compared by their contents: what depends on data in a way that was not recorded shows
    as a constant that differs.
    """
    return [
        (
            call.function,
            call.out,
            call.token,
            [_essence(arg) for arg in call.args],
            [r.array.tobytes() if r.token is None else r.token for r in call.reads],
        )
        for call in calls
    ]


def _essence(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return x.shape, x.strides, x.dtype
    if isinstance(x, (list, tuple)):
        return [_essence(item) for item in x]
    if isinstance(x, dict):
        return {name: _essence(item) for name, item in x.items()}
    return type(x), x


def _suits_dot(args: Sequence[Array]) -> bool:
    """Return whether ``a @ b`` into ``c`` is a product of matrices that ``a.dot(b, c)`` does as well."""
    a, _, c = args
    return all(x.ndim == 2 and x.dtype == a.dtype for x in args) and bool(c.flags.c_contiguous)


def _like(x: Array, target: Array) -> Array:
    """Return the operand in a shape that needs no broadcasting, if it is a single row or number.

    It is the same loop over the same memory, begun half a microsecond earlier.
    """
    if x.shape == target.shape or x.dtype != target.dtype:
        return x
    if x.size == 1:
        return x.reshape(())
    return x.reshape(target.shape) if x.size == target.size else x


def _is_needless(calls: list[Call], copy: int, results: set[int]) -> bool:
    """Return whether what call ``copy`` copies may be made where it goes at once.

    Nobody may use it later, or but a part of it, nor touch its new place before the copy is made.
    """
    call = calls[copy]
    if len(call.reads) != 1 or call.reads[0].token in (None, *results):
        return False
    source, token, target = call.reads[0].array, call.reads[0].token, call.target
    users = [i for i, c in enumerate(calls) if token in (c.token, *(r.token for r in c.reads))]
    if len(users) < 2 or users[-1] != copy or source.shape != target.shape:
        return False
    if source.dtype != target.dtype:  # one call that converts is slower than two that do not
        return False
    first = calls[users[0]]
    if first.token != token or first.function is _assign:
        return False
    if any(r.token == token for r in first.reads):
        return False
    for user in (calls[i] for i in users):
        own = [r.array for r in user.reads if r.token == token]
        own += [user.target] if user.token == token else []
        inside = _arrays([arg for arg in user.args if not isinstance(arg, np.ndarray)])
        if not all(_same_memory(array, source) for array in own):
            return False
        if any(_same_memory(array, source) for array in inside):
            return False
    between = [r.array for c in calls[users[0] : copy] for r in c.reads]
    between += [c.target for c in calls[users[0] + 1 : copy]]
    return not any(_shares(array, target) for array in between)


def _redirect(calls: list[Call], copy: Call) -> None:
    """Let calls use the place that something is copied to instead of that it is copied from."""
    source, token, target = copy.reads[0].array, copy.reads[0].token, copy.target
    for call in calls:
        if token in (call.token, *(r.token for r in call.reads)):
            call.args = [
                target if isinstance(arg, np.ndarray) and _same_memory(arg, source) else arg
                for arg in call.args
            ]
            call.reads = [
                _Operand(target, copy.token) if r.token == token else r for r in call.reads
            ]
            call.token = copy.token if call.token == token else call.token


def _into(target: Array, function: Any, kwargs: dict[str, Any], *args: Any) -> None:
    target[...] = function(*args, **kwargs)


def _item(array: Array, key: Any) -> Any:
    return array[key]


def _plain(x: Any) -> Any:
    """Return ``x`` with plain arrays in place of watched ones."""
    if isinstance(x, RecordedArray):
        return x._block.view(x) if x._plain is None else x._plain
    if type(x) in (list, tuple):
        return type(x)(_plain(item) for item in x)
    if type(x) is dict:
        return {name: _plain(item) for name, item in x.items()}
    return x


def _arrays(x: Any) -> Iterator[Array]:
    """Yield the arrays among arguments."""
    if isinstance(x, np.ndarray):
        yield x
    elif isinstance(x, (list, tuple)):  # called so often that a union's time shows
        for item in x:
            yield from _arrays(item)
    elif isinstance(x, dict):
        yield from _arrays(list(x.values()))


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


def _owner(array: Array) -> np.ndarray[Any, Any]:
    """Return the array that holds the memory of a view."""
    owner: np.ndarray[Any, Any] = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return owner


def _aligned(size: int) -> np.ndarray[Any, Any]:
    raw = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    start = -_address(raw) % _ALIGNMENT
    return raw[start : start + size]


def _shares(a: Array, b: Array) -> bool:
    return bool(np.may_share_memory(_plain(a), _plain(b)))


def _address(array: Array) -> int:
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


def _same_memory(a: Array, b: Array) -> bool:
    return (_address(a), a.shape, a.strides, a.dtype) == (
        _address(b), b.shape, b.strides, b.dtype
    )  # fmt: skip
