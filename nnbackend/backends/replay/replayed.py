"""Training steps and forward passes that are played from recordings of the NumPy calls they make."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from nnbackend.backends.base import Forward
from nnbackend.backends.replay.program import Program, Programs
from nnbackend.backends.replay.recording import Function, MapArrays, put_back
from nnbackend.core.tree import Unchanged, arrays_in, tree_map
from nnbackend.core.types import (
    STATELESS,
    Array,
    Arrays,
    Batch,
    Layer,
    Params,
    State,
    Step,
    StepResult,
)

__all__ = ["WARMUP_STEPS", "ReplayedForward", "replayed_step", "step_function"]

WARMUP_STEPS = 32
"""Steps of small batches before the recording."""

_SMALL_SIZE = 1 << 14  # numbers in the inputs of a forward pass that is worth recording
_ANY_BYTES = 1 << 62  # such rows are always copied

Held: TypeAlias = tuple[Params, State]


def replayed_step(
    step: Step, map_carry: MapArrays, dtype: Any, new: Callable[..., Program] = Program
) -> Step:
    """Return a training step that is played from a recording, one for each shape of batches.

    Args:
        step: the step as it is. Arrays of its carry may be changed in place or be others.
        map_carry: ``map_carry(carry, function)``: the carry with a function applied to each array.
        dtype: the dtype of the scalars.
        new: makes what records and plays a step.
    """
    function = step_function(step)
    programs = Programs(lambda: new(function, map_carry, (dtype, np.int32), WARMUP_STEPS))

    def replayed(
        carry: Any, batch: Batch, scalars: tuple[float, ...], number: int
    ) -> tuple[Any, StepResult]:
        program, arrays = programs.find(batch)
        if program.player is not None and program.is_held(carry):
            return carry, program.player.play(arrays, (*scalars, number))
        if program.is_due(carry, batch):
            return carry, program.advance(carry, batch, (*scalars, number))
        new, result = step(carry, batch, scalars, number)  # here, so that a reader soon is there
        put_back(carry, new, map_carry)
        return carry, result

    return replayed


def step_function(step: Step) -> Function:
    """Return a training step as a function of the held state, inputs and numbers."""

    def function(carry: Any, batch: Arrays, numbers: tuple[Any, ...]) -> tuple[Any, Arrays]:
        return step(carry, batch, numbers[:-1], numbers[-1])

    return function


class ReplayedForward(Forward):
    """A forward pass outside training, played from a recording where it is small and repeated.

    The parameters are read where they are, in every pass: what a user or training changes in them
    counts.

    Args:
        function: ``function(params, x, state) -> y``.
        layers: the layers that it runs; they say whether it may be recorded.
    """

    def __init__(self, function: Callable[[Params, Arrays, State], Arrays], layers: Layer) -> None:
        super().__init__(function)
        self._layers, self._is_first = layers, True
        self._lock = threading.Lock()
        self._programs = Programs(self._new_program, drops=True)
        self._silent: contextvars.Context | None = None

    def _new_program(self) -> Program:
        def function(held: Held, x: Arrays, numbers: tuple[Any, ...]) -> tuple[Held, Arrays]:
            return held, self._function(held[0], x, held[1])

        return Program(function, _map_held, (), 1, _ANY_BYTES, _unchanged, (self._layers,))

    def __call__(self, params: Params, x: Arrays, state: State = STATELESS) -> Arrays:
        """Return the output."""
        if self._is_first:  # many networks predict once
            self._is_first = False
            return self._function(params, x, state)
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
            if program is None or program.player is None or x.dtype.kind not in "biuf":
                return None
            if not program.is_held((params, STATELESS)):
                return None
            if self._silent is None:
                # NumPy's error handling belongs to a context: to enter one that has it takes a tenth of
                # the time of np.errstate.
                self._silent = contextvars.Context()
                self._silent.run(np.seterr, all="ignore")
            return self._silent.run(program.player.play_finite, x)
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
