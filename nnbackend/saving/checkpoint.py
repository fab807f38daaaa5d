"""Checkpoints: a training run in a file, from which it is resumed as if nothing had happened.

A checkpoint is a safetensors file. It holds the network as a model file does, so that
:func:`nnbackend.load` reads it too, with the parameters under ``network/...`` and the layers' state
under ``state/...``; and the state of the run: plain data as JSON in an entry of the header, and its
arrays (of the optimizer, of callbacks, of the epoch so far) as further tensors. The state is checked as
a whole, see ``_STATE``, before any of it is used.

The order of an epoch is a function of seed and epoch number, a dropout mask one of seed, layer and step
number. So the numbers of the epoch and the step are the whole random state.
"""

from __future__ import annotations

import json
import math
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
from nnbackend.core.tree import arrays_in, flatten
from nnbackend.core.types import Params, State
from nnbackend.errors import ModelFileError
from nnbackend.saving import model_file, schema

__all__ = ["Checkpoint", "files", "find", "load", "newest", "save"]

FORMAT_VERSION = 1
_DESCRIPTION_KEY = "description"  # the checksum of the network's description in the JSON
_TENSOR_KEY = "@tensor"  # the key in the JSON of the name of an array among the tensors
_FILE_NAME = re.compile(r"(\d+)-epoch-\d+(-step-\d+)?\.safetensors", re.ASCII)
_MAX_RATIO = 1000  # of the sizes of an optimizer's array and of a parameter
_COUNT = schema.whole(high=2**31 - 1)  # random numbers are counted in 32 bits
_STATE = schema.record(
    {
        "epoch": _COUNT,
        "batch": _COUNT,
        "steps": _COUNT,
        "first_epoch": _COUNT,
        "trained": schema.items(_COUNT, 2, 2),
        "learning_rate_factor": schema.number(0.0),
        "history": schema.entries(schema.items(schema.number(finite=False))),
        "user": schema.entries(),
        "callbacks": schema.items(
            schema.record(
                {"name": schema.text(), "state": schema.entries(), "only_watches": schema.flag}
            )
        ),
    },
    {
        "task": schema.entries(schema.plain),
        "optimizer": schema.optional(schema.entries()),
        "raw": schema.optional(schema.entries(schema.tree(schema.array(kinds="f")))),
        "so_far": schema.optional(
            schema.record(
                {
                    "losses": schema.array(axes=1),
                    "masses": schema.array(axes=1),
                    "outputs": schema.anything,
                }
            )
        ),
    },
)
_ARRAYS = schema.entries(schema.tree(schema.array(nan=False)))
_OPTIMIZER = schema.record({"step": _COUNT, "slots": _ARRAYS}, {"velocity": _ARRAYS})


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

    def check_network(self, params: Params, layer_state: State) -> None:
        """Check that the parameters and the layers' state are those of a network, and finite.

        Raises:
            ModelFileError: a name or a shape is another, or a parameter is not finite.
        """
        own, own_state = _shapes(flatten(params)), _shapes(flatten(layer_state))
        raw = self.state.get("raw")
        if _shapes(self.params) != own or (raw is not None and _shapes(flatten(raw)) != own):
            raise self._refused("its parameters are not this network's")
        if not all(np.isfinite(array).all() for array in self.params.values()):
            raise self._refused("its parameters hold NaN or infinity")
        if _shapes(self.layer_state) != own_state:
            raise self._refused("its layers' state is not this network's")

    def check_callbacks(self, schemas: Mapping[str, schema.Check]) -> None:
        """Check the states of callbacks by the schemas of those with the same names.

        Raises:
            ModelFileError: one is not what it has to be.
        """
        try:
            for entry in self.state["callbacks"]:
                name = entry["name"]
                schemas.get(name, schema.anything)(entry["state"], f"the state of its {name}")
        except ModelFileError as error:
            raise self._refused(str(error)) from error

    def optimizer_state(self) -> Mapping[str, Any]:
        """Return the state of the optimizer of a fit.

        Raises:
            ModelFileError: it is none.
        """
        state: Mapping[str, Any] = self.state["optimizer"]
        try:
            _OPTIMIZER(state, "its optimizer")
        except ModelFileError as error:
            raise self._refused(str(error)) from error
        return state

    def _refused(self, reason: str) -> ModelFileError:
        return ModelFileError(f"{self.path} cannot be resumed from: {reason}")


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
    description = model_file.describe_network(network)
    own = {"format": FORMAT_VERSION, _DESCRIPTION_KEY: _checksum(description)}
    plain = _without_arrays({**own, **state}, tensors, to_numpy)
    header = {model_file.HEADER: description, model_file.CHECKPOINT: json.dumps(plain)}
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
        with model_file.opened(file) as content:
            if model_file.CHECKPOINT not in content.header:
                raise ModelFileError(
                    "it holds a network and no training run; nnbackend.load reads it"
                )
            content.network()
            plain = _read_state(content.header)
            names = {*model_file.network_names(content.header, content.shapes).values()}
            largest = max((math.prod(content.shapes[name]) for name in names), default=0)
            _with_arrays(plain, names.add)
            if names != content.shapes.keys():
                raise ModelFileError("its tensors are not those that its state names")
            # All is checked on arrays that take no memory, before a tensor is read.
            _check_state(_with_arrays(plain, content.outline), largest)
            tensors = content.read(content.shapes)
        state = _with_arrays(plain, tensors.__getitem__)
    except ModelFileError as error:
        raise ModelFileError(f"{file} cannot be resumed from: {error}") from error
    params = _select_prefix(tensors, model_file.PARAMETERS)
    return Checkpoint(file, params, _select_prefix(tensors, model_file.STATE), state)


def _select_prefix(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the tensors whose names begin with ``prefix``, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _read_state(header: Mapping[str, str]) -> dict[str, Any]:
    """Return the state of the run in a header, with references in the place of arrays."""
    plain = schema.parse(header[model_file.CHECKPOINT], "its state", finite=False)
    if plain.get("format") != FORMAT_VERSION:
        raise ModelFileError(
            f"it is a checkpoint of format {plain.get('format')!r}, this version of nnbackend "
            f"reads {FORMAT_VERSION}"
        )
    checksum = _checksum(header[model_file.HEADER])
    if plain.get(_DESCRIPTION_KEY, checksum) != checksum:  # older files have none
        raise ModelFileError("it is damaged: its description is another than when it was written")
    return plain


def _check_state(state: dict[str, Any], largest: int) -> None:
    """Check the state of a run: what is in it, and whether it holds together.

    ``largest`` is the size of the largest parameter: arrays that go with parameters are not much larger.
    """
    _STATE(state, "its state")
    lengths = {len(column) for column in state["history"].values()}
    if lengths != {state["epoch"]}:
        raise ModelFileError(f"its history does not have {state['epoch']} epochs")
    lacking = {"epoch", "loss", "seconds"} - state["history"].keys()
    if state["epoch"] and lacking:
        raise ModelFileError(f"its history lacks {', '.join(sorted(lacking))}")
    weights = [entry["state"].get("weights") for entry in state["callbacks"]]
    for array in arrays_in((state.get("optimizer"), state.get("raw"), *weights)):
        if getattr(array, "size", 0) > _MAX_RATIO * largest + 10_000:
            raise ModelFileError("its optimizer's or callbacks' arrays are not of its network")
    so_far = state.get("so_far")
    if so_far is not None and not len(so_far["losses"]) == len(so_far["masses"]) == state["batch"]:
        raise ModelFileError(f"its batch is {state['batch']}, which is not how many losses it has")


def _shapes(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in arrays.items()}


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
    return [p for p, name in names.items() if _FILE_NAME.fullmatch(name) and not p.is_dir()]


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
    value: Any,
    tensors: dict[str, Any],
    to_numpy: Callable[[Any], Any],
    name: str = "",
    depth: int = 0,
) -> Any:
    """Return plain data with a reference in place of each array, which goes to ``tensors``."""
    if depth > schema.MAX_DEPTH:
        raise ValueError(f"the state {name[:80]!r} is nested more than {schema.MAX_DEPTH} deep")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str) or key == _TENSOR_KEY]
        if wrong:
            reserved = wrong[0] == _TENSOR_KEY
            reason = "that is reserved" if reserved else "that is no text"
            raise TypeError(f"the state {name!r} has a name {reason}: {wrong[0]!r}")
        named = ((key, f"{name}/{key}" if name else key, item) for key, item in value.items())
        return {k: _without_arrays(v, tensors, to_numpy, full, depth + 1) for k, full, v in named}
    if isinstance(value, list | tuple):
        return [
            _without_arrays(v, tensors, to_numpy, f"{name}/{i}", depth + 1)
            for i, v in enumerate(value)
        ]
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        while name in tensors:  # names with slashes may meet
            name += "+"
        tensors[name] = value if isinstance(value, np.ndarray) else to_numpy(value)
        return {_TENSOR_KEY: name}
    raise TypeError(
        f"the state {name!r} is {value!r}; a checkpoint takes plain data and arrays only"
    )


def _with_arrays(value: Any, take: Callable[[str], Any]) -> Any:
    """Return plain data with ``take(name)`` in the place of each reference to an array."""
    if isinstance(value, list):
        return [_with_arrays(item, take) for item in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR_KEY in value:
        if len(value) > 1 or not isinstance(value[_TENSOR_KEY], str):
            raise ModelFileError(f"its state has a damaged entry {_TENSOR_KEY!r}")
        return take(value[_TENSOR_KEY])
    return {key: _with_arrays(item, take) for key, item in value.items()}


def _checksum(text: str) -> str:
    """Return the CRC-32 of a text in hexadecimal."""
    return f"{zlib.crc32(text.encode()):08x}"
