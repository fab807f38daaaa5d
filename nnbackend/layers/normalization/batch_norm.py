"""Batch normalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend import initializers
from nnbackend.core.checks import set_flag, set_number, set_positive
from nnbackend.core.random import Generator, ShapeGenerator
from nnbackend.core.types import Array, Backward, Context, Params, Shape, State
from nnbackend.layers.base import register_layer
from nnbackend.layers.normalization.channels import ChannelMatrix, axes_of, check_axes

__all__ = ["BatchNorm"]

_STATE = ("running_mean", "running_var")


@register_layer
@dataclass(frozen=True)
class BatchNorm:
    """Batch normalization: ``y = weight * z + bias`` with ``z = (x - mean) / sqrt(var + epsilon)``.

    In training ``mean`` and ``var`` are those of the batch, for each channel over all other axes, rows
    counted by their weights; ``var`` is divided by the number of values ``n``. Otherwise they are the
    running ones, the layer's state, which follow those of the batches::

        running_mean = (1 - momentum) * running_mean + momentum * mean
        running_var  = (1 - momentum) * running_var  + momentum * var * n / (n - 1)

    With ``a = weight / sqrt(var + epsilon)`` and sums over the batch::

        dweight = sum(dy * z)
        dbias   = sum(dy)
        dx      = a * (dy - (dbias + z * dweight) / n)        (in training; else a * dy)

    A batch whose gradient is computed in parts (``fit(accumulate=)``) is normalized part by part.

    Args:
        axis: the axis of channels, or several; default -1, the last. The axis 0 is that of rows.
        momentum: how far the running numbers go towards those of a batch; from 0 to 1, default 0.1.
        epsilon: is added to the variance; default 1e-5.
        affine: whether there are ``weight`` (initially 1) and ``bias`` (0), of the channels' shape;
            default True.
        synchronized: whether a batch that several processes share is normalized as a whole; if not
            (the default), each process normalizes its rows.

    Raises:
        ValueError: an argument is out of range, the input lacks the axis, or a channel of a batch has a
            single value in training, which says nothing of a variance.

    Source: Ioffe, Szegedy (2015), arXiv:1502.03167.
    """

    axis: int | tuple[int, ...] = -1
    momentum: float = 0.1
    epsilon: float = 1e-5
    affine: bool = True
    synchronized: bool = False

    needs_several_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", check_axes(self.axis))
        set_number(self, "momentum", 0.0)
        if self.momentum > 1.0:
            raise ValueError(f"momentum must be a number from 0 to 1, got {self.momentum}")
        set_positive(self, "epsilon")
        set_flag(self, "affine")
        set_flag(self, "synchronized")

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` and ``bias``, of the channels' shape, and the input's shape."""
        shape = tuple(input_shape[axis - 1] for axis in axes_of(self.axis, input_shape))
        if not self.affine:
            return {}, input_shape
        ones, zeros = initializers.Ones(), initializers.Zeros()
        params = {"weight": rng.draw(ones, shape, "weight"), "bias": rng.draw(zeros, shape, "bias")}
        return params, input_shape

    def init_state(self, input_shape: Shape) -> State:
        """Return the running mean, 0, and variance, 1."""
        shape = tuple(input_shape[axis - 1] for axis in axes_of(self.axis, input_shape))
        none = ShapeGenerator((0, 0))
        return {
            "running_mean": initializers.Zeros()(shape, none),
            "running_var": initializers.Ones()(shape, none),
        }

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return 0: numbers are scaled one by one, and only products of matrices count."""
        return 0

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the normalized input."""
        xp, wide, dtype = ctx.xp, ctx.backend.dtype, x.dtype
        channels = ChannelMatrix(x.shape, axes_of(self.axis, x.shape[1:]))
        batch = _Batch(self, channels, x, ctx) if ctx.training else None
        centered = channels.matrix(xp.astype(x, wide, copy=False), xp)
        if batch is None:
            mean, var = (xp.reshape(ctx.state[name], (-1,)) for name in _STATE)
            centered = centered - channels.spread(mean, xp)
        else:
            mean = batch.mean(centered)
            centered = centered - channels.spread(mean, xp)
            var = batch.mean(centered * centered)
            self._follow(mean, var, batch, ctx)
        inverse = 1.0 / xp.sqrt(var + self.epsilon)
        scale = inverse
        if self.affine:
            weight, bias = (xp.astype(params[n], wide, copy=False) for n in ("weight", "bias"))
            scale = inverse * xp.reshape(weight, (-1,))
        y = centered * channels.spread(scale, xp)
        if self.affine:
            y += channels.spread(xp.reshape(bias, (-1,)), xp)

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            dy = channels.matrix(xp.astype(dy, wide, copy=False), xp)
            grads: Params = {}
            if self.affine or batch is not None:
                dbias = channels.sum(dy, ctx)
                dweight = inverse * channels.sum(dy * centered, ctx)
            if self.affine:
                shape = params["weight"].shape
                grads = {"weight": xp.reshape(dweight, shape), "bias": xp.reshape(dbias, shape)}
            if not input_grad:
                return None, grads
            dx = dy * channels.spread(scale, xp)
            if batch is not None:
                dbias, dweight = batch.whole_sums(dbias, dweight)
                part = centered * channels.spread(scale * inverse * dweight, xp)
                part += channels.spread(scale * dbias, xp)
                part *= batch.share
                dx -= part
            return xp.astype(channels.array(dx, xp), dtype, copy=False), grads

        return xp.astype(channels.array(y, xp), dtype, copy=False), backward

    def _follow(self, mean: Array, var: Array, batch: _Batch, ctx: Context) -> None:
        """Let the running numbers follow those of a batch."""
        unbiased = var * batch.unbiased
        new = {}
        for name, found in zip(_STATE, (mean, unbiased), strict=True):
            old = ctx.state[name]
            found = ctx.xp.reshape(ctx.xp.astype(found, old.dtype, copy=False), old.shape)
            new[name] = (1.0 - self.momentum) * old + self.momentum * found
        ctx.set_state(**new)


class _Batch:
    """How the values of a batch count in its means: by the weights of its rows.

    Attributes:
        share: what each row of the matrix counts in a mean, a number or a column.
        unbiased: the factor from the variance divided by ``n`` to that divided by ``n - 1``.

    Raises:
        ValueError: a channel has a single value.
    """

    def __init__(self, layer: BatchNorm, channels: ChannelMatrix, x: Array, ctx: Context) -> None:
        self._channels, self._ctx = channels, ctx
        self._communicator = ctx.communicator if layer.synchronized else None
        if channels.values < 2 and self._communicator is None:
            raise ValueError(_single_value(ctx))
        xp, weight, each = ctx.xp, ctx.row_weight, channels.values // max(x.shape[0], 1)
        self._weight = None
        total = count = float(channels.values)
        if weight is not None:
            weight = xp.astype(weight, ctx.backend.dtype, copy=False)
            total = each * xp.sum(weight)
            count = each * xp.sum(xp.astype(weight > 0.0, weight.dtype))
            columns = xp.broadcast_to(weight[:, None], (weight.shape[0], channels.rows))
            self._weight = xp.reshape(columns, (-1, 1))
        if self._communicator is not None:
            zero = xp.zeros((), dtype=ctx.backend.dtype, device=ctx.backend.device)
            total, count = self._communicator.sum([zero + total, zero + count])
        self._total = _positive(total, ctx)  # all weights may be 0
        self.unbiased = count / _positive(count - 1.0, ctx)
        self.share = (1.0 if self._weight is None else self._weight) / self._total

    def mean(self, matrix: Array) -> Array:
        """Return the mean of each channel over the whole batch."""
        sums = self._channels.sum(matrix, self._ctx, self._weight)
        if self._communicator is not None:
            (sums,) = self._communicator.sum([sums])
        return sums / self._total

    def whole_sums(self, *sums: Array) -> tuple[Array, ...]:
        """Return sums of gradients over the whole batch from those of this process.

        The loss of a process is the mean over its rows, so its gradients count by their weight.
        """
        if self._communicator is None:
            return sums
        own = self._ctx.process_weight
        whole = self._communicator.sum([part * own for part in sums])
        return tuple(part / _positive(own, self._ctx) for part in whole)


def _positive(number: Any, ctx: Context) -> Any:
    """Return a number, a float or an array, if it is above 0; else 1."""
    if isinstance(number, int | float):
        return number if number > 0.0 else 1.0
    return ctx.xp.where(number > 0.0, number, ctx.xp.ones_like(number))


def _single_value(ctx: Context) -> str:
    where = ".".join(ctx.path)
    return (
        f"layer {where} (BatchNorm) cannot be trained on a batch of one row: the variance of a single "
        "value is 0. Take larger batches, and a batch_size that does not leave one row over; or a "
        "LayerNorm or GroupNorm, which do not look at other rows"
    )
