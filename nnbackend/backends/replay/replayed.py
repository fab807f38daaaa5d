"""Run a training step from a recording of the NumPy calls it makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnbackend.backends.replay.recorder import Call, RecordedArray, Recorder, essence
from nnbackend.core.types import Array, Batch, StepResult

__all__ = ["ReplayedStep"]

_EARLY = 32  # steps of a small batch, in which less is gained than recordings take
_LARGE = 1 << 16  # numbers in a batch whose steps are recorded at once, for the memory
_COPIED = 1 << 13  # bytes of an input that are copied in less time than calls are given a new one

See = Callable[[Any, Callable[[Array], Array]], Any]
"""``see(carry, function)``: the carry with every array seen through a function."""


@dataclass(frozen=True)
class _Recording:
    """A training step that was recorded.

    Attributes:
        calls: that it made.
        inputs: the arrays of the batch that it read: inputs, targets, weights.
        tokens: the number of the memory of each in the recording.
        rates: an array for each of the scalars.
        counter: an array for the number of the step, if it is read.
        values: the arrays of loss, mass and output.
        refused: why the recording must not be used, or None.
    """

    calls: list[Call]
    inputs: list[Array | None]
    tokens: list[int | None]
    rates: list[Array]
    counter: Array | None
    values: list[Array | None]
    refused: str | None


class ReplayedStep:
    """A training step for batches of one shape: run as it is at first, later from a recording.

    The step is recorded twice, on two batches. Only if both recordings say the same is one used: a
    constant in it that depends on the batch, or on chance, would differ.

    Args:
        step: a :data:`~nnbackend.core.types.Step`. It must
            change the arrays of its carry in place.
        see: see :data:`See`.
        dtype: of the scalars.
    """

    def __init__(self, step: Callable[..., Any], see: See, dtype: Any) -> None:
        self._step, self._see, self._dtype = step, see, dtype
        self._waited = 0
        self._first: list[Any] | None = None  # the essence of the first recording
        self._memory: list[Any] = []  # of the first recording, for the second
        self._bound = [True, True, True]  # whether an input is read where it lies
        self._program: list[Callable[[], Any]] | None = None
        self._carry: Any = None
        self.refused: str | None = None

    def __call__(
        self, carry: Any, batch: Batch, scalars: tuple[float, ...], number: int
    ) -> tuple[Any, Any]:
        """Do a step."""
        if carry is not self._carry:  # a recording is of the arrays of one carry
            self._carry, self._first, self._program = carry, None, None
        if self._program is not None:
            return carry, self._replayed(batch, scalars, number)
        if self.refused is not None or self._waiting(batch):
            return self._step(carry, batch, scalars, number)  # type: ignore[no-any-return]
        return self._recorded(carry, batch, scalars, number)

    def _waiting(self, batch: Batch) -> bool:
        """Return whether it is too early to record."""
        x: Any = batch[0]
        self._waited += 1
        return self._waited <= _EARLY and x.size < _LARGE

    def _recorded(
        self, carry: Any, batch: Batch, scalars: tuple[float, ...], number: int
    ) -> tuple[Any, Any]:
        """Do a step and record it; if it is the second recording, take it into use."""
        new = self._record(carry, batch, scalars, number)
        holes, first, self._first = self._holes(new), self._first, None
        if new.refused is not None:
            self.refused, self._memory = new.refused, []
        elif holes is not None:  # else what was read where it lies is copied, from the next step on
            found = essence(new.calls)
            if first is None:
                self._first = found
            elif first == found:
                self._use(new, holes)
            else:
                self.refused, self._memory = "it is not the same on another batch", []
        return carry, _results(new.values)

    def _record(
        self, carry: Any, batch: Batch, scalars: tuple[float, ...], number: int
    ) -> _Recording:
        """Do a step and return the recording of it."""
        recorder = Recorder(self._memory)
        self._memory = recorder.memory
        inputs: list[Array | None] = []
        for which, array in enumerate(batch):
            self._bound[which] &= array is not None and array.nbytes > _COPIED
            copied = array is not None and not self._bound[which]
            inputs.append(np.array(array, order="K") if copied else array)
        watched = Batch(*(None if a is None else recorder.watch(a, own=True) for a in inputs))
        rates = [np.asarray(scalar, dtype=self._dtype) for scalar in scalars]
        counter = recorder.watch(np.asarray(number, dtype=np.int32))
        seen = self._see(carry, recorder.watch)
        _, results = self._step(seen, watched, tuple(map(recorder.watch, rates)), counter)
        calls = recorder.finished(results)
        if not all(r is None or isinstance(r, RecordedArray) for r in results):
            recorder.refuse("a result does not depend on the data")
        token = recorder.token(counter)
        counts = any(r.token == token for call in calls for r in call.reads)
        return _Recording(
            calls,
            inputs,
            [None if a is None else recorder.token(a) for a in watched],
            rates,
            counter.view(np.ndarray) if counts else None,
            [None if r is None else np.asarray(r) for r in results],
            recorder.refused,
        )

    def _holes(self, new: _Recording) -> list[tuple[int, int, int, bool]] | None:
        """Return where a batch goes into the calls: call, argument, input, whether transposed.

        None if an input is read in another way too: then it has to be copied into memory of its own.
        """
        holes = []
        for i, call in enumerate(new.calls):
            for operand in call.reads:
                if operand.token is None or operand.token not in new.tokens:
                    continue
                which = new.tokens.index(operand.token)
                if not self._bound[which]:
                    continue
                original: Any = new.inputs[which]
                straight = _lies_as(operand.array, original)
                places = [
                    j
                    for j, arg in enumerate(call.args)
                    if isinstance(arg, np.ndarray) and _lies_as(arg, operand.array)
                ]
                if not places or not (straight or _lies_as(operand.array, original.T)):
                    self._bound[which] = False
                    return None
                holes += [(i, place, which, not straight) for place in places]
        return holes

    def _use(self, new: _Recording, holes: list[tuple[int, int, int, bool]]) -> None:
        """Run further steps from a recording."""
        self._program = [call.bound() for call in new.calls]
        self._places = [
            (new.calls[i], i, place, which, turned) for i, place, which, turned in holes
        ]
        self._copied = [
            (which, array)
            for which, array in enumerate(new.inputs)
            if array is not None and not self._bound[which]
        ]
        self._rates, self._counter, self._values = new.rates, new.counter, new.values
        self._memory = []
        self._last: Any = ((None, None, None), None)

    def _replayed(self, batch: Batch, scalars: tuple[float, ...], number: int) -> StepResult:
        """Do a step from the recording."""
        program: Any = self._program
        (x, y, weight), last_scalars = self._last
        if batch[0] is not x or batch[1] is not y or batch[2] is not weight:
            for number_of_input, kept in self._copied:
                kept[...] = batch[number_of_input]
            for reader, i, place, which, turned in self._places:
                array: Any = batch[which]
                reader.args[place] = array.T if turned else array
                program[i] = reader.bound()
        if scalars != last_scalars:
            for rate, scalar in zip(self._rates, scalars, strict=True):
                rate.fill(scalar)
        self._last = batch, scalars
        if self._counter is not None:
            self._counter.fill(number)
        for call in program:
            call()
        return _results(self._values)


def _results(values: Sequence[Array | None]) -> StepResult:
    """Return loss, mass and output: what lies in the recording's memory is copied out of it."""
    loss, mass, output = values
    return StepResult(
        loss.item(),  # type: ignore[union-attr]
        None if mass is None else mass.item(),
        None if output is None else output.copy(),
    )


def _lies_as(a: Array, b: Array) -> bool:
    return (a.ctypes.data, a.shape, a.strides) == (b.ctypes.data, b.shape, b.strides)
