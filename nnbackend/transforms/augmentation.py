"""The transforms of a fit, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.core import functional
from nnbackend.core.checks import check_items
from nnbackend.core.shapes import Shapes, is_shape
from nnbackend.core.types import Arrays, Batch, Context
from nnbackend.errors import given
from nnbackend.losses import LOSSES, Loss, trait
from nnbackend.losses.preconditions import kind_of
from nnbackend.transforms.base import TRANSFORMS, Transform

__all__ = ["Augmentation", "augmentation_for"]


@dataclass(frozen=True)
class Augmentation:
    """The transforms that the batches of a training run go through, in order.

    Attributes:
        transforms: the transforms.
        output_shape: the shape of a row of the network's outputs, for class numbers that are mixed.
    """

    transforms: tuple[Transform, ...]
    output_shape: Shapes

    def apply(self, batch: Batch, ctx: Context) -> Batch:
        """Return the changed batch; each transform has the random key of its place."""
        if any(getattr(t, "mixes_targets", False) for t in self.transforms):
            batch = batch._replace(y=_soft(batch.y, self.output_shape, ctx))
        ctx = ctx.child("augment")
        for number, transform in enumerate(self.transforms):
            batch = transform.apply(batch, ctx.child(str(number)))
            if not isinstance(batch, Batch):
                raise TypeError(
                    f"a transform returns a Batch; {type(transform).__name__} returned {given(batch)}"
                )
        return batch

    def shape_after(self, input_shape: Shapes) -> Shapes:
        """Return the shape of rows of inputs after all transforms.

        Raises:
            ValueError: a transform is not for such inputs.
        """
        for number, transform in enumerate(self.transforms):
            check = getattr(transform, "check", None)
            if check is not None:
                try:
                    input_shape = check(input_shape)
                except ValueError as error:
                    where = f"augment[{number}], {type(transform).__name__}"
                    raise ValueError(f"{where}: {error}") from None
        return input_shape


def augmentation_for(augment: Any, output_shape: Shapes, loss: Loss) -> Augmentation | None:
    """Return the augmentation of a fit; None without transforms.

    Raises:
        TypeError: an entry is no transform.
        ValueError: a transform mixes targets, and the loss does not take such.
    """
    if isinstance(augment, str) or hasattr(augment, "apply"):
        raise TypeError(f"augment must be a list of transforms, got {given(augment)}")
    found = tuple(_resolved(each) for each in check_items("augment", augment, "transforms"))
    for transform in found:
        if getattr(transform, "mixes_targets", False):
            for part in getattr(loss, "parts", (loss,)):  # of several outputs each has a loss
                _check_takes_mixed(transform, part)
    return Augmentation(found, output_shape) if found else None


def _check_takes_mixed(transform: Transform, loss: Loss) -> None:
    """Refuse a loss whose targets cannot be mixed."""
    kind = kind_of(trait(loss, "targets"))
    if kind.one_hot or kind.signs:
        only = "zeros and a one" if kind.one_hot else "-1 and 1"
        raise ValueError(
            f"{type(transform).__name__} mixes targets, and the loss {LOSSES.name_of(loss)} takes "
            f"only {only}: take softmax_cross_entropy, binary_cross_entropy or mse, for instance"
        )


def _resolved(each: Any) -> Transform:
    transform = TRANSFORMS.create(each) if isinstance(each, str) else each
    if isinstance(transform, type) or not callable(getattr(transform, "apply", None)):
        raise TypeError(
            f"augment: a transform is a name or an object with apply(batch, ctx), got {given(each)}"
        )
    return transform  # type: ignore[no-any-return]


def _soft(y: Arrays, shape: Shapes, ctx: Context) -> Arrays:
    """Return targets with class numbers as rows of zeros and a one."""
    if isinstance(y, dict) and isinstance(shape, dict):
        return {name: _soft(part, shape.get(name, ()), ctx) for name, part in y.items()}
    if isinstance(y, tuple) and not is_shape(shape) and len(shape) == len(y):
        return tuple(_soft(part, own, ctx) for part, own in zip(y, shape, strict=True))
    if isinstance(y, (dict, tuple)) or not is_shape(shape):
        return y
    if len(y.shape) == len(shape) and ctx.xp.isdtype(y.dtype, "integral"):
        return functional.one_hot(y, shape[-1], ctx.backend.dtype, ctx.xp)
    return y
