"""Layers whose arrays are computed again in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from nnbackend.core.random import Generator
from nnbackend.core.registry import is_pure
from nnbackend.core.types import Array, Backward, Context, Layer, Params, Shape, State
from nnbackend.layers.base import register_layer
from nnbackend.layers.sequential import Sequential

__all__ = ["Checkpoint"]


@register_layer
@dataclass(frozen=True)
class Checkpoint:
    """Layers one after the other that keep their input alone, and run again in the backward pass.

    Memory for a second forward pass: what is inside is only held while its own backward pass runs. The
    results are the same to the last bit: the second pass has the same random numbers and the same state,
    which is updated once. Layers that do more than compute (registered with ``pure=False``) run once,
    and keep their arrays.

    Args:
        layers: one layer after the other. Their parameters are named ``"0"``, ``"1"``, ...

    Raises:
        TypeError: one of them is not a layer.

    Source: Chen et al. (2016), arXiv:1604.06174.
    """

    layers: Sequence[Layer]

    keeps_activations: ClassVar[bool] = False  # of the layers inside, for a summary

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", Sequential(self.layers).layers)

    @cached_property
    def _row(self) -> Sequential:
        return Sequential(self.layers)

    @cached_property
    def _runs_again(self) -> bool:
        """Whether the layers may run a second time."""
        return is_pure(self._row)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the parameters of the layers, and the shape of the last one's output."""
        return self._row.init(input_shape, rng)

    def init_state(self, input_shape: Shape) -> State:
        """Return the state of the layers that have one, by their names."""
        return self._row.init_state(input_shape)

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Run the layers and keep nothing but the input."""
        if not self._runs_again:
            return self._row.forward(params, x, ctx)
        second = ctx.again()
        y, _ = self._row.forward(params, x, ctx)

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            # A compiler would take the arrays of the first pass, and keep them.
            same_params, same_x, after = ctx.backend.barrier((params, x, dy))
            _, row_backward = self._row.forward(same_params, same_x, second)
            return row_backward(after, input_grad=input_grad)

        return y, backward
