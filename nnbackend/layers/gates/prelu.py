"""A rectifier whose slope for negative inputs is learned."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.core import functional
from nnbackend.core.checks import set_number, set_size
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.initializers import Ones
from nnbackend.layers.base import register_layer
from nnbackend.layers.spatial import set_channels

__all__ = ["PReLU"]


@register_layer
@dataclass(frozen=True)
class PReLU:
    """A rectifier with a learned slope: ``y = x`` where ``x > 0``, else ``weight * x``.

    The shapes of ``x`` and ``y`` are the same; ``weight`` has the shape (count,)::

        dweight = sum of dy * min(x, 0) over all that share a slope
        dx      = dy where x > 0, else weight * dy

    A decay of weights would draw slopes to 0, and the layer to a ReLU: the paper trains it without, as
    ``Grouped(optimizer, decay="weights")`` does.

    Args:
        count: the number of slopes: 1 (the default), shared by all, or one for each channel.
        initial: the slope at the beginning; default 0.25.
        channels: where channels are: ``"last"`` (the default) or ``"first"``, behind the batch.

    Raises:
        ValueError: an argument is out of range; or, when the network is built, ``count`` is neither 1
            nor the number of channels.

    Source: He, Zhang, Ren, Sun (2015), arXiv:1502.01852.
    """

    count: int = 1
    initial: float = 0.25
    channels: str = "last"

    def __post_init__(self) -> None:
        set_size(self, "count")
        set_number(self, "initial")
        set_channels(self)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` (count,), and the shape of the input."""
        if self.count > 1:
            found = input_shape[0 if self.channels == "first" else -1] if input_shape else 0
            if found != self.count:
                raise ValueError(
                    f"PReLU({self.count}) has a slope for each of {self.count} channels, and rows of "
                    f"shape {input_shape} have {found} (channels={self.channels!r})"
                )
        ones = rng.draw(Ones(), (self.count,), "weight")
        return {"weight": self.initial * ones}, input_shape

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``max(x, 0) + weight * min(x, 0)``."""
        xp, axes = ctx.xp, len(x.shape)
        channel = 1 if self.channels == "first" else axes - 1
        shape = [self.count if axis == channel else 1 for axis in range(axes)]
        slope = xp.reshape(params["weight"], tuple(shape))
        low = xp.minimum(x, 0.0)
        y = slope * low
        y += xp.maximum(x, 0.0)

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            shared = tuple(axis for axis in range(axes) if self.count == 1 or axis != channel)
            total = functional.total(dy * low, xp, shared, ctx.backend.dtype)
            grads = {"weight": xp.astype(xp.reshape(total, (self.count,)), dy.dtype, copy=False)}
            if not input_grad:
                return None, grads
            above = xp.astype(x > 0.0, x.dtype)
            dx = slope * (1.0 - above)
            dx += above
            dx *= dy
            return dx, grads

        return y, backward
