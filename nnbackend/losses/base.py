"""The base of losses: names, traits and the weighted mean."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeAlias

from nnbackend.backends.base import namespace
from nnbackend.core import functional
from nnbackend.core.registry import Registry
from nnbackend.core.tree import map_arrays
from nnbackend.core.types import Array, Arrays, Namespace
from nnbackend.losses.preconditions import call_unchecked, check_arguments, kind_of

__all__ = [
    "LOSSES",
    "CombinedLoss",
    "Loss",
    "LossFunction",
    "absorbed_activation",
    "check_nesting",
    "get",
    "is_registered",
    "parts",
    "trait",
    "unchecked",
    "weighs_rows",
]

Loss: TypeAlias = Callable[..., tuple[Array, Array]]
"""``loss(prediction, target, sample_weight=None) -> (value, dy)``; any such function works."""

LOSSES = Registry("loss")
get: Callable[[str | Loss], Loss] = LOSSES.get


@dataclass(frozen=True)
class LossFunction(ABC):
    """The base of losses: the weighted mean of the losses of outputs or of rows, and its gradient.

    A subclass gives ``terms``, and says in its class what it takes and what it contains.
    """

    absorbs: ClassVar[str | None] = None
    """The name of the output activation that the loss contains."""

    refuses: ClassVar[tuple[str, ...]] = ()
    """The names of the output activations that make no sense before it."""

    targets: ClassVar[str] = "numbers"
    """The kind of targets: ``"numbers"``, ``"counts"`` (0 or more), ``"fractions"`` (0 to 1),
    ``"classes"`` or ``"distributions"`` (class numbers, or rows of probabilities that sum to 1),
    ``"one_hot"`` (the same, and a row is zeros and a one) or ``"signs"`` (-1 and 1)."""

    outputs: ClassVar[str | None] = None
    """The meaning of outputs to a metric, where the activation does not tell."""

    fewest_outputs: ClassVar[int] = 1
    """The smallest number of outputs."""

    factor: ClassVar[float] = 1.0
    """A factor of the derivative that ``terms`` leaves out, to spare a pass over the outputs."""

    @abstractmethod
    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        """Return the loss of each output, or of each row, and its derivative by the prediction.

        Args:
            prediction: of shape (rows, ..., outputs).
            target: of the same shape; class numbers have become one-hot rows.
            xp: the array namespace.

        Returns:
            two new arrays, of shape (rows, ..., outputs) or (rows, ...), and of the prediction's shape.
        """

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Array]:
        """Return the mean and its gradient with respect to the prediction.

        Raises:
            ValueError: shapes differ, or values are not what the loss takes. Those of an array on a
                device, or in a function that is traced, are not looked at.
        """
        try:
            shape, found = tuple(prediction.shape), tuple(target.shape)
        except (AttributeError, TypeError):  # classes have a shape that is none
            message = "a loss takes arrays; make arrays of lists by np.asarray, for instance"
            raise TypeError(message) from None
        kind = kind_of(self.targets)
        numbered = kind.classes and len(found) == len(shape) - 1
        if found != (shape[:-1] if numbered else shape):  # which broadcasting would hide
            raise ValueError(
                f"prediction and target must have the same shape, got {tuple(shape)} and {tuple(found)}"
            )
        if 0 in shape:
            raise ValueError(f"there is no mean of no rows, got shape {tuple(shape)}")
        check_arguments(kind, target, shape[-1] if shape else 1, numbered, sample_weight)
        return self.compute(prediction, target, sample_weight)

    def compute(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Array]:
        """Return the same for arguments that were checked before."""
        xp = namespace(prediction)
        if target.ndim < prediction.ndim:
            target = functional.one_hot(target, prediction.shape[-1], prediction.dtype, xp)
        terms, dy = self.terms(prediction, target, xp)
        value, scale = self.mean(terms, sample_weight, xp)
        if self.factor != 1.0:
            scale = self.factor * scale
        dy *= scale if sample_weight is None or terms.ndim == dy.ndim else scale[..., None]
        return value, dy

    def mean(self, terms: Array, sample_weight: Array | None, xp: Namespace) -> tuple[Array, Any]:
        """Return the weighted mean over rows and outputs, and each number's factor in it.

        Args:
            terms: the losses, of shape (rows, ...).
            sample_weight: how much each row counts, of shape (rows,); None: all count 1.
            xp: the array namespace.

        Returns:
            the mean, an array of no axes, and for the gradient the factor of each number, a float, or
            an array of shape (rows, 1, ...).
        """
        shape = terms.shape
        if sample_weight is None:
            scale = 1.0 / math.prod(shape)
            return xp.sum(terms) * scale, scale
        weight = xp.reshape(sample_weight, (shape[0],) + (1,) * (len(shape) - 1))
        total = xp.sum(weight)
        # A batch of zero weights has loss zero and no gradient, not NaN.
        weight = weight / (xp.where(total > 0.0, total, 1.0) * math.prod(shape[1:]))
        return xp.sum(terms * weight), weight


class CombinedLoss(ABC):
    """The base of losses that are made of others."""

    @property
    @abstractmethod
    def parts(self) -> tuple[Loss, ...]:
        """The losses that it is made of."""

    @abstractmethod
    def __call__(
        self, prediction: Arrays, target: Arrays, sample_weight: Array | None = None
    ) -> tuple[Array, Arrays]:
        """Return the value and the gradient at the prediction."""


def parts(loss: Loss) -> tuple[Loss, ...]:
    """Return the losses that a loss is made of, or it alone."""
    return loss.parts if isinstance(loss, CombinedLoss) else (loss,)


def is_registered(loss: Loss) -> bool:
    """Return whether a loss, and what it is made of, has a name."""
    return all(LOSSES.name_of(part) is not None for part in parts(loss))


def trait(loss: Loss, name: str) -> Any:
    """Return an attribute of a loss, one of :class:`nnbackend.losses.base.LossFunction`'s.

    A plain function has the default.
    """
    return getattr(loss, name, getattr(LossFunction, name))


def unchecked(loss: Loss) -> Loss:
    """Return a loss for data that were checked; within a user's function the library's check no more.

    A step is also tried on numbers that are no data, to see whether its recording does the same.
    """
    if isinstance(loss, LossFunction) and type(loss).__call__ is LossFunction.__call__:
        return loss.compute
    return partial(call_unchecked, loss)


def check_nesting(loss: Loss, outputs: Arrays, targets: Arrays, error: Exception) -> None:
    """Raise a ValueError if a loss failed with ``error`` and targets are nested unlike the outputs."""
    here, there = (map_arrays(lambda _: "array", tree) for tree in (outputs, targets))
    if here != there:
        name = LOSSES.name_of(loss) or getattr(loss, "__name__", repr(loss))
        raise ValueError(
            f"y is nested as {there} and the network's outputs as {here}; the loss {name} fails for "
            f"them: {type(error).__name__}: {error}"
        ) from error


def weighs_rows(loss: Loss) -> bool:
    """Return whether a loss surely is a weighted mean, in which rows of weight 0 do not count."""
    if isinstance(loss, CombinedLoss):
        return all(map(weighs_rows, loss.parts))
    kind: Any = type(loss)
    if kind.__module__.startswith("nnbackend."):
        return True
    return isinstance(loss, LossFunction) and all(
        getattr(kind, name) is getattr(LossFunction, name)
        for name in ("__call__", "compute", "mean")
    )


def absorbed_activation(loss: Loss) -> str | None:
    """Return the name of the output activation that the loss contains, if any."""
    name: str | None = trait(loss, "absorbs")
    return name
