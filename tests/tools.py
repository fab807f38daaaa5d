"""What several test files need: parameters on a backend, results on the host."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from cases import Case

import nnbackend as nnb
from nnbackend import Backend, Context, Layer
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.core.functional import one_hot
from nnbackend.core.random import Generator, forward_key
from nnbackend.core.shapes import map_shapes
from nnbackend.core.tree import arrays_in, map_arrays, slice_rows, tree_map


def parameters(layer: Layer, shape: tuple[int, ...], backend: Backend, seed: int = 3) -> Any:
    """Return a layer's initial parameters on a backend."""
    return tree_map(backend.asarray, layer.init(shape, Generator.of(seed))[0])


def training(backend: Backend, step: int = 0, seed: int = 0) -> Context:
    """Return the context of a training pass."""
    return Context(backend, True, forward_key(seed), step)


def on_backend(backend: Backend, inputs: Any) -> Any:
    """Return inputs on a backend: an array, or a tree of arrays; indices stay integers."""
    return map_arrays(
        lambda a: backend.asarray(a, backend.xp.int32 if a.dtype.kind in "iu" else None), inputs
    )


def gradients_of_numbers(x: Any, dx: Any) -> list[Any]:
    """Return the gradients of inputs that are numbers; check that those of indices are None."""
    found: list[Any] = []

    def check(array: Any, gradient: Any) -> None:
        whole = str(array.dtype).rpartition(".")[2].startswith("int")
        assert (gradient is None) == whole
        if not whole:
            assert tuple(gradient.shape) == tuple(array.shape)
            found.append(gradient)

    map_arrays(check, x, dx)
    return found


def host(backend: Backend, tree: Any) -> Any:
    """Return an array, or each array of nested dictionaries and tuples, as NumPy's own copy."""
    if isinstance(tree, dict):
        return {name: host(backend, value) for name, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(host(backend, value) for value in tree)
    return None if tree is None else np.array(backend.to_numpy(tree))


def assert_equal(a: Any, b: Any) -> None:
    """Assert that nested dictionaries of arrays, or arrays, are the same to the last bit."""
    if isinstance(a, tuple):
        a, b = dict(enumerate(a)), dict(enumerate(b))
    if a is None or b is None:
        assert a is b
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_equal(a[name], b[name])
    else:
        np.testing.assert_array_equal(a, b)


def assert_close(a: Any, b: Any, tolerance: float) -> None:
    """Assert that nested dictionaries of arrays, or arrays, agree relative to their size."""
    if isinstance(a, tuple):
        a, b = dict(enumerate(a)), dict(enumerate(b))
    if a is None or b is None:
        assert a is b
    elif isinstance(a, dict):
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

    def take_rows(self, x: Any, rows: Any, out: Any = None) -> Any:
        return Backend.take_rows(self, x, rows)

    def scan(self, step: Any, *_: Any) -> Any:
        return Backend.scan(self, step)

    def compile_forward(self, forward: Any, layers: Any) -> Any:
        return Backend.compile_forward(self, forward, layers)


@nnb.register_layer
@dataclass(frozen=True)
class Merge:
    """Joins the columns of several inputs: ``y = [a b ...]``, of a tuple or a dictionary of rows."""

    def init(self, input_shape: Any, rng: Generator) -> Any:
        return {}, (sum(math.prod(shape) for shape in arrays_of_shapes(input_shape)),)

    def forward(self, params: Any, x: Any, ctx: Context) -> Any:
        xp, ends = ctx.xp, []
        for array in arrays_in(x):
            ends.append((ends[-1] if ends else 0) + array.shape[1])
        y = xp.concat(list(arrays_in(x)), axis=1)

        def backward(dy: Any, input_grad: bool = True) -> Any:
            starts = iter(zip([0, *ends], ends, strict=False))

            def part(_: Any) -> Any:
                start, stop = next(starts)
                return dy[:, start:stop]

            return (map_arrays(part, x) if input_grad else None), {}

        return y, backward


def arrays_of_shapes(shapes: Any) -> list[tuple[int, ...]]:
    """Return the shapes in a tree of shapes."""
    found: list[tuple[int, ...]] = []
    map_shapes(found.append, shapes)
    return found


@dataclass(frozen=True)
class Lookup:
    """Rows of a table by their indices: ``y = table[x]``, with the gradient by one-hot rows."""

    count: int
    size: int
    takes: ClassVar[str] = "indices"

    def index_limit(self) -> int:
        return self.count

    def init(self, input_shape: Any, rng: Generator) -> Any:
        table = (
            rng.normal((self.count, self.size)) if self.count < 1000 else np.zeros((1, self.size))
        )
        return {"table": table}, (*input_shape, self.size)

    def forward(self, params: Any, x: Any, ctx: Context) -> Any:
        xp, table = ctx.xp, params["table"]
        flat = xp.reshape(x, (-1,))
        y = xp.reshape(xp.take(table, flat, axis=0), (*x.shape, self.size))

        def backward(dy: Any, input_grad: bool = True) -> Any:
            hot = one_hot(flat, self.count, dy.dtype, xp)
            return None, {"table": hot.T @ xp.reshape(dy, (-1, self.size))}

        return y, backward


EPOCHS = 30  # of `fitted`: in each four batches of 6 rows and one of 4


def fitted(backend, layers, loss="mse", optimizer=None, shape=(4,), target=None, weighted=False,
           dtype="float32", indices=None, **settings):  # fmt: skip
    """Return parameters, history and predictions of a network that was trained."""
    net = nnb.Network(layers, backend=backend(None, dtype), seed=3, input_shape=shape)
    rng = np.random.default_rng(0)
    x = Case("", None, shape, indices=indices).inputs(28, seed=1)
    y = rng.normal(size=(28, *net.output_shape))
    if target is not None:
        y = target(rng, (28, *net.output_shape))
    weight = rng.uniform(0.5, 2.0, 28) if weighted else None
    history = net.fit(
        x, y, loss=loss, optimizer=optimizer or nnb.Adam(1e-2), epochs=EPOCHS, verbose=0,
        sample_weight=weight, **{"batch_size": 6, **settings},
    )  # fmt: skip
    outputs = [host(net.backend, net.predict(slice_rows(x, i, i + 2))) for i in (0, 0, 0, 2, 4)]
    return host(net.backend, net.state_dict()), history.to_dict(), outputs
