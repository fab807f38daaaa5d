"""The base of losses: names, traits and the weighted mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from nnbackend.backends.base import namespace
from nnbackend.core import functional
from nnbackend.core.registry import Registry
from nnbackend.core.types import Array, Namespace
from nnbackend.errors import given

__all__ = [
    "LOSSES",
    "Loss",
    "absorbed_activation",
    "check",
    "check_classes",
    "get",
    "mean",
    "per_row",
    "trait",
]

Loss: TypeAlias = Callable[..., tuple[Array, Array]]
"""``loss(prediction, target, sample_weight=None) -> (value, dy)``; any such function works."""

LOSSES = Registry("loss")

_DEFAULT_TRAITS: dict[str, Any] = {
    "absorbs": None,  # the output activation that the loss contains
    "refuses": (),  # output activations that make no sense before it
    "targets": "numbers",  # the kind of targets; see nnbackend.data.targets
    "outputs": None,  # the meaning of outputs, where the activation does not tell; see metrics
    "fewest_outputs": 1,
}


def get(spec: str | Loss) -> Loss:
    """Return the loss that ``spec`` names.

    Raises:
        UnknownNameError: no loss has that name.
        TypeError: ``spec`` is neither a name nor a function.
    """
    loss: Loss = LOSSES.get(spec)
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(f"a loss is a name or a function, got {given(spec)}")
    return loss


def trait(loss: Loss, name: str) -> Any:
    """Return a trait of a loss: its attribute of that name, or the default of a plain function.

    ``"absorbs"``: the name of the output activation that the loss contains, or None. ``"refuses"``: the
    names of those that make no sense before it. ``"targets"``: ``"numbers"``, ``"counts"`` (0 or more),
    ``"fractions"`` (0 to 1), ``"classes"`` (class numbers, or rows of probabilities),
    ``"distributions"`` (the same, and rows sum to 1), ``"one_hot"`` (the same, and a row is zeros and a
    one) or ``"signs"`` (-1 and 1). ``"outputs"``:
    the meaning of outputs to a metric, or None. ``"fewest_outputs"``: the smallest number of outputs.
    """
    return getattr(loss, name, _DEFAULT_TRAITS[name])


def absorbed_activation(loss: Loss) -> str | None:
    """Return the name of the output activation that the loss contains, if any."""
    name: str | None = trait(loss, "absorbs")
    return name


def check(prediction: Array, target: Array) -> Namespace:
    """Return the namespace; refuse shapes that differ, which broadcasting would hide."""
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target must have the same shape, got {tuple(prediction.shape)} "
            f"and {tuple(target.shape)}"
        )
    return namespace(prediction)


def check_classes(prediction: Array, target: Array) -> tuple[Array, Namespace]:
    """Return the target as rows like the prediction's, and the namespace; numbers become one-hot."""
    xp = namespace(prediction)
    if target.ndim == prediction.ndim - 1:
        target = functional.one_hot(target, prediction.shape[-1], prediction.dtype, xp)
    check(prediction, target)
    return target, xp


def mean(per_output: Array, sample_weight: Array | None, xp: Namespace) -> tuple[Array, Any]:
    """Return the weighted mean over rows and outputs, and each number's factor in it.

    Args:
        per_output: the losses, of shape (rows, ...).
        sample_weight: how much each row counts, of shape (rows,); None: all count 1.
        xp: the array namespace.

    Returns:
        the mean, an array of no axes, and the factor of each number, for the gradient: a float, or an
        array of shape (rows, 1, ...).
    """
    shape = per_output.shape
    if sample_weight is None:
        scale = 1.0 / math.prod(shape)
        return xp.sum(per_output) * scale, scale
    weight = xp.reshape(sample_weight, (shape[0],) + (1,) * (len(shape) - 1))
    total = xp.sum(weight)
    # A batch of zero weights has loss zero and no gradient, not NaN.
    weight = weight / (xp.where(total > 0.0, total, 1.0) * math.prod(shape[1:]))
    return xp.sum(per_output * weight), weight


def per_row(scale: Any) -> Any:
    """Return the factors of rows with an axis more, for the numbers in each row."""
    return scale if isinstance(scale, float) else scale[..., None]
