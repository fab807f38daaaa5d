"""How much memory a network's work takes, counted on the host with two small batches.

Parameters and what training keeps for each of them are known from their shapes. What a row takes, from
the inputs of all layers that wait for the backward pass to the temporary arrays between, is counted:
the pass runs with NumPy on batches of 2 and of 6 rows, and the peaks of memory differ by 4 rows.
"""

from __future__ import annotations

import contextlib
import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from nnbackend import random
from nnbackend.accumulation import gradients
from nnbackend.backend import get_backend
from nnbackend.losses import Loss
from nnbackend.optimizers import Optimizer
from nnbackend.tree import leaves, tree_map
from nnbackend.types import Array, Context, Layer, Params, Shape

__all__ = ["parameter_bytes", "row_bytes", "training_bytes"]

_FEW, _MORE = 2, 6  # rows
_MOST = 1 << 28  # parameters; beyond, the gradients of the trial would fill the host


def parameter_bytes(params: Params, dtype: str) -> int:
    """Return the bytes of parameters."""
    count: int = sum(math.prod(p.shape) for p in leaves(params))
    return count * (8 if dtype == "float64" else 4)


def training_bytes(params: Params, dtype: str, optimizer: Optimizer) -> int:
    """Return the bytes that training takes whatever the batch.

    Beside the parameters: their gradients, as they come and gathered in a vector, the optimiser's
    arrays, and the copy from the last whole epoch.
    """
    return parameter_bytes(params, dtype) * (4 + optimizer.slots)


def row_bytes(
    layers: Layer, input_shape: Shape, output_shape: Shape, dtype: str, loss: Loss | None = None
) -> int | None:
    """Return the bytes that each row of a batch takes at the peak of a pass; None if that fails.

    Args:
        layers: what is run.
        input_shape: of a row.
        output_shape: of a row.
        dtype: of the network.
        loss: for a training pass; None: forward alone.
    """
    backend = get_backend("numpy", dtype=dtype)
    shapes, _ = layers.init(input_shape, random.ShapesOnly((0, 0)))
    if sum(math.prod(p.shape) for p in leaves(shapes)) > _MOST:
        return None
    # Zeros that nobody writes to take no memory: the system lends the same page everywhere.
    params = tree_map(lambda p: np.zeros(p.shape, dtype), shapes)
    ctx = Context(backend, loss is not None, (0, 0))

    def run(rows: int) -> Any:
        x, y = np.zeros((rows, *input_shape), dtype), np.zeros((rows, *output_shape), dtype)
        if loss is None:
            return layers.forward(params, x, ctx)[0]
        return gradients(layers, loss, params, x, y, None, ctx)

    with contextlib.suppress(Exception), backend.scope():  # a layer of a user's may do anything
        return max(1, (_peak(run, _MORE) - _peak(run, _FEW)) // (_MORE - _FEW))
    return None


def _peak(run: Callable[[int], Array], rows: int) -> int:
    """Return the bytes that NumPy and Python take at the peak of a call."""
    run(rows)  # what is made once and kept is not counted
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        run(rows)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if started:
            tracemalloc.stop()
