"""Arrays in and out: from the namespace of X to the backend, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from array_api_compat import array_namespace, device
from sklearn import get_config

from nnbackend.backends.base import Backend
from nnbackend.backends.choose import get_backend
from nnbackend.core.types import Array
from nnbackend.data.samples import Gather, Samples
from nnbackend.data.validate import check_finite

__all__ = ["HOST", "Home", "SparseSamples", "check_held", "home_of", "on_host", "to_host"]


@dataclass(frozen=True)
class Home:
    """The library (None: NumPy) and the device of ``X`` in ``fit``: results are arrays there."""

    xp: Any = None
    device: Any = None

    def backend(self, precision: str) -> Backend:
        """Return the backend that computes there."""
        return get_backend(self.xp or "numpy", self.device, precision=precision)

    def from_backend(self, x: Array, backend: Backend) -> Array:
        """Return an array of a backend as one of this library."""
        if self.xp is None:
            return backend.to_numpy(x)
        if backend.xp is self.xp and backend.device == self.device:
            return x
        return self.xp.asarray(backend.to_numpy(x), device=self.device)

    def from_host(self, x: Any) -> Array:
        """Return a NumPy array as one of this library; an array of texts stays NumPy's."""
        if self.xp is None or x.dtype.kind not in "biuf":
            return x
        return self.xp.asarray(x, device=self.device)


HOST = Home()


def home_of(x: Any) -> Home:
    """Return the library and device of ``x`` if scikit-learn dispatches to it; else NumPy."""
    if isinstance(x, np.ndarray) or not get_config()["array_api_dispatch"]:
        return HOST
    if hasattr(x, "detach") or hasattr(x, "__array_namespace__"):
        xp = array_namespace(x)
        if not xp.__name__.endswith("numpy") or "jax" in xp.__name__:
            return Home(xp, device(x))
    return HOST


def to_host(x: Any) -> Any:
    """Return an array of any library as a NumPy array, and anything else unchanged."""
    home = home_of(x)
    return x if home is HOST else home.backend("float32").to_numpy(x)


def on_host(value: Any, backend: Backend | None) -> Any:
    """Return nested arrays of a backend copied to NumPy; NumPy arrays stay as they are."""
    if isinstance(value, dict):
        return {name: on_host(item, backend) for name, item in value.items()}
    if isinstance(value, list):
        return [on_host(item, backend) for item in value]
    if backend is None or not hasattr(value, "dtype") or isinstance(value, np.ndarray):
        return value
    return np.array(backend.to_numpy(value))


@dataclass(frozen=True)
class SparseSamples(Samples):
    """Samples whose ``x`` is a sparse matrix of SciPy's; only the rows taken become dense.

    Training always takes them by number, never a slice as it is.
    """

    def packed(self, backend: Backend) -> SparseSamples:
        """Return the samples: compressed rows are one after the other already."""
        return self

    def take(self, rows: Any, backend: Backend, gather: Sequence[Gather] | None = None) -> Samples:
        """Return the given rows, dense and copied."""
        index = backend.asarray(rows, dtype=backend.xp.int32)
        x = dense(self.x[np.asarray(rows)], backend)
        others = (None if a is None else backend.xp.take(a, index, axis=0) for a in self.arrays[1:])
        return Samples(x, *others)


def dense(x: Any, backend: Backend) -> Array:
    """Return rows, sparse or not, on a backend."""
    return backend.asarray(x.toarray() if scipy.sparse.issparse(x) else x)


def check_held(x: Any, brought: Array, backend: Backend, first: int = 0) -> None:
    """Refuse numbers of X that the dtype of a backend, to which they were brought, does not hold.

    That X is finite was checked before, in its own dtype; ``first`` is the number of its first row.
    """
    if str(x.dtype).rpartition(".")[2] != backend.dtype_name:
        check_finite(brought, backend, "X", first)
