"""Sums of gradients over processes, which begin while the backward pass goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nnbackend.core.layer_tree import map_layers
from nnbackend.core.layer_wrapper import LayerWrapper
from nnbackend.core.tree import flatten, leaves, tree_map, unflatten
from nnbackend.core.types import (
    Array,
    Arrays,
    Backward,
    Context,
    Layer,
    Namespace,
    Params,
    Path,
    State,
)
from nnbackend.layers.sequential import runs_in_order
from nnbackend.training.communicator import Communicator

__all__ = ["GradientSums", "announcing"]

BUCKET_NUMBERS = 1 << 20
"""The size of a bucket: the gradients' numbers that are summed together."""


class GradientSums:
    """Adds up what the processes computed of a batch, bucket by bucket.

    A bucket is sent when it is full: the gradients of a network's last layers while the backward pass
    computes those of its first.

    Args:
        communicator: adds up over the processes.
        xp: the namespace of the arrays.
    """

    def __init__(self, communicator: Communicator, xp: Namespace) -> None:
        self._communicator, self._xp = communicator, xp
        self.start(1)

    def start(self, count: Any) -> None:
        """Begin with a batch: its rows in this process weigh ``count``."""
        self._count = count
        self._bucket: list[tuple[str, Array]] = []
        self._room = BUCKET_NUMBERS
        self._sent: list[tuple[list[tuple[str, tuple[int, ...]]], Callable[[], Array]]] = []
        self._known: set[str] = set()

    def add(self, path: Path, grads: Params) -> None:
        """Take the gradients of a layer, which are complete."""
        for name, gradient in flatten(grads).items():
            self._add(".".join((*path, name)), gradient)

    def _add(self, name: str, gradient: Array) -> None:
        size = math.prod(gradient.shape)
        if size > self._room:
            self._send()
        self._bucket.append((name, gradient))
        self._known.add(name)
        self._room -= size

    def _send(self) -> None:
        """Start the sum of what is in the bucket."""
        if self._bucket:
            flat = [self._xp.reshape(array, (-1,)) for _, array in self._bucket]
            vector = (flat[0] if len(flat) == 1 else self._xp.concat(flat)) * self._count
            shapes = [(name, tuple(array.shape)) for name, array in self._bucket]
            self._sent.append((shapes, self._communicator.start_sum(vector)))
        self._bucket, self._room = [], BUCKET_NUMBERS

    def finish(
        self, value: Array, grads: Params, state: State
    ) -> tuple[Array, Array, Params, State]:
        """Return the weight of a whole batch, its mean loss, gradients and state, from its parts'."""
        xp = self._xp
        for name, gradient in flatten(grads).items():
            if name not in self._known:
                self._add(name, gradient)
        self._send()
        # These are not compressed: metrics and decisions follow from them.
        arrays = [value, xp.ones_like(value), *leaves(state)]
        flat = [xp.reshape(xp.astype(a, value.dtype, copy=False), (-1,)) for a in arrays]
        own = xp.concat(flat)
        (summed,) = self._communicator.sum([own * self._count])
        total = summed[1]
        divisor = xp.where(total > 0.0, total, xp.ones_like(total))  # all weights 0: no gradient
        found: dict[str, Array] = {}
        for shapes, finish in self._sent:
            vector, start = finish() / divisor, 0
            for name, shape in shapes:
                stop = start + math.prod(shape)
                found[name] = xp.reshape(vector[start:stop], shape)
                start = stop
        self._sent = []
        grads = unflatten({name: found[name] for name in flatten(grads)}, grads)
        new_state = xp.where(total > 0.0, summed / divisor, own)[2:]  # no weight: it stays as it is
        return total, summed[0] / divisor, grads, self._state_from(new_state, state)

    def _state_from(self, vector: Array, state: State) -> State:
        """Return a state of which all arrays are in one vector."""
        xp, start = self._xp, 0

        def take(array: Array) -> Array:
            nonlocal start
            stop = start + math.prod(array.shape)
            part = xp.astype(vector[start:stop], array.dtype, copy=False)
            start = stop
            return xp.reshape(part, array.shape)

        return tree_map(take, state)


def announcing(layers: Layer, announce: Callable[[Path, Params], None], path: Path = ()) -> Layer:
    """Return layers that announce the gradients of each as soon as its backward pass ends.

    Layers that run one after the other have theirs for good then; what is inside of others need not.
    """
    if runs_in_order(layers):
        return map_layers(lambda name, child: announcing(child, announce, (*path, name)), layers)
    return _Announcing(layers, announce, path)


@dataclass(frozen=True, eq=False)
class _Announcing(LayerWrapper):
    """A layer that announces its gradients."""

    announce: Callable[[Path, Params], None]
    place: Path

    def forward(self, params: Params, x: Arrays, ctx: Context) -> tuple[Arrays, Backward]:
        """Run the layer; its backward pass ends with the announcement."""
        y, layer_backward = self.layer.forward(params, x, ctx)

        def backward(dy: Arrays, input_grad: bool = True) -> tuple[Arrays | None, Params]:
            dx, grads = layer_backward(dy, input_grad=input_grad)
            self.announce(self.place, grads)
            return dx, grads

        return y, backward
