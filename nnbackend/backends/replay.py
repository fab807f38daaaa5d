"""Run a training step, or a forward pass, from a recording of the NumPy calls it makes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnbackend.backends.recording import Call, Recorder, Watched, essence
from nnbackend.types import Array, Params

__all__ = ["ForwardPass", "TrainingStep"]

_EARLY = 32  # steps of a small batch, in which less is gained than recordings take
_LARGE = 1 << 16  # numbers in a batch whose steps are recorded at once, for the memory
_SMALL = 1 << 14  # numbers in the input of a forward pass that is worth recording
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


class TrainingStep:
    """A training step for batches of one shape: run as it is at first, later from a recording.

    The step is recorded twice, on two batches. Only if both recordings say the same is one used: a
    constant in it that depends on the batch, or on chance, would differ.

    Args:
        step: ``step(carry, x, y, weight, scalars, number) -> (carry, (loss, mass, output))``. It must
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
        self, carry: Any, batch: Sequence[Array | None], scalars: tuple[float, ...], number: int
    ) -> tuple[Any, Any]:
        """Do a step."""
        if carry is not self._carry:  # a recording is of the arrays of one carry
            self._carry, self._first, self._program = carry, None, None
        if self._program is not None:
            return carry, self._replayed(batch, scalars, number)
        if self.refused is not None or self._waiting(batch):
            return self._step(carry, *batch, scalars, number)  # type: ignore[no-any-return]
        return self._recorded(carry, batch, scalars, number)

    def _waiting(self, batch: Sequence[Array | None]) -> bool:
        """Return whether it is too early to record."""
        x: Any = batch[0]
        self._waited += 1
        return self._waited <= _EARLY and x.size < _LARGE

    def _recorded(
        self, carry: Any, batch: Sequence[Array | None], scalars: tuple[float, ...], number: int
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
        self, carry: Any, batch: Sequence[Array | None], scalars: tuple[float, ...], number: int
    ) -> _Recording:
        """Do a step and return the recording of it."""
        recorder = Recorder(self._memory)
        self._memory = recorder.memory
        inputs: list[Array | None] = []
        for which, array in enumerate(batch):
            self._bound[which] &= array is not None and array.nbytes > _COPIED
            copied = array is not None and not self._bound[which]
            inputs.append(np.array(array, order="K") if copied else array)
        watched = [None if a is None else recorder.watch(a, own=True) for a in inputs]
        rates = [np.asarray(scalar, dtype=self._dtype) for scalar in scalars]
        counter = recorder.watch(np.asarray(number, dtype=np.int32))
        seen = self._see(carry, recorder.watch)
        _, results = self._step(seen, *watched, tuple(map(recorder.watch, rates)), counter)
        calls = recorder.finished(results)
        if not all(r is None or isinstance(r, Watched) for r in results):
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

    def _replayed(
        self, batch: Sequence[Array | None], scalars: tuple[float, ...], number: int
    ) -> tuple[Any, ...]:
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


class ForwardPass:
    """A forward pass outside training, from a recording where it is small and repeated.

    Args:
        function: ``function(params, x) -> y``.
    """

    def __init__(self, function: Callable[[Params, Array], Array]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._places: list[tuple[Params, str, Any]] = []
        self._x: Any = np.empty(0)
        self._program: list[Callable[[], Any]] | None = None
        self._refused = False

    def __call__(self, params: Params, x: Array) -> Array:
        """Return the output."""
        # One recording has one piece of memory: a second thread goes without.
        if self._refused or x.size > _SMALL or not self._lock.acquire(blocking=False):
            return self._function(params, x)
        try:
            if not self._known(params, x):
                self._places, self._x = list(_places({"": params}, "")), x.copy()
                self._program = None
                return self._function(params, x)
            if self._program is None:
                return self._recorded(params, x)
            self._x[...] = x
            for call in self._program:
                call()
            return self._y.copy()
        finally:
            self._lock.release()

    def _known(self, params: Params, x: Array) -> bool:
        """Return whether the arrays are those of the last call, and the input is of its shape."""
        own = self._x
        if x.shape != own.shape or x.dtype != own.dtype or self._places[0][2] is not params:
            return False
        # A loop, for `all` with a generator takes twice as long.
        for branch, name, value in self._places:  # noqa: SIM110
            if branch[name] is not value:
                return False
        return True

    def _recorded(self, params: Params, x: Array) -> Array:
        """Return the output and record the pass twice, on two inputs; see :class:`TrainingStep`."""
        first, _ = self._record(params, x + 1.0)
        calls, y = self._record(params, x)
        if first is None or calls is None or essence(first) != essence(calls):
            self._refused = True
            return self._function(params, x)
        self._program, self._y = [call.bound() for call in calls], y
        return y.copy()

    def _record(self, params: Params, x: Array) -> tuple[list[Call] | None, Array]:
        """Return the calls, or None if they must not be used, and the output."""
        recorder = Recorder()
        self._x[...] = x
        y = self._function(_seen(params, recorder.watch), recorder.watch(self._x))
        calls = recorder.finished([y])
        usable = recorder.refused is None and isinstance(y, Watched)
        return (calls if usable else None), np.asarray(y)


def _results(values: Sequence[Array | None]) -> tuple[Any, ...]:
    """Return loss, mass and output: what lies in the recording's memory is copied out of it."""
    loss, mass, output = values
    return (
        loss.item(),  # type: ignore[union-attr]
        None if mass is None else mass.item(),
        None if output is None else output.copy(),
    )


def _lies_as(a: Array, b: Array) -> bool:
    return (a.ctypes.data, a.shape, a.strides) == (b.ctypes.data, b.shape, b.strides)


def _places(branch: Params, name: str) -> Iterator[tuple[Params, str, Any]]:
    """Yield every branch and leaf below a place, with the place itself: dictionary, name, value."""
    value = branch[name]
    yield branch, name, value
    if isinstance(value, dict):
        for inner in value:
            yield from _places(value, inner)


def _seen(params: Params, function: Callable[[Array], Array]) -> Params:
    return {
        n: _seen(v, function) if isinstance(v, dict) else function(v) for n, v in params.items()
    }
