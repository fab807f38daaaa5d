"""Random mirror images."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.core.checks import check_number, set_flag
from nnbackend.core.random import WORD_BITS
from nnbackend.core.types import Array, Context, Shape
from nnbackend.errors import given
from nnbackend.transforms.base import ImageTransform, register_transform, row_words

__all__ = ["RandomFlip"]


@register_transform
@dataclass(frozen=True)
class RandomFlip(ImageTransform):
    """Flip each image at random: left and right, top and bottom, or both, each by itself.

    ``y[n, i, j] = x[n, i, width - 1 - j]`` with a probability, else ``x[n, i, j]``. Horizontal is the
    last spatial axis, vertical the one before.

    Args:
        horizontal: whether left and right may be exchanged; default True.
        vertical: whether top and bottom may be exchanged; default False.
        probability: that of each exchange, from 0 to 1; default 0.5. It is rounded to 2**-24.
        channels: see :class:`ImageTransform`, as ``input``.

    Raises:
        ValueError: neither is chosen, or a value is out of range; or, when ``fit`` starts, images have
            no such axes.
    """

    horizontal: bool = True
    vertical: bool = False
    probability: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        set_flag(self, "horizontal")
        set_flag(self, "vertical")
        if not (self.horizontal or self.vertical):
            raise ValueError("choose horizontal=True, vertical=True, or both")
        number = check_number("probability", self.probability)
        if not 0.0 <= number <= 1.0:
            raise ValueError(f"probability must be from 0 to 1, got {given(self.probability)}")
        object.__setattr__(self, "probability", number)

    def shape_after(self, lengths: Shape) -> Shape:
        """Return the lengths; a vertical flip needs two."""
        if self.vertical and len(lengths) < 2:
            raise ValueError(f"vertical=True needs images with a height and a width, not {lengths}")
        return lengths

    def change(self, x: Array, ctx: Context) -> Array:
        """Return the images, some of them flipped."""
        xp, last = ctx.xp, self.spatial_axes(len(x.shape))[-1]
        # Two words a row, whatever is chosen: with vertical=True horizontal flips stay the same.
        flips = row_words(ctx, x.shape[0], 2) < round(self.probability * (1 << WORD_BITS))
        for chosen, axis, number in ((self.horizontal, last, 0), (self.vertical, last - 1, 1)):
            if chosen:
                flip = xp.reshape(flips[:, number], (x.shape[0],) + (1,) * (len(x.shape) - 1))
                x = xp.where(flip, xp.flip(x, axis=axis), x)
        return x
