"""The rows of images or signals that ``nnbackend train`` learns from: read, split and encoded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nnbackend.cli.arguments import wrong_call
from nnbackend.cli.rows import Rows, split
from nnbackend.cli.settings import Settings
from nnbackend.errors import few
from nnbackend.tables.array_encoding import ArrayEncoder, ArrayScale, Channels, check_features
from nnbackend.tables.arrays import (
    ArrayHeader,
    array_file,
    check_length,
    list_arrays,
    load_array,
    read_headers,
    target_table,
)
from nnbackend.tables.limits import check_memory
from nnbackend.tables.reading import find_tables
from nnbackend.tables.selection import check_target, infer_classes, known_target
from nnbackend.tables.table import Table, is_number, missing, take_rows, warn

__all__ = ["read_array_rows", "takes_arrays"]

_FEW_CLASSES = 20  # so many different whole numbers are classes, and more if they are counted


def takes_arrays(data: Path, settings: Settings) -> bool:
    """Return whether data are arrays of images or signals rather than a table.

    They are if an array of the file has more than two axes, or if the options say so.

    Raises:
        WrongCall: an option is not for such data.
        ValueError: the file is damaged.
    """
    first, *others = find_tables(data)
    arrays = False
    if first.name.lower().endswith(".npz"):
        headers = read_headers(first)
        wanted = settings.model == "cnn" or settings.channels is not None
        arrays = wanted or any(len(header.shape) > 2 for header in headers.values())
    with wrong_call():
        if arrays and others:
            raise ValueError(
                f"{data} stands for several files, and images are read from one of them"
            )
        if arrays:
            settings.check_for_arrays(str(data))
        else:
            settings.check_for_tables(str(data))
    return arrays


def read_array_rows(data: Path, target: str, settings: Settings, dtype: str) -> Rows:
    """Read features and targets from an ``.npz`` file, split the rows and learn how to encode them."""
    path = array_file(data)
    headers = read_headers(path)
    name = _choose_features(headers, target, settings, path)
    header = headers[name]
    if len(header.shape) < 2:
        raise ValueError(
            f"array {name!r} has the shape {header.shape}; images and signals have more than one axis: "
            "(rows, ...)"
        )
    encoded = math.prod(header.shape) * np.dtype(dtype).itemsize
    check_memory(2 * header.bytes + encoded, stream=False)
    targets = load_array(path, target)
    features = load_array(path, name)
    check_length(name, features, target, targets)
    if not len(features):
        raise ValueError(f"{path} holds no rows")
    check_features(name, features)
    table, integer_classes = _read_target(target, targets, settings)
    return _encode_rows(name, features, table, target, settings, dtype, integer_classes)


def _choose_features(
    headers: dict[str, ArrayHeader], target: str, settings: Settings, path: Path
) -> str:
    """Return the name of the array of features: the one that is named, or the only one."""
    known = list_arrays(headers)
    for name in (target, *(settings.features or ())):
        if name not in headers:
            raise ValueError(f"{path} holds no array {name!r}; it holds {known}")
    names = settings.features or [name for name in headers if name != target]
    if not names:
        raise ValueError(f"{path} holds nothing but the target {target!r}")
    if len(names) > 1:
        raise ValueError(
            f"one array of features is learned from; choose it by --features NAME: {path} holds {known}"
        )
    return names[0]


def _read_target(target: str, array: NDArray[Any], settings: Settings) -> tuple[Table, bool]:
    """Return the column of targets, with gaps, and whether whole numbers are taken for classes."""
    kind = settings.kinds(target)[target]
    whole = array.dtype.kind in "iu"
    if whole and settings.infers_task and _are_classes(np.unique(array), array.size):
        kind = "text"
        shown = few([str(value) for value in np.unique(array)], 10)
        warn(
            f"the target {target!r} holds the whole numbers {shown}, which are taken for classes; "
            "--task regression takes them for numbers"
        )
    return target_table(target, array, kind), whole and kind == "text"


def _are_classes(values: NDArray[Any], rows: int) -> bool:
    """Return whether different whole numbers repeat, and are few or counted from 0 or 1."""
    counted = values[0] in (0, 1) and values[-1] - values[0] == len(values) - 1
    return 2 * len(values) <= rows and bool(counted or len(values) <= _FEW_CLASSES)


def _encode_rows(
    name: str,
    features: NDArray[Any],
    table: Table,
    target: str,
    settings: Settings,
    dtype: str,
    integer_classes: bool,
) -> Rows:
    """Split the rows, and encode them as the training rows teach."""
    known = ~missing(table[target])
    table = known_target(table, target)
    if settings.infers_task:
        table = infer_classes(table, target)
    check_target(table, target)
    rows = np.flatnonzero(known)
    training, others = split(table, target, settings)
    learned = features[rows[training]]
    encoder = ArrayEncoder.learn(
        name,
        learned,
        target,
        take_rows(table, training),
        channels=cast(Channels | None, settings.channels),
        scale=cast(ArrayScale, settings.scale),  # both were checked there
        integer_classes=integer_classes and not is_number(table[target]),
    )
    _say_channels(encoder, settings)
    x, y = encoder.encode_features(learned, dtype), encoder.encode_target(table)
    validation = None
    if len(others):
        validation = encoder.encode_features(features[rows[others]], dtype), y[others]
    return Rows(encoder, x, y[training], validation)


def _say_channels(encoder: ArrayEncoder, settings: Settings) -> None:
    """Say what the axes of a row are taken for, unless that was said or is plain."""
    if settings.channels is None and len(encoder.shape) > 1:
        warn(
            f"rows of {encoder.shape} are taken for {encoder.layout}; --channels last, first or none "
            "says which axis has the channels"
        )
