"""A function over arrays that is called at first, then recorded, tried, and played from then on.

A function with parts that users wrote is tried on other data, and what that changes is set back. It is
recorded again, with each array overwritten as soon as it is computed: a constant that depends on the
data, or on chance, is another one then, whatever way it was read. And the recording is played beside the
function: what depends on the data in a way that was not recorded differs here at the latest. (The tests
do this for all that the library has.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np

from nnbackend.backends.replay.calls import owner_of
from nnbackend.backends.replay.player import NumPyPlayer, find_places
from nnbackend.backends.replay.recording import (
    Function,
    MapArrays,
    NotPlayableError,
    Recording,
    arrays_of,
    put_back,
)
from nnbackend.core.registry import is_built_in, is_pure
from nnbackend.core.tree import arrays_in, map_arrays
from nnbackend.core.types import Array, Arrays, Batch

__all__ = ["MAX_CACHED_PROGRAMS", "Player", "Program", "Programs"]

MAX_CACHED_PROGRAMS = 4
"""Shapes of inputs for which a function is recorded: each recording has its own memory."""

_ndarray = np.ndarray
LARGE_SIZE = 1 << 16  # numbers in the inputs of a call that is recorded at once, for the memory
LARGE_NUMBER = 3e4  # of what arrays are spoiled by; twice as much is a number of 16 bits
COPIED_BYTES = 1 << 13  # of an input that are copied in less time than calls are given a new one


class Player(Protocol):
    """Plays a recording."""

    def play(self, inputs: list[Array], numbers: tuple[float, ...]) -> Arrays:
        """Return the results for inputs and numbers; the held state is changed in place."""


class Program:
    """A function for inputs of certain shapes: called as it is at first, later played.

    Args:
        function: see :data:`~nnbackend.backends.replay.recording.Function`.
        map_held: see :data:`~nnbackend.backends.replay.recording.MapArrays`.
        dtypes: the dtype of all numbers but the last, and of the last.
        warmup_calls: the number of calls before the recording.
        copied_bytes: the size up to which inputs are copied; larger ones are read where they are.
        same: ``same(held)`` returns a function that says whether something is held still. A
            recording is of the arrays of one. None: the same object.
        parts: what the function is made of, which says whether it may be recorded, and whether its
            recording is tried. Empty: it may be, and is.

    Attributes:
        refused: why the function is called as it is, or None.
        player: the player of the recording; None: not yet.
        is_held: ``is_held(held)`` tells whether the player is of the held state.
    """

    def __init__(
        self,
        function: Function,
        map_held: MapArrays,
        dtypes: tuple[Any, ...] = (),
        warmup_calls: int = 1,
        copied_bytes: int = COPIED_BYTES,
        same: Callable[[Any], Callable[[Any], bool]] | None = None,
        parts: tuple[Any, ...] = (),
    ) -> None:
        self.function, self.map_held, self.dtypes = function, map_held, dtypes
        self._warmup_calls, self._copied_bytes = warmup_calls, copied_bytes
        self._same = same or (lambda held: lambda other: other is held)
        self._parts, self._calls = parts, 0
        self._copied: set[int] = set()  # inputs that are not read where they are, however large
        self.refused: str | None = None
        self.player: Player | None = None
        self.is_held: Callable[[Any], bool] = lambda held: False

    def is_due(self, held: Any, inputs: Arrays) -> bool:
        """Return whether the next call, which is counted, is to be recorded."""
        if self.refused is not None:
            return False
        if not self.is_held(held):
            self.is_held, self.player, self._calls = self._same(held), None, 0
        self._calls += 1
        if self._calls == 1 and any(array.size >= LARGE_SIZE for array in arrays_in(inputs)):
            self._warmup_calls = 0
        return self._calls > self._warmup_calls

    def advance(self, held: Any, inputs: Arrays, numbers: tuple[float, ...]) -> Arrays:
        """Return the results of a call; after it, further calls are played or the program is refused."""
        if not is_pure(self._parts):  # as what prints or counts, which must do so in every call
            self.refuse("it does more than compute")
            return self.call(held, inputs, numbers)
        trusted = self.is_trusted()
        memory = [] if trusted else self.memory(held)
        before = _copies(memory)
        free: list[Any] = []  # memory of the recording, for another one
        try:
            recording, results = self.record(held, inputs, numbers, free)
        except Exception as error:  # users' code may not take these arrays
            if trusted:
                raise
            _copy_all(before, memory)
            self.refuse(f"it cannot be recorded: {type(error).__name__}: {error}")
            return self.call(held, inputs, numbers)
        after = _copies(memory)
        try:
            if recording.refused is not None:
                raise NotPlayableError(recording.refused)
            player = self.make_player(recording)
            if player is not None and not trusted:
                self._try(recording, player, held, inputs, numbers, free)
            self.player = player
        except NotPlayableError as error:
            self.refuse(str(error))
        except Exception as error:  # the changed data may not suit a function that users wrote
            self.refuse(f"it cannot be tried on other data: {error}")
        _copy_all(after, memory)
        return results

    def call(self, held: Any, inputs: Arrays, numbers: tuple[float, ...]) -> Arrays:
        """Return the results of the function as it is; new arrays go into those that are held."""
        new, results = self.function(held, inputs, numbers)
        put_back(held, new, self.map_held)
        return results

    def _try(
        self,
        recording: Recording,
        player: Player,
        held: Any,
        inputs: Arrays,
        numbers: tuple[float, ...],
        free: list[Any],
    ) -> None:
        """Raise a NotPlayableError if the function does something else on other data."""
        memory = self.memory(held)
        before = _copies(memory)
        # A threshold is likely to be between the numbers of these and of those.
        inputs, numbers = self._change(inputs, numbers, 10.0)
        with np.errstate(all="ignore"):
            for spoil in SPOILS:
                copies = map_arrays(partial(self.change, factor=1.0), inputs)
                new, _ = self.record(held, copies, numbers, free, spoil)
                if new.signature != recording.signature:
                    raise NotPlayableError("it is not the same on other data")
                _copy_all(before, memory)
        inputs, numbers = self._change(inputs, numbers, -1.0)
        played = player.play(arrays_in(inputs), numbers)
        after = _copies(memory)
        _copy_all(before, memory)
        expected = self.call(held, inputs, numbers)
        ours, theirs = [*memory, *arrays_in(expected)], [*after, *arrays_in(played)]
        if not all(self.agree(a, b) for a, b in zip(ours, theirs, strict=True)):
            raise NotPlayableError("its recording does something else on other data")

    def _change(
        self, inputs: Arrays, numbers: tuple[float, ...], factor: float
    ) -> tuple[Arrays, tuple[float, ...]]:
        """Return other data of the same kind."""
        changed = (n + 12345 if isinstance(n, int | np.integer) else 0.75 * n for n in numbers)
        return map_arrays(partial(self.change, factor=factor), inputs), tuple(changed)

    # What another device does in its own way.

    def is_trusted(self) -> bool:
        """Return whether a recording needs no trial: all parts are the library's own."""
        return bool(self._parts) and is_built_in(self._parts)

    def record(
        self,
        held: Any,
        inputs: Arrays,
        numbers: tuple[float, ...],
        free: list[Any],
        spoil: Callable[[Array], None] | None = None,
    ) -> tuple[Recording, Arrays]:
        """Return a recording of a call, and its results."""
        in_place = self._in_place(arrays_in(inputs))
        new = Recording(
            self.function, held, self.map_held, inputs, numbers, self.dtypes, in_place, free, spoil
        )
        return new, map_arrays(lambda a: a.copy() if a.ndim else a.item(), new.results)

    def make_player(self, recording: Recording) -> Player | None:
        """Return a player of a recording; None if an input must not be read in place."""
        places, misfits = find_places(recording, self._in_place(recording.inputs))
        self._copied |= misfits
        return None if misfits else NumPyPlayer(recording, places)

    def memory(self, held: Any) -> list[Array]:
        """Return the memory of the held state, each piece once."""
        owners = map(owner_of, arrays_of(held, self.map_held))
        return [*{id(owner): owner for owner in owners}.values()]

    def change(self, array: Array, factor: float) -> Array:
        """Return other numbers of the same kind: of indices, none that is out of range."""
        new: Any = np.array(array, order="K")
        if new.dtype.kind == "b":
            new[...] = ~new
        elif new.dtype.kind in "iu":
            new -= new > 0
        else:
            new += np.linspace(0.25, 1.25, new.size, dtype=new.dtype).reshape(new.shape)
            new *= factor
        return new

    def agree(self, a: Any, b: Any) -> bool:
        """Return whether the played results are those of the function."""
        return np.array_equal(a, b, equal_nan=True)

    def refuse(self, reason: str) -> None:
        """Let the function be called as it is."""
        self.refused = reason

    def _in_place(self, arrays: list[Any]) -> set[int]:
        """Return the numbers of the inputs that are read where they are."""
        return {
            i
            for i, array in enumerate(arrays)
            if array.nbytes > self._copied_bytes and array.flags.forc and i not in self._copied
        }


class Programs:
    """A program of a function for each kind of inputs.

    Args:
        make: returns a new one.
        drops: whether all are dropped when there are as many as there may be; else the function is
            called as it is for other inputs.

    Attributes:
        last: the one that was used last, or None.
    """

    def __init__(self, make: Callable[[], Program], drops: bool = False) -> None:
        self._make, self._drops = make, drops
        self._made: dict[Any, Program] = {}
        self.last: Program | None = None

    def __call__(
        self, held: Any, inputs: Arrays, numbers: tuple[float, ...] = ()
    ) -> tuple[Any, Arrays]:
        """Return the held state and the results."""
        program, arrays = self.find(inputs)
        if program.player is not None and program.is_held(held):
            return held, program.player.play(arrays, numbers)
        call = program.advance if program.is_due(held, inputs) else program.call
        return held, call(held, inputs, numbers)

    def find(self, inputs: Arrays) -> tuple[Program, list[Array]]:
        """Return the program for inputs, and the arrays among them."""
        kind, arrays = _kind_of(inputs)
        program = self._made.get(kind)
        if program is None:
            program = self._make()
            if self._drops and len(self._made) == MAX_CACHED_PROGRAMS:
                self._made.clear()
            if len(self._made) < MAX_CACHED_PROGRAMS:
                self._made[kind] = program
        self.last = program
        return program, arrays


def _kind_of(inputs: Arrays) -> tuple[Any, list[Array]]:
    """Return the key of inputs that share a recording, and the arrays among them."""
    if type(inputs) is Batch:  # as below, in a third of the time: this is done in each step
        x, y, weight = inputs
        if weight is None and type(x) is type(y) is _ndarray:
            return (x.shape, x.dtype, y.shape, y.dtype), [x, y]
    return _kind_of_tree(inputs), arrays_in(inputs)


def _kind_of_tree(inputs: Arrays) -> Any:
    if isinstance(inputs, dict):
        return tuple((name, _kind_of_tree(value)) for name, value in inputs.items())
    if isinstance(inputs, tuple):
        return tuple(map(_kind_of_tree, inputs))
    return None if inputs is None else (inputs.shape, inputs.dtype)


def _spoiled(array: Array, ones: Callable[[Array], Array]) -> None:
    """Overwrite an array: truth by ``ones`` of its places, whole numbers by 1 and 0, others likewise."""
    places = np.arange(array.size).reshape(array.shape)
    new: Any = ones(places)
    if array.dtype.kind not in "biu":
        new = np.where(new, LARGE_NUMBER, -LARGE_NUMBER) * (1.0 + places / max(array.size, 1))
    array[...] = new


SPOILS = tuple(
    partial(_spoiled, ones=ones)
    for ones in (lambda i: i >= 0, lambda i: i < 0, lambda i: i % 2 == 1)
)
"""What overwrites arrays in a trial: each question about one has another answer with one of these."""


def _copies(arrays: list[Array]) -> list[Array]:
    return [array.copy() for array in arrays]


def _copy_all(sources: list[Array], targets: list[Array]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target[...] = source
