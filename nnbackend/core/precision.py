"""Precision: the number format that a network computes in, beside the dtype of its parameters.

The dtype is what parameters, losses, gradients and the optimizer's state are kept in: float32 or
float64. The precision is that of matrix products and activations; None is that of the dtype.
``Backend.unsupported_reason`` says why a backend lacks one.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.errors import given

__all__ = ["DTYPES", "PRECISIONS", "Precision", "resolve"]

DTYPES = ("float32", "float64")
"""The dtypes that parameters can have."""


@dataclass(frozen=True)
class Precision:
    """The number format that a network computes in.

    Attributes:
        name: the name that users give.
        meaning: a description in words.
        dtype: the dtype of parameters, losses, gradients and the optimizer's state.
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

    @property
    def activation_bytes(self) -> int:
        """The bytes of a number that a layer gives."""
        return 2 if self.half else 8 if self.dtype == "float64" else 4

    def __str__(self) -> str:
        return f"mixed {self.name}" if self.half else self.name


_ALL_PRECISIONS = (
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
PRECISIONS = {precision.name: precision for precision in _ALL_PRECISIONS}
"""The precisions by name."""


def resolve(dtype: str | None = None, precision: str | None = None) -> Precision:
    """Return the precision that a dtype and a precision name.

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
        raise ValueError(f"dtype must be one of {names}; got {given(dtype)}{hint}")
    name = precision if precision is not None else dtype or "float32"
    if not isinstance(name, str) or name not in PRECISIONS:
        raise ValueError(
            f"precision must be one of {', '.join(map(repr, PRECISIONS))}; got {given(precision)}"
        )
    chosen = PRECISIONS[name]
    if dtype not in (None, chosen.dtype):
        raise ValueError(
            f"dtype={dtype!r} and precision={name!r} contradict each other: {name} means "
            f"{chosen.meaning}, with parameters in {chosen.dtype}. Leave one of the two out"
        )
    return chosen
