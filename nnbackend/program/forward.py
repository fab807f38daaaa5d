"""Run a forward pass outside training as a program, where it is small and repeated."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from nnbackend.backend import Backend, Forward
from nnbackend.program.plan import plan
from nnbackend.program.run import Device, Launch, launches, refusal
from nnbackend.program.trace import Trace, Traced, Untraceable
from nnbackend.tree import Unchanged, tree_map
from nnbackend.types import Array, Params

__all__ = ["ProgramForward"]

_SMALL = 1 << 20  # numbers in the input of a pass in which launches take longer than the work
_EARLY = 3  # passes over rows of one shape before a program is made of them
_TOLERANCE = 1e-3  # of the outputs, beside the pass as it is


class ProgramForward(Forward):
    """A forward pass outside training: run as it is at first, later as a program.

    Args:
        function: ``function(params, x) -> y``, on the backend.
        traced: the same, on a :class:`~nnbackend.program.run.TracedBackend`.
        backend: where it runs.
        make_device: returns what runs the program there; it is called when one is made.

    Attributes:
        refused: why no program is used, or None.
    """

    def __init__(
        self,
        function: Callable[[Params, Array], Array],
        traced: Callable[[Params, Any], Any],
        backend: Backend,
        make_device: Callable[[], Device],
    ) -> None:
        super().__init__(function)
        self._traced, self._backend, self._make_device = traced, backend, make_device
        self._lock = threading.Lock()
        self._same = Unchanged()
        self._shape: tuple[int, ...] = ()
        self._count = 0
        self._x: Any = None
        self._y: Any = None
        self._launch: Launch | None = None
        self._stream = 0  # on which it runs: on another one, its memory could be in use yet
        self.refused: str | None = None

    def __call__(self, params: Params, x: Array) -> Array:
        """Return the output."""
        small = math.prod(x.shape) <= _SMALL and 0 not in x.shape and x.dtype == self._backend.dtype
        # A program has one piece of memory: a second thread goes without.
        if self.refused is not None or not small or not self._lock.acquire(blocking=False):
            return self._function(params, x)
        try:
            if tuple(x.shape) != self._shape or not self._same(params):
                self._shape, self._same = tuple(x.shape), Unchanged(params)
                self._count, self._launch = 0, None
            self._count += 1
            if self._count < _EARLY:
                return self._function(params, x)
            if self._launch is None:
                return self._made(params, x)
            if self.device.stream() != self._stream:
                return self._function(params, x)
            self._x[...] = x
            return self._run()
        finally:
            self._lock.release()

    def again(self, params: Params, x: Any) -> Array | None:
        """Return the output for rows of the host as those of the last call, or None; see Forward."""
        if not isinstance(x, np.ndarray) or not self._lock.acquire(blocking=False):
            return None
        try:
            fits = x.shape == self._shape and x.dtype.kind in "biuf" and self._same(params)
            if self._launch is None or not fits or not np.isfinite(x).all():
                return None
            with self._backend.scope(), np.errstate(over="ignore"):
                if self.device.stream() != self._stream:
                    return None
                rows = np.ascontiguousarray(x, dtype=self._backend.dtype_name)
                if not np.isfinite(rows).all():  # too large for the dtype
                    return None
                self.device.put(self._x, rows)
                return self._run()
        finally:
            self._lock.release()

    @cached_property
    def device(self) -> Device:
        """What runs the program."""
        return self._make_device()

    def _run(self) -> Array:
        assert self._launch is not None
        self._launch()
        return self._backend.xp.asarray(self._y, copy=True)

    def _made(self, params: Params, x: Array) -> Array:
        """Return the output of the pass as it is, and take a program into use that gives the same."""
        expected = self._function(params, x)
        try:
            self._x = self.device.empty(tuple(x.shape), x.dtype)
            self._x[...] = x
            trace = Trace()
            y = self._traced(tree_map(trace.array, params), trace.array(self._x))
            if not isinstance(y, Traced) or y.node.operation == "array":
                raise Untraceable("its output is its input")
            self._y = self.device.empty(y.shape, y.dtype)
            trace.store(self._y, y)
            made = launches(plan(trace.stores, self.device.epilogues), self.device)
            for launch in made:
                launch()
            self._check(expected)
            self._launch, self._stream = self.device.captured(made), self.device.stream()
        except Exception as error:
            self.refused = refusal(error, "a prediction")
        return expected

    def _check(self, expected: Array) -> None:
        """Raise an error if a program's output is not that of the pass."""
        right, found = (
            np.asarray(self._backend.to_numpy(y), np.float64) for y in (expected, self._y)
        )
        far = np.abs(found - right).max() / max(np.abs(right).max(), 1e-6)
        if np.isfinite(right).all() and not far <= _TOLERANCE:
            raise ValueError(f"as a program, the outputs are others (by {far:.2g} of the largest)")
