"""JAX: the same passes, traced once and compiled by XLA."""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy

from nnbackend.backends.base import Backend
from nnbackend.backends.convolution import Geometry
from nnbackend.backends.device import Device, Memory, import_library, not_a_device
from nnbackend.backends.primitives import Sizes, check_count, check_scatter
from nnbackend.core import functional
from nnbackend.core.layer_tree import has_layer
from nnbackend.core.precision import Precision
from nnbackend.core.tree import arrays_in, map_arrays
from nnbackend.core.types import Array, Arrays, Batch, Namespace, Params, Step
from nnbackend.errors import BackendUnavailableError

_MAX_REPEATS = 8192  # steps on one batch that one compiled program has room for


class JAXBackend(Backend):
    """JAX. ``device`` is a ``jax.Device``, a number, or ``"cpu"``, ``"cuda:1"`` ..."""

    name = "jax"
    distribution = "jax"
    install = "pip install 'nnbackend[jax]'"
    static_shapes = True
    block_bytes = 1 << 30  # the more steps in a program, the better

    def _namespace(self) -> Namespace:
        self._jax = import_library(type(self), "jax")
        if self.dtype_name == "float64" and not self._jax.config.jax_enable_x64:
            raise BackendUnavailableError(
                "JAX computes in 32 bits by default; for float64 run "
                "jax.config.update('jax_enable_x64', True) before the first array is made, "
                "or set the environment variable JAX_ENABLE_X64=1"
            )
        return import_library(type(self), "jax.numpy")

    def _device(self, device: Any) -> Any:
        if isinstance(device, self._jax.Device):
            return device
        if isinstance(device, bool) or not isinstance(device, int | str | None):
            raise not_a_device(device, "a number, a name like 'cuda:1' or a jax.Device")
        named = "" if device is None else str(device)
        match = re.fullmatch(r"(-?\d+)|([^:]*)(?::(\d+))?", named)
        if match is None:
            raise BackendUnavailableError(
                f"no device of JAX is called {device!r}; say 0, 'cpu' or 'cuda:1'"
            )
        platform, number = match[2] or None, int(match[1] or match[3] or 0)
        try:
            if number < 0:
                raise IndexError("devices are numbered from 0")
            return self._jax.devices(platform)[number]
        except (RuntimeError, IndexError) as error:
            raise BackendUnavailableError(
                f"the device {device!r} is not usable: {error}"
            ) from error

    def owns(self, x: Any) -> bool:
        return isinstance(x, self._jax.Array)

    def unsupported_reason(self, precision: Precision) -> str:
        """Return why this device does not have a precision; GPUs have all."""
        if precision.tf32 and self.device.platform in ("gpu", "cuda"):
            return ""
        return super().unsupported_reason(precision)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which products have the backend's precision, in this thread.

        By itself JAX computes products of float32 on accelerators in less. A program keeps the
        precision with which it was traced.
        """
        wanted = "tensorfloat32" if self.tf32 else "highest"
        return self._jax.default_matmul_precision(wanted)  # type: ignore[no-any-return]

    @property
    def in_host_memory(self) -> bool:
        return self.device.platform == "cpu"  # type: ignore[no-any-return]

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        if not self.owns(x):
            x = self._import(x, self.dtype_name if dtype is None else None)
        if not isinstance(x, self._jax.core.Tracer) and x.device == self.device:
            same = x.dtype == (self.dtype if dtype is None else dtype)
            if same:  # jax.numpy.asarray takes a while to find out
                return x
        return super().asarray(x, dtype)

    def _from_host(self, x: numpy.ndarray[Any, Any]) -> Array:
        if not self.in_host_memory:
            return super()._from_host(x)
        x = numpy.asarray(x)  # without what a subclass adds
        array = self._jax.device_put(x, self.device)
        if array.unsafe_buffer_pointer() == x.ctypes.data:  # shared, and the user may change it yet
            return self._jax.device_put(x.copy(), self.device)
        return array.block_until_ready()

    def one_hot(self, labels: Array, classes: int) -> Array:
        """Return a row of 0 and a 1 for each label, by one program."""
        return _encoder(self.device, self.dtype)(labels, classes)

    def copy_tree(self, tree: Params) -> Params:
        """Return a copy of each array, all of them by one program."""
        return _copies()(tree)  # type: ignore[no-any-return]

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function compiled by XLA, once for each set of shapes."""
        return self._jax.jit(function)  # type: ignore[no-any-return]

    def host_view(self, x: Any) -> numpy.ndarray[Any, Any] | None:
        """Return numbers as a NumPy array; on the CPU it sees the memory of JAX's arrays."""
        if not self.owns(x):
            return super().host_view(x)
        seen = all(device.platform == "cpu" for device in x.devices())
        view = numpy.asarray(x) if seen else None
        return view if view is not None and view.dtype.kind in "biuf" else None  # not bfloat16

    def scan(
        self,
        step: Step,
        map_carry: Callable[..., Any] | None = None,
        step_on: Callable[[Backend], Step] | None = None,
        parts: tuple[Any, ...] = (),
    ) -> Callable[..., tuple[Any, Any, Any, Arrays | None]]:
        """Return one compiled program that runs all the steps; it consumes ``carry``.

        On the CPU, XLA computes convolutions in a loop many times slower: there each step is a call.
        """
        over_batches, repeated = self._scan_batches(step), self._repeat_batch(step)
        apart = self.in_host_memory and any(has_layer(part, "convolves") for part in parts[:1])

        def run(
            carry: Any,
            rows: Batch,
            size: int,
            scalars: Sequence[tuple[float, ...]],
            numbers: Sequence[int],
        ) -> tuple[Any, Any, Any, Arrays | None]:
            # Scalars are data, not constants: a new learning rate compiles nothing.
            table = numpy.asarray(scalars, dtype=self.dtype)
            total = arrays_in(rows.x)[0].shape[0]
            single = size >= total
            if apart and len(numbers) > 1:
                return self._one_by_one(over_batches, carry, rows, min(size, total), table, numbers)
            if single and len(numbers) > 1:
                return repeated(carry, rows, table, numbers[0])  # type: ignore[no-any-return]
            carry, (losses, weights, outputs) = over_batches(carry, rows, size, table, numbers[0])
            return carry, losses, weights, map_arrays(_merge_steps, outputs)

        return run

    def _one_by_one(
        self,
        steps: Callable[..., Any],
        carry: Any,
        rows: Batch,
        size: int,
        table: Any,
        numbers: Sequence[int],
    ) -> tuple[Any, Any, Any, Arrays | None]:
        """Run the program of the steps for each of them; one batch alone is taken by all."""
        single, results = size == arrays_in(rows.x)[0].shape[0], []
        for i, number in enumerate(numbers):
            cut = slice(None) if single else slice(i * size, (i + 1) * size)
            batch = rows if single else map_arrays(operator.itemgetter(cut), rows)
            carry, result = steps(carry, batch, size, table[i : i + 1], number)
            results.append(result)
        losses, weights, outputs = (
            map_arrays(lambda *arrays: self.xp.concat(arrays), *parts)
            for parts in zip(*results, strict=True)
        )
        return carry, losses, weights, map_arrays(_merge_steps, outputs)

    def _scan_batches(self, step: Step) -> Callable[..., Any]:
        """Return the program for steps on one batch after the other."""
        jax, np = self._jax, self.xp

        def one(carry: Any, of_step: tuple[Batch, Array, Array]) -> tuple[Any, Any]:
            batch, scalars, number = of_step
            return step(carry, batch, scalars, number)

        def run(carry: Any, rows: Batch, size: int, scalars: Array, first: Any) -> Any:
            steps = scalars.shape[0]
            if steps == 1:  # without a loop, which XLA would keep
                carry, result = step(carry, rows, scalars[0], first)
                return carry, map_arrays(lambda a: a[None], result)
            batches = map_arrays(lambda a: np.reshape(a, (steps, size, *a.shape[1:])), rows)
            numbers = first + np.arange(steps, dtype=np.int32)
            return jax.lax.scan(one, carry, (batches, scalars, numbers))

        return jax.jit(run, donate_argnums=0, static_argnums=2)  # type: ignore[no-any-return]

    def _repeat_batch(self, step: Step) -> Callable[..., Any]:
        """Return a function that runs steps on one batch; how many is known when the program runs."""
        jax, np = self._jax, self.xp

        def program(carry: Any, batch: Batch, scalars: Array, first: Any, count: Any) -> Any:
            def one(i: Any, so_far: tuple[Any, Array]) -> tuple[Any, Array]:
                carry, (loss, _, _) = step(so_far[0], batch, scalars[i], first + i)
                return carry, so_far[1].at[i].set(loss)

            losses = np.zeros(scalars.shape[0], dtype=self.dtype)
            return jax.lax.fori_loop(0, count, one, (carry, losses))

        compiled = jax.jit(program, donate_argnums=0)

        def run(carry: Any, batch: Batch, table: Any, first: int) -> tuple[Any, Any, None, None]:
            steps = len(table)
            padded = numpy.zeros((_MAX_REPEATS, table.shape[1]), dtype=self.dtype)
            padded[:steps] = table
            carry, losses = compiled(carry, batch, padded, first, steps)
            # Cut on the host: on the device each length would be another program.
            return carry, numpy.asarray(losses)[:steps], None, None

        return run

    def loop(
        self,
        body: Callable[[Any, Any], tuple[Any, Any]],
        carry: Any,
        count: int,
        *,
        reverse: bool = False,
    ) -> tuple[Any, Any]:
        """Run the body as one loop of the program, which holds it once however often it runs."""
        check_count(count)
        numbers = self.xp.arange(count, dtype=self.xp.int32)
        return self._jax.lax.scan(body, carry, numbers, reverse=reverse)  # type: ignore[no-any-return]

    def _add_at(self, x: Array, key: Any, values: Array) -> Array:
        return x.at[key].add(values)

    def places_adjoint(
        self, parts: Sequence[Array], length: int, stride: int, dilation: int
    ) -> Array:
        """Return the sum of the parts, spread out by padding between numbers, which XLA fuses."""
        dx: Any = 0.0
        for j, part in enumerate(parts):
            first, span = j * dilation, (part.shape[1] - 1) * stride + 1
            sides = ((0, 0, 0), (first, length - first - span, stride - 1), (0, 0, 0))
            dx = dx + self._jax.lax.pad(part, self.xp.zeros((), part.dtype), sides)
        return dx

    def pad(self, x: Array, padding: tuple[tuple[int, int], ...], value: float = 0.0) -> Array:
        return self.xp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=value)

    def scatter_add(self, rows: int, index: Array, values: Array) -> Array:
        """Return the sums of values with the same index, by XLA; one out of range makes a row NaN."""
        check_scatter(rows, index, values)
        in_range = (index >= 0) & (index < rows)
        values = self.xp.where(in_range[:, None], values, self.xp.nan)
        y = self.xp.zeros((rows, values.shape[1]), dtype=values.dtype, device=self.device)
        return y.at[self.xp.where(in_range, index, 0)].add(values)

    def set_rows(self, table: Array, index: Array, values: Array) -> Array:
        """Return a table with other rows; in a compiled step XLA writes them in place."""
        return table.at[index].set(values)

    def _convolve(self, x: Array, weight: Array, how: Geometry) -> Array:
        axes = "DHW"[3 - len(how.stride) :]
        names = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
        return self._jax.lax.conv_general_dilated(
            x, weight, how.stride, how.padding, rhs_dilation=how.dilation, dimension_numbers=names,
            feature_group_count=how.groups,
        )  # fmt: skip

    def _input_gradient(self, dy: Array, weight: Array, lengths: Sizes, how: Geometry) -> Array:
        shape = (dy.shape[0], *lengths, weight.shape[-2] * how.groups)
        x = self._jax.ShapeDtypeStruct(shape, dy.dtype)
        return self._jax.linear_transpose(lambda x: self._convolve(x, weight, how), x)(dy)[0]

    def _weight_gradient(self, x: Array, dy: Array, size: Sizes, how: Geometry) -> Array:
        shape = (*size, x.shape[-1] // how.groups, dy.shape[-1])
        weight = self._jax.ShapeDtypeStruct(shape, dy.dtype)
        return self._jax.linear_transpose(lambda w: self._convolve(x, w, how), weight)(dy)[0]

    def fetch(self, numbers: Any) -> Any:
        return numpy.asarray(numbers, dtype=numpy.float64)

    def barrier(self, arrays: Any) -> Any:
        return self._jax.lax.optimization_barrier(arrays)

    def erf(self, x: Array) -> Array:
        return self._jax.scipy.special.erf(x)

    def synchronize(self) -> None:
        self._jax.effects_barrier()
        for array in self._jax.live_arrays():
            with contextlib.suppress(RuntimeError):  # another thread has let it go
                array.block_until_ready()

    def _portable_device(self) -> str:
        return _name(self.device, self._jax)

    def devices(self) -> list[Device]:
        """Return the devices of JAX's default platform: the cards, or else the CPU."""
        found = []
        for device in self._jax.devices():
            memory = self._memory(device)
            total, free = (None, None) if memory is None else (memory.total, memory.free)
            found.append(Device(_name(device, self._jax), device.device_kind, total, free))
        return found

    def memory(self) -> Memory | None:
        """Return the counts of XLA's allocator; None on the CPU, where it has none.

        XLA takes three quarters of a GPU's memory at the start, unless XLA_PYTHON_CLIENT_PREALLOCATE
        is false: that is the total here.
        """
        return self._memory(self.device)

    def _memory(self, device: Any) -> Memory | None:
        counts = device.memory_stats()
        if not counts or "bytes_limit" not in counts:
            return None
        used, limit = counts["bytes_in_use"], counts["bytes_limit"]
        peak = counts.get("peak_bytes_in_use", used)
        return Memory(used, counts.get("pool_bytes", used), limit - used, limit, peak)

    def is_out_of_memory(self, error: BaseException) -> bool:
        return super().is_out_of_memory(error) or "RESOURCE_EXHAUSTED" in str(error)


def _merge_steps(outputs: Array) -> Array:
    """Return outputs of shape (steps, size, ...) as rows."""
    return outputs.reshape((-1, *outputs.shape[2:]))


@cache
def _encoder(device: Any, dtype: Any) -> Callable[[Any, int], Any]:
    """Return the program that makes rows of 0 and a 1 of labels, on a device."""
    import jax

    return jax.jit(  # type: ignore[no-any-return]
        lambda labels, classes: functional.one_hot(labels, classes, dtype, jax.numpy),
        static_argnums=1,
        out_shardings=jax.sharding.SingleDeviceSharding(device),
    )


@cache
def _copies() -> Callable[[Any], Any]:
    """Return the program that copies arrays, compiled once for each set of shapes."""
    import jax

    return jax.jit(lambda tree: jax.tree.map(jax.numpy.copy, tree))  # type: ignore[no-any-return]


def _name(device: Any, jax: Any) -> str:
    """Return the name of a device: its platform and its number there."""
    return f"{device.platform}:{jax.devices(device.platform).index(device)}"
