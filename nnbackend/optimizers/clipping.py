"""Clipping: gradients that are too large are made smaller before the update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.backends.base import namespace
from nnbackend.core.checks import set_positive
from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.numbers import Number, Numbers
from nnbackend.optimizers.wrapper import WRAPPERS, Wrapper

__all__ = ["Clipped"]


@WRAPPERS.register("clipped")
@dataclass(frozen=True)
class Clipped(Wrapper):
    """Clip gradients before the update, by the norm of all of them together or one by one.

    By norm: ``g *= min(1, norm / ||g||)``, where ``||g||`` is the root of the sum of squares over all
    parameters, so that the direction stays. By value: ``g = min(max(g, -value), value)``. What is
    clipped is the gradient of the whole batch, penalties of regularizers included; weight decay, which
    is the optimizer's, is not. With a gradient so large that its norm overflows the step is 0 or, if
    a number of it is infinite, not a number.

    Args:
        optimizer: the optimizer that makes the update, an object or a name.
        norm: the largest norm allowed; None (the default): no limit.
        value: the largest absolute value allowed; None (the default): no limit. Give one of the two;
            for both, nest.

    Raises:
        ValueError: neither or both of ``norm`` and ``value`` are given, or they are not positive.

    Source: Pascanu, Mikolov, Bengio (2013), On the difficulty of training recurrent neural networks,
    algorithm 1; PyTorch's ``clip_grad_norm_`` and ``clip_grad_value_``.

    >>> import numpy as np
    >>> from nnbackend.optimizers import SGD
    >>> optimizer = Clipped(SGD(0.1), norm=1.0)
    >>> params, grads = {"weight": np.zeros(2)}, {"weight": np.array([3.0, 4.0])}
    >>> optimizer.update(params, grads, optimizer.init(params))[0]["weight"]
    array([-0.06, -0.08])
    """

    data = ("norm", "value")

    norm: float | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.norm is None) == (self.value is None):
            raise ValueError(
                "Clipped takes either norm=, the largest norm of all gradients together, or value=, "
                "the largest value of each"
            )
        set_positive(self, "value" if self.norm is None else "norm")

    @property
    def _number(self) -> str:
        """The name of the limit: another one for each that is nested in another."""
        kind, depth = "clip_norm" if self.value is None else "clip_value", 0
        inner = self.inner
        while isinstance(inner, Wrapper):
            depth += isinstance(inner, Clipped)
            inner = inner.inner
        return f"{kind}_{depth}" if depth else kind

    def numbers(self, step: Any) -> dict[str, Number]:
        limit = self.norm if self.value is None else self.value
        return {**self.inner.numbers(step), self._number: limit}

    def transform_gradients(self, grads: dict[str, Array], h: Numbers) -> dict[str, Array]:
        xp, limit = namespace(next(iter(grads.values()))), getattr(h, self._number)
        if self.value is not None:
            clipped = {k: xp.maximum(xp.minimum(g, limit), -limit) for k, g in grads.items()}
        else:
            factor = limit / xp.maximum(global_norm(grads, xp), limit)
            clipped = {name: g * factor for name, g in grads.items()}
        return self.inner.transform_gradients(clipped, h)


def global_norm(grads: dict[str, Array], xp: Namespace) -> Array:
    """Return the root of the sum of squares of all numbers, as an array of no axes."""
    first, *others = grads.values()
    total = xp.sum(first * first)
    for array in others:
        total = total + xp.sum(array * array)
    return xp.sqrt(total)
