"""An array that tells a recorder each call on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from nnbackend.backends.replay.calls import address_of, nested_arrays
from nnbackend.core.types import Array

if TYPE_CHECKING:
    from nnbackend.backends.replay.recorder import Recorder

__all__ = ["Block", "RecordedArray", "plain", "written"]


class Block:
    """A piece of memory in use; it is free again when the last recorded array in it is gone.

    Args:
        raw: the memory.
        free: the list that it goes back to; None for memory that exists before and after.
    """

    __slots__ = ("free", "raw")

    def __init__(self, raw: np.ndarray[Any, Any], free: list[np.ndarray[Any, Any]] | None) -> None:
        self.raw, self.free = raw, free

    def view(self, array: RecordedArray) -> Array:
        """Return the plain array in the place of a recorded one, which it does not keep alive."""
        view = array.view(np.ndarray)
        if self.free is None or not np.may_share_memory(view, self.raw):
            return view
        start = address_of(view) - address_of(self.raw)
        return np.ndarray(array.shape, array.dtype, self.raw, start, array.strides)

    def __del__(self) -> None:
        if self.free is not None:
            self.free.append(self.raw)


class RecordedArray(np.ndarray):
    """An array that tells a recorder each call on it, as long as that is recording."""

    _recorder: Any  # a weak reference, for what is recorded may hold arrays
    _buffer_id: Any
    _block: Any
    _plain: Any

    def __array_finalize__(self, parent: Any) -> None:
        # A view is in its parent's memory, and keeps it from being used for something else.
        self._recorder = getattr(parent, "_recorder", None)
        self._buffer_id = getattr(parent, "_buffer_id", None)
        self._block = getattr(parent, "_block", None)
        self._plain = None

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        recorder = _active_recorder((*inputs, *kwargs.get("out", ())))
        if recorder is not None:
            return recorder.ufunc(ufunc, method, inputs, kwargs)
        return getattr(ufunc, method)(*map(plain, inputs), **plain(kwargs))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        recorder = _active_recorder(nested_arrays((args, kwargs)))
        if recorder is not None:
            return recorder.function(function, args, kwargs)
        return function(*plain(args), **plain(kwargs))

    def astype(  # type: ignore[override]
        self, dtype: Any, *_: Any, copy: bool = True, **__: Any
    ) -> Any:
        """Return a copy in another dtype."""
        recorder = _active_recorder([self])
        if not copy and self.dtype == dtype:
            return self
        return plain(self).astype(dtype) if recorder is None else recorder.copy(self, dtype)

    def copy(self, *_: Any, **__: Any) -> Any:
        """Return a copy."""
        recorder = _active_recorder([self])
        return plain(self).copy() if recorder is None else recorder.copy(self)

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        """Return the array in another shape; a copy where a view is not possible."""
        result = super().reshape(*shape, **kwargs)
        if np.may_share_memory(plain(result), plain(self)):
            return result
        return self.copy().reshape(*shape, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        if not any(True for _ in nested_arrays(key)):
            part = super().__getitem__(key)
            if isinstance(part, np.ndarray):
                return part
            return super().__getitem__((*(key if isinstance(key, tuple) else (key,)), ...))
        recorder = _active_recorder(nested_arrays((self, key)))
        return plain(self)[plain(key)] if recorder is None else recorder.item(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        recorder = _active_recorder(nested_arrays((self, key, value)))
        if recorder is None:
            plain(self)[plain(key)] = plain(value)
        else:
            recorder.assign(self, key, value)

    def fill(self, value: Any) -> None:
        """Set all numbers to one."""
        self[...] = value

    @property
    def flat(self) -> Any:
        """Return the numbers one after the other, which ends the recording."""
        return _plain_for(self, "it reads the numbers of an array one by one").flat


def _plain_for(array: RecordedArray, reason: str) -> Any:
    """Return the plain array for what reads or changes it unseen, which ends the recording."""
    recorder = _active_recorder([array])
    if recorder is not None:
        recorder.refuse(reason)
    return plain(array)


def _refused_method(name: str, reason: str) -> Callable[..., Any]:
    def method(self: RecordedArray, *args: Any, **kwargs: Any) -> Any:
        return getattr(_plain_for(self, reason), name)(*plain(args), **plain(kwargs))

    return method


for _name in ("__bool__", "__float__", "__int__", "__index__", "item", "tolist"):
    setattr(RecordedArray, _name, _refused_method(_name, "it asks for the value of an array"))
for _name in ("byteswap", "partition", "put", "resize", "setfield", "sort", "tobytes", "tofile"):
    setattr(
        RecordedArray, _name, _refused_method(_name, f"it calls the method {_name} of an array")
    )


def plain(x: Any) -> Any:
    """Return ``x`` with plain arrays in place of recorded ones."""
    if isinstance(x, RecordedArray):
        if x._plain is not None:
            return x._plain
        return x.view(np.ndarray) if x._block is None else x._block.view(x)
    if type(x) in (list, tuple):
        return type(x)(plain(item) for item in x)
    if type(x) is dict:
        return {name: plain(item) for name, item in x.items()}
    return x


def written(
    function: Callable[..., None], inputs: tuple[Array, ...], shape: tuple[int, ...], *settings: Any
) -> Array:
    """Return a new array that a function writes; it is recorded as one call, whatever it does inside.

    Args:
        function: ``function(*inputs, out, *settings)``, which gives ``out`` all its numbers, from those
            of the inputs alone; the memory of ``out`` may be in any order.
        inputs: the arrays, all of one dtype.
        shape: the shape of the new array, which has that dtype.
        settings: the rest of the arguments, constants.
    """
    recorder = _active_recorder(inputs)
    if recorder is not None:
        return recorder.written(function, inputs, shape, settings)
    plain_inputs = [plain(x) for x in inputs]
    out = np.empty(shape, dtype=plain_inputs[0].dtype)
    function(*plain_inputs, out, *settings)
    return out


def _active_recorder(arrays: Iterable[Any]) -> Recorder | None:
    """Return the recorder of the first recorded array that is recording, or None."""
    for array in arrays:
        if isinstance(array, RecordedArray) and array._recorder is not None:
            recorder: Recorder | None = array._recorder()
            if recorder is not None and recorder.is_recording:
                return recorder
    return None
