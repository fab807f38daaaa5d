"""Stateless mathematics over arrays, in functions of the standard only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from array_api_compat import device

from nnbackend.core.types import Array, Namespace

__all__ = [
    "erf",
    "exp",
    "is_half",
    "log_softmax",
    "one_hot",
    "sigmoid",
    "softmax",
    "softplus",
    "total",
]


@cache
def _largest_exponent(xp: Namespace, dtype: object) -> float:
    """Return an x for which exp(x) is finite and 1 / exp(x) not yet denormal, which is slow.

    In float16 the latter would be early, and 1 / exp(x) may be denormal.
    """
    name = str(dtype).rpartition(".")[2]  # not every library has finfo for all
    if name == "float16":
        return 11.0
    return 87.0 if name == "bfloat16" or xp.finfo(dtype).bits == 32 else 708.0


def is_half(dtype: Any) -> bool:
    """Return whether a floating-point dtype of any library has 16 bits."""
    kind: Any = type(dtype)
    return _is_half(kind, dtype)


@cache
def _is_half(kind: Any, dtype: Any) -> bool:
    """Return the answer of :func:`is_half`, cached; ``kind`` keeps dtypes of two libraries apart."""
    return str(dtype).rpartition(".")[2] in ("float16", "bfloat16")


def total(
    x: Array, xp: Namespace, axis: int | tuple[int, ...], wide: Any, keepdims: bool = False
) -> Array:
    """Return the sum along axes, accumulated in the dtype ``wide`` where ``x`` has 16 bits."""
    dtype = wide if is_half(x.dtype) else None
    return xp.sum(x, axis=axis, dtype=dtype, keepdims=keepdims)


def exp(x: Array, xp: Namespace) -> Array:
    """Return e to the power of x, without overflow."""
    return xp.exp(xp.minimum(x, _largest_exponent(xp, x.dtype)))


def sigmoid(x: Array, xp: Namespace) -> Array:
    """Return 1 / (1 + exp(-x)), without overflow and to full relative accuracy on both sides."""
    z = xp.minimum(-x, _largest_exponent(xp, x.dtype))
    z = xp.exp(z)
    z += 1.0
    return xp.reciprocal(z)


def softplus(x: Array, xp: Namespace) -> Array:
    """Return log(1 + exp(x)) as max(x, 0) + log1p(exp(-|x|)), which cannot overflow."""
    y = xp.log1p(xp.exp(-xp.abs(x)))
    y += xp.maximum(x, 0.0)
    return y


def softmax(x: Array, xp: Namespace) -> Array:
    """Return exp(x) / sum(exp(x)) along the last axis, shifted by the maximum."""
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    e /= xp.sum(e, axis=-1, keepdims=True)
    return e


def log_softmax(x: Array, xp: Namespace) -> Array:
    """Return log(softmax(x)) along the last axis, stable for any finite x."""
    shifted = x - xp.max(x, axis=-1, keepdims=True)
    shifted -= xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
    return shifted


def one_hot(labels: Array, classes: int, dtype: object, xp: Namespace) -> Array:
    """Return an array of shape ``(*labels.shape, classes)``: 1 at each label, 0 elsewhere."""
    narrow = classes > 127 and xp.isdtype(labels.dtype, "integral")
    if labels.dtype == xp.bool or (narrow and xp.iinfo(labels.dtype).max < classes):
        labels = xp.astype(labels, xp.int32)
    numbers = xp.arange(classes, dtype=labels.dtype, device=device(labels))
    return xp.astype(labels[..., None] == numbers, dtype)


def erf(x: Array, xp: Namespace) -> Array:
    """Return the error function, to about 1e-16.

    Rational approximations of Cephes (Moshier: Methods and Programs for Mathematical Functions,
    1989), in ``x**2`` up to 1 and of ``erfc(x) * exp(x**2)`` beyond. Of a type with 16 bits, which
    does not hold their coefficients, it is computed in float32 and rounded.
    """
    if is_half(x.dtype):
        return xp.astype(erf(xp.astype(x, xp.float32), xp), x.dtype)
    magnitude = xp.minimum(xp.abs(x), 8.0)  # erf(8) is 1 to far more digits than there are
    square = magnitude * magnitude
    near = x * _polynomial(square, _ERF_T) / _polynomial(square, (1.0, *_ERF_U))
    ratio = _polynomial(magnitude, _ERFC_P) / _polynomial(magnitude, (1.0, *_ERFC_Q))
    far = xp.sign(x) * (1.0 - xp.exp(-square) * ratio)
    inside = xp.astype(magnitude <= 1.0, x.dtype)
    return inside * near + (1.0 - inside) * far


def _polynomial(x: Array, coefficients: Sequence[float]) -> Array:
    """Return the polynomial by Horner's rule, highest power first."""
    y = coefficients[0] * x
    for coefficient in coefficients[1:-1]:
        y += coefficient
        y *= x
    y += coefficients[-1]
    return y


_ERF_T = (
    9.60497373987051638749e0, 9.00260197203842689217e1, 2.23200534594684319226e3,
    7.00332514112805075473e3, 5.55923013010394962768e4,
)  # fmt: skip
_ERF_U = (
    3.35617141647503099647e1, 5.21357949780152679795e2, 4.59432382970980127987e3,
    2.26290000613890934246e4, 4.92673942608635921086e4,
)  # fmt: skip
_ERFC_P = (
    2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687e0,
    4.86371970985681366614e1, 1.96520832956077098242e2, 5.26445194995477358631e2,
    9.34528527171957607540e2, 1.02755188689515710272e3, 5.57535335369399327526e2,
)  # fmt: skip
_ERFC_Q = (
    1.32281951154744992508e1, 8.67072140885989742329e1, 3.54937778887819891062e2,
    9.75708501743205489753e2, 1.82390916687909736289e3, 2.24633760818710981792e3,
    1.65666309194161350182e3, 5.57535340817727675546e2,
)  # fmt: skip
