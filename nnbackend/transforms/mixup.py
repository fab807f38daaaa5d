"""Mixup: mixtures of pairs of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend.core.checks import check_choice, check_number
from nnbackend.core.tree import count_rows, map_arrays
from nnbackend.core.types import Batch, Context
from nnbackend.transforms.base import batch_words, register_transform, row_words
from nnbackend.transforms.beta import beta_draws
from nnbackend.transforms.partners import mixed, mixed_targets, partners

__all__ = ["Mixup"]

MOST_ALPHA = 10_000.0


@register_transform
@dataclass(frozen=True)
class Mixup:
    """Mix each row with another one of the batch, inputs and targets to the same shares.

    ``x_i <- s x_i + (1 - s) x_j`` and ``y_i <- s y_i + (1 - s) y_j``, with ``s`` drawn from
    Beta(alpha, alpha) and ``j`` the next row in a random order. Class numbers are mixed as rows of zeros
    and a one. Row weights are mixed in the same way, so that their sum stays; rows of weight 0 are not
    mixed into others. A batch of one row stays as it is.

    Args:
        alpha: how much is mixed, above 0, at most 10,000: for small numbers one of both rows has nearly
            all, for 1 all shares are equally likely, for large ones both have a half; default 0.2.
        per: ``"batch"`` (the default, as in the paper): all rows have the same ``s``; ``"row"``: each
            its own.

    Raises:
        ValueError: a value is out of range; or, when ``fit`` starts, the loss takes no mixed targets.

    Source: Zhang, Cisse, Dauphin, Lopez-Paz (2018), arXiv:1710.09412.
    """

    alpha: float = 0.2
    per: str = "batch"
    mixes_targets: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_mixing(self)

    def apply(self, batch: Batch, ctx: Context) -> Batch:
        """Return the batch of mixtures."""
        partner = partners(batch, ctx.child("partner"))
        share = beta_draws(share_words(self.per, batch, 1, ctx)[:, 0], self.alpha, ctx)
        x = map_arrays(lambda array: mixed(array, partner, share, ctx), batch.x)
        return mixed_targets(batch, x, partner, share, ctx)


def check_mixing(owner: Any) -> None:
    """Check the fields ``alpha`` and ``per``."""
    alpha = check_number("alpha", owner.alpha)
    if not 0.0 < alpha <= MOST_ALPHA:
        raise ValueError(f"alpha must be above 0, at most {MOST_ALPHA:,.0f}; got {alpha:g}")
    object.__setattr__(owner, "alpha", alpha)
    check_choice("per", owner.per, ("batch", "row"))


def share_words(per: str, batch: Batch, count: int, ctx: Context) -> Any:
    """Return random words of each row, (rows, count), or of the batch, (1, count)."""
    ctx = ctx.child("share")
    return batch_words(ctx, count) if per == "batch" else row_words(ctx, count_rows(batch.x), count)
