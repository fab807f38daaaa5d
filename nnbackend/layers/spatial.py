"""The geometry that convolution and pooling share: sizes, padding, lengths and the place of channels.

A layer keeps its sizes as one number for each spatial axis, and its padding as ``"valid"``, ``"same"``
or one pair (before, after) for each. It computes with channels last; where they come first, its input
and output are transposed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from nnbackend.core.checks import check_choice, check_size
from nnbackend.core.types import Array, Context, Namespace, Shape
from nnbackend.errors import given

if TYPE_CHECKING:
    from nnbackend.backends.base import Backend

__all__ = [
    "CHANNELS",
    "PADDING_MODES",
    "Padding",
    "Pairs",
    "Sizes",
    "channels_as_given",
    "channels_last",
    "check_input",
    "check_padding",
    "check_pairs",
    "check_sizes",
    "input_lengths",
    "output_lengths",
    "output_shape",
    "pad",
    "pad_adjoint",
    "padding_pairs",
    "set_channels",
    "set_padding",
    "set_sizes",
]

Sizes: TypeAlias = tuple[int, ...]
"""A number for each spatial axis."""

Pairs: TypeAlias = tuple[tuple[int, int], ...]
"""How much is put before and after along each spatial axis."""

Padding: TypeAlias = int | str | tuple[Any, ...]
"""``"valid"``, ``"same"``, a number, one for each spatial axis, or a pair for each."""

CHANNELS = ("last", "first")
PADDING_MODES = ("zeros", "reflect", "edge")
_AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


# Arguments of layers


def check_sizes(name: str, value: Any, axes: int, least: int = 1) -> Sizes:
    """Return a whole number, or one for each spatial axis, as a number for each.

    >>> check_sizes("stride", 2, axes=2)
    (2, 2)

    Args:
        name: the name of the argument in messages.
        value: what was given.
        axes: how many spatial axes there are.
        least: the smallest number; default 1.

    Raises:
        ValueError: it is something else.
    """
    if _is_one(value):
        return (_size(name, value, axes, least),) * axes
    sizes = tuple(_size(name, size, axes, least) for size in value)
    if len(sizes) != axes:
        raise ValueError(f"{name} must be {_numbers(axes, least)}; got {given(value)}")
    return sizes


def check_padding(value: Any, axes: int, name: str = "padding") -> str | Pairs:
    """Return ``"valid"``, ``"same"``, or how much is put before and after along each axis.

    >>> check_padding((1, (0, 2)), axes=2)
    ((1, 1), (0, 2))

    Args:
        value: ``"valid"`` (none), ``"same"`` (as much as gives ``ceil(length / stride)`` outputs; of an
            odd number the larger half is put behind, as Keras does), a whole number for all sides, or
            for each spatial axis a number or a pair (before, after).
        axes: how many spatial axes there are.
        name: the name of the argument in messages.

    Raises:
        ValueError: it is something else, such as a negative number.
    """
    if isinstance(value, str):
        return check_choice(name, value, ("valid", "same"))
    return check_pairs(name, value, axes, "'valid', 'same', ")


def check_pairs(name: str, value: Any, axes: int, also: str = "") -> Pairs:
    """Return a whole number, or a number or a pair for each spatial axis, as a pair for each.

    Args:
        name: the name of the argument in messages.
        value: what was given.
        axes: how many spatial axes there are.
        also: what else may be given, in messages; default "".

    Raises:
        ValueError: it is something else, such as a negative number.
    """
    if _is_one(value):
        value = (value,) * axes
    items = list(value)
    wanted = (
        f"{also}a whole number of at least 0, or a tuple of {axes}, each a number or a pair "
        "(before, after)"
    )
    if len(items) != axes:
        raise ValueError(f"{name} must be {wanted}; got {given(value)}")
    pairs = []
    for item in items:
        pair = (item, item) if _is_one(item) else tuple(item)
        try:
            low, high = (check_size(name, side, 0) for side in pair)
        except ValueError:
            raise ValueError(f"{name} must be {wanted}; got {given(value)}") from None
        pairs.append((low, high))
    return tuple(pairs)


def set_sizes(owner: Any, axes: int, *names: str, least: int = 1) -> None:
    """Check fields of a frozen dataclass and make each a number for each axis; for ``__post_init__``."""
    for name in names:
        object.__setattr__(owner, name, check_sizes(name, getattr(owner, name), axes, least))


def set_padding(owner: Any, axes: int) -> None:
    """Check the field ``padding`` of a frozen dataclass, see :func:`check_padding`."""
    object.__setattr__(owner, "padding", check_padding(owner.padding, axes))


def set_channels(owner: Any) -> None:
    """Check that the field ``channels`` of a frozen dataclass is "last" or "first"."""
    check_choice("channels", owner.channels, CHANNELS)


def _is_one(value: Any) -> bool:
    """Return whether this is one value, or at least not several."""
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes | type | dict)
    return not several or getattr(value, "shape", None) == ()


def _size(name: str, value: Any, axes: int, least: int) -> int:
    try:
        return check_size(name, value, least)
    except ValueError:
        raise ValueError(f"{name} must be {_numbers(axes, least)}; got {given(value)}") from None


def _numbers(axes: int, least: int) -> str:
    return f"a whole number of at least {least}, or a tuple of {axes} such numbers"


# Shapes


def input_lengths(input_shape: Shape, axes: int, channels: str = "last") -> tuple[Sizes, int]:
    """Return the lengths of the spatial axes of a row, and its number of channels.

    Args:
        input_shape: the shape of a row.
        axes: how many spatial axes the layer has.
        channels: "last" or "first".

    Raises:
        ValueError: the row has another number of axes.
    """
    if len(input_shape) != axes + 1 or not all(isinstance(n, int) for n in input_shape):
        wanted = _described(axes, channels, "channels")
        raise ValueError(f"expects {wanted}, got {_of_batch(input_shape)}")
    if channels == "first":
        return tuple(input_shape[1:]), input_shape[0]
    return tuple(input_shape[:-1]), input_shape[-1]


def output_shape(lengths: Sizes, count: int, channels: str = "last") -> Shape:
    """Return the shape of a row with these lengths of spatial axes and number of channels."""
    return (*lengths, count) if channels == "last" else (count, *lengths)


def check_input(x: Array, axes: int, count: int, ctx: Context, channels: str = "last") -> None:
    """Check that a batch has the axes and the number of channels that a layer was built for.

    Args:
        x: the batch.
        axes: how many spatial axes the layer has.
        count: its number of channels.
        ctx: the context, which knows the layer's path.
        channels: "last" or "first".

    Raises:
        ValueError: it has not; the message names the layer by its path.
    """
    shape = x.shape
    if len(shape) != axes + 2 or shape[1 if channels == "first" else -1] != count:
        where = f"{'.'.join(ctx.path)}: " if ctx.path else ""
        wanted = _described(axes, channels, str(count))
        raise ValueError(f"{where}expects {wanted}, got {tuple(shape)}")


def padding_pairs(
    padding: str | Pairs, lengths: Sizes, size: Sizes, stride: Sizes, dilation: Sizes
) -> Pairs:
    """Return how much is put before and after along each spatial axis.

    ``"same"`` gives ``ceil(length / stride)`` windows; of an odd number the larger half is put behind.

    Args:
        padding: "valid", "same" or pairs.
        lengths: the lengths of the spatial axes.
        size: the numbers in a window along each.
        stride: the distance from one window to the next.
        dilation: the distance from one number of a window to the next.
    """
    if padding == "valid":
        return ((0, 0),) * len(lengths)
    if not isinstance(padding, str):
        return padding
    pairs = []
    for length, k, step, apart in zip(lengths, size, stride, dilation, strict=True):
        count = -(-length // step)
        total = max((count - 1) * step + apart * (k - 1) + 1 - length, 0)
        pairs.append((total // 2, total - total // 2))
    return tuple(pairs)


def output_lengths(
    lengths: Sizes, size: Sizes, stride: Sizes, pairs: Pairs, dilation: Sizes
) -> Sizes:
    """Return the number of windows along each spatial axis.

    ``(length + before + after - dilation (size - 1) - 1) // stride + 1``

    Args:
        lengths: the lengths of the spatial axes.
        size: the numbers in a window along each.
        stride: the distance from one window to the next.
        pairs: how much is put before and after.
        dilation: the distance from one number of a window to the next.

    Raises:
        ValueError: a window is larger than the padded input.
    """
    padded = tuple(n + low + high for n, (low, high) in zip(lengths, pairs, strict=True))
    spans = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
    if any(span > length for span, length in zip(spans, padded, strict=True)):
        apart = f" with dilation {dilation} spans {spans}, which" if spans != size else ""
        raise ValueError(
            f"a kernel of size {size}{apart} is larger than its padded input of size {padded}"
        )
    return tuple((n - k) // s + 1 for n, k, s in zip(padded, spans, stride, strict=True))


def _described(axes: int, channels: str, count: str) -> str:
    names = (*_AXES[axes], count) if channels == "last" else (count, *_AXES[axes])
    return f"({', '.join(('batch', *names))})"


def _of_batch(shape: Any) -> str:
    if not isinstance(shape, tuple) or not all(isinstance(n, int) for n in shape):
        return f"inputs of shapes {given(shape)}"
    return f"({', '.join(('batch', *map(str, shape)))})"


# The place of channels


def channels_last(x: Array, channels: str, xp: Namespace) -> Array:
    """Return a batch with its channels on the last axis.

    Args:
        x: the batch, of shape ``(batch, *lengths, channels)``, or ``(batch, channels, *lengths)``.
        channels: where they are: "last" or "first".
        xp: the array namespace.
    """
    if channels == "last":
        return x
    axes = len(x.shape)
    return xp.permute_dims(x, (0, *range(2, axes), 1))


def channels_as_given(x: Array, channels: str, xp: Namespace) -> Array:
    """Return a batch with its channels where the user has them; undoes :func:`channels_last`.

    Args:
        x: the batch, of shape ``(batch, *lengths, channels)``.
        channels: where they shall be: "last" or "first".
        xp: the array namespace.
    """
    if channels == "last":
        return x
    axes = len(x.shape)
    return xp.permute_dims(x, (0, axes - 1, *range(1, axes - 1)))


# Padding


def pad(x: Array, pairs: Pairs, backend: Backend, mode: str = "zeros", value: float = 0.0) -> Array:
    """Return a batch with numbers put before and after along its spatial axes.

    Args:
        x: the batch, of shape ``(batch, *lengths, channels)``.
        pairs: how many along each spatial axis.
        backend: the backend.
        mode: what is put there: "zeros" (or another ``value``), "reflect" (the numbers beside the edge
            in reverse, without the edge itself) or "edge" (the number at the edge).
        value: the number that mode "zeros" puts there; default 0.

    Raises:
        ValueError: there is too little to reflect.
    """
    if not any(low or high for low, high in pairs):
        return x
    if mode == "zeros":
        return backend.pad(x, pairs, value)
    xp = backend.xp
    for axis, (low, high) in enumerate(pairs, 1):
        if not low and not high:
            continue
        check_mode(mode, x.shape[axis], (low, high))
        before, after = _ends(x, axis, low, high, mode, xp)
        x = xp.concat([before, x, after], axis=axis)
    return x


def pad_adjoint(d: Array, pairs: Pairs, backend: Backend, mode: str = "zeros") -> Array:
    """Return the gradient with respect to ``x`` for that of ``pad(x, pairs, backend, mode)``.

    Each number of ``x`` gets the sum of the gradients of all places that it was put to.

    Args:
        d: the gradient, of the shape that :func:`pad` returns.
        pairs: see :func:`pad`, as the next two.
        backend: the backend.
        mode: "zeros", "reflect" or "edge".
    """
    for axis in reversed(range(1, 1 + len(pairs))):
        low, high = pairs[axis - 1]
        if not low and not high:
            continue
        length = d.shape[axis] - low - high
        inside = d[_along(axis, low, low + length)]
        if mode != "zeros":
            before, after = d[_along(axis, 0, low)], d[_along(axis, low + length, None)]
            inside = _add_ends(inside, before, after, axis, mode, backend)
        d = inside
    return d


def check_mode(mode: str, length: int, pair: tuple[int, int]) -> None:
    """Raise a ValueError if an axis is too short to be reflected so far."""
    if mode == "reflect" and max(pair) >= length:
        raise ValueError(
            f"padding of {pair} by reflection needs an axis of at least {max(pair) + 1}, got {length}"
        )


def _along(axis: int, start: int, stop: int | None) -> tuple[Any, ...]:
    """Return the key of a part of an axis."""
    return (*(slice(None),) * axis, slice(start, stop), ...)


def _ends(
    x: Array, axis: int, low: int, high: int, mode: str, xp: Namespace
) -> tuple[Array, Array]:
    """Return what is put before and after along an axis by reflection or repetition."""
    length = x.shape[axis]
    if mode == "reflect":
        before = xp.flip(x[_along(axis, 1, 1 + low)], axis=axis)
        return before, xp.flip(x[_along(axis, length - 1 - high, length - 1)], axis=axis)
    first, last = x[_along(axis, 0, 1)], x[_along(axis, length - 1, length)]
    return xp.repeat(first, low, axis=axis), xp.repeat(last, high, axis=axis)


def _add_ends(
    inside: Array, before: Array, after: Array, axis: int, mode: str, backend: Backend
) -> Array:
    """Return the gradient of an axis's numbers with those of their copies at both ends added."""
    xp, length = backend.xp, inside.shape[axis]
    low, high = before.shape[axis], after.shape[axis]
    none = ((0, 0),) * (axis - 1)
    rest = ((0, 0),) * (len(inside.shape) - 2 - axis)
    if mode == "reflect":
        before, after = xp.flip(before, axis=axis), xp.flip(after, axis=axis)
        places = (1, length - 1 - low), (length - 1 - high, 1)
    else:
        before, after = (xp.sum(end, axis=axis, keepdims=True) for end in (before, after))
        places = (0, length - 1), (length - 1, 0)
    for end, place in zip((before, after), places, strict=True):
        if end.shape[axis]:
            inside = inside + backend.pad(end, (*none, place, *rest))
    return inside
