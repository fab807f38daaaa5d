"""The encoding between arrays of images or signals and the arrays of a network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import ModelFileError, unknown_name
from nnbackend.saving import schema
from nnbackend.tables.describe import ColumnDescription, describe_columns
from nnbackend.tables.description import (
    check_name,
    check_target,
    column_from_dict,
    column_to_dict,
)
from nnbackend.tables.encoding import Encoder
from nnbackend.tables.encodings import Target
from nnbackend.tables.table import Table, in_digits

__all__ = [
    "ARRAY_SCALES",
    "CHANNELS",
    "ArrayEncoder",
    "ArrayScale",
    "Channels",
    "check_features",
    "find_channels",
]

ArrayScale = Literal["standard", "max", "none"]
ARRAY_SCALES: tuple[ArrayScale, ...] = ("standard", "max", "none")

Channels = Literal["last", "first", "none"]
CHANNELS: tuple[Channels, ...] = ("last", "first", "none")
"""Which axis of a row has the channels."""

_MOST_CHANNELS = 16  # more are found out to be none
_COLORS = 4  # so few in images are channels
_BLOCK = 1 << 20  # numbers that are in float64 at a time
_MOST_AXES = 32
_LAYOUTS = {1: ("signals", "steps"), 2: ("images", "pixels"), 3: ("volumes", "voxels")}


def find_channels(shape: tuple[int, ...]) -> Channels:
    """Return which axis of rows of a shape most likely has the channels.

    The first or the last has them, whichever is shorter, if it is at most 16 long and every other axis
    at least four times as long; for rows of three axes or more also if it is at most 4 long. Rows of
    four axes always have channels.
    """
    if len(shape) < 2:
        return "none"
    first = shape[0] < shape[-1]
    count, others = (shape[0], shape[1:]) if first else (shape[-1], shape[:-1])
    small = count <= _MOST_CHANNELS and 4 * count <= min(others)
    found = small or (len(shape) > 2 and count <= _COLORS) or len(shape) == 4
    if not found:
        return "none"
    return "first" if first else "last"


def check_features(name: str, array: NDArray[Any]) -> None:
    """Refuse an array that holds no numbers, NaN or infinity.

    Raises:
        ValueError: it does; the message names the row, counted from 1.
    """
    if array.dtype.kind not in "biuf":
        raise ValueError(f"array {name!r} ({array.dtype}) holds no numbers")
    if array.dtype.kind != "f":
        return
    for start, part in _parts(array):
        bad = ~np.isfinite(part.reshape(len(part), -1)).all(axis=1)
        if bad.any():
            raise ValueError(
                f"array {name!r} holds NaN or infinity in row {start + int(bad.argmax()) + 1}; fill "
                "the gaps or leave those rows out"
            )


@dataclass(frozen=True)
class ArrayEncoder(Encoder):
    """How an array of images or signals becomes the input of a network, and its output the target.

    A row is encoded as ``(value - shift) / scale``, in float64, by channel, with the channels last.

    Attributes:
        name: the name of the array of features.
        shape: the shape of a row, as it is in the file.
        channels: which axis of a row has the channels: ``last``, ``first`` or ``none``.
        shift: is subtracted from the values of each channel.
        scale: divides the values of each channel.
        target: the encoding of the target.
        integer_classes: whether the classes were whole numbers in the file.
    """

    name: str
    shape: tuple[int, ...]
    channels: Channels
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    target: Target
    integer_classes: bool = False

    @classmethod
    def learn(
        cls,
        name: str,
        rows: NDArray[Any],
        target: str,
        table: Table,
        *,
        channels: Channels | None = None,
        scale: ArrayScale = "standard",
        integer_classes: bool = False,
    ) -> ArrayEncoder:
        """Return the encoding learned from training rows.

        Args:
            name: the name of the array of features.
            rows: the features of the training rows.
            target: the name of the target.
            table: the targets of the same rows.
            channels: which axis of a row has the channels; None: :func:`find_channels`.
            scale: ``standard`` for mean 0 and standard deviation 1 of each channel over all rows and
                positions, ``max`` for division by its largest absolute value, or ``none``.
            integer_classes: whether the classes are whole numbers in the file.

        Raises:
            UnknownNameError: no such scale or channels.
            ValueError: no values, the same value everywhere, numbers too large to scale; or see
                :func:`check_features`.
        """
        for what, value, known in (
            ("scale", scale, ARRAY_SCALES),
            ("channels", channels, CHANNELS),
        ):
            if value is not None and value not in known:
                raise unknown_name(what, value, known)
        check_features(name, rows)
        shape = rows.shape[1:]
        if not rows.size:
            raise ValueError(f"array {name!r} of shape {rows.shape} holds no values")
        channels = channels or find_channels(shape)
        shift, size = _learn_scales(name, rows, channels, scale)
        encoded = cls.learn_target(table, target, scale)
        return cls(name, shape, channels, shift, size, encoded, integer_classes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of a row of the network's input: the spatial axes and the channels."""
        moved = {"last": self.shape, "first": (*self.shape[1:], self.shape[0])}
        return moved.get(self.channels, (*self.shape, 1))

    @property
    def feature_names(self) -> list[str]:
        """The name of the array of features."""
        return [self.name]

    @property
    def layout(self) -> str:
        """What the axes of a row are taken for, in words."""
        *sizes, count = self.input_shape
        rows, unit = _LAYOUTS.get(len(sizes), ("arrays", "values"))
        size = f"{' x '.join(map(str, sizes))} {unit}"
        where = "" if self.channels == "none" else f" ({self.channels})"
        return f"{rows} of {size}, {count} channel{'s' * (count != 1)}{where}"

    @property
    def summary(self) -> str:
        """The features in a few words."""
        return f"{self.name}: {self.layout}"

    def describe(self) -> list[ColumnDescription]:
        """Return what is done to the array, and to the target."""
        width = math.prod(self.input_shape)
        features = ColumnDescription(self.name, self.layout, self.scaling, width)
        return [features, *describe_columns((), (), self.target)]

    @property
    def scaling(self) -> str:
        """The scaling in a few words."""
        pairs = zip(self.shift, self.scale, strict=True)
        each = [f"(value - {in_digits(shift, scale)}) / {scale:.6g}" for shift, scale in pairs]
        return "; ".join(dict.fromkeys(each))

    def encode_features(self, rows: NDArray[Any], dtype: str = "float32") -> NDArray[Any]:
        """Return the network's input for an array of rows: its rows have the ``input_shape``.

        Raises:
            ValueError: rows of another shape, no numbers, NaN or infinity.
        """
        if rows.ndim == len(self.shape) and rows.shape == self.shape:
            raise ValueError(
                f"array {self.name!r} has the shape {rows.shape} of a single row; a stack of one row "
                "is array[None]"
            )
        if rows.shape[1:] != self.shape or rows.ndim == 0:
            raise ValueError(
                f"array {self.name!r} has the shape {rows.shape}, and the model takes "
                f"(rows, {', '.join(map(str, self.shape))})"
            )
        check_features(self.name, rows)
        shift, scale = np.asarray(self.shift), np.asarray(self.scale)
        encoded = np.empty((len(rows), *self.input_shape), dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # the network says what is not finite
            for start, part in _parts(rows):
                block = _channels_last(part, self.channels).astype(np.float64)
                encoded[start : start + len(part)] = (block - shift) / scale
        return encoded

    def to_dict(self) -> dict[str, Any]:
        """Return a description that JSON can hold."""
        return {
            "features": {
                "name": self.name,
                "shape": list(self.shape),
                "channels": self.channels,
                "shift": list(self.shift),
                "scale": list(self.scale),
            },
            "target": column_to_dict(self.target),
            "integer_classes": self.integer_classes,
        }

    @classmethod
    def from_dict(cls, description: object) -> ArrayEncoder:
        """Return the encoder that :meth:`to_dict` described.

        Raises:
            ModelFileError: the description is not one; nothing in it is trusted.
        """
        try:
            _PARTS(description, "it")
            data: Any = description
            features: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in data["features"].items()
            }
            encoder = cls(
                **features,
                target=column_from_dict(data["target"]),
                integer_classes=data["integer_classes"],
            )
            encoder._check()
        except ModelFileError as error:
            message = f"the model's description of its arrays is damaged: {error}"
            raise ModelFileError(message) from error
        return encoder

    def _check(self) -> None:
        """Refuse parts that do not belong together."""
        axis = {"last": self.shape[-1], "first": self.shape[0], "none": 1}[self.channels]
        if not len(self.shift) == len(self.scale) == axis:
            schema.refuse(len(self.shift), "it.features.shift", f"for {axis} channels")
        if self.name == self.target.name:
            schema.refuse(self.name, "it.target.name", "another name than that of the features")
        if self.integer_classes and not (
            self.classes
            and all(c.removeprefix("-").isdecimal() and len(c) < 19 for c in self.classes)
        ):
            schema.refuse(self.classes, "it.target.classes", "a list of whole numbers")


def _parts(rows: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield rows in parts that are not large, each with the number of its first row."""
    step = max(_BLOCK // max(math.prod(rows.shape[1:]), 1), 1)
    for start in range(0, len(rows), step):
        yield start, rows[start : start + step]


def _channels_last(rows: NDArray[Any], channels: Channels) -> NDArray[Any]:
    """Return rows with their channels in the last axis."""
    if channels == "none":
        return rows[..., None]
    return np.moveaxis(rows, 1, -1) if channels == "first" else rows


def _learn_scales(
    name: str, rows: NDArray[Any], channels: Channels, scale: ArrayScale
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the shift and the scale of each channel."""

    def blocks() -> Iterator[NDArray[np.float64]]:
        for _, part in _parts(rows):
            block = _channels_last(part, channels).astype(np.float64)
            yield block.reshape(-1, block.shape[-1])

    with np.errstate(over="ignore", invalid="ignore"):
        low = np.min([block.min(axis=0) for block in blocks()], axis=0)
        high = np.max([block.max(axis=0) for block in blocks()], axis=0)
        if low.min() == high.max():
            raise ValueError(f"array {name!r} has one value only in the training rows, {low[0]:g}")
        mean = np.zeros_like(low)
        if scale == "standard":
            count = rows.size // len(low)
            mean = np.sum([block.sum(axis=0) / count for block in blocks()], axis=0)
            mean = np.where(low == high, low, mean)
        size = np.maximum(np.abs(high - mean), np.abs(low - mean))
        size[size == 0] = 1.0
        if scale == "standard":  # squares of the quotients are neither too large nor too small
            squares = [(((block - mean) / size) ** 2).sum(axis=0) for block in blocks()]
            deviation = size * np.sqrt(np.sum(squares, axis=0) / count)
            size = np.where(deviation > 0, deviation, 1.0)
        elif scale == "none":
            size = np.ones_like(size)
    if not (np.isfinite(mean).all() and np.isfinite(size).all()):
        raise ValueError(f"the numbers of array {name!r} are too large to scale")
    return tuple(mean.tolist()), tuple(size.tolist())


_NUMBERS = schema.items(schema.number(), 1)
_PARTS = schema.record(
    {
        "features": schema.record(
            {
                "name": check_name,
                "shape": schema.items(schema.whole(1), 1, _MOST_AXES),
                "channels": schema.text(*CHANNELS),
                "shift": _NUMBERS,
                "scale": schema.items(schema.number(math.ulp(0.0)), 1),
            },
            closed=True,
        ),
        "target": check_target,
        "integer_classes": schema.flag,
    },
    closed=True,
)
