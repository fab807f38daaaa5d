"""NumPy, on the CPU."""

from __future__ import annotations

import contextlib
import math
from typing import Any, ClassVar

import array_api_compat.numpy as xp
import numpy as np

from nnbackend.backend import Backend
from nnbackend.errors import BackendUnavailableError
from nnbackend.types import Array, Namespace


class NumPyBackend(Backend):
    """NumPy, on the CPU."""

    name = "numpy"
    distribution = "numpy"
    install = "pip install numpy"
    slices_are_views = True
    block_bytes: ClassVar[int] = 1 << 21  # stays in the cache until it is used
    # 64 Ki numbers of a parameter, its gradient and the optimiser's averages fit in a 2 MB L2 cache.
    chunk: ClassVar[int | None] = 1 << 16

    def _namespace(self) -> Namespace:
        return xp

    def _device(self, device: Any) -> Any:
        if device not in (None, "cpu"):
            raise BackendUnavailableError(f"NumPy computes on the CPU only, not on {device!r}")
        return "cpu"

    def _owns(self, x: Any) -> bool:
        return isinstance(x, np.ndarray) and x.dtype.kind in "biuf"

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """Bring numbers here; what is here already goes through unchanged."""
        if type(x) is np.ndarray and x.dtype == (self.dtype if dtype is None else dtype):
            return x
        return super().asarray(x, dtype)

    def all_finite(self, x: Array) -> bool:
        """Return whether no number is NaN or infinite."""
        # A finite sum of squares proves it in one fast pass; an infinite one may be an overflow.
        return math.isfinite(np.vdot(x, x)) or bool(np.isfinite(x).all())

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context without NumPy's warnings: overflow shows in results, and fit says so."""
        return np.errstate(over="ignore", invalid="ignore", divide="ignore")

    def read(self, numbers: Any) -> np.ndarray[Any, Any]:
        """Return the numbers of many steps as an array."""
        return np.asarray(numbers, dtype=np.float64)
