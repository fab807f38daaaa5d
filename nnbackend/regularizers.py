"""Regularizers: penalties on the weights of a layer that are part of the loss.

A layer has one in its description, ``Dense(64, regularizer=L2(1e-4))``, and it applies to the layer's
parameter called ``weight``; biases are left alone. ``value, gradient = regularizer(weight)``.

The penalties of all layers are added to the loss and minimized with it. They are in every ``loss`` that
``fit``, ``partial_fit`` and ``evaluate`` report, also that on validation data; they are not divided by
the number of rows. Your own training loop adds them with :func:`penalized`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from nnbackend.backends.base import namespace
from nnbackend.core.checks import set_number
from nnbackend.core.layer_tree import weights_with
from nnbackend.core.registry import Registry
from nnbackend.core.tree import at, flatten, unflatten
from nnbackend.core.types import Array, Layer, Params
from nnbackend.errors import given

__all__ = [
    "L1",
    "L2",
    "REGULARIZERS",
    "ElasticNet",
    "PerRowL2",
    "Regularizer",
    "Terms",
    "get",
    "penalized",
    "penalty",
    "terms",
]

Regularizer: TypeAlias = Callable[[Array], tuple[Array, Array]]
"""``regularizer(weight) -> (value, gradient)``; any such function works."""

Terms: TypeAlias = tuple[tuple[str, Regularizer], ...]
"""Regularizers, each with the dotted name of the parameter that it applies to."""

REGULARIZERS = Registry("regularizer")


def get(spec: str | Regularizer | None) -> Regularizer | None:
    """Return the regularizer that ``spec`` names; None stands for no regularizer."""
    return None if spec is None else REGULARIZERS.get(spec)


@REGULARIZERS.register("l1")
@dataclass(frozen=True)
class L1:
    """``strength * sum(|w|)``; the gradient is ``strength * sign(w)``, 0 at 0.

    Weights that do not help become small, and jump around 0 by the size of a step.

    Args:
        strength: the factor of the penalty, at least 0; default 0.01.

    Raises:
        ValueError: ``strength`` is out of range.

    Source: Tibshirani (1996), the lasso, Journal of the Royal Statistical Society B 58.
    """

    strength: float = 0.01

    def __post_init__(self) -> None:
        set_number(self, "strength", 0.0)

    def __call__(self, weight: Array) -> tuple[Array, Array]:
        xp = namespace(weight)
        return self.strength * xp.sum(xp.abs(weight)), self.strength * xp.sign(weight)


@REGULARIZERS.register("l2")
@dataclass(frozen=True)
class L2:
    """``strength * sum(w**2)``; the gradient is ``2 * strength * w``.

    As in Keras there is no factor 1/2: for plain gradient descent ``L2(c)`` on all weights is
    ``SGD(weight_decay=2 * c)`` that leaves out the biases. ``AdamW``'s decay is something else.

    Args:
        strength: the factor of the penalty, at least 0; default 0.01.

    Raises:
        ValueError: ``strength`` is out of range.

    Source: Hoerl, Kennard (1970), ridge regression, Technometrics 12.
    """

    strength: float = 0.01

    def __post_init__(self) -> None:
        set_number(self, "strength", 0.0)

    def __call__(self, weight: Array) -> tuple[Array, Array]:
        xp = namespace(weight)
        return self.strength * xp.sum(weight * weight), 2.0 * self.strength * weight


@REGULARIZERS.register("elastic_net")
@dataclass(frozen=True)
class ElasticNet:
    """L1 and L2 together: ``l1 * sum(|w|) + l2 * sum(w**2)``.

    The gradient is ``l1 * sign(w) + 2 * l2 * w``.

    Args:
        l1: the factor of the sum of absolute weights, at least 0; default 0.01.
        l2: the factor of the sum of squared weights, at least 0; default 0.01.

    Raises:
        ValueError: a factor is out of range.

    Source: Zou, Hastie (2005), Journal of the Royal Statistical Society B 67.
    """

    l1: float = 0.01
    l2: float = 0.01

    def __post_init__(self) -> None:
        set_number(self, "l1", 0.0)
        set_number(self, "l2", 0.0)

    def __call__(self, weight: Array) -> tuple[Array, Array]:
        absolute, sign = L1(self.l1)(weight)
        square, linear = L2(self.l2)(weight)
        return absolute + square, sign + linear


@dataclass(frozen=True)
class PerRowL2:
    """``strength / 2 * sum(w**2) / rows`` over weights; its gradient is ``strength / rows * w``.

    ``rows`` is the number of rows of a batch, or the sum of their weights: so a penalty on the sum of
    the rows' losses is divided as their mean is. scikit-learn's ``alpha`` is such a strength.

    Args:
        strength: the factor of the penalty, 0 or more.
        weights: the paths of the penalized parameters.
    """

    per_row: ClassVar[bool] = True

    strength: float
    weights: tuple[tuple[str, ...], ...]

    def add_to(
        self, value: Array, grads: Params, params: Params, rows: Any, strength: Any = None
    ) -> tuple[Array, Params]:
        """Return the mean loss of ``rows`` rows and its gradients with the penalty added.

        Args:
            value: the mean loss.
            grads: its gradients, which are consumed.
            params: the parameters.
            rows: the number of rows, or the sum of their weights.
            strength: replaces the penalty's own strength, as data of a compiled step; default None.
        """
        share = self.strength if strength is None else strength
        if not isinstance(rows, int | float):  # the sum of weights, which may all be 0
            xp = namespace(rows)
            share, rows = xp.where(rows > 0.0, share, 0.0), xp.where(rows > 0.0, rows, 1.0)
        share = share / rows
        for path in self.weights:
            w, tree = at(params, path), grads
            for name in path[:-1]:
                tree = tree.get(name, {})
            xp = namespace(w)
            flat = xp.reshape(w, (-1,))
            value = value + (0.5 * share) * xp.vecdot(flat, flat)
            if path[-1] in tree:  # that of a frozen layer is not computed
                tree[path[-1]] += share * w  # an array that the backward pass made
        return value, grads


def terms(layers: Layer) -> Terms:
    """Return the regularizers of a layer and of all layers inside it, by the name of their weight."""
    return weights_with("regularizer", layers)


def penalty(terms: Terms, params: Params) -> Array | float:
    """Return the sum of all penalties."""
    flat = flatten(params)
    return sum((regularizer(flat[name])[0] for name, regularizer in terms), 0.0)


def penalized(terms: Terms, params: Params, value: Array, grads: Params) -> tuple[Array, Params]:
    """Return a loss and its gradients with the penalties added.

    Args:
        terms: the regularizers, from :func:`terms`.
        params: the parameters, nested by layer.
        value: the loss without penalties.
        grads: its gradients, nested as ``params``; a frozen parameter may be missing.

    Returns:
        the loss and the gradients, both new.

    ``terms = regularizers.terms(net.layers)``, and in each step, before the update,
    ``value, grads = regularizers.penalized(terms, net.params, value, grads)``.
    """
    flat, flat_grads = flatten(params), flatten(grads)
    for name, regularizer in terms:
        found = regularizer(flat[name])
        try:
            more, gradient = found
        except (TypeError, ValueError):
            raise TypeError(
                f"the regularizer of {name} returns (penalty, gradient); got {given(found)}"
            ) from None
        value = value + more
        if name in flat_grads:  # that of a frozen layer is not computed
            flat_grads[name] = flat_grads[name] + gradient
    return value, unflatten(flat_grads, grads)
