"""Run a training step, or a forward pass, from a recording of the NumPy calls it makes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from nnbackend.backends.recording import Call, Recorder, Watched, same_calls
from nnbackend.types import Array, Params

__all__ = ["ForwardPass", "TrainingStep"]

_EARLY = 64  # steps of a small network that take about as long as recording one
_FEW = 1 << 10  # numbers in a batch; a step with more is recorded earlier
_SMALL = 1 << 14  # numbers in the input of a forward pass that is worth recording
_COPIED = 1 << 13  # bytes of an input that are copied in less time than calls are given a new one

See = Callable[[Any, Callable[[Array], Array]], Any]
"""``see(carry, function)``: the carry with every array seen through a function."""


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
        self._first: list[Call] | None = None
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
        x: Any = batch[0]
        self._waited += 1
        return self._waited <= max(1, _EARLY * _FEW // (_FEW + int(x.size)))

    def _recorded(
        self, carry: Any, batch: Sequence[Array | None], scalars: tuple[float, ...], number: int
    ) -> tuple[Any, Any]:
        """Do a step and record it; if it is the second recording, take it into use."""
        recorder = Recorder()
        inputs: list[Array | None] = []
        for which, array in enumerate(batch):
            self._bound[which] &= array is not None and array.nbytes > _COPIED
            copied = array is not None and not self._bound[which]
            inputs.append(np.array(array, order="K") if copied else array)
        watched = [None if a is None else recorder.watch(a, own=True) for a in inputs]
        rates = [np.asarray(scalar, dtype=self._dtype) for scalar in scalars]
        counter = np.asarray(number, dtype=np.int32)
        seen = self._see(carry, recorder.watch)
        own_number = recorder.watch(counter)
        _, results = self._step(seen, *watched, tuple(map(recorder.watch, rates)), own_number)
        values = [None if r is None else np.asarray(r) for r in results]
        calls = recorder.finished(results)
        if not all(r is None or isinstance(r, Watched) for r in results):
            recorder.refuse("a result does not depend on the data")
        self.refused = recorder.refused
        holes = self._holes(
            calls, [None if a is None else recorder.token(a) for a in watched], inputs
        )
        if self.refused is None and holes is not None:
            if self._first is not None and same_calls(self._first, calls):
                uses_number = any(
                    r.token == recorder.token(own_number) for call in calls for r in call.reads
                )
                self._use(calls, holes, inputs, rates, counter if uses_number else None, values)
            elif self._first is not None:
                self.refused = "it is not the same on another batch"
        self._first = calls if holes is not None else None
        return carry, _results(values)

    def _holes(
        self, calls: list[Call], tokens: list[int | None], inputs: list[Array | None]
    ) -> list[tuple[int, int, int, bool]] | None:
        """Return where a batch goes into the calls: call, argument, input, whether transposed.

        None if an input is read in another way too: then it has to be copied into memory of its own.
        """
        holes = []
        for i, call in enumerate(calls):
            for operand in call.reads:
                if operand.token is None or operand.token not in tokens:
                    continue
                which = tokens.index(operand.token)
                if not self._bound[which]:
                    continue
                original: Any = inputs[which]
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

    def _use(
        self,
        calls: list[Call],
        holes: list[tuple[int, int, int, bool]],
        inputs: list[Array | None],
        rates: list[Array],
        counter: Array | None,
        values: list[Array | None],
    ) -> None:
        self._program = [call.bound() for call in calls]
        self._places = [(calls[i], i, place, which, turned) for i, place, which, turned in holes]
        self._copied = [
            (which, array)
            for which, array in enumerate(inputs)
            if array is not None and not self._bound[which]
        ]
        self._rates, self._counter, self._values = rates, counter, values
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

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._places: list[tuple[Params, str, Any]] = []
        self._x: Any = np.empty(0)
        self._first: list[Call] | None = None
        self._program: list[Callable[[], Any]] | None = None
        self._refused = False

    def __call__(self, params: Params, x: Array, *more: Any) -> Any:
        """Return the output. A function of more than the two is called as it is."""
        if more:
            return self._function(params, x, *more)
        # One recording has one piece of memory: a second thread goes without.
        if self._refused or x.size > _SMALL or not self._lock.acquire(blocking=False):
            return self._function(params, x)
        try:
            if not self._known(params, x):
                self._places, self._x = list(_places({"": params}, "")), x.copy()
                self._first = self._program = None
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
        recorder = Recorder()
        self._x[...] = x
        y = self._function(_seen(params, recorder.watch), recorder.watch(self._x))
        value = np.array(y)
        calls = recorder.finished([y])
        if recorder.refused is not None or not isinstance(y, Watched):
            self._refused = True
        elif self._first is not None:
            self._refused = not same_calls(self._first, calls)
            self._program, self._y = [call.bound() for call in calls], y.view(np.ndarray)
        self._first = calls
        return value


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
