"""Clipping: gradients that are too large are made smaller before the update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.backends.base import namespace
from nnbackend.core.checks import set_positive
from nnbackend.core.tree import leaves, tree_map
from nnbackend.core.types import Array, Params
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
        optimizer: what makes the update, an object or a name.
        norm: the largest norm allowed.
        value: the largest absolute value allowed. Give one of the two; for both, nest.

    Raises:
        ValueError: neither or both of ``norm`` and ``value`` are given, or they are not positive.

    Source: Pascanu, Mikolov, Bengio (2013), On the difficulty of training recurrent neural networks,
    algorithm 1; PyTorch's ``clip_grad_norm_`` and ``clip_grad_value_``.
    """

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

    def gradients(self, grads: Params) -> Params:
        """Return the clipped gradients."""
        return self.inner.gradients(self._clipped(grads))

    def apply(
        self, params: Params, grads: Params, slots: Params, scalars: tuple[Any, ...]
    ) -> tuple[Params, Params]:
        """Apply the optimizer inside to the clipped gradients."""
        return self.inner.apply(params, self._clipped(grads), slots, scalars)

    def _clipped(self, grads: Params) -> Params:
        xp = namespace(leaves(grads)[0])
        value = self.value
        if value is not None:
            return tree_map(lambda g: xp.maximum(xp.minimum(g, value), -value), grads)
        factor = self.norm / xp.maximum(global_norm(grads), self.norm)
        return tree_map(lambda g: g * factor, grads)


def global_norm(tree: Params) -> Array:
    """Return the root of the sum of squares of all numbers, as an array of no axes."""
    arrays = leaves(tree)
    xp = namespace(arrays[0])
    total = xp.sum(arrays[0] * arrays[0])
    for array in arrays[1:]:
        total = total + xp.sum(array * array)
    return xp.sqrt(total)
