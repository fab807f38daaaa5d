"""Run a forward pass outside training from a recording of the NumPy calls it makes.

Of one row, Python's part around NumPy takes longer than NumPy's. So a pass for few rows, that is made
again, is recorded; what surrounds it is done on its own copy of the rows: their dtype is converted as
they are copied, and whether they are finite is one product of a vector with itself.

The parameters are read where they are, in every pass: what a user or training changes in them counts.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from nnbackend.backends.base import Forward
from nnbackend.backends.replay.replayed import Programs, Replayed
from nnbackend.core.tree import Unchanged, arrays_in, tree_map
from nnbackend.core.types import STATELESS, Array, Arrays, Params, State

__all__ = ["ReplayedForward"]

_SMALL_SIZE = 1 << 14  # numbers in the inputs of a forward pass that is worth recording
_ANY_BYTES = 1 << 62  # such rows are always copied

Held: TypeAlias = tuple[Params, State]


class ReplayedForward(Forward):
    """A forward pass outside training, played from a recording where it is small and repeated.

    Args:
        function: ``function(params, x, state) -> y``.
    """

    def __init__(self, function: Callable[[Params, Arrays, State], Arrays]) -> None:
        super().__init__(function)
        self._lock = threading.Lock()
        self._programs = Programs(self._new_program, drops=True)
        # NumPy's error handling belongs to a context: to enter one that has it takes a tenth of the
        # time of np.errstate.
        self._silent = contextvars.Context()
        self._silent.run(np.seterr, all="ignore")

    def _new_program(self) -> Replayed:
        def function(held: Held, x: Arrays, numbers: tuple[Any, ...]) -> tuple[Held, Arrays]:
            return held, self._function(held[0], x, held[1])

        return Replayed(function, _map_held, copied_bytes=_ANY_BYTES, same=_unchanged)

    def __call__(self, params: Params, x: Arrays, state: State = STATELESS) -> Arrays:
        """Return the output."""
        # One recording has one piece of memory: a second thread goes without.
        size = x.size if isinstance(x, np.ndarray) else sum(a.size for a in arrays_in(x))
        if size > _SMALL_SIZE or not self._lock.acquire(blocking=False):
            return self._function(params, x, state)
        try:
            return self._programs((params, state), x)[1]
        finally:
            self._lock.release()

    def predict_like_last(self, params: Params, x: Any) -> Array | None:
        """Return the output for rows as those of the last call, of any dtype, or None; see Forward."""
        if type(x) is not np.ndarray or not self._lock.acquire(False):
            return None
        try:
            program: Any = self._programs.last
            player: Any = None if program is None else program.player
            if (
                player is None
                or x.dtype.kind not in "biuf"
                or not program.is_held((params, STATELESS))
            ):
                return None
            return self._silent.run(player.play_finite, x)
        finally:
            self._lock.release()


def _map_held(held: Held, function: Callable[[Array], Array]) -> Held:
    return tree_map(function, held[0]), tree_map(function, held[1])


def _unchanged(held: Held) -> Callable[[Held], bool]:
    """Return a function that returns whether trees have the same arrays as these."""
    params, state = map(Unchanged, held)
    if not held[1]:  # as most networks are; this runs in each call
        return lambda other: not other[1] and params(other[0])
    return lambda other: params(other[0]) and state(other[1])
