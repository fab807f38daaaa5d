"""The end of a network: its output activation, which a loss may contain."""

from __future__ import annotations

import dataclasses
from typing import Any

from nnbackend import activations
from nnbackend.activations import Identity
from nnbackend.core.layer_tree import children
from nnbackend.core.types import Layer
from nnbackend.layers.activation import Activation
from nnbackend.layers.alpha_dropout import AlphaDropout
from nnbackend.layers.dense import Dense
from nnbackend.layers.dropout import Dropout
from nnbackend.layers.flatten import Flatten
from nnbackend.layers.gaussian_noise import GaussianNoise
from nnbackend.layers.sequential import Sequential, runs_in_order

__all__ = ["output_activation", "split_output_activation"]


def output_activation(layers: Layer) -> tuple[Any, Layer | None]:
    """Return the activation that layers end in, and the layer that keeps it in its place, or None.

    Layers in nested Sequentials count as one row, and layers that never do anything are passed over.
    What keeps the activation in its place is a layer after it (in training, dropout and noise change
    its outputs; Flatten makes other rows of them), or a composite around it of which it is not known
    what it does with the output of its last layer. Such a composite may say what it ends in by an
    attribute ``output_activation``: None says that its outputs are those of no activation.
    """
    after: Layer | None = None
    for last in reversed(_in_a_row(layers)):
        if _does_nothing(last):
            continue
        if isinstance(last, Dropout | AlphaDropout | GaussianNoise | Flatten):
            after = last if after is None else after
        elif isinstance(last, Activation):
            return last.function, after
        elif isinstance(last, Dense):
            return last.activation, after
        else:
            return _inside(last), last
    return Identity(), None


def split_output_activation(layers: Layer) -> tuple[Layer, Any]:
    """Return the layers without the activation at the very end, and that activation.

    One that is not at the very end stays: then the second is the identity.
    """
    activation, kept_by = output_activation(layers)
    if kept_by is not None or isinstance(activation, Identity):
        return layers, Identity()
    return _without_activation(layers), activation


def _in_a_row(layers: Layer) -> list[Layer]:
    """Return layers that run one after the other, those of nested Sequentials too."""
    if not runs_in_order(layers):
        return [layers]
    return [layer for part in layers.layers for layer in _in_a_row(part)]  # type: ignore[attr-defined]


def _does_nothing(layer: Layer) -> bool:
    """Return whether a layer returns its input also in training."""
    if isinstance(layer, Activation):
        return isinstance(layer.function, Identity)
    if isinstance(layer, Dropout | AlphaDropout):
        return layer.rate == 0.0
    return isinstance(layer, GaussianNoise) and layer.std == 0.0


def _inside(composite: Layer) -> Any:
    """Return the activation that a composite's last layer ends in, or what it says of itself."""
    said: Any = getattr(composite, "output_activation", False)
    if said is not False:
        return activations.get(said)
    inside = [child for _, child in children(composite)]
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
