"""Precision: in what a network computes, beside the dtype that its parameters are kept in.

The dtype is what parameters, losses, gradients and the optimizer's state are kept in: float32 or
float64. The precision says in what matrix products and activations are computed. It is a choice of a
network; None is that of the dtype. Which backend has which, and why not, each says itself
(``Backend.unsupported_reason``).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DTYPES", "PRECISIONS", "Precision", "resolve"]

DTYPES = ("float32", "float64")
"""What parameters can be kept in."""


@dataclass(frozen=True)
class Precision:
    """What a network computes in.

    Attributes:
        name: of the choice.
        meaning: in words.
        dtype: of parameters, losses, gradients and the optimizer's state.
        half: the type with 16 bits of products and activations, in mixed precision; else None.
        tf32: whether products of float32 numbers may be rounded to ten bits before they are multiplied.
        scales_loss: whether gradients are kept from vanishing by a factor on the loss.
    """

    name: str
    meaning: str
    dtype: str = "float32"
    half: str | None = None
    tf32: bool = False
    scales_loss: bool = False

    def __str__(self) -> str:
        return f"mixed {self.name}" if self.half else self.name


_ALL = (
    Precision("float64", "all in float64", dtype="float64"),
    Precision("float32", "all in float32, matrix products too"),
    Precision("tf32", "float32, with factors of matrix products rounded to 10 bits", tf32=True),
    # 5 bits of exponent: what is below 6e-8 is zero, so gradients are scaled.
    Precision(
        "float16",
        "products and activations in float16, the rest in float32",
        half="float16",
        scales_loss=True,
    ),
    # The exponent of float32: nothing vanishes, but there are 8 bits of digits.
    Precision(
        "bfloat16", "products and activations in bfloat16, the rest in float32", half="bfloat16"
    ),
)
PRECISIONS = {precision.name: precision for precision in _ALL}
"""What there is to choose from, by name."""


def resolve(dtype: str | None = None, precision: str | None = None) -> Precision:
    """Return the precision for what was asked for.

    Args:
        dtype: ``"float32"`` or ``"float64"``; None: that of the precision, or float32.
        precision: a name in :data:`PRECISIONS`; None: that of the dtype.

    Raises:
        ValueError: a name is not known, or the two contradict each other.
    """
    # Not by a test of membership alone: a NumPy dtype is equal to its name.
    if dtype is not None and not (isinstance(dtype, str) and dtype in DTYPES):
        known = isinstance(dtype, str) and dtype in PRECISIONS
        hint = f"; say precision={dtype!r} to compute in it" if known else ""
        names = ", ".join(map(repr, DTYPES))
        raise ValueError(f"dtype must be one of {names}; got {dtype!r}{hint}")
    name = precision if precision is not None else dtype or "float32"
    if not isinstance(name, str) or name not in PRECISIONS:
        raise ValueError(
            f"precision must be one of {', '.join(map(repr, PRECISIONS))}; got {precision!r}"
        )
    chosen = PRECISIONS[name]
    if dtype not in (None, chosen.dtype):
        raise ValueError(
            f"dtype={dtype!r} and precision={name!r} contradict each other: {name} means "
            f"{chosen.meaning}, with parameters in {chosen.dtype}. Leave one of the two out"
        )
    return chosen
