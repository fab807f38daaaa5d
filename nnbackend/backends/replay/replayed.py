"""Run a function over arrays from a recording of what it does.

The one machine for training steps and for forward passes, on NumPy and on CuPy:

1. The first calls are made as they are: for few, less is gained than recordings take.
2. Two calls are recorded, on different data. Only if both recordings say the same is one used: a
   constant in it that depends on the data, or on chance, would differ.
3. In the next call the recording is tried beside the function, on data that were changed for it. What
   depends on them in a way that was not recorded differs here at the latest. Training steps that are
   made of this library's parts alone, whose recordings its tests compare, go without.
4. From then on the recording is played.

Where one of these fails, the function is called as it is from then on, and :attr:`Replayed.refused`
says why.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
from nnbackend.core.types import Array, Arrays, Batch

__all__ = [
    "MAX_CACHED_PROGRAMS",
    "NotPlayableError",
    "Player",
    "Programs",
    "Replayed",
    "same_object",
]

MAX_CACHED_PROGRAMS = 4
"""Shapes of inputs for which a function is recorded: each recording has memory of its own."""

LARGE_SIZE = 1 << 16  # numbers in the inputs of a call that is recorded at once, for the memory
COPIED_BYTES = 1 << 13  # of an input that are copied in less time than calls are given a new one


class NotPlayableError(Exception):
    """A recording cannot be played; the message says why."""


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
        tries: whether a recording is tried before it is played. Default True. It takes as long as some
            seven calls, and is for functions with parts that users wrote.

    Attributes:
        refused: why the function is called as it is, or None.
        player: what plays the recording; None: not yet.
        is_held: ``is_held(held)`` tells whether recordings are of what is held.
    """

    def __init__(
        self,
        function: Function,
        map_held: MapArrays,
        dtypes: tuple[Any, ...] = (),
        warmup_calls: int = 1,
        copied_bytes: int = COPIED_BYTES,
        same: Callable[[Any], Callable[[Any], bool]] | None = None,
        tries: bool = True,
    ) -> None:
        self.function, self.map_held, self.dtypes = function, map_held, dtypes
        self._warmup_calls, self._copied_bytes = warmup_calls, copied_bytes
        self._same = same_object if same is None else same
        self._tries = tries
        self._calls = 0
        self._copied: set[int] = set()  # inputs that are not read where they are, however large
        self.refused: str | None = None
        self._begin(lambda held: False)

    def _begin(self, is_held: Callable[[Any], bool]) -> None:
        """Forget recordings: they are of the arrays of one ``held``."""
        self.is_held = is_held
        self._first: list[Any] | None = None  # the signature of the first recording
        self._free: list[Any] = []  # memory of the first recording, for the second
        self._candidate: tuple[Recording, Player] | None = None  # to be tried
        self.player: Player | None = None

    def __call__(
        self, held: Any, inputs: Arrays, numbers: tuple[float, ...] = ()
    ) -> tuple[Any, Arrays]:
        """Return what is held, and the results; for calls that are not played yet."""
        if self.is_plain(held, inputs):
            return self._call(held, inputs, numbers)
        return self.advance(held, inputs, numbers)

    def is_plain(self, held: Any, inputs: Arrays) -> bool:
        """Return whether the next call, which is counted, is to be made as it is."""
        if not self.is_held(held):
            self._begin(self._same(held))
        return self.refused is not None or self._is_early(inputs)

    def advance(self, held: Any, inputs: Arrays, numbers: tuple[float, ...]) -> tuple[Any, Arrays]:
        """Return what is held, and the results, of a call that is recorded or tried."""
        if self._candidate is not None:
            return self._try(held, inputs, numbers)
        return self._record(held, inputs, numbers)

    def _call(self, held: Any, inputs: Arrays, numbers: tuple[float, ...]) -> tuple[Any, Arrays]:
        """Call the function as it is; new arrays go into those that are held."""
        new, results = self.function(held, inputs, numbers)
        put_back(held, new, self.map_held)
        return held, results

    def _is_early(self, inputs: Arrays) -> bool:
        """Return whether it is too early to record."""
        self._calls += 1
        if self._calls == 1 and any(array.size >= LARGE_SIZE for array in arrays_in(inputs)):
            self._warmup_calls = 0
        return self._calls <= self._warmup_calls

    def _record(self, held: Any, inputs: Arrays, numbers: tuple[float, ...]) -> tuple[Any, Arrays]:
        """Call the function and record it; if it is the second recording, prepare to play it."""
        new, results = self.record(held, inputs, numbers)
        if new.refused is not None:
            return held, self._refuse(new.refused, results)
        if self._first is None:
            self._first = new.signature
        elif self._first != new.signature:
            return held, self._refuse("it is not the same on other data", results)
        else:
            try:
                player = self.make_player(new)
            except NotPlayableError as error:
                return held, self._refuse(str(error), results)
            # Without one an input has to be copied from the next call on: it is recorded twice again.
            if player is not None and self._tries:
                self._candidate = new, player
            else:
                self.player = player
            self._first, self._free = None, []
        return held, results

    def _try(self, held: Any, inputs: Arrays, numbers: tuple[float, ...]) -> tuple[Any, Arrays]:
        """Call the function; before, compare it with the recording on other data, and undo both."""
        assert self._candidate is not None
        (recording, player), self._candidate = self._candidate, None
        written = self.written(recording, held)
        before = [array.copy() for array in written]
        reason = None
        try:
            others = tuple(map(_changed_number, numbers))
            for factor in (1.0, 10.0, -10.0):  # a threshold is likely to be between the last two
                other = map_arrays(partial(self.change, factor=factor), inputs)
                played = player.play([*arrays_in(other)], others)
                after = [array.copy() for array in written]
                _copy_all(before, written)
                expected = self._call(held, other, others)[1]
                pairs = [*zip(written, after, strict=True)]
                pairs += zip(arrays_in(expected), arrays_in(played), strict=True)
                if not all(self.agree(a, b) for a, b in pairs):
                    reason = "its recording does something else on other data"
                _copy_all(before, written)
        except Exception as error:  # the changed data may not suit a function that users wrote
            reason = f"it cannot be tried on other data: {error}"
            _copy_all(before, written)
        results = self._call(held, inputs, numbers)[1]
        if reason is not None:
            return held, self._refuse(reason, results)
        self.player = player
        return held, results

    # What another device does in its own way.

    def record(
        self, held: Any, inputs: Arrays, numbers: tuple[float, ...]
    ) -> tuple[Recording, Arrays]:
        """Return a recording of a call, and its results."""
        arrays = [*arrays_in(inputs)]
        in_place = self._in_place(arrays)
        new = record(
            self.function, held, self.map_held, inputs, numbers, self.dtypes, in_place, self._free
        )
        if new.results is None:  # it was not called
            return new, self._call(held, inputs, numbers)[1]
        return new, map_arrays(_taken, new.results)

    def make_player(self, recording: Recording) -> Player | None:
        """Return what plays a recording; None if an input must not be read where it is."""
        places, misfit = find_places(recording, self._in_place(recording.inputs))
        if misfit is not None:
            self._copied.add(misfit)
            return None
        return NumPyPlayer(recording, places)

    def written(self, recording: Recording, held: Any) -> list[Array]:
        """Return the memory of what is held that a recording writes to."""
        return written_arrays(recording.calls, held, self.map_held)

    def change(self, array: Array, factor: float) -> Array:
        """Return other numbers of the same kind: of indices, none that is out of range."""
        if array.dtype.kind == "b":
            return ~array
        if array.dtype.kind in "iu":
            return np.where(array > 0, array - 1, array)
        more = np.linspace(0.25, 1.25, array.size, dtype=array.dtype).reshape(array.shape)
        return factor * (array + more)

    def agree(self, a: Any, b: Any) -> bool:
        """Return whether what was played is what the function computed."""
        return np.array_equal(a, b, equal_nan=True)

    def _in_place(self, arrays: list[Array]) -> set[int]:
        """Return the numbers of the inputs that are read where they are."""
        return {
            i
            for i, array in enumerate(arrays)
            if array.nbytes > self._copied_bytes and i not in self._copied
        }

    def _refuse(self, reason: str, results: Arrays) -> Arrays:
        self.refused, self._free, self._first = reason, [], None
        return results


class Programs:
    """A function for inputs of any shapes: one that is replayed for each kind of inputs.

    Args:
        make: returns a new one.
        drops: whether all are dropped when there are as many as there may be; else the function is
            called as it is for other inputs.

    Attributes:
        last: the one that was called last, or None.
    """

    def __init__(self, make: Callable[[], Replayed], drops: bool = False) -> None:
        self._make, self._drops = make, drops
        self._made: dict[Any, Replayed] = {}
        self.last: Replayed | None = None

    def __call__(
        self, held: Any, inputs: Arrays, numbers: tuple[float, ...] = ()
    ) -> tuple[Any, Arrays]:
        """Return what is held, and the results."""
        program, arrays = self.find(inputs)
        if program.player is not None and program.is_held(held):
            return held, program.player.play(arrays, numbers)
        return program(held, inputs, numbers)

    def find(self, inputs: Arrays) -> tuple[Replayed, list[Array]]:
        """Return the program for inputs, and the arrays among them."""
        kind, arrays = _kind_of(inputs)
        program = self.last = self._made.get(kind)
        if program is None:
            program = self.last = self._new(kind)
        return program, arrays

    def _new(self, kind: Any) -> Replayed:
        """Return a new program, and keep it if there is room."""
        program = self._make()
        if len(self._made) == MAX_CACHED_PROGRAMS:
            if not self._drops:
                return program
            self._made.clear()
        self._made[kind] = program
        return program


def same_object(held: Any) -> Callable[[Any], bool]:
    """Return a function that says whether something is this very object."""
    return lambda other: other is held


def _kind_of(inputs: Arrays) -> tuple[Any, list[Array]]:
    """Return what inputs for one recording have in common, and the arrays among them."""
    if type(inputs) is np.ndarray:
        return (inputs.shape, inputs.dtype), [inputs]
    if type(inputs) is Batch:  # as below, in a third of the time: this is done in each step
        x, y, weight = inputs
        if type(x) is np.ndarray and type(y) is np.ndarray:
            if weight is None:
                return (x.shape, x.dtype, y.shape, y.dtype), [x, y]
            return (x.shape, x.dtype, y.shape, y.dtype, weight.dtype), [x, y, weight]
    return _kind_of_tree(inputs), [*arrays_in(inputs)]


def _kind_of_tree(inputs: Arrays) -> Any:
    if isinstance(inputs, dict):
        return tuple((name, _kind_of_tree(value)) for name, value in inputs.items())
    if isinstance(inputs, tuple):
        return tuple(map(_kind_of_tree, inputs))
    return None if inputs is None else (inputs.shape, inputs.dtype)


def _changed_number(number: float) -> float:
    return number + 12345 if isinstance(number, int | np.integer) else 0.75 * number


def _copy_all(sources: list[Array], targets: list[Array]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target[...] = source


def _taken(result: Array) -> Any:
    return result.copy() if result.ndim else result.item()
