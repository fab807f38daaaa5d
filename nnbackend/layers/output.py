"""The end of a network: its output activation, which a loss may contain."""

from __future__ import annotations

import dataclasses
from typing import Any

from nnbackend import activations
from nnbackend.activations import Identity
from nnbackend.core.layer_tree import children
from nnbackend.core.registry import is_built_in
from nnbackend.core.types import Layer
from nnbackend.layers.activation import Activation
from nnbackend.layers.alpha_dropout import AlphaDropout
from nnbackend.layers.dense import Dense
from nnbackend.layers.dropout import Dropout
from nnbackend.layers.flatten import Flatten
from nnbackend.layers.gaussian_noise import GaussianNoise
from nnbackend.layers.regularization import DropBlock, DropPath, SpatialDropout
from nnbackend.layers.sequential import Sequential, runs_in_order

__all__ = ["makes_outputs", "output_activation", "split_output_activation"]

_DROPS = Dropout | AlphaDropout | SpatialDropout | DropPath | DropBlock
_CHANGES = _DROPS | GaussianNoise | Flatten


def output_activation(layers: Layer) -> tuple[Any, str | None]:
    """Return the activation that layers end in, and where it is if it cannot be taken off.

    Layers in nested Sequentials count as one row, and layers that never do anything are passed over.
    An activation cannot be taken off if it is followed by a layer (in training, dropout and noise
    change its outputs; Flatten makes other rows of them), or inside a layer that may do
    anything with the activation's outputs: a composite, or a subclass that overrides the forward pass.
    Such a layer may name its output activation in an attribute ``output_activation``, a name or None.
    """
    where = None
    for last in reversed(_in_a_row(layers)):
        if _does_nothing(last):
            continue
        name = type(last).__name__
        if isinstance(last, _CHANGES):
            where = where or f"followed by {name}"
        elif isinstance(last, Dense) and type(last).forward is Dense.forward:
            return last.activation, where
        elif isinstance(last, Activation) and not _overrides(last):
            return last.function, where
        else:
            return _inside(last), f"inside {name}"
    return Identity(), None


def makes_outputs(layers: Layer) -> bool:
    """Return whether outputs surely are new arrays, neither what the layers were given nor views."""
    for last in reversed(_in_a_row(layers)):
        if isinstance(last, Dense):
            return type(last).forward is Dense.forward
        own = isinstance(last, Activation) and not _overrides(last) and is_built_in(last)
        if own and not _does_nothing(last):
            return True
        if not own and not isinstance(last, _CHANGES):
            return False
    return False


def split_output_activation(layers: Layer) -> tuple[Layer, Any]:
    """Return the layers without the activation at the very end, and that activation.

    One that is not at the very end stays: then the second is the identity.
    """
    activation, where = output_activation(layers)
    if where is not None or isinstance(activation, Identity):
        return layers, Identity()
    return _without_activation(layers), activation


def _in_a_row(layers: Layer) -> list[Layer]:
    """Return layers that run one after the other, those of nested Sequentials too."""
    if not runs_in_order(layers):
        return [layers]
    return [layer for part in layers.layers for layer in _in_a_row(part)]


def _overrides(layer: Activation) -> bool:
    """Return whether a subclass may do something else than apply the function."""
    own = type(layer)
    return own.apply is not Activation.apply or own.forward is not Activation.forward


def _does_nothing(layer: Layer) -> bool:
    """Return whether a layer returns its input also in training."""
    if isinstance(layer, Activation):
        return isinstance(layer.function, Identity)
    if isinstance(layer, _DROPS):
        return layer.rate == 0.0
    return isinstance(layer, GaussianNoise) and layer.std == 0.0


def _inside(layer: Layer) -> Any:
    """Return the activation in which a layer ends as it says, or else its last layer inside."""
    if hasattr(layer, "output_activation"):
        return activations.get(layer.output_activation)
    if isinstance(layer, Dense | Activation):
        return layer.activation if isinstance(layer, Dense) else layer.function
    inside = [child for _, child in children(layer)]
    return output_activation(inside[-1])[0] if inside else Identity()


def _without_activation(layer: Layer) -> Layer:
    """Return layers, in which nothing is after the activation at their end, without it."""
    if isinstance(layer, Activation):
        return Activation(Identity())
    if isinstance(layer, Dense):
        return dataclasses.replace(layer, activation=None)
    assert isinstance(layer, Sequential)
    parts = list(layer.layers)
    for i in reversed(range(len(parts))):
        if not all(map(_does_nothing, _in_a_row(parts[i]))):
            parts[i] = _without_activation(parts[i])
            break
    return dataclasses.replace(layer, layers=parts)
