"""Bags of embeddings: rows of a learned table, looked up and put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nnbackend import constraints, initializers, regularizers
from nnbackend.constraints import Constraint
from nnbackend.core.checks import check_choice, convert_fields, set_flag, set_size
from nnbackend.core.functional import total
from nnbackend.core.random import Generator
from nnbackend.core.shapes import is_shape
from nnbackend.core.types import Array, Arrays, Backward, Context, Params, Shape
from nnbackend.initializers import Initializer
from nnbackend.layers.base import register_layer
from nnbackend.layers.embedding import flat_indices, make_table, set_padding_index, table_gradient
from nnbackend.regularizers import Regularizer

__all__ = ["EmbeddingBag"]


@register_layer
@dataclass(frozen=True)
class EmbeddingBag:
    """The sum, mean or maximum of the rows of a table that a bag of indices names.

    A bag is the last axis of ``x``, (batch, length) or (batch, ..., length), with whole numbers from 0
    to ``count - 1``. With the rows ``e_k = weight[x[n, k]]`` of the indices that are not padding::

        sum:   y[n] = sum_k e_k, or sum_k a[n, k] e_k with weights        (batch, features)
        mean:  y[n] = sum_k e_k / (number of indices)
        max:   y[n, j] = max_k e_k[j]; its gradient goes to the first of equal rows

    Bags of different lengths are filled up with ``padding_index``; one of nothing else gives zeros.

    Args:
        count: the number of indices, the rows of the table.
        features: the numbers in a row.
        mode: ``"sum"``, ``"mean"`` or ``"max"``. The default is ``"sum"``; PyTorch's is ``"mean"``.
        padding_index: the index that fills bags up: it is left out, and its row begins as zero and
            has no gradient. None (the default): there is none.
        weighted: whether the input is a tuple of indices and of their weights ``a``, of the same
            shape; with mode ``"sum"`` only. Default False.
        initializer: the initializer of the table, a name or an object of
            :mod:`nnbackend.initializers`; default ``"normal"``, the standard normal distribution.
        regularizer: a penalty on the whole table that is part of the loss, a name or an object of
            :mod:`nnbackend.regularizers`; default None.
        constraint: the constraint that the table meets after each update, a name or an object of
            :mod:`nnbackend.constraints`, whose norms are those of columns; default None.

    Raises:
        ValueError: ``count`` or ``features`` is below 1, ``padding_index`` is no index, a name is not
            known, or ``weighted`` is given with another mode than ``"sum"``.

    Source: Joulin et al. (2016), Bag of Tricks for Efficient Text Classification, arXiv:1607.01759.
    """

    count: int
    features: int
    mode: str = "sum"
    padding_index: int | None = None
    weighted: bool = False
    initializer: str | Initializer = "normal"
    regularizer: str | Regularizer | None = None
    constraint: str | Constraint | None = None

    def __post_init__(self) -> None:
        set_size(self, "count")
        set_size(self, "features")
        check_choice("mode", self.mode, ("sum", "mean", "max"))
        set_padding_index(self)
        set_flag(self, "weighted")
        if self.weighted and self.mode != "sum":
            raise ValueError(f"weighted=True goes with mode='sum', got mode={self.mode!r}")
        convert_fields(
            self,
            initializer=initializers.get,
            regularizer=regularizers.get,
            constraint=constraints.get,
        )

    @property
    def takes(self) -> Any:
        """What the inputs are: indices, and with weights numbers beside them."""
        return ("indices", "numbers") if self.weighted else "indices"

    def index_limit(self) -> int:
        """Return the number of indices, which inputs are checked to be below."""
        return self.count

    def init(self, input_shape: Any, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` (count, features), and the shape of the output."""
        shape = self._bags(input_shape)
        if not shape:
            raise ValueError("EmbeddingBag takes bags of indices, got a single number for each row")
        return {"weight": make_table(self, rng)}, (*shape[:-1], self.features)

    def _bags(self, input_shape: Any) -> Shape:
        """Return the shape of the indices.

        Raises:
            ValueError: the inputs are others than the layer takes.
        """
        if not self.weighted:
            if is_shape(input_shape):
                return input_shape  # type: ignore[no-any-return]
            raise ValueError(
                f"EmbeddingBag takes one array of indices, got inputs of {input_shape}; with "
                "weighted=True it takes the tuple (indices, weights)"
            )
        is_pair = isinstance(input_shape, tuple) and len(input_shape) == 2
        if not is_pair or input_shape[0] != input_shape[1] or not is_shape(input_shape[0]):
            raise ValueError(
                "EmbeddingBag with weighted=True takes the tuple (indices, weights), two arrays of "
                f"the same shape; got inputs of {input_shape}"
            )
        return input_shape[0]  # type: ignore[no-any-return]

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return 0: rows of the weight are taken and added, not multiplied."""
        return 0

    def forward(self, params: Params, x: Arrays, ctx: Context) -> tuple[Array, Backward]:
        """Return the rows of each bag put together."""
        xp, table = ctx.xp, params["weight"]
        indices, weights = x if self.weighted else (x, None)
        flat = flat_indices(indices, self, xp)
        rows = xp.reshape(xp.take(table, flat, axis=0), (*indices.shape, self.features))
        keep = None if self.padding_index is None else indices != self.padding_index
        if self.mode == "max":
            y, rows_backward = _largest(rows, keep, ctx)
        else:
            y, rows_backward = _summed(rows, self._share(indices, weights, keep, table, ctx), ctx)

        def backward(dy: Array, input_grad: bool = True) -> tuple[Arrays | None, Params]:
            drows = xp.reshape(rows_backward(dy), (flat.shape[0], self.features))
            grads = {"weight": table_gradient(self, indices.shape[0], flat, drows, ctx)}
            if weights is None or not input_grad:
                return None, grads
            dweights = total(rows * dy[..., None, :], xp, -1, ctx.backend.dtype)
            dweights = xp.astype(dweights, weights.dtype, copy=False)
            if keep is not None:
                dweights = xp.where(keep, dweights, xp.zeros_like(dweights))
            return (None, dweights), grads

        return y, backward

    def _share(
        self, indices: Array, weights: Array | None, keep: Array | None, table: Array, ctx: Context
    ) -> Array | float:
        """Return the factor of each row in the sum, of the shape of the indices, or one for all."""
        xp = ctx.xp
        if weights is not None:
            return weights if keep is None else xp.where(keep, weights, xp.zeros_like(weights))
        if keep is None:
            return 1.0 / indices.shape[-1] if self.mode == "mean" else 1.0
        share = xp.astype(keep, ctx.backend.dtype)  # 16 bits cannot count far
        if self.mode == "mean":
            number = xp.sum(share, axis=-1, keepdims=True)
            share = share / xp.maximum(number, xp.ones_like(number))
        return xp.astype(share, table.dtype, copy=False)


def _summed(
    rows: Array, share: Array | float, ctx: Context
) -> tuple[Array, Callable[[Array], Array]]:
    """Return the sum over a bag of rows times their share, and the gradient of the rows."""
    xp, wide = ctx.xp, ctx.backend.dtype
    if isinstance(share, float):
        y = total(rows, xp, -2, wide) * share
    else:
        y = total(rows * share[..., None], xp, -2, wide)

    def backward(dy: Array) -> Array:
        dy = dy[..., None, :]
        if isinstance(share, float):
            return xp.broadcast_to(dy * share, rows.shape)
        return dy * share[..., None]

    return xp.astype(y, rows.dtype, copy=False), backward


def _largest(
    rows: Array, keep: Array | None, ctx: Context
) -> tuple[Array, Callable[[Array], Array]]:
    """Return the maximum over a bag of each column, and the gradient of the rows."""
    xp = ctx.xp
    counted = rows
    if keep is not None:
        counted = xp.where(keep[..., None], rows, xp.full_like(rows, -xp.inf))
    place = xp.argmax(counted, axis=-2, keepdims=True)
    y = xp.max(counted, axis=-2)
    if keep is not None:
        y = xp.where(xp.any(keep, axis=-1, keepdims=True), y, xp.zeros_like(y))

    def backward(dy: Array) -> Array:
        number = xp.arange(rows.shape[-2], dtype=place.dtype, device=ctx.backend.device)
        first = number[:, None] == place
        dy = xp.broadcast_to(dy[..., None, :], rows.shape)
        return xp.where(first, dy, xp.zeros_like(dy))

    return y, backward
