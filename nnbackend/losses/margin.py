"""Hinge losses: zero for a prediction that is right by a margin of 1."""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import device

from nnbackend.core.types import Array, Namespace
from nnbackend.losses.base import LOSSES, LossFunction

__all__ = [
    "CategoricalHinge",
    "Hinge",
    "SquaredHinge",
    "categorical_hinge",
    "hinge",
    "squared_hinge",
]

PROBABILITIES = ("sigmoid", "softmax", "log_softmax", "sparsemax", "hardsigmoid", "logsigmoid")
"""The activations whose outputs are probabilities, or their logarithms, and no scores."""


@LOSSES.register("hinge")
@dataclass(frozen=True)
class Hinge(LossFunction):
    """The loss of a linear support vector machine, for targets ``t`` of -1 and 1.

    ``mean(max(0, 1 - t * z))`` of the outputs ``z``; ``dy`` is ``-t / n`` where that is positive, and 0
    elsewhere. ``Network.fit`` takes targets of 0 and 1 as well. The prediction is positive where
    ``z > 0``.

    >>> z, t = np.array([[0.5], [1.0]]), np.array([[1.0], [-1.0]])
    >>> value, dy = Hinge()(z, t)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (1.25, [[-0.5], [0.5]])

    Source: Cortes, Vapnik (1995), Machine Learning 20.
    """

    refuses = PROBABILITIES
    targets = "signs"
    outputs = "margins"

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        short = 1.0 - target * prediction
        return xp.maximum(short, 0.0), -target * xp.astype(short > 0.0, prediction.dtype)


@LOSSES.register("squared_hinge")
@dataclass(frozen=True)
class SquaredHinge(LossFunction):
    """The hinge loss squared, and so without a kink, for targets ``t`` of -1 and 1.

    ``mean(max(0, 1 - t * z)**2)`` of the outputs ``z``; ``dy = -2 t max(0, 1 - t * z) / n``. The rest is
    as for :class:`Hinge`.

    >>> z, t = np.array([[0.5], [1.0]]), np.array([[1.0], [-1.0]])
    >>> value, dy = SquaredHinge()(z, t)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (2.125, [[-0.5], [2.0]])

    Source: Lee, Mangasarian (2001), Computational Optimization and Applications 20.
    """

    refuses = PROBABILITIES
    targets = "signs"
    outputs = "margins"

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        short = xp.maximum(1.0 - target * prediction, 0.0)
        return short * short, -2.0 * target * short


@LOSSES.register("categorical_hinge")
@dataclass(frozen=True)
class CategoricalHinge(LossFunction):
    """The hinge loss of several classes: the true one has to lead every other by 1.

    ``mean(max(0, 1 + max(z of the others) - z of the true class))`` over the samples, for outputs ``z``
    of shape (batch, classes); where that is positive, ``dy`` is ``1 / batch`` at the largest of the
    others (the first of them in a tie) and ``-1 / batch`` at the true class. The target is a class
    number or a one-hot row. The predicted class is that of the largest output.

    >>> z, t = np.array([[1.0, 0.5, 0.0]]), np.array([0])
    >>> value, dy = CategoricalHinge()(z, t)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (0.5, [[-1.0, 1.0, 0.0]])

    Source: Crammer, Singer (2001), JMLR 2.
    """

    refuses = PROBABILITIES
    targets = "one_hot"
    outputs = "scores"
    fewest_outputs = 2

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        lowest = float(xp.finfo(prediction.dtype).min)
        others = xp.where(target > 0.5, lowest, prediction)
        short = 1.0 + xp.max(others, axis=-1) - xp.vecdot(target, prediction)
        numbers = xp.arange(prediction.shape[-1], device=device(prediction))
        rival = numbers == xp.argmax(others, axis=-1, keepdims=True)
        dy = xp.astype(rival, prediction.dtype) - target
        dy *= xp.astype(short > 0.0, prediction.dtype)[..., None]
        return xp.maximum(short, 0.0), dy


hinge = Hinge()
squared_hinge = SquaredHinge()
categorical_hinge = CategoricalHinge()
