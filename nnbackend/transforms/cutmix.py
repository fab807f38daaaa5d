"""CutMix: a part of another image in each image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from nnbackend.core.random import WORD_BITS
from nnbackend.core.types import Array, Batch, Context
from nnbackend.transforms.base import ImageTransform, register_transform, uniform_integers
from nnbackend.transforms.beta import beta_cdf
from nnbackend.transforms.mixup import check_mixing, share_words
from nnbackend.transforms.partners import mixed_targets, partners

__all__ = ["CutMix"]


@register_transform
@dataclass(frozen=True)
class CutMix(ImageTransform):
    """Put a box of another image of the batch into each image, and mix targets by its area.

    With ``s`` drawn from Beta(alpha, alpha) the box has ``floor(height * sqrt(1 - s))`` rows and
    ``floor(width * sqrt(1 - s))`` columns around a center that is uniform over the image; what is
    outside the image is cut off. Targets and row weights are mixed as :class:`Mixup` does, to the share
    that the image keeps: 1 minus the area of the box, as it is in the image, over the area of the image.
    For signals the root is left out, for volumes it is the third. Boxes are the same on all backends.

    Args:
        alpha: see :class:`Mixup`; default 1, as in the paper: all ``s`` are equally likely.
        per: ``"batch"`` (the default, as in the paper): all images have the same box; ``"row"``: each
            its own.
        channels: see :class:`ImageTransform`; the network has one input.

    Raises:
        ValueError: a value is out of range, or ``input`` is given; or, when ``fit`` starts, the loss
            takes no mixed targets.

    Source: Yun et al. (2019), arXiv:1905.04899.
    """

    alpha: float = 1.0
    per: str = "batch"
    mixes_targets: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mixing(self)
        if self.input is not None:
            raise ValueError(
                "input: CutMix mixes targets by area, and is for networks of one input"
            )

    def apply(self, batch: Batch, ctx: Context) -> Batch:
        """Return the batch with boxes of other images."""
        xp, x = ctx.xp, batch.x
        partner = partners(batch, ctx.child("partner"))
        axes = self.spatial_axes(len(x.shape))
        words = share_words(self.per, batch, 1 + len(axes), ctx)
        box, area = None, None
        for number, axis in enumerate(axes):
            length = x.shape[axis]
            size = self._sizes(words[:, 0], length, len(axes), ctx)
            start = uniform_integers(words[:, 1 + number], length) - size // 2
            places = xp.arange(length, dtype=xp.int32, device=ctx.backend.device)[None, :]
            within = xp.logical_and(places >= start[:, None], places < (start + size)[:, None])
            count = xp.sum(xp.astype(within, xp.int32), axis=1, dtype=xp.int32)
            shape = [1] * len(x.shape)
            shape[0], shape[axis] = within.shape
            within = xp.reshape(within, tuple(shape))
            box = within if box is None else xp.logical_and(box, within)
            area = count if area is None else area * count
        whole = math.prod(x.shape[axis] for axis in axes)
        share = 1.0 - xp.astype(area, ctx.backend.dtype) * (1.0 / whole)
        x = xp.where(box, xp.take(x, partner, axis=0), x)
        return mixed_targets(batch, x, partner, share, ctx)

    def _sizes(self, words: Array, length: int, axes: int, ctx: Context) -> Array:
        """Return the lengths of boxes, before they are cut off."""
        xp = ctx.xp
        limits = xp.asarray(
            _thresholds(self.alpha, length, axes), dtype=xp.int32, device=ctx.backend.device
        )
        smaller = words[:, None] < limits[None, :]
        return xp.sum(xp.astype(smaller, xp.int32), axis=1, dtype=xp.int32)


@lru_cache(maxsize=64)
def _thresholds(alpha: float, length: int, axes: int) -> list[int]:
    """Return the words of 24 bits below which a box has a length of at least 1, 2, ... ``length``.

    ``floor(length * (1 - s)**(1 / axes)) >= k`` if ``s <= 1 - (k / length)**axes``: no root has to be
    rounded.
    """
    return [
        round(beta_cdf(1.0 - (k / length) ** axes, alpha) * (1 << WORD_BITS))
        for k in range(1, length + 1)
    ]
