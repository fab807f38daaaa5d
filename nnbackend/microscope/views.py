"""The layers as the microscope shows them: a layer and the activation behind it are one view."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from nnbackend import activations
from nnbackend.activations import Identity
from nnbackend.core.types import Layer
from nnbackend.inspection.layer_text import describe_layer
from nnbackend.inspection.observe import Passage
from nnbackend.layers import (
    Activation,
    AlphaDropout,
    Conv2D,
    Dense,
    Dropout,
    FeatureScale,
    GaussianNoise,
    ParametricActivation,
    ScaledDense,
    Sequential,
)

__all__ = ["View", "find_views", "function_text"]


@dataclass(frozen=True, eq=False)
class View:
    """A layer as it is shown, with the activation that follows it if it has none of its own.

    Attributes:
        path: the place of the layer, a dotted name.
        end: the place of what gives the result: the layer, or the activation that follows.
        layer: the layer that ran.
        text: the layer as text.
        function: the activation; None: the layer has none.
        absorbed: the activation that did not run, since the loss contains it, as text; "" for none.
        first: the passage of the layer.
        last: the passage of what gives the result.
    """

    path: str
    end: str
    layer: Layer
    text: str
    function: Any
    absorbed: str
    first: Passage
    last: Passage

    @property
    def is_dense(self) -> bool:
        """Whether each unit is a sum over a vector: its formula can be written."""
        return type(self.layer) in (Dense, ScaledDense) and len(self.first.x.shape) == 2

    @property
    def divisor(self) -> str:
        """What the sum of a unit is divided by before its bias is added, as text; "" for nothing."""
        return f"sqrt({self.first.x.shape[-1]})" if isinstance(self.layer, ScaledDense) else ""

    @property
    def has_feature_weights(self) -> bool:
        """Whether it takes each number of a vector by itself, with a weight of its own."""
        own = type(self.layer) in (FeatureScale, ParametricActivation)
        return own and len(self.first.x.shape) == 2

    @property
    def is_one_to_one(self) -> bool:
        """Whether it is known to take each number by itself."""
        plain = isinstance(self.layer, Activation | Dropout | AlphaDropout | GaussianNoise)
        return plain or self.has_feature_weights

    @property
    def is_convolution(self) -> bool:
        """Whether each output is a sum over a window of an image, of which formulas are written."""
        layer: Any = self.layer
        return type(layer) is Conv2D and layer.groups == 1 and layer.padding_mode == "zeros"

    @property
    def function_name(self) -> str:
        """The activation as text; "" for none."""
        return "" if self.function is None else function_text(self.function)


def find_views(layers: Layer, passages: list[Passage]) -> list[View]:
    """Return the layers of a network as they are shown, in the order of the forward pass.

    Args:
        layers: the network's layers, with all activations.
        passages: what went through them.
    """
    originals = dict(_leaves(layers))
    views: list[View] = []
    for passage in passages:
        layer: Any = passage.layer
        if type(layer) is Sequential:
            continue
        original = originals.get(passage.path, layer)
        if isinstance(layer, Activation) and views and _waits(views[-1], passage):
            views[-1] = _with_activation(views[-1], passage, original)
            continue
        function = layer.function if isinstance(layer, Activation) else None
        if isinstance(layer, Dense | Conv2D) and not isinstance(layer.activation, Identity):
            function = layer.activation
        absorbed = _absorbed(original, layer)
        text = _layer_text(layer)
        path = passage.path
        views.append(View(path, path, layer, text, function, absorbed, passage, passage))
    if views:
        absorbed = views[-1].absorbed or _left_out(originals, passages)
        text = f"{views[-1].text}, {absorbed} in the loss" if absorbed else views[-1].text
        views[-1] = dataclasses.replace(views[-1], absorbed=absorbed, text=text)
    return views


def _leaves(layer: Any, prefix: str = "") -> Any:
    """Yield the places and layers of nested Sequentials."""
    for i, child in enumerate(getattr(layer, "layers", ())):
        if type(child) is Sequential:
            yield from _leaves(child, f"{prefix}{i}.")
        else:
            yield f"{prefix}{i}", child


def _layer_text(layer: Any) -> str:
    """Return a layer as text; of one of sums its size and its activation alone."""
    if type(layer) is ParametricActivation:
        return f"ParametricActivation({function_text(layer.function) or 'identity'})"
    if isinstance(layer, ScaledDense):
        members = "" if layer.members is None else f", members={layer.members}"
        return f"ScaledDense({layer.out_features}{members})"
    if not isinstance(layer, Dense | Conv2D):
        return describe_layer(layer)
    size = str(layer.out_features if isinstance(layer, Dense) else layer.out_channels)
    if isinstance(layer, Conv2D):
        size += ", " + "\u00d7".join(map(str, layer.kernel_size))  # type: ignore[arg-type]
    parts = [size, function_text(layer.activation)]
    return f"{type(layer).__name__}({', '.join(filter(None, parts))})"


def _waits(view: View, passage: Passage) -> bool:
    """Return whether a view is a layer of sums that has no activation, directly before."""
    sums = isinstance(view.layer, Dense | ScaledDense | Conv2D) and view.function is None
    return sums and view.end == view.path and passage.x is view.last.y


def _with_activation(view: View, passage: Passage, original: Any) -> View:
    function = passage.layer.function  # type: ignore[attr-defined]
    name = function_text(function)
    text = f"{view.text} \u2192 {name}" if name else view.text
    own = None if isinstance(function, Identity) else function
    absorbed = _absorbed(original, passage.layer)
    return dataclasses.replace(
        view, end=passage.path, text=text, function=own, absorbed=absorbed, last=passage
    )


def _absorbed(original: Any, ran: Any) -> str:
    """Return the activation of a layer that did not run, as text."""
    for name in ("activation", "function"):
        before, now = getattr(original, name, None), getattr(ran, name, None)
        if before is not None and function_text(before) != function_text(now):
            return function_text(before)
    return ""


def _left_out(originals: dict[str, Any], passages: list[Passage]) -> str:
    """Return the activation layer at the end that did not run, as text."""
    ran = {passage.path for passage in passages}
    left = [layer for path, layer in originals.items() if path not in ran]
    return function_text(left[-1].function) if left and isinstance(left[-1], Activation) else ""


def function_text(function: Any) -> str:
    """Return an activation as text; "" for the identity."""
    if function is None or isinstance(function, Identity):
        return ""
    return activations.name_of(function) or describe_layer(Activation(function))[11:-1]
