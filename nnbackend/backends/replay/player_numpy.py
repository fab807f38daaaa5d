"""Play recorded calls with NumPy: a loop over them."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np

from nnbackend.backends.replay.calls import Call, address_of
from nnbackend.backends.replay.recording import Recording
from nnbackend.core.tree import map_arrays
from nnbackend.core.types import Array, Arrays

__all__ = ["NumPyPlayer", "find_places"]

Place = tuple[Call, int, int, int, bool]
"""Where an input is an argument: the call, its number, the argument, the input, whether transposed."""


class NumPyPlayer:
    """Plays a recording: each call in its turn, in the memory that it was recorded in.

    Args:
        recording: the calls.
        places: where inputs go that are read where they are; the others are copied.
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
        self._numbers = recording.numbers
        self._results, self._takers = recording.results, _takers(recording.results)
        self._last_inputs: Any = [None] * len(recording.inputs)
        count = 1 + max((i for i, _ in recording.numbers), default=-1)
        self._last_numbers: tuple[Any, ...] = (None,) * count

    def play(self, inputs: list[Array], numbers: tuple[float, ...]) -> Arrays:
        """Return the results for inputs and numbers.

        Numbers come as numbers, arrays as copies: the recording writes into its own again.
        """
        for new, old in zip(inputs, self._last_inputs, strict=True):
            if new is not old:
                self._take(inputs)
                break
        last = self._last_numbers
        for i, array in self._numbers:
            number = numbers[i]
            if number != last[i]:
                array.fill(number)
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
        self._last_inputs = (None,)
        if not math.isfinite(flat.dot(flat)):
            return None
        for call in self._program:
            call()
        return self._take_results()

    def _take_results(self) -> Arrays:
        """Return the results, which do not change any more."""
        if self._takers is None:
            return map_arrays(_taken, self._results)
        make, takers = self._takers
        return make([take() for take in takers])

    def _take(self, inputs: list[Array]) -> None:
        """Let the calls read other inputs."""
        for i, array in self._copied:
            array[...] = inputs[i]
        for call, number, place, i, turned in self._places:
            call.args[place] = inputs[i].T if turned else inputs[i]
            self._program[number] = call.bind()
        self._last_inputs = inputs


def find_places(recording: Recording, in_place: set[int]) -> tuple[list[Place], int | None]:
    """Return where inputs go that are not copied, and the first of them that has to be copied.

    That is one that is read in another way than whole or transposed.
    """
    places = []
    for number, call in enumerate(recording.calls):
        for operand in call.reads:
            if operand.buffer_id not in recording.input_ids:
                continue
            i = recording.input_ids.index(operand.buffer_id)
            if i not in in_place:
                continue
            original: Any = recording.inputs[i]
            straight = _is_as(operand.array, original)
            found = [
                j
                for j, arg in enumerate(call.args)
                if isinstance(arg, type(original)) and _is_as(arg, operand.array)
            ]
            if not found or not (straight or _is_as(operand.array, original.T)):
                return [], i
            places += [(call, number, place, i, not straight) for place in found]
    return places, None


def _takers(results: Arrays) -> tuple[Callable[..., Any], list[Callable[[], Any]]] | None:
    """Return two functions, to put results together and to take each, for an array or a plain tuple."""
    single = not isinstance(results, tuple)
    parts: Any = [results] if single else results
    if not all(part is None or isinstance(part, np.ndarray) for part in parts):
        return None
    takers = [_nothing if p is None else p.copy if p.ndim else p.item for p in parts]
    if single:
        return itemgetter(0), takers
    return getattr(type(results), "_make", tuple), takers


def _nothing() -> None:
    return None


def _taken(result: Array) -> Any:
    return result.copy() if result.ndim else result.item()


def _is_as(a: Array, b: Array) -> bool:
    return (address_of(a), a.shape, a.strides) == (address_of(b), b.shape, b.strides)
