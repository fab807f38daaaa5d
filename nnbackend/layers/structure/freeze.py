"""A layer that does not learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nnbackend.core.checks import named
from nnbackend.core.layer_tree import init_state
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Layer, Params, Shape, State
from nnbackend.layers.base import check_layer, register_layer

__all__ = ["Freeze"]


@register_layer
@dataclass(frozen=True)
class Freeze:
    """A layer that does not learn: ``fit`` changes neither its parameters nor its state.

    It runs in training as in prediction: batch normalization takes its running statistics and leaves
    them as they are, dropout and noise do nothing. That is Keras's ``layer(x, training=False)`` with
    ``trainable = False``, and torch's ``eval()`` with ``requires_grad_(False)``. Where statistics should
    go on following the batches, :meth:`nnbackend.Network.freeze` keeps parameters alone.
    ``Network.frozen`` lists the parameters; no weight decay reaches them. Its backward pass gives
    their gradients all the same, for a loop that you write: put
    :class:`nnbackend.optimizers.Frozen` around the optimizer there.

    Args:
        layer: the layer; its parameters are named ``"layer"``.

    Raises:
        TypeError: ``layer`` is no layer.
    """

    freezes: ClassVar[bool] = True
    layer: Layer

    def __post_init__(self) -> None:
        with named("layer"):
            check_layer(self.layer)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the parameters of the layer, and the shape of its output."""
        params, shape = self.layer.init(input_shape, rng.child("layer"))
        return {"layer": params}, shape

    def init_state(self, input_shape: Shape) -> State:
        """Return the state of the layer."""
        state = init_state(self.layer, input_shape)
        return {"layer": state} if state else {}

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Run the layer as in prediction."""
        inside = ctx.child("layer", training=False)
        y, layer_backward = self.layer.forward(params["layer"], x, inside)

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            dx, grads = layer_backward(dy, input_grad=input_grad)
            return dx, {"layer": grads}

        return y, backward
