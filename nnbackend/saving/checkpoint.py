"""Checkpoints: a training run in a file, from which it is resumed as if nothing had happened.

A checkpoint is a safetensors file. It holds the network as a model file does, so that
:func:`nnbackend.load` reads it too, with the parameters under ``network/...`` and the layers' state
under ``state/...``; and the state of the run: plain data as JSON in an entry of the header, and its
arrays (of the optimizer, of callbacks, of the epoch so far) as further tensors. A checksum over both
reveals a damaged file.

The order of an epoch is a function of seed and epoch number, a dropout mask one of seed, layer and step
number. So the numbers of the epoch and the step are the whole random state.
"""

from __future__ import annotations

import json
import os
import re
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnbackend.core.checks import check_path
from nnbackend.core.tree import flatten
from nnbackend.errors import ModelFileError
from nnbackend.saving import model_file

__all__ = ["Checkpoint", "files", "find", "load", "newest", "save"]

FORMAT_VERSION = 1
_CHECKSUM_KEY = "checksum"  # the entry of the header
_TENSOR_KEY = "@tensor"  # the key in the JSON of the name of an array among the tensors
_FILE_NAME = re.compile(r"(\d+)-epoch-\d+(-step-\d+)?\.safetensors", re.ASCII)
_REQUIRED_TYPES = {"epoch": int, "batch": int, "trained": list, "history": dict, "callbacks": list}


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint.

    Attributes:
        path: the file.
        params: the parameters by dotted name, NumPy arrays.
        layer_state: the state of the layers by dotted name, NumPy arrays.
        state: the state of the run: nested plain data and NumPy arrays.
    """

    path: Path
    params: Mapping[str, Any]
    layer_state: Mapping[str, Any]
    state: Mapping[str, Any]


def save(path: str | os.PathLike[str], network: Any, params: Any, state: Mapping[str, Any]) -> Path:
    """Write a checkpoint, whole or not at all: a network with other parameters, and the state of a run.

    The state is nested dictionaries and lists of plain data and arrays.

    Raises:
        TypeError: something is neither plain data nor an array, or a layer is not registered.
        OSError: the file cannot be written.
    """
    to_numpy = network.backend.to_numpy
    tensors = {model_file.PARAMETERS + n: to_numpy(p) for n, p in flatten(params).items()}
    tensors |= {model_file.STATE + n: to_numpy(a) for n, a in flatten(network.state).items()}
    plain = _without_arrays({"format": FORMAT_VERSION, **state}, tensors, to_numpy)
    text = json.dumps(plain)
    header = {
        model_file.HEADER: model_file.describe_network(network),
        model_file.CHECKPOINT: text,
        _CHECKSUM_KEY: _checksum(text, tensors),
    }
    return model_file.write(path, tensors, header)


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: it is no checkpoint, or damaged.
    """
    file = check_path("path", path)
    if not file.exists():
        raise FileNotFoundError(f"there is no checkpoint {file}")
    try:
        header, tensors = model_file.read(file)
        if model_file.CHECKPOINT not in header:
            raise ModelFileError("it holds a network and no training run; nnbackend.load reads it")
        text = header[model_file.CHECKPOINT]
        if header.get(_CHECKSUM_KEY) != _checksum(text, tensors):
            raise ModelFileError("it is damaged: its checksum is not that of its content")
        plain = model_file.parse_entry(header, model_file.CHECKPOINT)
        if plain.get("format") != FORMAT_VERSION:
            raise ModelFileError(
                f"it is a checkpoint of format {plain.get('format')!r}, this version of nnbackend "
                f"reads {FORMAT_VERSION}"
            )
        for name, kind in _REQUIRED_TYPES.items():
            if not isinstance(plain.get(name), kind):
                raise ModelFileError(f"its {name} is missing or no {kind.__name__}")
        lengths = {len(c) if isinstance(c, list) else -1 for c in plain["history"].values()}
        if lengths != {plain["epoch"]}:
            raise ModelFileError(f"its history does not have {plain['epoch']} epochs")
        state = _with_arrays(plain, tensors)
    except ModelFileError as error:
        raise ModelFileError(f"{file} cannot be resumed from: {error}") from error
    params = model_file.select_prefix(tensors, model_file.PARAMETERS)
    return Checkpoint(file, params, model_file.select_prefix(tensors, model_file.STATE), state)


def files(directory: str | os.PathLike[str]) -> list[Path]:
    """Return the checkpoints in a folder in the order in which they were written."""
    found = _list_files(check_path("directory", directory))
    numbered = ((_FILE_NAME.fullmatch(p.name), p) for p in found)
    return [path for _, path in sorted((int(m[1]), p) for m, p in numbered if m is not None)]


def named_in(directory: Path, names: Iterable[Any]) -> list[Path]:
    """Return the checkpoints in a folder among names that a file holds, which may be anything.

    A name that :func:`next_path` would not give is left out, so none leads out of the folder.
    """
    own = {path.name: path for path in files(directory) if not path.is_symlink()}
    return [own[name] for name in names if isinstance(name, str) and name in own]


def next_path(directory: Path, epoch: int, step: int) -> Path:
    """Return the path for a new checkpoint, numbered after all in the folder."""
    existing = files(directory)
    number = int(existing[-1].name.partition("-")[0]) + 1 if existing else 1
    within = f"-step-{step:06}" if step else ""
    return directory / f"{number:06}-epoch-{epoch:04}{within}.safetensors"


def find_leftovers(directory: Path) -> list[Path]:
    """Return the temporary files of checkpoints that a process was killed while writing."""
    # As write_atomically names them: .000001-epoch-0001.safetensors.abcdefgh
    names = {p: p.name.lstrip(".").rpartition(".")[0] for p in _list_files(directory)}
    return [path for path, name in names.items() if _FILE_NAME.fullmatch(name)]


def _list_files(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def newest(directory: str | os.PathLike[str]) -> Path | None:
    """Return the newest checkpoint in a folder that can be loaded, or None: ``fit(resume=newest(...))``.

    A damaged one is skipped with a warning.
    """
    found = _load_newest(check_path("directory", directory))
    return None if found is None else found.path


def find(path: str | os.PathLike[str]) -> Checkpoint | None:
    """Return the checkpoint of a file, or the newest of a folder that can be loaded.

    Returns:
        None if a folder holds no checkpoint, or does not exist.

    Raises:
        FileNotFoundError, ModelFileError: as ``load``; also if all in a folder are damaged.
    """
    path = check_path("path", path)
    if path.is_dir() or (not path.exists() and path.suffix != ".safetensors"):
        return _load_newest(path)
    return load(path)


def _load_newest(directory: Path) -> Checkpoint | None:
    problems: list[Exception] = []
    for path in reversed(files(directory)):
        try:
            found = load(path)
        except (ModelFileError, OSError) as problem:
            problems.append(problem)
            continue
        for skipped in problems:
            warnings.warn(f"{skipped}; the one before it is taken", UserWarning, stacklevel=2)
        return found
    if problems:
        raise ModelFileError(
            f"no checkpoint in {directory} can be loaded; the newest: {problems[0]}"
        ) from problems[0]
    return None


# Arrays in plain data


def _without_arrays(
    value: Any, tensors: dict[str, Any], to_numpy: Callable[[Any], Any], name: str = ""
) -> Any:
    """Return plain data with a reference in place of each array, which goes to ``tensors``."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise TypeError(f"the state {name!r} has a name that is no text: {wrong[0]!r}")
        return {
            key: _without_arrays(item, tensors, to_numpy, f"{name}/{key}" if name else key)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_arrays(v, tensors, to_numpy, f"{name}/{i}") for i, v in enumerate(value)]
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        tensors[name] = value if isinstance(value, np.ndarray) else to_numpy(value)
        return {_TENSOR_KEY: name}
    raise TypeError(
        f"the state {name!r} is {value!r}; a checkpoint takes plain data and arrays only"
    )


def _with_arrays(value: Any, tensors: Mapping[str, Any]) -> Any:
    """Return plain data with the arrays that :func:`_without_arrays` took out."""
    if isinstance(value, list):
        return [_with_arrays(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TENSOR_KEY}:
        if value[_TENSOR_KEY] not in tensors:
            raise ModelFileError(f"the tensor {value[_TENSOR_KEY]!r} is missing")
        return tensors[value[_TENSOR_KEY]]
    return {key: _with_arrays(item, tensors) for key, item in value.items()}


def _checksum(text: str, tensors: Mapping[str, Any]) -> str:
    """Return the CRC-32 of a text and of arrays with their names, in hexadecimal."""
    checksum = zlib.crc32(text.encode())
    for name in sorted(tensors):
        checksum = zlib.crc32(name.encode(), checksum)
        checksum = zlib.crc32(np.asarray(tensors[name], order="C").reshape(-1).data, checksum)
    return f"{checksum:08x}"
