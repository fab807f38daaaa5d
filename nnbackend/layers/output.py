"""The end of a network: its output activation, which a loss may contain."""

from __future__ import annotations

import dataclasses
from typing import Any

from nnbackend.activations import Identity
from nnbackend.core.types import Layer
from nnbackend.layers.activation import Activation
from nnbackend.layers.dense import Dense
from nnbackend.layers.sequential import Sequential

__all__ = ["split_output_activation"]


def split_output_activation(layers: Layer) -> tuple[Layer, Any]:
    """Return the layers without the activation at the very end, and that activation."""
    if not isinstance(layers, Sequential) or not layers.layers:
        return layers, Identity()
    *body, last = layers.layers
    if isinstance(last, Activation):
        new: Layer = Activation(Identity())
        function: Any = last.function
    elif isinstance(last, Dense):
        new, function = dataclasses.replace(last, activation=None), last.activation
    else:
        return layers, Identity()
    return dataclasses.replace(layers, layers=[*body, new]), function
