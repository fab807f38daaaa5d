"""What a transform of batches is, the known ones by name, and what those of images share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

from nnbackend.core import random
from nnbackend.core.checks import check_choice
from nnbackend.core.registry import Registry
from nnbackend.core.shapes import Shapes, is_shape
from nnbackend.core.types import Array, Arrays, Batch, Context, Shape
from nnbackend.errors import given

__all__ = [
    "TRANSFORMS",
    "ImageTransform",
    "Transform",
    "batch_words",
    "register_transform",
    "row_words",
    "uniform_integers",
]

Class = TypeVar("Class", bound=type)

TRANSFORMS = Registry("transform")
CHANNELS = ("last", "first", "none")


@runtime_checkable
class Transform(Protocol):
    """A random change of a batch of training: an immutable description with a method ``apply``.

    A transform may also have:

    - **A check**: a method ``check(input_shape) -> Shapes`` is called when ``fit`` starts. It raises a
      ValueError where the transform is not for such inputs, and returns the shape that rows have after.
    - **Mixed targets**: an attribute ``mixes_targets = True``. Then class numbers come to it as rows of
      zeros and a one, and a loss that takes no other rows is refused.
    - **Side effects**: ``pure = False``, see :func:`nnbackend.registry.is_pure`.
    """

    def apply(self, batch: Batch, ctx: Context) -> Batch:
        """Return the changed batch; the given one stays as it is.

        A transform runs inside the training step, on the backend, compiled or recorded with it.

        Args:
            batch: the whole batch of the step: ``x``, ``y`` and ``weight``, which may be None. Rows of
                weight 0 may be padding: other rows must not depend on them.
            ctx: ``ctx.xp``, ``ctx.backend``, and what fixes random numbers: ``ctx.key``, which is the
                transform's own, and ``ctx.step``; see :mod:`nnbackend.core.random`. Those of a row
                should depend on its number in the batch, and not on how many rows there are.
        """


def register_transform(cls: Class | None = None, *, pure: bool = True) -> Any:
    """Make a class of transforms known by the name of the class; a decorator.

    Args:
        cls: the class.
        pure: whether it only computes; see :func:`nnbackend.registry.is_pure`. Default True.
    """
    if cls is None:
        return partial(register_transform, pure=pure)
    return TRANSFORMS.register(cls.__name__, pure=pure)(cls)


@dataclass(frozen=True, kw_only=True)
class ImageTransform:
    """The base of transforms of images: a subclass is a frozen dataclass with a method ``change``.

    Images have the shape ``(rows, *lengths, channels)``; signals have one length, volumes three.

    Args:
        channels: where channels are: ``"last"`` (the default), ``"first"``, behind the batch, or
            ``"none"``: images have no axis of channels, (rows, height, width).
        input: of a network with several inputs the name, or the number, of the one that is changed;
            None (the default): there is one.
    """

    channels: str = "last"
    input: str | int | None = None

    def __post_init__(self) -> None:
        check_choice("channels", self.channels, CHANNELS)
        if self.input is not None and (
            isinstance(self.input, bool) or not isinstance(self.input, str | int)
        ):
            raise ValueError(
                f"input must be the name or the number of an input, or None; got {given(self.input)}"
            )

    def change(self, x: Array, ctx: Context) -> Array:
        """Return the changed images."""
        raise NotImplementedError

    def shape_after(self, lengths: Shape) -> Shape:
        """Return the lengths of the spatial axes after the change; for other images a ValueError."""
        return lengths

    def apply(self, batch: Batch, ctx: Context) -> Batch:
        """Return the batch with changed images."""
        return batch._replace(x=self._replaced(batch.x, lambda x: self.change(x, ctx)))

    def check(self, input_shape: Shapes) -> Shapes:
        """Return the shape of rows after the change.

        Raises:
            ValueError: there is no such input, or it has no spatial axis.
        """
        if is_shape(input_shape) != (self.input is None):
            several = "several inputs: say which is changed, with input="
            raise ValueError(f"the network has {several if self.input is None else 'one input'}")
        return self._replaced(input_shape, self._checked)

    def spatial_axes(self, axes: int) -> range:
        """Return the spatial axes of images that have so many axes with the batch's."""
        return range(2, axes) if self.channels == "first" else range(1, axes - self._behind)

    @property
    def _behind(self) -> int:
        return int(self.channels == "last")

    def _checked(self, shape: Shape) -> Shape:
        spatial = self.spatial_axes(len(shape) + 1)
        if not spatial:
            raise ValueError(
                f"images need an axis beside the channels ({self.channels!r}), and rows have shape "
                f"{shape}"
            )
        start, stop = spatial.start - 1, spatial.stop - 1
        return (*shape[:start], *self.shape_after(shape[start:stop]), *shape[stop:])

    def _replaced(self, tree: Arrays, function: Callable[[Any], Any]) -> Any:
        """Return inputs, or their shapes, with a function applied to the one that is changed."""
        if self.input is None:
            return function(tree)
        names: Any = tree.keys() if isinstance(tree, dict) else range(len(tree))
        if self.input not in names:
            raise ValueError(f"there is no input {self.input!r}; there are {[*names]}")
        if isinstance(tree, dict):
            return {**tree, self.input: function(tree[self.input])}
        return tuple(function(x) if i == self.input else x for i, x in enumerate(tree))


def row_words(ctx: Context, rows: int, count: int) -> Array:
    """Return ``count`` words of 24 random bits for each row: int32, of shape (rows, count)."""
    first = ctx.first_row * count
    words = random.uniform_bits24(ctx.key, ctx.step, rows * count, ctx.backend, first)
    return ctx.xp.reshape(words, (rows, count))


def batch_words(ctx: Context, count: int) -> Array:
    """Return ``count`` words of 24 random bits for the whole batch: int32, of shape (1, count)."""
    words = random.uniform_bits24(ctx.key, ctx.step, count, ctx.backend)
    return ctx.xp.reshape(words, (1, count))


def uniform_integers(words: Array, count: int) -> Array:
    """Return integers from 0 to ``count - 1``, ``floor(word * count / 2**24)``, of words of 24 bits.

    Raises:
        ValueError: there are more than 2**18: products would not fit into 32 bits.
    """
    if count > 1 << 18:
        raise ValueError(f"an image may have {(1 << 18) - 1} places along an axis, got {count}")
    high, low = words >> 12, words & 4095
    return (high * count + ((low * count) >> 12)) >> 12
