"""Run a function over arrays from a recording of what it does.

The one machine for training steps and for forward passes, on NumPy and on CuPy:

1. The first calls are made as they are: for few, less is gained than recordings take.
2. Two calls are recorded, on different data. Only if both recordings say the same is one used: a
   constant in it that depends on the data, or on chance, would differ.
3. In the next call the recording is tried beside the function, on data that were changed for it. What
   depends on them in a way that was not recorded differs here at the latest.
4. From then on the recording is played.

Where one of these fails, the function is called as it is from then on, and :attr:`Replayed.refused`
says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from nnbackend.backends.replay.player_numpy import NumPyPlayer, find_places
from nnbackend.backends.replay.recording import (
    Function,
    MapArrays,
    Recording,
    put_back,
    record,
    written_arrays,
)
from nnbackend.core.tree import arrays_in, map_arrays
from nnbackend.core.types import Array, Arrays

__all__ = ["MAX_CACHED_PROGRAMS", "Player", "Programs", "Replayed", "same_object"]

MAX_CACHED_PROGRAMS = 4
"""Shapes of inputs for which a function is recorded: each recording has memory of its own."""

LARGE_SIZE = 1 << 16  # numbers in the inputs of a call that is recorded at once, for the memory
COPIED_BYTES = 1 << 13  # of an input that are copied in less time than calls are given a new one


class Player(Protocol):
    """Plays a recording."""

    def play(self, inputs: list[Array], numbers: tuple[float, ...]) -> Arrays:
        """Return the results for inputs and numbers; what is held is changed in place."""


class Replayed:
    """A function for inputs of certain shapes: called as it is at first, later played.

    Args:
        function: see :data:`~nnbackend.backends.replay.recording.Function`.
        map_held: see :data:`~nnbackend.backends.replay.recording.MapArrays`.
        dtypes: the dtype of all numbers but the last, and of the last.
        warmup_calls: how many calls come before the first recording.
        copied_bytes: the size up to which inputs are copied; larger ones are read where they are.
        same: ``same(held)`` returns a function that says whether something is held still. A
            recording is of the arrays of one.

    Attributes:
        refused: why the function is called as it is, or None.
        player: what plays the recording; None: not yet.
    """

    def __init__(
        self,
        function: Function,
        map_held: MapArrays,
        dtypes: tuple[Any, ...] = (),
        warmup_calls: int = 1,
        copied_bytes: int = COPIED_BYTES,
        same: Callable[[Any], Callable[[Any], bool]] | None = None,
    ) -> None:
        self.function, self.map_held, self.dtypes = function, map_held, dtypes
        self._warmup_calls, self._copied_bytes = warmup_calls, copied_bytes
        self._same = same_object if same is None else same
        self._is_held: Callable[[Any], bool] = lambda held: False
        self._calls = 0
        self._copied: set[int] = set()  # inputs that are not read where they are, however large
        self._begin(None)
        self.refused: str | None = None

    def _begin(self, held: Any) -> None:
        """Forget recordings: they are of the arrays of one ``held``."""
        self._is_held = self._same(held)
        self._first: list[Any] | None = None  # the signature of the first recording
        self._free: list[Any] = []  # memory of the first recording, for the second
        self._candidate: tuple[Recording, Player] | None = None  # to be tried
        self.player: Player | None = None

    def __call__(
        self, held: Any, inputs: Arrays, numbers: tuple[float, ...] = ()
    ) -> tuple[Any, Arrays]:
        """Return what is held, and the results."""
        if not self._is_held(held):
            self._begin(held)
        if self.player is not None:
            return held, self.player.play([*arrays_in(inputs)], numbers)
        if self.refused is not None or self._is_early(inputs):
            return self._call(held, inputs, numbers)
        if self._candidate is not None:
            return self._try(held, inputs, numbers)
        return self._record(held, inputs, numbers)

    def plays_for(self, held: Any) -> bool:
        """Return whether calls with what is held are played."""
        return self.player is not None and self._is_held(held)

    def _call(self, held: Any, inputs: Arrays, numbers: tuple[float, ...]) -> tuple[Any, Arrays]:
        """Call the function as it is; new arrays go into those that are held."""
        new, results = self.function(held, inputs, numbers)
        put_back(held, new, self.map_held)
        return held, results

    def _is_early(self, inputs: Arrays) -> bool:
        """Return whether it is too early to record."""
        self._calls += 1
        return self._calls <= self._warmup_calls and all(
            array.size < LARGE_SIZE for array in arrays_in(inputs)
        )

    def _record(self, held: Any, inputs: Arrays, numbers: tuple[float, ...]) -> tuple[Any, Arrays]:
        """Call the function and record it; if it is the second recording, prepare to play it."""
        new, result = self.record(held, inputs, numbers)
        if new.refused is not None:
            return held, self._refuse(new.refused, result)
        places, misfit = find_places(new, self._in_place(new.inputs))
        if misfit is not None:  # from the next call on it is copied
            self._copied.add(misfit)
            self._first = None
        elif self._first is None:
            self._first = new.signature
        elif self._first != new.signature:
            return held, self._refuse("it is not the same on other data", result)
        else:
            self._first, self._free = None, []
            self._candidate = new, NumPyPlayer(new, places)
        return held, result

    def record(
        self, held: Any, inputs: Arrays, numbers: tuple[float, ...]
    ) -> tuple[Recording, Arrays]:
        """Return a recording of a call, and its results."""
        arrays = [*arrays_in(inputs)]
        in_place = self._in_place(arrays)
        new = record(
            self.function, held, self.map_held, inputs, numbers, self.dtypes, in_place, self._free
        )
        return new, map_arrays(_taken, new.results)

    def _in_place(self, arrays: list[Array]) -> set[int]:
        """Return the numbers of the inputs that are read where they are."""
        return {
            i
            for i, array in enumerate(arrays)
            if array.nbytes > self._copied_bytes and i not in self._copied
        }

    def _try(self, held: Any, inputs: Arrays, numbers: tuple[float, ...]) -> tuple[Any, Arrays]:
        """Call the function; before, compare it with the recording on other data, and undo both."""
        assert self._candidate is not None
        recording, player = self._candidate
        other, others = map_arrays(_changed, inputs), tuple(map(_changed_number, numbers))
        written = written_arrays(recording.calls, held, self.map_held)
        before = [array.copy() for array in written]
        try:
            played = player.play([*arrays_in(other)], others)
            after = [array.copy() for array in written]
            _copy_all(before, written)
            _, expected = self._call(held, other, others)
            pairs = [*zip(written, after, strict=True)]
            pairs += zip(arrays_in(expected), arrays_in(played), strict=True)
            same = all(_is_equal(a, b) for a, b in pairs)
        except Exception as error:  # the changed data may not suit a function that users wrote
            same, reason = False, f"it cannot be tried on other data: {error}"
        else:
            reason = "its recording does something else on other data"
        _copy_all(before, written)
        self._candidate = None
        results = self._call(held, inputs, numbers)[1]
        if not same:
            return held, self._refuse(reason, results)
        self.player = player
        return held, results

    def _refuse(self, reason: str, results: Arrays) -> Arrays:
        self.refused, self._free, self._first = reason, [], None
        return results


class Programs:
    """The functions for each kind of inputs: their shapes, dtypes and nesting.

    Args:
        make: returns a new one.
    """

    def __init__(self, make: Callable[[], Replayed]) -> None:
        self._make = make
        self._made: dict[Any, Replayed] = {}

    def find(self, inputs: Arrays) -> Replayed | None:
        """Return the function for such inputs; None if there are as many as there may be."""
        key = _kind(inputs)
        found = self._made.get(key)
        if found is None and len(self._made) < MAX_CACHED_PROGRAMS:
            found = self._made[key] = self._make()
        return found

    def clear(self) -> None:
        """Drop all."""
        self._made.clear()


def same_object(held: Any) -> Callable[[Any], bool]:
    """Return a function that says whether something is this very object."""
    return lambda other: other is held


def _kind(inputs: Arrays) -> Any:
    """Return what inputs for one recording have in common."""
    if isinstance(inputs, np.ndarray):
        return inputs.shape, inputs.dtype
    if isinstance(inputs, dict):
        return tuple((name, _kind(value)) for name, value in inputs.items())
    return None if inputs is None else tuple(map(_kind, inputs))


def _changed(array: Array) -> Array:
    """Return other numbers of the same kind: of indices, none that is out of range."""
    if array.dtype.kind == "b":
        return ~array
    if array.dtype.kind in "iu":
        return np.where(array > 0, array - 1, array)
    more = np.linspace(0.25, 1.25, array.size).reshape(array.shape)
    return array + more.astype(array.dtype)


def _changed_number(number: float) -> float:
    return number + 12345 if isinstance(number, int | np.integer) else 0.75 * number


def _copy_all(sources: list[Array], targets: list[Array]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target[...] = source


def _is_equal(a: Any, b: Any) -> bool:
    return np.array_equal(a, b, equal_nan=True)


def _taken(result: Array) -> Any:
    return result.copy() if result.ndim else result.item()
