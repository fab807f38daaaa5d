"""Play recorded calls on a GPU: CuPy's functions of the same names, in planned memory, as one graph.

A step is recorded on the host, by NumPy, with copies of its arrays (:class:`GraphProgram`). The list of
calls is then put on the device: every piece of memory of the recording gets one there (the held state
has one), every view the same place in it, and every call the function of the same name with ``out=``
that place, or a copy into it. Products are cuBLAS's own: CuPy's cannot be captured. Launches are
captured as a CUDA graph. A call that has no counterpart raises :class:`NotPlayableError`, and the step
runs as it is.
"""

from __future__ import annotations

import ctypes
import warnings
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from nnbackend.backends.replay.calls import (
    Call,
    address_of,
    assign,
    call_and_copy,
    owner_of,
    take_item,
)
from nnbackend.backends.replay.program import Player, Program
from nnbackend.backends.replay.recording import (
    Function,
    MapArrays,
    NotPlayableError,
    Recording,
    arrays_of,
)
from nnbackend.core.functional import is_half
from nnbackend.core.tree import map_arrays
from nnbackend.core.types import Array, Arrays

__all__ = ["GraphPlayer", "GraphProgram"]

_REDUCTIONS = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
}
_WITH_DTYPE = ("sum", "prod")

Piece: TypeAlias = tuple[Any, Array]
"""Bytes on the host, and the bytes on the device that they stand for."""


class Placement:
    """Which memory of the device stands for which of the host."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._starts: list[int] = []  # addresses on the host, in order
        # For each its size, the array on the device, and an object that must stay alive.
        self._pieces: list[tuple[int, Any, Any]] = []

    def add(self, start: int, size: int, base: Array, keep: Any) -> None:
        """Let memory of the host stand for that from the first element of ``base`` on."""
        at = bisect_right(self._starts, start)
        self._starts.insert(at, start)
        self._pieces.insert(at, (size, base, keep))

    def add_copy(self, array: Any) -> None:
        """Let new memory stand for that of an array, with its numbers in it."""
        raw = np.frombuffer(ctypes.string_at(address_of(array), array.nbytes), np.uint8)
        self.add(address_of(array), max(array.nbytes, 1), self._library.from_host(raw), array)

    def find(self, array: Any) -> tuple[Any, int] | None:
        """Return the device's array for the memory that an array is in, and its place there."""
        start = address_of(array)
        i = bisect_right(self._starts, start) - 1
        if i < 0 or start >= self._starts[i] + self._pieces[i][0]:
            return None
        return self._pieces[i][1], start - self._starts[i]

    def view(self, array: Any) -> Array:
        """Return the device's array for one of the host."""
        found = self.find(array)
        if found is None:
            # A constant: of an array that views another one its own numbers are enough.
            return self._library.from_host(np.array(array))
        return self._library.view(*found, array.shape, array.strides, array.dtype)


def mirrored(library: Any, held: Any, map_held: MapArrays) -> tuple[Any, list[Piece]]:
    """Return a copy of the held state on the host, with the same memory shared, and its pieces."""
    pieces: dict[int, Piece] = {}

    def copied(array: Array) -> Any:
        whole = library.whole(array)
        start = library.address(whole)
        raw, _ = pieces.setdefault(start, (np.zeros(whole.nbytes, np.uint8), whole))
        place = library.address(array) - start
        copy: Any = np.ndarray(array.shape, array.dtype, raw, place, tuple(array.strides))
        copy[...] = library.to_host(array)
        return copy

    return map_held(held, copied), [*pieces.values()]


class GraphPlayer:
    """Plays a recording on the device.

    Args:
        library: see :class:`~nnbackend.backends.cuda.library.CuPyLibrary`.
        recording: the recording made on the host.
        pieces: the memory of what was held, see :func:`mirrored`.

    Raises:
        NotPlayableError: the device has no counterpart of a call.
    """

    def __init__(self, library: Any, recording: Recording, pieces: list[Piece]) -> None:
        self._library = library
        place = self._place = Placement(library)
        for raw, base in pieces:
            place.add(address_of(raw), raw.nbytes, base, raw)
        for block in recording.blocks:
            place.add(address_of(block), block.nbytes, library.empty(block.nbytes), block)
        for array in (*recording.inputs, *(number for _, number in recording.numbers)):
            place.add_copy(array)
        for call in recording.calls:  # arrays that were made on the way, and are written to
            if place.find(call.target) is None:
                place.add_copy(owner_of(call.target))
        self._inputs = [place.view(array) for array in recording.inputs]
        self._numbers = [(i, place.view(number)) for i, number in recording.numbers]
        count = 1 + max((i for i, _ in recording.numbers), default=-1)
        self._last_numbers: tuple[Any, ...] = (None,) * count
        self._results = map_arrays(place.view, recording.results)
        self._recording = recording  # its memory on the host is an address book, and must not go
        self.graph = library.graph([self._launch(call) for call in recording.calls])

    def play(self, inputs: list[Array], numbers: tuple[float, ...]) -> Arrays:
        """Return the results for inputs and numbers, as copies."""
        for own, array in zip(self._inputs, inputs, strict=True):
            own[...] = array
        for i, own in self._numbers:
            if numbers[i] != self._last_numbers[i]:
                own.fill(numbers[i])
        self._last_numbers = numbers
        self.graph.replay()
        return map_arrays(lambda array: array.copy(), self._results)

    def _launch(self, call: Call) -> Callable[[], Any]:
        """Return a function that makes a call on the device."""
        function, args = call.function, [self._on_device(arg) for arg in call.args]
        if function is assign:
            return partial(_copy, args[0], args[2])
        if function is call_and_copy:
            target, inner, *rest = args
            counterpart = take_item if inner is take_item else self._find(inner)
            return partial(call_and_copy, target, counterpart, *rest)
        if function is np.matmul:
            return self._product(*args)
        if function is getattr(np, "vecdot", None):
            return self._library.row_products(*args)  # type: ignore[no-any-return]
        if isinstance(function, np.ufunc):
            return partial(self._find(function), *args[:-1], out=args[-1])
        ufunc = getattr(function, "__self__", None)
        if isinstance(ufunc, np.ufunc) and function.__name__ == "reduce":
            return self._reduction(ufunc, *args)
        return partial(self._find(function), *args)

    def _reduction(
        self, ufunc: np.ufunc, x: Array, axis: Any, dtype: Any, out: Array, keepdims: bool
    ) -> Callable[[], Any]:
        name = _REDUCTIONS.get(ufunc.__name__)
        if name is None:
            raise NotPlayableError(f"{ufunc.__name__}.reduce")
        more = {"dtype": dtype} if name in _WITH_DTYPE else {}
        function = getattr(self._library.functions, name)
        return partial(function, x, axis=axis, out=out, keepdims=keepdims, **more)

    def _product(self, a: Array, b: Array, out: Array) -> Callable[[], Any]:
        """Return a product of matrices; leading axes of the first factor are rows."""
        if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous and out.flags.c_contiguous:
            a, out = a.reshape((-1, a.shape[-1])), out.reshape((-1, out.shape[-1]))
        if not a.ndim == b.ndim == out.ndim == 2:
            raise NotPlayableError(f"a product of shapes {a.shape} and {b.shape}")
        launch: Callable[[], Any] = self._library.product(a, b, out)
        return launch

    def _find(self, function: Any) -> Callable[..., Any]:
        """Return the function of the same name, or the method of the universal function."""
        owner = getattr(function, "__self__", None)
        name = getattr(function, "__name__", str(function))
        if isinstance(owner, np.ufunc):
            ufunc = getattr(self._library.functions, owner.__name__, None)
            found, name = getattr(ufunc, name, None), f"{owner.__name__}.{name}"
        else:
            found = getattr(self._library.functions, name, None)
        if found is None:
            raise NotPlayableError(f"there is no {name}")
        return found  # type: ignore[no-any-return]

    def _on_device(self, x: Any) -> Any:
        """Return an argument with the device's arrays in it."""
        if isinstance(x, np.ndarray):
            return self._place.view(x)
        if type(x) in (list, tuple):
            return type(x)(self._on_device(item) for item in x)
        if type(x) is dict:
            return {name: self._on_device(value) for name, value in x.items()}
        return x


class GraphProgram(Program):
    """A function on the device that is recorded on the host and played as a graph.

    Args:
        call: arguments of a Program, of arrays of the device and NumPy's dtypes.
        library: see :class:`~nnbackend.backends.cuda.library.CuPyLibrary`.
        host_function: the same function on NumPy's arrays.
        options: further ones.
    """

    def __init__(self, *call: Any, library: Any, host_function: Function, **options: Any) -> None:
        super().__init__(*call, **options)
        self._library, self._host_function = library, host_function
        self._pieces: list[Piece] = []  # of the last recording

    def is_trusted(self) -> bool:
        """Return whether a recording needs no trial: functions of the device may do something else."""
        return False

    def record(
        self,
        held: Any,
        inputs: Arrays,
        numbers: tuple[float, ...],
        free: list[Any],
        spoil: Callable[[Array], None] | None = None,
    ) -> tuple[Recording, Arrays]:
        """Record the function on copies on the host; call it on the device."""
        copy, self._pieces = mirrored(self._library, held, self.map_held)
        new = Recording(
            self._host_function,
            copy,
            self.map_held,
            map_arrays(self._library.to_host, inputs),
            numbers,
            self.dtypes,
            set(),
            [],  # the player has the memory of the first recording still
            spoil,
        )
        return new, self.call(held, inputs, numbers)

    def make_player(self, recording: Recording) -> Player | None:
        """Return a player of the recording as a graph."""
        try:
            return GraphPlayer(self._library, recording, self._pieces)
        except NotPlayableError:
            raise
        except Exception as error:  # of CuPy's or cuBLAS's
            raise NotPlayableError(f"{type(error).__name__}: {error}") from error

    def _try(self, recording: Recording, player: Any, *call: Any) -> None:
        super()._try(recording, player, *call)
        player.graph.replay()  # the second run is the one that is captured; all memory is set back
        if player.graph.refused:
            self._warn(f"its launches are not captured as a graph: {player.graph.refused}")

    def refuse(self, reason: str) -> None:
        """Let the function be called as it is, and say so."""
        self._warn(f"it runs operation by operation: {reason}")
        super().refuse(reason)

    def _warn(self, what: str) -> None:
        warnings.warn(f"the training step is not played as asked: {what}", stacklevel=2)

    def memory(self, held: Any) -> list[Array]:
        """Return all arrays that are held."""
        return arrays_of(held, self.map_held)

    def change(self, array: Array, factor: float) -> Array:
        """Return other numbers of the same kind."""
        host = self._library.to_host(array)
        return self._library.from_host(super().change(host, factor))

    def agree(self, a: Any, b: Any) -> bool:
        """Return whether arrays agree to rounding: functions of the device add in another order."""
        a, b = (np.asarray(self._library.to_host(x)) for x in (a, b))
        if a.dtype.kind != "f":
            return bool(np.array_equal(a, b))
        precision = float(np.finfo(np.float32 if is_half(a.dtype) else a.dtype).eps)
        tolerance = precision**0.5 if not is_half(a.dtype) else 0.05
        size = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
        return bool(np.allclose(a, b, rtol=0.0, atol=tolerance * max(size, 1e-30), equal_nan=True))


def _copy(target: Array, source: Array) -> None:
    target[...] = source
