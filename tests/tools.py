"""What several test files need: parameters on a backend, results on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnbackend import Backend, Context, Layer
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.core.random import Generator, forward_key
from nnbackend.core.tree import tree_map


def parameters(layer: Layer, shape: tuple[int, ...], backend: Backend, seed: int = 3) -> Any:
    """Return a layer's initial parameters on a backend."""
    return tree_map(backend.asarray, layer.init(shape, Generator.of(seed))[0])


def training(backend: Backend, step: int = 0, seed: int = 0) -> Context:
    """Return the context of a training pass."""
    return Context(backend, True, forward_key(seed), step)


def host(backend: Backend, tree: Any) -> Any:
    """Return an array, or each array of nested dictionaries, as NumPy's own copy."""
    if isinstance(tree, dict):
        return {name: host(backend, value) for name, value in tree.items()}
    return None if tree is None else np.array(backend.to_numpy(tree))


def assert_equal(a: Any, b: Any) -> None:
    """Assert that nested dictionaries of arrays, or arrays, are the same to the last bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_equal(a[name], b[name])
    else:
        np.testing.assert_array_equal(a, b)


def assert_close(a: Any, b: Any, tolerance: float) -> None:
    """Assert that nested dictionaries of arrays, or arrays, agree relative to their size."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_close(a[name], b[name], tolerance)
    else:
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        largest = float(np.max(np.abs(b), initial=1e-3))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * largest)


def slope(function: Callable[[np.ndarray], float], x: np.ndarray, v: np.ndarray) -> float:
    """Return the derivative of a function of an array in a direction, by central differences."""
    step = 1e-6
    return (function(x + step * v) - function(x - step * v)) / (2 * step)


class Plain(NumPyBackend):
    """NumPy without recordings, and with new memory for the rows of each block."""

    def gatherer(self) -> Any:
        return Backend.gatherer(self)

    def scan(self, step: Any, map_carry: Any = None) -> Any:
        return Backend.scan(self, step)

    def compile_forward(self, forward: Any) -> Any:
        return Backend.compile_forward(self, forward)
