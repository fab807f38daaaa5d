"""Run training steps as programs: trace, plan, check, repeat.

A program is made for batches of one shape, once enough of them have come. It is run for one step
beside the step as it is, and used only if both do the same. Data, scalars and losses of many steps lie
in arrays of the program, and a counter in memory says which of them a step takes: so a step is the same
launches on the same memory each time, and a device that can record launches (a CUDA graph) may do so.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Sequence
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from nnbackend.backend import Backend
from nnbackend.precision import Precision
from nnbackend.program import namespace
from nnbackend.program.plan import Matrix, Plan, plan
from nnbackend.program.source import Kernel, Place, program
from nnbackend.program.trace import External, Node, Trace, Traced, Untraceable
from nnbackend.types import Array

__all__ = ["EARLY", "Device", "Program", "Steps", "TracedBackend", "launches", "refusal"]

EARLY = 32
"""Steps before a program is made, which takes as long as some hundred of them."""
_PROGRAMS = 4  # shapes of batches that get one; each has memory of its own
_MOST_STEPS = 8192  # of one block
_TOLERANCE = (
    0.05  # of a step: Adam's first steps go by the sign even of gradients that are rounding
)

See = Callable[[Any, Callable[[Array], Array]], Any]
Launch = Callable[[], Any]


class Device(Protocol):
    """What runs kernels and products.

    Attributes:
        epilogues: what products can do after adding a bias: ``"relu"``, or nothing more (None).
    """

    epilogues: Collection[str | None]

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return new memory."""

    def stream(self) -> int:
        """Return the number of the stream on which work is queued now."""

    def put(self, target: Array, values: np.ndarray[Any, Any]) -> None:
        """Copy values of the host into an array."""

    def kernels(self, source: str, names: Sequence[str]) -> list[Callable[..., Any]]:
        """Return the kernels of a source: ``kernel(blocks, threads, arrays)``."""

    def product(
        self, a: Array, b: Array, out: Array, bias: Array | None, activation: str | None
    ) -> Launch:
        """Return the launch of ``out[...] = activation(a @ b + bias)``, each None if there is none."""

    def captured(self, launches: Sequence[Launch]) -> Launch:
        """Return one launch that does them all, if the device can; else one after the other."""


class TracedBackend(Backend):
    """The backend on which a step is run that is traced.

    Args:
        home: the one on which the program will run.
    """

    name = "traced"
    slices_are_views = True

    def __init__(self, home: Backend) -> None:
        super().__init__(None, home.dtype_name, namespace, home.precision)
        self._home = home
        self._keys: dict[tuple[int, int], Node] = {}

    def lacks(self, precision: Precision) -> str:
        """Return an empty text: what is traced runs elsewhere."""
        return ""

    def _half(self, name: str) -> Any:
        if name == "float16":
            return np.float16
        import ml_dtypes  # CuPy's bfloat16 is from there

        return ml_dtypes.bfloat16

    def random_bits(self, key: tuple[int, int], step: Any, count: int) -> Array:
        """Return words of random bits, as one operation of a kernel."""
        step = step if isinstance(step, Traced) else namespace.asarray(step, dtype=np.int32)
        args = self._key(key), step.node
        return Traced(Node("random_bits", args, (count,), np.dtype(np.int32)))

    def _key(self, key: tuple[int, int]) -> Node:
        """Return a key in memory: in the text of a kernel it would be compiled for each seed."""
        if key not in self._keys:
            words = np.asarray(key, dtype=np.uint32).view(np.int32)
            array = self._home.asarray(words, dtype=self._home.xp.int32)
            self._keys[key] = Trace().array(array).node
        return self._keys[key]

    def erf(self, x: Array) -> Array:
        """Return the error function, by CUDA's own."""
        return namespace.erf(x)


class Steps:
    """Training steps, run as they are at first and as programs later.

    Args:
        plain: runs steps as they are; see ``Backend.scan``.
        step: one of them, on the backend.
        traced: the same step, on a :class:`TracedBackend`.
        see: ``see(carry, function)``: the carry with every array seen through a function.
        backend: where the steps run.
        make_device: returns what runs programs there; it is called when the first one is made.

    Attributes:
        refused: why no program is used, or None.
        programs: by what batches look like.
    """

    def __init__(
        self,
        plain: Callable[..., Any],
        step: Callable[..., Any],
        traced: Callable[..., Any],
        see: See,
        backend: Backend,
        make_device: Callable[[], Device],
    ) -> None:
        self._plain, self.step, self.traced, self.see = plain, step, traced, see
        self.backend, self._make_device = backend, make_device
        self._carry: Any = None
        self._seen: dict[Any, int] = {}
        self.refused: str | None = None
        self.programs: dict[Any, Program] = {}

    def __call__(
        self,
        carry: Any,
        rows: Sequence[Array | None],
        size: int,
        scalars: Sequence[tuple[float, ...]],
        numbers: Sequence[int],
    ) -> tuple[Any, Any, Any, Array | None]:
        """Run steps; see ``Backend.scan``."""
        if carry is not self._carry:  # programs are of the arrays of one carry
            self._carry, self.programs, self._seen = carry, {}, {}
        total = next(r.shape[0] for r in rows if r is not None)
        repeated = size >= total
        whole = len(numbers) if repeated else total // size
        steps = scalars[:whole], numbers[:whole]
        program = self._program(carry, rows, min(size, total), repeated, *steps)
        if program is None:
            return self._plain(carry, rows, size, scalars, numbers)  # type: ignore[no-any-return]
        results = program.run(rows, *steps)
        if whole < len(numbers):
            rest = [None if r is None else r[whole * size :, ...] for r in rows]
            _, *more = self(carry, rest, size, scalars[whole:], numbers[whole:])
            results = [self._joined(parts) for parts in zip(results, more, strict=True)]
        return carry, *results

    @cached_property
    def device(self) -> Device:
        """What runs programs."""
        return self._make_device()

    def _joined(self, parts: Sequence[Any]) -> Array | None:
        """Return what came of successive steps as one array; that of plain steps is a sequence."""
        if parts[0] is None:
            return None
        xp = self.backend.xp
        return xp.concat([xp.stack(list(p)) if isinstance(p, tuple) else p for p in parts])

    def _program(
        self,
        carry: Any,
        rows: Sequence[Array | None],
        size: int,
        repeated: bool,
        scalars: Sequence[tuple[float, ...]],
        numbers: Sequence[int],
    ) -> Program | None:
        """Return the program for batches like these; None if there is none (yet)."""
        steps = len(numbers)
        if self.refused is not None or steps == 0:
            return None
        looks = tuple(None if r is None else (tuple(r.shape[1:]), str(r.dtype)) for r in rows)
        key = looks, size, repeated
        if key in self.programs:
            return self.programs[key]
        self._seen[key] = self._seen.get(key, 0) + steps
        if self._seen[key] <= EARLY or len(self.programs) == _PROGRAMS:
            return None
        try:
            program = Program(self, carry, rows, size, repeated, len(scalars[0]), steps)
            program.check(rows, scalars[0], numbers[0])
            self.programs[key] = program
        except Exception as error:
            self.refused = refusal(error, "the training step")
        return self.programs.get(key)


class Program:
    """A training step on batches of one shape, with memory for a block of steps.

    Args:
        steps: what is run.
        carry: what it changes in place.
        rows: of a block: inputs, targets, weights or None.
        size: rows of a batch.
        repeated: whether there is one batch only, which all steps take.
        scalars: how many a step is given.
        most: steps of a block; more are run a block at a time.
    """

    def __init__(
        self,
        steps: Steps,
        carry: Any,
        rows: Sequence[Array | None],
        size: int,
        repeated: bool,
        scalars: int,
        most: int,
    ) -> None:
        self._steps, self._carry, self._size, self._repeated = steps, carry, size, repeated
        self._device, dtype = steps.device, steps.backend.dtype
        self._most = most = min(most, _MOST_STEPS)
        empty = self._device.empty
        kept = size if repeated else size * most
        self._rows = [None if r is None else empty((kept, *r.shape[1:]), r.dtype) for r in rows]
        self._scalars = empty((scalars, most), dtype)
        self._numbers, self._counter = empty((most,), np.int32), empty((), np.int32)
        self._losses = empty((most,), dtype)
        self._masses = None if rows[2] is None else empty((most,), dtype)
        self._outputs: Array | None = None
        self.plan = plan(self._trace(), self._device.epilogues)
        self._launches = launches(self.plan, self._device)
        self._launch = self._device.captured(self._launches)

    def run(
        self,
        rows: Sequence[Array | None],
        scalars: Sequence[tuple[float, ...]],
        numbers: Sequence[int],
    ) -> list[Array | None]:
        """Run steps; return losses, masses and outputs."""
        results = [
            self._block(self._part(rows, start), scalars[start : start + self._most],
                        numbers[start : start + self._most])
            for start in range(0, len(numbers), self._most)
        ]  # fmt: skip
        return [self._steps._joined(parts) for parts in zip(*results, strict=True)]

    def _part(self, rows: Sequence[Array | None], start: int) -> Sequence[Array | None]:
        """Return the rows of the steps from ``start`` on that fit."""
        if self._repeated:
            return rows
        part = slice(start * self._size, (start + self._most) * self._size)
        return [None if r is None else r[part, ...] for r in rows]

    def _block(
        self,
        rows: Sequence[Array | None],
        scalars: Sequence[tuple[float, ...]],
        numbers: Sequence[int],
    ) -> list[Array | None]:
        count = len(numbers)
        self._fill(rows, scalars, numbers)
        for _ in range(count):
            self._launch()
        xp = self._steps.backend.xp
        outputs = None if self._outputs is None else self._outputs[: count * self._size, ...]
        made = (
            self._losses[:count],
            None if self._masses is None else self._masses[:count],
            outputs,
        )
        return [None if array is None else xp.asarray(array, copy=True) for array in made]

    def _fill(
        self,
        rows: Sequence[Array | None],
        scalars: Sequence[tuple[float, ...]],
        numbers: Sequence[int],
    ) -> None:
        """Put what steps take where they take it from."""
        put = self._device.put
        for own, given in zip(self._rows, rows, strict=True):
            if own is not None:
                steps = 1 if self._repeated else len(numbers)
                own[: steps * self._size, ...] = given[: steps * self._size, ...]  # type: ignore[index]
        table = np.zeros(self._scalars.shape, dtype=self._scalars.dtype)
        table[:, : len(scalars)] = np.asarray(scalars, dtype=table.dtype).T
        order = np.zeros(self._most, dtype=np.int32)
        order[: len(numbers)] = np.asarray(numbers, dtype=np.int32)
        put(self._scalars, table)
        put(self._numbers, order)
        put(self._counter, np.zeros((), dtype=np.int32))

    def _trace(self) -> list[Any]:
        """Return the stores of a step."""
        trace, size = Trace(), self._size
        count = trace.array(self._counter)

        def one(array: Array) -> Traced:
            return namespace.reshape(trace.rows(array, count, 1), ())

        batch = [
            None if r is None else trace.array(r) if self._repeated else trace.rows(r, count, size)
            for r in self._rows
        ]
        scalars = tuple(one(self._scalars[i, ...]) for i in range(self._scalars.shape[0]))
        seen = self._steps.see(self._carry, trace.array)
        _, (loss, mass, output) = self._steps.traced(seen, *batch, scalars, one(self._numbers))
        if not isinstance(loss, Traced):
            raise Untraceable("its loss does not depend on the data")
        trace.store(self._losses, loss, count)
        if mass is not None:
            trace.store(self._masses, mass, count)
        if output is not None:
            shape = (self._most * size, *output.shape[1:])
            self._outputs = self._device.empty(shape, output.dtype)
            trace.store(self._outputs, output, count)
        trace.store(self._counter, count + 1)
        return trace.stores

    def check(self, rows: Sequence[Array | None], scalars: tuple[float, ...], number: int) -> None:
        """Run a step as a program, and as it is, from where the carry is, and put the carry back.

        Raises:
            ValueError: the two differ by more than rounding explains.
        """
        xp = self._steps.backend.xp
        copy = partial(xp.asarray, copy=True)
        changed = _memory(self._steps.see, self._carry)
        before = [copy(array) for array in changed]
        try:
            self._fill(rows, [scalars], [number])
            for launch in self._launches:
                launch()
            found = [copy(array) for array in (*changed, self._losses[0, ...])]
            _restore(changed, before)
            batch = [None if r is None else r[: self._size, ...] for r in rows]
            _, (loss, _, _) = self._steps.step(self._carry, *batch, scalars, number)
            far = [
                _apart(old, new, program, self._steps.backend)
                for old, new, program in zip(
                    (*before, xp.zeros_like(loss)), (*changed, loss), found, strict=True
                )
            ]
            sound = math.isfinite(float(loss))
        finally:
            _restore(changed, before)
        # Steps that have diverged say nothing, and fit will say so.
        if sound and not max(far) <= _TOLERANCE:
            raise ValueError(
                f"as a program, a step moves parameters elsewhere (by {max(far):.2g} of the step)"
            )


def _memory(see: See, carry: Any) -> list[Array]:
    """Return the arrays of a carry, without those that are parts of others."""
    trace, arrays = Trace(), list[Traced]()

    def note(array: Array) -> Array:
        arrays.append(trace.array(array))
        return array

    see(carry, note)
    whole: list[External] = []
    for array in sorted(arrays, key=lambda array: -array.size):
        own: External = array.node.detail
        if not any(w.start <= own.start and own.stop <= w.stop for w in whole):
            whole.append(own)
    return [external.array for external in whole]


def _restore(arrays: Sequence[Array], values: Sequence[Array]) -> None:
    for array, value in zip(arrays, values, strict=True):
        array[...] = value


def _apart(old: Array, right: Array, found: Array, backend: Backend) -> float:
    """Return how far two results of a step are apart, relative to the step.

    Numbers that are not finite, as gradients are that do not fit in 16 bits, are left out.
    """
    xp = backend.xp
    old, right, found = (xp.astype(x, backend.dtype, copy=False) for x in (old, right, found))
    finite = xp.isfinite(right)

    def norm(x: Array) -> float:
        x = xp.where(finite, x, xp.zeros_like(x))
        return math.sqrt(float(xp.sum(x * x)))

    difference = norm(found - right)
    if difference == 0.0:
        return 0.0
    size = max(norm(right - old), 1e-6 * norm(right))
    return difference / size if size else math.inf


def refusal(error: Exception, what: str) -> str:
    """Return why something is not run as a program; warn, unless it is what cannot be one."""
    if isinstance(error, Untraceable):
        return str(error)
    # A compiler, a library or a card that is not as expected, or a program that does something else.
    reason = f"{type(error).__name__}: {error}"
    warnings.warn(
        f"{what} cannot be run as a program, and is run operation by operation: {reason}",
        RuntimeWarning,
        stacklevel=3,
    )
    return reason


def launches(plan: Plan, device: Device) -> list[Launch]:
    """Return the launches of a plan, with memory for what is between them."""
    memory = [device.empty((size,), np.uint8) for size in plan.buffers]

    def whole(place: Place) -> Array:
        """Return what lies at a place, as bytes or as the array that it is."""
        if isinstance(place.memory, External):
            return place.memory.array
        node = place.memory
        return memory[plan.pieces[node]][place.start * node.dtype.itemsize :]

    def array(place: Place, shape: tuple[int, ...], dtype: Any) -> Array:
        flat = whole(place)
        if isinstance(place.memory, Node):
            flat = flat[: math.prod(shape) * dtype.itemsize].view(dtype)
        return flat.reshape(shape)

    def matrix(matrix: Matrix) -> Array:
        lying = array(matrix.place, matrix.shape, matrix.dtype)
        return lying.T if matrix.transposed else lying

    def row(place: Place, out: Matrix) -> Array:
        return array(place, out.shape[1:], out.dtype)

    kernels = [launch for launch in plan.launches if isinstance(launch, Kernel)]
    functions = iter(device.kernels(*program(kernels)))
    made: list[Launch] = []
    for launch in plan.launches:
        if isinstance(launch, Kernel):
            arrays = [whole(place) for place in launch.places]
            made.append(partial(next(functions), launch.blocks, launch.threads, arrays))
        else:
            a, b, out = map(matrix, (launch.a, launch.b, launch.out))
            bias = None if launch.bias is None else row(launch.bias, launch.out)
            made.append(device.product(a, b, out, bias, launch.activation))
    return made
