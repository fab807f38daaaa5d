"""Mean 0 and variance 1 within each row, with the backward pass."""

from __future__ import annotations

from collections.abc import Callable

from nnbackend.core.types import Array, Namespace

__all__ = ["standardize"]


def standardize(
    x: Array, mean: Callable[[Array], Array], epsilon: float, xp: Namespace
) -> tuple[Array, Callable[[Array], Array]]:
    """Return ``z = (x - mean(x)) / r``, ``r = sqrt(var + epsilon)``, and the function from dz to dx.

    ``var = mean((x - mean(x))**2)``, divided by the number of values, and::

        dx = (dz - mean(dz) - z * mean(dz * z)) / r

    Args:
        x: the array.
        mean: returns the means of the numbers that are normalized together, of a shape that broadcasts.
        epsilon: is added to the variance.
        xp: the array namespace.
    """
    z = x - mean(x)
    inverse = 1.0 / xp.sqrt(mean(z * z) + epsilon)
    z *= inverse

    def backward(dz: Array) -> Array:
        dx = dz - mean(dz)
        dx -= z * mean(dz * z)
        dx *= inverse
        return dx

    return z, backward
