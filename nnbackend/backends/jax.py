"""JAX: the same passes, traced once and compiled by XLA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nnbackend.backend import Backend, import_library
from nnbackend.errors import BackendUnavailableError
from nnbackend.types import Array, Namespace


class JAXBackend(Backend):
    """JAX. ``device`` is a ``jax.Device``, a number, or ``"cpu"``, ``"cuda:1"`` ..."""

    name = "jax"
    distribution = "jax"
    install = "pip install 'nnbackend[jax]'"
    static_shapes = True

    def __init__(self, device: Any = None, dtype: str = "float32") -> None:
        super().__init__(device, dtype)
        if dtype == "float64" and not self._jax.config.jax_enable_x64:
            raise BackendUnavailableError(
                "JAX computes in 32 bits until told otherwise; for float64 run "
                "jax.config.update('jax_enable_x64', True) before the first array is made, "
                "or set the environment variable JAX_ENABLE_X64=1"
            )

    def _namespace(self) -> Namespace:
        self._jax = import_library(type(self), "jax")
        return import_library(type(self), "jax.numpy")

    def _device(self, device: Any) -> Any:
        if isinstance(device, self._jax.Device):
            return device
        if isinstance(device, int):
            platform, number = None, device
        else:
            platform, _, text = (device or "").partition(":")
            number = int(text) if text.isdecimal() else 0
        try:
            return self._jax.devices(platform or None)[number]
        except (RuntimeError, IndexError) as error:
            raise BackendUnavailableError(
                f"the device {device!r} is not usable: {error}"
            ) from error

    def _owns(self, x: Any) -> bool:
        return isinstance(x, self._jax.Array)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function compiled by XLA, once for each set of shapes."""
        return self._jax.jit(function)  # type: ignore[no-any-return]

    def scan(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """Return one compiled program that runs all the steps; it consumes ``carry``."""
        jax, np = self._jax, self.xp

        def program(carry: Any, rows: Any, scalars: Array, numbers: Array) -> Any:
            return jax.lax.scan(
                lambda carry, step: body(carry, *step[0], *step[1:]),
                carry,
                (rows, scalars, numbers),
            )

        compiled = jax.jit(program, donate_argnums=0)

        def run(
            carry: Any,
            rows: Sequence[Array | None],
            size: int,
            scalars: Sequence[tuple[float, ...]],
            numbers: Sequence[int],
        ) -> tuple[Any, list[Array | None]]:
            steps = len(numbers)
            batches = [
                None if r is None else np.reshape(r, (steps, size, *r.shape[1:])) for r in rows
            ]
            # Scalars are data, not constants: a new learning rate compiles nothing.
            carry, outputs = compiled(
                carry,
                batches,
                np.asarray(scalars, dtype=self.dtype),
                np.asarray(numbers, dtype=np.int32),
            )
            return carry, [_joined(output, steps, np) for output in outputs]

        return run

    def erf(self, x: Array) -> Array:
        """Return the error function, by XLA's own."""
        return self._jax.scipy.special.erf(x)

    def synchronize(self) -> None:
        """Wait for the device."""
        self._jax.effects_barrier()
        self._jax.device_put(0.0, self.device).block_until_ready()


def _joined(output: Array | None, steps: int, xp: Namespace) -> Array | None:
    """Return (steps, size, ...) as (rows, ...), and numbers as they are."""
    if output is None or output.ndim == 1:
        return output
    return xp.reshape(output, (steps * output.shape[1], *output.shape[2:]))
