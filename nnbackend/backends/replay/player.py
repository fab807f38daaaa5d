"""Play recorded calls with NumPy: a loop over them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnbackend.backends.replay.calls import Call, same_place
from nnbackend.backends.replay.recording import Recording
from nnbackend.core.tree import map_arrays
from nnbackend.core.types import Array, Arrays, StepResult

__all__ = ["NumPyPlayer", "find_places"]

Place = tuple[Call, int, int, int, bool]
"""Where an input is an argument: the call, its number, the argument, the input, whether transposed."""


class NumPyPlayer:
    """Plays a recording: each call in its turn, in the memory that it was recorded in.

    Args:
        recording: the calls.
        places: the places of inputs that are read in place; the others are copied.
    """

    def __init__(self, recording: Recording, places: list[Place]) -> None:
        self._program: list[Callable[[], Any]] = [call.bind() for call in recording.calls]
        self._places = places
        bound = {place[3] for place in places}
        self._copied = [(i, a) for i, a in enumerate(recording.inputs) if i not in bound]
        self._only: Any = None, None  # the only input, and its numbers in a row
        if len(recording.inputs) == 1 and recording.inputs[0].dtype.kind == "f":
            flat = recording.inputs[0].reshape(-1, order="A")
            if np.may_share_memory(flat, recording.inputs[0]):
                self._only = recording.inputs[0], flat
        self._numbers = [(i, array.fill) for i, array in recording.numbers]
        count = 1 + max((i for i, _ in recording.numbers), default=-1)
        self._last_numbers: tuple[Any, ...] = (None,) * count
        self._take_results = _taker(recording.results)
        self._last_inputs: Any = [None] * len(recording.inputs)

    def play(self, inputs: list[Array], numbers: tuple[float, ...]) -> Arrays:
        """Return the results for inputs and numbers.

        Numbers come as numbers, arrays as copies: the recording writes into its own again.
        """
        for i, array in self._copied:  # also of the same array, which may hold other numbers now
            array[...] = inputs[i]
        if self._places:
            for new, old in zip(inputs, self._last_inputs, strict=False):
                if new is not old:
                    self._bind(inputs)
                    break
        last = self._last_numbers
        for i, fill in self._numbers:
            number = numbers[i]
            if number != last[i]:
                fill(number)
        self._last_numbers = numbers
        for call in self._program:
            call()
        return self._take_results()

    def play_finite(self, x: Array) -> Arrays | None:
        """Return the results for the only input, of any real dtype.

        None if it has another shape, or if its numbers or their squares are not all finite.
        """
        array, flat = self._only
        if array is None or x.shape != array.shape:
            return None
        array[...] = x
        if not math.isfinite(flat.dot(flat)):
            return None
        for call in self._program:
            call()
        return self._take_results()

    def _bind(self, inputs: list[Array]) -> None:
        """Let the calls read other inputs where they are."""
        for call, number, place, i, turned in self._places:
            call.args[place] = inputs[i].T if turned else inputs[i]
            self._program[number] = call.bind()
        self._last_inputs = inputs


def find_places(recording: Recording, in_place: set[int]) -> tuple[list[Place], set[int]]:
    """Return the places of inputs that are not copied, and the inputs that have to be copied.

    These are read in another way than as they are or transposed.
    """
    places: list[Place] = []
    misfits: set[int] = set()
    for number, call in enumerate(recording.calls):
        for operand in call.reads:
            if operand.buffer_id not in recording.input_ids:
                continue
            i = recording.input_ids.index(operand.buffer_id)
            if i not in in_place:
                continue
            original: Any = recording.inputs[i]
            straight = same_place(operand.array, original)
            found = [
                j
                for j, arg in enumerate(call.args)
                if isinstance(arg, type(original)) and same_place(arg, operand.array)
            ]
            if not found or not (straight or same_place(operand.array, original.T)):
                misfits.add(i)
            places += [(call, number, place, i, not straight) for place in found]
    return places, misfits


def _taker(results: Arrays) -> Callable[[], Arrays]:
    """Return a function that takes results out of the recording: copies, and numbers."""
    if isinstance(results, np.ndarray):
        return _take_one(results)
    if type(results) is not StepResult:
        return lambda: map_arrays(lambda a: _take_one(a)(), results)
    # A plain tuple does as well, and takes a third of the time.
    loss, *others = [(lambda: None) if r is None else _take_one(r) for r in results]
    if results.weight is None and results.output is None:
        return lambda: (loss(), None, None)
    return lambda: (loss(), *[take() for take in others])


def _take_one(result: Array) -> Callable[[], Any]:
    return result.copy if result.ndim else result.item  # type: ignore[no-any-return]
