"""The loss of directions."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.core.types import Array, Namespace
from nnbackend.losses.base import LOSSES, LossFunction

__all__ = ["CosineSimilarity", "cosine_similarity"]


@LOSSES.register("cosine_similarity")
@dataclass(frozen=True)
class CosineSimilarity(LossFunction):
    """One less the cosine of the angle between prediction ``p`` and target ``t``, rows of numbers.

    ``mean(1 - c)`` over the samples, with ``c = sum(p * t) / (|p| |t|)``: 0 for the same direction, 2
    for the opposite one, whatever the lengths; ``dy = (c p/|p| - t/|t|) / (|p| batch)``. A row of zeros
    has no direction: ``c`` is 0 there, and so is the gradient.

    >>> p, t = np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]])
    >>> value, dy = CosineSimilarity()(p, t)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (0.4, [[-0.128, 0.096]])
    """

    fewest_outputs = 2

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        p, inverse = _direction(prediction, xp)
        t, _ = _direction(target, xp)
        cosine = xp.vecdot(p, t)
        dy = cosine[..., None] * p - t
        dy *= inverse
        return 1.0 - cosine, dy


cosine_similarity = CosineSimilarity()


def _direction(x: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return rows of length 1 and one by their lengths before; zeros for both where a row is zero."""
    largest = xp.max(xp.abs(x), axis=-1, keepdims=True)  # after division by it no square overflows
    zero = largest == 0.0
    x = x / xp.where(zero, 1.0, largest)
    length = xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True))
    inverse = xp.where(zero, 0.0, 1.0 / xp.where(zero, 1.0, length))
    return x * inverse, inverse / xp.where(zero, 1.0, largest)
