"""Initial values of parameters.

An initializer is called with a shape and a generator and returns a NumPy array in float64. Values
are drawn on the host, so that a seed gives the same weights on every backend. For a shape
``(..., in, out)`` the fan-in is ``in`` and the fan-out ``out``, times the size of the axes before
them (a convolution's kernel).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from nnbackend.core.checks import set_number
from nnbackend.core.random import Generator
from nnbackend.core.registry import Registry
from nnbackend.core.types import Shape

__all__ = [
    "INITIALIZERS",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Normal",
    "Ones",
    "Orthogonal",
    "RandomSigns",
    "Uniform",
    "Zeros",
    "for_each_member",
    "get",
]

Values: TypeAlias = np.ndarray[Any, Any]
Initializer: TypeAlias = Callable[[Shape, Generator], Values]
"""``initializer(shape, rng) -> numbers`` on the host; any such function works."""

INITIALIZERS = Registry("initializer")
get: Callable[[str | Initializer], Initializer] = INITIALIZERS.get


def _fans(shape: Shape) -> tuple[int, int]:
    """Return fan-in and fan-out of a weight."""
    if len(shape) < 2:
        raise ValueError(
            f"a fan-in needs a weight of two or more axes, this one has shape {shape}; "
            "use 'zeros', 'ones', 'normal' or 'uniform'"
        )
    receptive = math.prod(shape[:-2])
    return receptive * shape[-2], receptive * shape[-1]


@INITIALIZERS.register("zeros")
@dataclass(frozen=True)
class Zeros:
    """All zeros."""

    def __call__(self, shape: Shape, rng: Generator) -> Values:
        return np.zeros(shape)


@INITIALIZERS.register("ones")
@dataclass(frozen=True)
class Ones:
    """All ones."""

    def __call__(self, shape: Shape, rng: Generator) -> Values:
        return np.ones(shape)


@INITIALIZERS.register("normal")
@dataclass(frozen=True)
class Normal:
    """Normal with the given mean and standard deviation; by default the standard normal.

    Args:
        mean: the mean; default 0.
        std: the standard deviation, at least 0; default 1.
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        set_number(self, "mean")
        set_number(self, "std", 0.0)

    def __call__(self, shape: Shape, rng: Generator) -> Values:
        return rng.normal(shape, self.mean, self.std)


@INITIALIZERS.register("uniform")
@dataclass(frozen=True)
class Uniform:
    """Uniform over [low, high).

    Args:
        low: the lower end; default 0.
        high: the upper end, not included; at least ``low``, default 1.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        set_number(self, "low")
        set_number(self, "high")
        if not self.low <= self.high:
            raise ValueError(f"low must not exceed high, got {self.low!r} and {self.high!r}")

    def __call__(self, shape: Shape, rng: Generator) -> Values:
        return rng.uniform(shape, self.low, self.high)


@INITIALIZERS.register("random_signs")
@dataclass(frozen=True)
class RandomSigns:
    """-1 or 1, each with the same probability."""

    def __call__(self, shape: Shape, rng: Generator) -> Values:
        return np.where(rng.uniform(shape) < 0.5, -1.0, 1.0)


def for_each_member(initializer: Any) -> Initializer:
    """Return the initializer of several members, shape (members, ...), each drawn by itself."""

    def draw(shape: Shape, rng: Generator) -> Values:
        return np.stack([initializer(shape[1:], rng.child(i)) for i in range(shape[0])])

    return draw


def _normal(variance: float, shape: Shape, rng: Generator) -> Values:
    return rng.normal(shape, 0.0, math.sqrt(variance))


def _uniform(variance: float, shape: Shape, rng: Generator) -> Values:
    """Return uniform values of the given variance: over +-sqrt(3 * variance)."""
    limit = math.sqrt(3.0 * variance)
    return rng.uniform(shape, -limit, limit)


@INITIALIZERS.register("glorot_normal")
@dataclass(frozen=True)
class GlorotNormal:
    """Normal with variance ``2 / (fan_in + fan_out)``: Glorot, Bengio (2010), section 4.2.1."""

    def __call__(self, shape: Shape, rng: Generator) -> Values:
        return _normal(2.0 / sum(_fans(shape)), shape, rng)


@INITIALIZERS.register("glorot_uniform")
@dataclass(frozen=True)
class GlorotUniform:
    """Uniform with variance ``2 / (fan_in + fan_out)``: Glorot, Bengio (2010), section 4.2.1."""

    def __call__(self, shape: Shape, rng: Generator) -> Values:
        return _uniform(2.0 / sum(_fans(shape)), shape, rng)


@INITIALIZERS.register("he_normal")
@dataclass(frozen=True)
class HeNormal:
    """Normal with variance ``2 / fan_in``: He et al. (2015), arXiv:1502.01852, section 2.2."""

    def __call__(self, shape: Shape, rng: Generator) -> Values:
        return _normal(2.0 / _fans(shape)[0], shape, rng)


@INITIALIZERS.register("he_uniform")
@dataclass(frozen=True)
class HeUniform:
    """Uniform with variance ``2 / fan_in``: He et al. (2015), arXiv:1502.01852, section 2.2."""

    def __call__(self, shape: Shape, rng: Generator) -> Values:
        return _uniform(2.0 / _fans(shape)[0], shape, rng)


@INITIALIZERS.register("lecun_normal")
@dataclass(frozen=True)
class LecunNormal:
    """Normal with variance ``1 / fan_in``: LeCun et al., Efficient BackProp (1998), section 4.6."""

    def __call__(self, shape: Shape, rng: Generator) -> Values:
        return _normal(1.0 / _fans(shape)[0], shape, rng)


@INITIALIZERS.register("lecun_uniform")
@dataclass(frozen=True)
class LecunUniform:
    """Uniform with variance ``1 / fan_in``: LeCun et al., Efficient BackProp (1998), section 4.6."""

    def __call__(self, shape: Shape, rng: Generator) -> Values:
        return _uniform(1.0 / _fans(shape)[0], shape, rng)


@INITIALIZERS.register("orthogonal")
@dataclass(frozen=True)
class Orthogonal:
    """A random matrix with orthonormal rows or columns, whichever are fewer, times ``gain``.

    All axes but the last are taken together as rows.

    Args:
        gain: the factor of the matrix; default 1.

    Source: Saxe, McClelland, Ganguli (2014), arXiv:1312.6120.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        set_number(self, "gain")

    def __call__(self, shape: Shape, rng: Generator) -> Values:
        _fans(shape)
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.normal((max(rows, columns), min(rows, columns))))
        q *= np.sign(np.diag(r))  # makes the distribution uniform over the orthogonal matrices
        return (self.gain * (q if rows >= columns else q.T)).reshape(shape)
