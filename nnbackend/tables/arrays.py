"""Arrays from ``.npz`` files: what a file holds, found before anything of it is read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.data.files import find_files
from nnbackend.errors import counted, few
from nnbackend.tables.columns import table_of
from nnbackend.tables.limits import check_memory
from nnbackend.tables.table import Table, WantedKind, polars_module

__all__ = [
    "ArrayHeader",
    "array_file",
    "check_length",
    "list_arrays",
    "load_array",
    "read_headers",
    "target_table",
]

NUMBERS = "biuf"  # kinds of dtypes


@dataclass(frozen=True)
class ArrayHeader:
    """What a file says of an array: its shape and dtype."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """The bytes that it takes in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.shape} of {self.dtype}"


def array_file(path: Path) -> Path:
    """Return the one ``.npz`` file that a path or a pattern stands for.

    Raises:
        ValueError: it stands for something else.
        FileNotFoundError: it stands for nothing.
    """
    files = find_files(path, [".npz"])
    if len(files) > 1:
        raise ValueError(f"{path} stands for several files, and arrays are read from one of them")
    if not files[0].name.lower().endswith(".npz"):
        raise ValueError(
            f"{files[0]} is no .npz file, and images and signals are read from arrays with names; "
            "numpy.savez(path, x=array) writes them"
        )
    return files[0]


def read_headers(path: Path) -> dict[str, ArrayHeader]:
    """Return shape and dtype of each array of an ``.npz`` file, of which no more is read.

    Raises:
        ValueError: it is no such file, or an array is not as long as its header says.
    """
    with _reading(path):
        return headers_of(path)


def headers_of(path: Path) -> dict[str, ArrayHeader]:
    """Return the headers as :func:`read_headers` does, with errors that do not name the file."""
    if not zipfile.is_zipfile(path):
        raise ValueError("it holds no arrays with names")
    with zipfile.ZipFile(path) as archive:
        return {
            _array_name(info): _read_header(archive, info)
            for info in archive.infolist()
            if not info.is_dir()
        }


def load_array(path: Path, name: str) -> NDArray[Any]:
    """Return an array of an ``.npz`` file; nothing is unpickled.

    Raises:
        ValueError: the file has no such array, it is of Python objects, or it does not fit into memory.
    """
    headers = read_headers(path)
    if name not in headers:
        raise ValueError(f"{path} holds no array {name!r}; it holds {list_arrays(headers)}")
    if headers[name].dtype.hasobject:
        raise ValueError(
            f"array {name!r} of {path} holds Python objects, which are not read from files; save "
            "numbers, or texts as an array of texts: array.astype(str)"
        )
    with _reading(path):
        check_memory(headers[name].bytes, stream=False)
        return array_of(path, name)


def array_of(path: Path, name: str) -> NDArray[Any]:
    """Return an array whose header was read; see :func:`load_array`."""
    with np.load(path, allow_pickle=False) as arrays:
        return np.asarray(arrays[name])


def list_arrays(headers: Mapping[str, ArrayHeader]) -> str:
    """Return names, shapes and dtypes of arrays for a message."""
    return few([f"{name!r} {header}" for name, header in headers.items()], 10) or "no arrays"


def check_length(name: str, array: NDArray[Any], target: str, targets: NDArray[Any]) -> None:
    """Refuse features and targets that differ in length."""
    if targets.ndim and len(array) != len(targets):
        raise ValueError(
            f"array {name!r} has {counted(len(array), 'row')}, and the target {target!r} has "
            f"{len(targets)}"
        )


def target_table(name: str, array: NDArray[Any], kind: WantedKind) -> Table:
    """Return an array of one value for each row as a table of one column.

    Raises:
        ValueError: it has more values for each row, or they are neither numbers nor texts.
    """
    if array.ndim == 0 or array.size != len(array):
        advice = ""
        if array.ndim == 2 and np.isin(array, (0, 1)).all():
            advice = f"; of ones in the columns of classes it is {name}.argmax(axis=1)"
        raise ValueError(
            f"the target {name!r} has the shape {array.shape}, and one value for each row is predicted"
            + advice
        )
    if array.dtype.kind not in NUMBERS + "U":
        raise ValueError(f"the target {name!r} ({array.dtype}) holds neither numbers nor texts")
    column = array.reshape(len(array))
    if column.dtype.kind == "f":
        column = column.astype(np.float64)  # polars has no other size for all of them
    frame = polars_module().DataFrame({name: column})
    return table_of(frame, [name], {name: kind})


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Name the file in whatever fails in reading one that is damaged."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} is not a readable .npz file: {reason}") from error


def _array_name(info: zipfile.ZipInfo) -> str:
    if not info.filename.endswith(".npy"):
        raise ValueError(f"it holds {info.filename!r}, which is no array")
    return info.filename.removesuffix(".npy")


def _read_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> ArrayHeader:
    """Return what the header of an array says, after a check that there is as much of it."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    name = _array_name(info)
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in readers:  # its texts name fields of records, in any alphabet
            raise ValueError(f"array {name!r} is of records, not of numbers")
        shape, _, dtype = readers[version](file)
        header = ArrayHeader(shape, dtype)
        there = info.file_size - file.tell()
    if not dtype.hasobject and header.bytes != there:
        raise ValueError(f"array {name!r} ({header}) has {there} bytes")
    return header
