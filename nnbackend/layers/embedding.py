"""Embeddings: rows of a learned table, looked up by index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend import constraints, initializers, regularizers
from nnbackend.constraints import Constraint
from nnbackend.core.checks import check_number, check_size, convert_fields, set_number, set_size
from nnbackend.core.functional import is_half
from nnbackend.core.random import Generator, ShapeGenerator
from nnbackend.core.row_gradient import RowGradient
from nnbackend.core.shapes import is_shape
from nnbackend.core.types import Array, Backward, Context, Namespace, Params, Shape
from nnbackend.initializers import Initializer
from nnbackend.layers.base import register_layer
from nnbackend.regularizers import Regularizer

__all__ = ["Embedding", "flat_indices", "make_table", "set_padding_index", "table_gradient"]

_EPSILON = 1e-7  # is added to a norm that divides, as in PyTorch


@register_layer
@dataclass(frozen=True)
class Embedding:
    """Rows of a table by their indices: ``y[n, ...] = weight[x[n, ...]]``.

    ``x`` holds whole numbers from 0 to ``count - 1``, one (shape ``()`` of a row) or several of any
    shape; a number outside is an error that says where it is. ::

        y       = weight[x]        (batch, ..., features)
        dweight = for each row of the table the sum of dy over all places that looked it up

    Rows that a batch did not look up have a gradient of zero.

    With ``max_norm`` a row that is longer is shortened when it is looked up,
    ``y = w * max_norm / (||w|| + 1e-7)``, and the gradient is that of this function. PyTorch gives the
    same outputs, but overwrites the stored row by the shortened one and takes its gradient for that of
    the row; for rows within ``max_norm`` the gradients are the same, too.

    Args:
        count: the number of indices, the rows of the table.
        features: the numbers in a row.
        padding_index: the index that stands for "nothing here": its row begins as zero and has no
            gradient. None (the default): there is none.
        max_norm: the largest norm of a row of the output, above 0; None (the default): any.
        norm: the ``p`` of that norm, ``(sum |w|**p)**(1 / p)``, 1 or more; default 2.
        initializer: the initializer of the table, a name or an object of
            :mod:`nnbackend.initializers`; default ``"normal"``, the standard normal distribution.
        regularizer: a penalty on the whole table that is part of the loss, a name or an object of
            :mod:`nnbackend.regularizers`; default None.
        constraint: the constraint that the table meets after each update, a name or an object of
            :mod:`nnbackend.constraints`, whose norms are those of columns; default None.

    Raises:
        ValueError: ``count`` or ``features`` is below 1, ``padding_index`` is no index, ``max_norm`` is
            not above 0, ``norm`` is below 1, or a name is not known.

    Source: Bengio et al. (2003), A Neural Probabilistic Language Model, JMLR 3.
    """

    takes: ClassVar[str] = "indices"

    count: int
    features: int
    padding_index: int | None = None
    max_norm: float | None = None
    norm: float = 2.0
    initializer: str | Initializer = "normal"
    regularizer: str | Regularizer | None = None
    constraint: str | Constraint | None = None

    def __post_init__(self) -> None:
        set_size(self, "count")
        set_size(self, "features")
        set_padding_index(self)
        if self.max_norm is not None:
            object.__setattr__(self, "max_norm", check_number("max_norm", self.max_norm, 0.0))
            if self.max_norm == 0.0:
                raise ValueError("max_norm must be above 0, got 0")
        set_number(self, "norm", 1.0)
        convert_fields(
            self,
            initializer=initializers.get,
            regularizer=regularizers.get,
            constraint=constraints.get,
        )

    def index_limit(self) -> int:
        """Return the number of indices, which inputs are checked to be below."""
        return self.count

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` (count, features), and the shape of the output."""
        if not is_shape(input_shape):
            raise ValueError(f"Embedding takes one array of indices, got inputs of {input_shape}")
        return {"weight": make_table(self, rng)}, (*input_shape, self.features)

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return 0: rows of the weight are taken, not multiplied."""
        return 0

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the rows that are looked up."""
        xp, table = ctx.xp, params["weight"]
        flat = flat_indices(x, self, xp)
        rows, rows_backward = xp.take(table, flat, axis=0), None
        if self.max_norm is not None:
            rows, rows_backward = _shortened(rows, self.max_norm, self.norm, ctx)
        y = xp.reshape(rows, (*x.shape, self.features))

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            drows = xp.reshape(dy, (flat.shape[0], self.features))
            if rows_backward is not None:
                drows = rows_backward(drows)
            return None, {"weight": table_gradient(self, x.shape[0], flat, drows, ctx)}

        return y, backward


def set_padding_index(layer: Any) -> None:
    """Check the field ``padding_index`` of a layer with ``count`` indices; for ``__post_init__``."""
    if layer.padding_index is None:
        return
    index = check_size("padding_index", layer.padding_index, 0)
    if index >= layer.count:
        raise ValueError(f"padding_index must be below count={layer.count}, got {index}")
    object.__setattr__(layer, "padding_index", index)


def make_table(layer: Any, rng: Generator) -> Any:
    """Return the initial table of a layer, with zeros in the row of its padding index."""
    table = rng.draw(layer.initializer, (layer.count, layer.features), "weight")
    if layer.padding_index is not None and not isinstance(rng, ShapeGenerator):
        table = table.copy()  # it may be an array that a user's initializer keeps
        table[layer.padding_index] = 0.0
    return table


def flat_indices(x: Array, layer: Any, xp: Namespace) -> Array:
    """Return the indices in one axis, with what is negative beyond the table instead.

    There it is an error, or gives NaN in a compiled step, where it would count from the table's end.

    Raises:
        TypeError: these are no integers.
    """
    if not xp.isdtype(x.dtype, "integral"):
        raise TypeError(
            f"{type(layer).__name__} takes indices, which are whole numbers, and got an array of "
            f"{x.dtype}: put it first in the network, or give the layer around it an attribute "
            "takes = 'indices'"
        )
    flat = xp.reshape(x, (-1,))
    beyond = min(layer.count, int(xp.iinfo(x.dtype).max))
    return xp.where(flat < 0, xp.full_like(flat, beyond), flat)


def table_gradient(
    layer: Any, batch: int, flat: Array, drows: Array, ctx: Context
) -> Array | RowGradient:
    """Return the gradient of a layer's table for that of the rows that were looked up.

    It is added up in the backend's dtype, also where the rows are of 16 bits. Where the context asks for
    the gradients of single rows, those of padding and of rows of the batch with weight 0 are left out.

    Args:
        layer: has ``count`` rows and perhaps a ``padding_index``, whose row has no gradient.
        batch: the rows of the batch, with ``n / batch`` indices each.
        flat: the indices, of shape (n,).
        drows: the gradient of each row, of shape (n, features).
        ctx: the context of the pass.
    """
    xp = ctx.xp
    if is_half(drows.dtype):
        drows = xp.astype(drows, ctx.backend.dtype)
    if ctx.wants_rows("weight"):
        return RowGradient(flat, drows, _counted(layer, batch, flat, ctx), layer.count)
    if layer.padding_index is not None:
        nothing = (flat == layer.padding_index)[:, None]
        drows = xp.where(nothing, xp.zeros_like(drows), drows)
    return ctx.backend.scatter_add(layer.count, flat, drows)


def _counted(layer: Any, batch: int, flat: Array, ctx: Context) -> Array:
    """Return which of the indices count: not padding, and not those of rows that have weight 0.

    Raises:
        ValueError: the rows at the layer are not those of the batch, so that their weights are unknown.
    """
    xp, weight = ctx.xp, ctx.row_weight
    if layer.padding_index is None:
        keep = xp.full_like(flat, True, dtype=xp.bool)
    else:
        keep = flat != layer.padding_index
    if weight is None:
        return keep
    if weight.shape[0] != batch:
        raise ValueError(
            f"{type(layer).__name__} got {batch} rows in a batch of {weight.shape[0]}, whose weights "
            "say which count; Lazy must know it: leave the layer's table out of its patterns"
        )
    weighs = (weight > 0.0)[:, None]
    weighs = xp.broadcast_to(weighs, (batch, flat.shape[0] // batch if batch else 0))
    return xp.logical_and(keep, xp.reshape(weighs, (-1,)))


def _shortened(
    rows: Array, max_norm: float, p: float, ctx: Context
) -> tuple[Array, Callable[[Array], Array]]:
    """Return rows no longer than ``max_norm``, and the backward pass.

    With ``n = ||w||`` and ``s = max_norm / (n + epsilon)`` a row that is too long becomes ``s w``, and
    ``dw = s dy - s / (n + epsilon) (dy . w) dn/dw``, where
    ``dn/dw = sign(w) (|w| / n)**(p - 1)``. Norms are computed in the backend's dtype: a square may be
    too large for 16 bits.
    """
    xp, dtype = ctx.xp, rows.dtype
    w = xp.astype(rows, ctx.backend.dtype) if is_half(dtype) else rows
    size = xp.abs(w)
    largest = xp.max(size, axis=-1, keepdims=True)
    unit = xp.where(largest > 0.0, largest, xp.ones_like(largest))  # so that no power overflows
    share = size / unit
    total = xp.sum(share * share if p == 2.0 else share**p, axis=-1, keepdims=True)
    n = unit * (xp.sqrt(total) if p == 2.0 else total ** (1.0 / p))
    is_long = n > max_norm
    n = xp.where(is_long, n, xp.ones_like(n))
    s = xp.where(is_long, max_norm / (n + _EPSILON), xp.ones_like(n))
    y = w * s

    def backward(dy: Array) -> Array:
        dy = xp.astype(dy, w.dtype, copy=False)
        direction = w / n if p == 2.0 else xp.sign(w) * (size / n) ** (p - 1.0)
        along = xp.sum(dy * w, axis=-1, keepdims=True) * (s / (n + _EPSILON))
        return s * dy - xp.where(is_long, along, xp.zeros_like(along)) * direction

    return xp.astype(y, dtype, copy=False), backward
