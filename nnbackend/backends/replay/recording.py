"""A function over arrays, recorded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from nnbackend.backends.replay.recorder import NotPlayableError, Recorder
from nnbackend.core.tree import arrays_in, map_arrays
from nnbackend.core.types import Array, Arrays

__all__ = [
    "Function",
    "MapArrays",
    "NotPlayableError",
    "Recording",
    "arrays_of",
    "put_back",
]

Function: TypeAlias = Callable[[Any, Arrays, tuple[Any, ...]], tuple[Any, Arrays]]
"""``function(held, inputs, numbers) -> (held, results)``.

``held`` is what stays from call to call and may be changed (parameters, what the optimizer keeps),
``inputs`` are other arrays in each call, and ``numbers`` other numbers.
"""

MapArrays: TypeAlias = Callable[[Any, Callable[[Array], Array]], Any]
"""``map_held(held, function)``: the held state, with a function applied to each array in it."""


class Recording(Recorder):
    """The calls that a function makes, recorded as it is called; ``held`` is changed in place.

    What the call gives is right also if the recording is refused.

    Args:
        function: the function.
        held: the held state, of NumPy arrays.
        map_held: walks it.
        inputs: a tree of NumPy arrays.
        numbers: the numbers.
        dtypes: the dtype of all but the last of them, and of the last.
        in_place: the numbers of the inputs that are read where they are; the others are copied.
        free: memory that may be used; see Recorder, as the next.
        spoil: what overwrites all arrays that the function may see; None (the default): nothing.

    Attributes:
        inputs: the arrays that the calls read the inputs from.
        input_ids: the buffer id of each.
        numbers: those of the numbers that are read: which, and the array without axes for it.
        results: a tree of the arrays with the results.
    """

    def __init__(
        self,
        function: Function,
        held: Any,
        map_held: MapArrays,
        inputs: Arrays,
        numbers: tuple[float, ...],
        dtypes: tuple[Any, ...],
        in_place: set[int],
        free: list[Any],
        spoil: Callable[[Array], None] | None = None,
    ) -> None:
        super().__init__(free, spoil)
        self.inputs: list[Array] = []

        def watch_input(array: Array) -> Array:
            own = array if len(self.inputs) in in_place else np.array(array, order="K")
            self.inputs.append(own)
            return self.watch(own, hidden=True)

        watched = map_arrays(watch_input, inputs)
        self.input_ids = [array._buffer_id for array in arrays_in(watched)]
        each = [*dtypes[:1] * (len(numbers) - 1), *dtypes[1:]]
        zeros = [np.asarray(n, dtype=d) for n, d in zip(numbers, each, strict=True)]
        watched_numbers = tuple(self.watch(zero, hidden=True) for zero in zeros)
        seen = map_held(held, self.watch)
        try:
            new, results = function(seen, watched, watched_numbers)
            put_back(seen, new, map_held)
        except Exception:
            self.finish([])
            raise
        self.finish(arrays_in(results))
        read = {r.buffer_id for call in self.calls for r in call.reads}
        self.numbers = [
            (i, zeros[i]) for i, w in enumerate(watched_numbers) if w._buffer_id in read
        ]
        self.results = map_arrays(lambda array: array.view(np.ndarray), results)


def put_back(held: Any, new: Any, map_held: MapArrays) -> None:
    """Copy what a function made of what it holds into the arrays that it was given."""
    if new is held:
        return
    olds, news = arrays_of(held, map_held), arrays_of(new, map_held)
    moved = [(old, n) for old, n in zip(olds, news, strict=True) if n is not old]
    safe = [
        n.copy() if any(np.may_share_memory(n, other) for other in olds) else n for _, n in moved
    ]
    for (old, _), n in zip(moved, safe, strict=True):
        old[...] = n


def arrays_of(held: Any, map_held: MapArrays) -> list[Array]:
    """Return the arrays of the held state, in their order."""
    found: list[Array] = []

    def note(array: Array) -> Array:
        found.append(array)
        return array

    map_held(held, note)
    return found
