"""The symmetric beta distribution: its probabilities, and draws by 24 random bits."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

from nnbackend.core.random import WORD_BITS
from nnbackend.core.types import Array, Context

__all__ = ["beta_cdf", "beta_draws"]

_CELLS = 256  # of the interval from 0 to 1/2
_TAIL = 8  # standard deviations around 1/2 with finer cells, 32 in each
_FINE = 32
_LEAST = 1e-12  # probability of a cell
_TINY = 1e-300


def beta_cdf(x: float, alpha: float) -> float:
    """Return the probability that a number of Beta(alpha, alpha) is at most ``x``, on the host.

    It is the regularized incomplete beta function, by its continued fraction, with an error of about
    1e-11 for ``alpha`` up to 10,000.

    Source: DLMF 8.17.22; Lentz's method as modified by Thompson and Barnett (1986).
    """
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > 0.5:
        return 1.0 - beta_cdf(1.0 - x, alpha)
    if x == 0.5:
        return 0.5
    log_beta = 2.0 * math.lgamma(alpha) - math.lgamma(2.0 * alpha)
    front = math.exp(alpha * (math.log(x) + math.log1p(-x)) - log_beta) / alpha
    c, d = 1.0, 1.0 / _not_zero(1.0 - 2.0 * alpha * x / (alpha + 1.0))
    fraction = d
    for m in range(1, 100_000):
        even = alpha + 2 * m
        for term in (
            m * (alpha - m) * x / ((even - 1.0) * even),
            -(alpha + m) * (2.0 * alpha + m) * x / (even * (even + 1.0)),
        ):
            c, d = _not_zero(1.0 + term / c), 1.0 / _not_zero(1.0 + term * d)
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return front * fraction


def _not_zero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY


@lru_cache(maxsize=64)
def _table(alpha: float) -> tuple[float, list[float], list[float], list[float]]:
    """Return where cells begin, and of each the probability before it, width, and 1 / probability."""
    deviation = 0.5 / math.sqrt(2.0 * alpha + 1.0)
    half = {k / (2 * _CELLS) for k in range(_CELLS + 1)}
    half |= {0.5 - deviation * k / _FINE for k in range(_TAIL * _FINE)}
    lower = [(beta_cdf(x, alpha), x) for x in sorted(x for x in half if x >= 0.0)]
    nodes = lower + [(1.0 - p, 1.0 - x) for p, x in reversed(lower[:-1])]
    # No word is below 2**-25, nor above 1 minus that: what is further out is never drawn.
    first = max(i for i, (p, _) in enumerate(nodes) if p <= 0.5 ** (WORD_BITS + 1))
    kept = nodes[first : first + 1]
    for node in nodes[first + 1 : len(nodes) - first]:
        if node[0] - kept[-1][0] >= _LEAST:
            kept.append(node)
    steps = list(pairwise(kept))
    widths = [x1 - x0 for (_, x0), (_, x1) in steps]
    densities = [1.0 / (p1 - p0) for (p0, _), (p1, _) in steps]
    return kept[0][1], [p for p, _ in kept[:-1]], widths, densities


def beta_draws(words: Array, alpha: float, ctx: Context) -> Array:
    """Return numbers of Beta(alpha, alpha) by the words of 24 random bits, in the backend's dtype.

    They are quantiles, found by linear interpolation in a table with steps of at most 1/512: no draw is
    off by more than that, and most are by far less.
    """
    xp, dtype, kind = ctx.xp, ctx.backend.dtype, {"device": ctx.backend.device}
    low, p, widths, densities = _table(alpha)
    p, widths, densities = (xp.asarray(a, dtype=dtype, **kind) for a in (p, widths, densities))
    u = (xp.astype(words, dtype) + 0.5) * 0.5**WORD_BITS
    # Cells below u count with their whole widths, the one that it is in with a part. To look that cell
    # up would be less work, but a constant that is looked up by an array is not recorded.
    parts = (u[..., None] - p) * densities
    parts = xp.minimum(xp.maximum(parts, xp.zeros_like(parts)), xp.ones_like(parts))
    draws = xp.sum(parts * widths, axis=-1) + low
    return xp.minimum(draws, xp.ones_like(draws))
