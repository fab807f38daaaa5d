"""Gated linear units: one half of the channels is multiplied by a function of the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend.activations import GELU, ActivationFunction, ReLU, Sigmoid, SiLU
from nnbackend.core.checks import check_choice
from nnbackend.core.types import Array, Context, Shape
from nnbackend.layers.base import Parameterless, register_layer
from nnbackend.layers.spatial import set_channels

__all__ = ["GEGLU", "GLU", "ReGLU", "SwiGLU"]


@dataclass(frozen=True)
class Gated(Parameterless):
    """The base: ``y = a * f(b)`` for the halves ``[a b] = x`` of the channels."""

    channels: str = "last"
    gate: ClassVar[Any]

    def __post_init__(self) -> None:
        set_channels(self)

    def function(self) -> ActivationFunction:
        """Return ``f``."""
        function: ActivationFunction = self.gate
        return function

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape with half the channels.

        Raises:
            ValueError: the number of channels is odd.
        """
        place = 0 if self.channels == "first" else len(input_shape) - 1
        if not input_shape or input_shape[place] % 2:
            raise ValueError(
                f"{type(self).__name__} splits the channels into two halves, so their number must be "
                f"even; rows have shape {input_shape} (channels={self.channels!r})"
            )
        return (*input_shape[:place], input_shape[place] // 2, *input_shape[place + 1 :])

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Return ``a * f(b)``."""
        xp = ctx.xp
        axis = 1 if self.channels == "first" else len(x.shape) - 1
        before, half = (slice(None),) * axis, x.shape[axis] // 2
        a, b = x[(*before, slice(half), ...)], x[(*before, slice(half, None), ...)]
        opened, gate_backward = self.function()(b, ctx)

        def backward(dy: Array) -> Array:
            return xp.concat([dy * opened, gate_backward(dy * a)], axis=axis)

        return a * opened, backward


@register_layer
@dataclass(frozen=True)
class GLU(Gated):
    """A gated linear unit: ``y = a * sigmoid(b)`` for the halves ``[a b] = x`` of the channels.

    (..., 2 n) -> (..., n). The first half is gated, the second is the gate, as in torch's ``GLU``:
    ``da = dy * sigmoid(b)``, ``db = dy * a * sigmoid'(b)``. Put it behind a layer with twice the
    outputs, whose weight is then ``[V W]`` of Shazeer's ``sigmoid(x W) * (x V)``, who writes the gate
    first.

    Args:
        channels: where channels are: ``"last"`` (the default) or ``"first"``, behind the batch.

    Raises:
        ValueError: when the network is built, if the number of channels is odd.

    Source: Dauphin, Fan, Auli, Grangier (2017), arXiv:1612.08083.
    """

    gate: ClassVar[Any] = Sigmoid()


@register_layer
@dataclass(frozen=True)
class SwiGLU(Gated):
    """:class:`GLU` with SiLU for the sigmoid: ``y = a * silu(b)`` for the halves ``[a b] = x``.

    (..., 2 n) -> (..., n). The second half is the gate. Weights of a model whose gate comes first
    (``silu(gate) * up`` with ``[gate up]``) have their halves swapped.

    Args:
        channels: where channels are: ``"last"`` (the default) or ``"first"``, behind the batch.

    Raises:
        ValueError: when the network is built, if the number of channels is odd.

    Source: Shazeer (2020), arXiv:2002.05202.
    """

    gate: ClassVar[Any] = SiLU()


@register_layer
@dataclass(frozen=True)
class GEGLU(Gated):
    """:class:`GLU` with GELU for the sigmoid: ``y = a * gelu(b)`` for the halves ``[a b] = x``.

    (..., 2 n) -> (..., n). The second half is the gate.

    Args:
        channels: where channels are: ``"last"`` (the default) or ``"first"``, behind the batch.
        approximate: the form of GELU: ``"none"`` (the default) for the exact one, or ``"tanh"``.

    Raises:
        ValueError: ``approximate`` is something else; or, when the network is built, the number of
            channels is odd.

    Source: Shazeer (2020), arXiv:2002.05202.
    """

    approximate: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("approximate", self.approximate, ("none", "tanh"))

    def function(self) -> ActivationFunction:
        """Return GELU."""
        return GELU(self.approximate)


@register_layer
@dataclass(frozen=True)
class ReGLU(Gated):
    """:class:`GLU` with ReLU for the sigmoid: ``y = a * max(b, 0)`` for the halves ``[a b] = x``.

    (..., 2 n) -> (..., n). The second half is the gate.

    Args:
        channels: where channels are: ``"last"`` (the default) or ``"first"``, behind the batch.

    Raises:
        ValueError: when the network is built, if the number of channels is odd.

    Source: Shazeer (2020), arXiv:2002.05202.
    """

    gate: ClassVar[Any] = ReLU()
