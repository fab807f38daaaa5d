"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, TypeGuard

from nnbackend.core.checks import check_arrays, check_items, check_takes, named
from nnbackend.core.layer_tree import first_layer, init_state, is_stateful
from nnbackend.core.random import Generator, ShapeGenerator
from nnbackend.core.registry import is_built_in
from nnbackend.core.shapes import check_shapes
from nnbackend.core.tree import arrays_in
from nnbackend.core.types import Array, Backward, Context, Layer, Params, Shape, State
from nnbackend.layers.base import check_layer, not_a_pair, register_layer

__all__ = ["Sequential", "runs_in_order"]


@register_layer
@dataclass(frozen=True)
class Sequential:
    """Layers one after the other: ``y = f_n(... f_2(f_1(x)))``.

    Forward runs the layers in order, backward in reverse: the gradient of the loss with respect to
    one layer's input is that with respect to the output of the layer before.

    Args:
        layers: any number of layers, also none. Their parameters are named ``"0"``, ``"1"``, ...

    Raises:
        TypeError: one of them is not a layer.
    """

    layers: Sequence[Layer]

    state_is_of_layers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        layers = check_items("layers", self.layers, "a sequence of layers")
        for i, layer in enumerate(layers):
            with named(f"layers[{i}]"):
                check_layer(layer)
        object.__setattr__(self, "layers", tuple(layers))

    @cached_property
    def _named(self) -> list[tuple[str, Layer]]:
        """The layers with their names, made once: a step of a small network takes only microseconds."""
        return [(str(i), layer) for i, layer in enumerate(self.layers)]

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the parameters of each layer, and the shape of the last one's output."""
        params: Params = {}
        shape = input_shape
        for i, layer in enumerate(self.layers):
            if i > 0:
                _check_takes(layer, self.layers[i - 1], i)
            try:
                found = layer.init(shape, rng.child(str(i)))
            except ValueError as error:
                raise ValueError(f"layer {i} ({type(layer).__name__}): {error}") from error
            try:
                params[str(i)], shape = found
            except (TypeError, ValueError):
                wanted = "init returns (params, output_shape)"
                raise not_a_pair(found, layer, str(i), wanted) from None
            what = f"layer {i} ({type(layer).__name__})"
            check_arrays(f"{what}: params of init", params[str(i)])
            shape = check_shapes(f"{what}: output_shape of init", shape)
        return params, shape

    def init_state(self, input_shape: Shape) -> State:
        """Return the state of the layers that have one, by their names."""
        last = max((i for i, layer in enumerate(self.layers) if is_stateful(layer)), default=-1)
        states, shape = {}, input_shape
        for name, layer in self._named[: last + 1]:
            state = init_state(layer, shape)
            if state:
                states[name] = state
            _, shape = layer.init(shape, ShapeGenerator((0, 0)))
        return states

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Run the layers in order."""
        named = self._named
        backwards: list[tuple[str, Backward]] = []
        for name, layer in named:
            passed = layer.forward(params[name], x, ctx.child(name))
            try:  # no call: a pass of a small network takes only microseconds
                x, layer_backward = passed
            except (TypeError, ValueError):
                raise not_a_pair(passed, layer, name, "forward returns (y, backward)") from None
            backwards.append((name, layer_backward))

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            grads: Params = {name: {} for name, _ in backwards}
            # Without dx the pass ends at the first layer that has parameters.
            end = 0 if input_grad else _first_with_parameters(named, params)
            for i in range(len(backwards) - 1, end - 1, -1):
                name, layer_backward = backwards[i]
                try:
                    passed = layer_backward(dy, input_grad=input_grad or i > end)
                except TypeError:
                    what = f"layer {name} ({type(named[i][1]).__name__}): its backward pass"
                    check_takes(what, layer_backward, "dy", input_grad=True)
                    raise
                try:
                    dy, grads[name] = passed
                except (TypeError, ValueError):
                    wanted = "its backward pass returns (dx, grads)"
                    raise not_a_pair(passed, named[i][1], name, wanted) from None
            return (dy if input_grad else None), grads

        return x, backward


def _check_takes(layer: Layer, before: Layer, number: int) -> None:
    """Refuse a layer that takes indices behind one of the library, which gives numbers."""
    takes = getattr(first_layer(layer), "takes", "numbers")
    if "indices" in arrays_in(takes) and is_built_in(before):
        raise ValueError(
            f"layer {number} ({type(layer).__name__}) takes indices, and gets the numbers that "
            f"layer {number - 1} ({type(before).__name__}) computes: put it first"
        )


def runs_in_order(layer: Layer) -> TypeGuard[Sequential]:
    """Return whether a layer is a Sequential whose forward pass is not overridden."""
    return isinstance(layer, Sequential) and type(layer).forward is Sequential.forward


def _first_with_parameters(named: Sequence[tuple[str, Layer]], params: Params) -> int:
    """Return the index of the first layer with parameters, or their number if none has any."""
    return next((i for i, (name, _) in enumerate(named) if params[name]), len(named))
