"""Networks in files: the weights as safetensors, the description as JSON in its header.

Nothing in a file is executed. A file is checked against what it claims before any memory is taken for
it: the description is rebuilt from registered classes only, and the shapes it implies must be those of
the tensors in the file.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from nnbackend.core.checks import check_path
from nnbackend.core.layer_tree import init_state
from nnbackend.core.precision import DTYPES, PRECISIONS, Precision
from nnbackend.core.random import ShapeGenerator
from nnbackend.core.registry import describe, rebuild
from nnbackend.core.shapes import Shapes, check_shapes, map_shapes
from nnbackend.core.tree import flatten, unflatten
from nnbackend.core.types import Params, State
from nnbackend.core.version import __version__
from nnbackend.errors import ModelFileError
from nnbackend.layers import Sequential
from nnbackend.saving.atomic import write_atomically

if TYPE_CHECKING:
    from nnbackend.network import Network

__all__ = ["SavedNetwork", "read_network", "save"]

FORMAT_VERSION = 1
HEADER = "nnbackend"
"""The entry of a file's header that describes the network."""
CHECKPOINT = "checkpoint"
"""The entry that only a checkpoint has, see :mod:`nnbackend.saving.checkpoint`."""
PARAMETERS = "network/"
"""The prefix of the names of parameters in a checkpoint, which holds other tensors too."""
STATE = "state/"
"""The prefix of the names of the layers' state, in models and checkpoints: ``state/0.mean``."""


def save(network: Network, path: str | os.PathLike[str]) -> Path:
    """Write a network's weights and description to ``path``, whole or not at all.

    Raises:
        TypeError: a layer is not registered, or ``network.metadata`` is not plain data.
        ValueError: the network has no parameters yet, or the metadata holds NaN.
        OSError: the file cannot be written.
    """
    tensors = {n: network.to_numpy(p) for n, p in flatten(network.params).items()}
    tensors |= {STATE + n: network.to_numpy(a) for n, a in flatten(network.state).items()}
    return write(path, tensors, {HEADER: describe_network(network)})


def describe_network(network: Network) -> str:
    """Return the description of a network as JSON, for the header of a file."""
    description = {
        "format": FORMAT_VERSION,
        "version": __version__,
        "dtype": network.backend.dtype_name,
        "precision": network.backend.precision,
        "seed": network.seed,
        "input_shape": network.input_shape,
        "network": describe(network.layers),
        "frozen": list(network.frozen),
        "metadata": network.metadata,
    }
    try:
        return json.dumps(description, allow_nan=False)
    except (TypeError, ValueError) as error:  # all else is described above
        raise type(error)(f"the network's metadata must be plain data: {error}") from error


def write(path: str | os.PathLike[str], tensors: Mapping[str, Any], header: dict[str, str]) -> Path:
    """Write NumPy arrays and the texts of a header to a file, whole or not at all."""
    # safetensors writes the memory unchanged, so it must be in C order.
    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    return write_atomically(path, safetensors.numpy.save(contiguous, metadata=header))


@dataclass(frozen=True)
class SavedNetwork:
    """A network as a file holds it: all that is needed to make it again on any backend.

    Attributes:
        layers: the layers.
        input_shape: the shape of one row, or a tree of shapes.
        params: the parameters, nested, NumPy arrays.
        state: the state of the layers, nested, NumPy arrays.
        seed: the network's seed.
        precision: the precision that it computed in.
        frozen: the dotted names of the frozen parameters.
        metadata: the user's plain data.
    """

    layers: Sequential
    input_shape: Shapes
    params: Params
    state: State
    seed: int
    precision: Precision
    frozen: list[str]
    metadata: dict[str, Any]


def read_network(path: str | os.PathLike[str]) -> SavedNetwork:
    """Read the network in a model file or a checkpoint, checked against what it claims to be.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: it is not a network's file, is damaged, or its description cannot be built.
    """
    file = check_path("path", path)
    if not file.exists():
        raise FileNotFoundError(f"there is no file {file}")
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder, not a model file")
    try:
        description, tensors = _read_description(file)
        layers, input_shape, params, state = _rebuild_layers(description, tensors)
        metadata = description.get("metadata", {})
        if not isinstance(metadata, dict):
            raise ModelFileError("its metadata is not a table")
        seed, precision = _read_seed(description), _read_precision(description)
        frozen = _read_frozen(description, params)
    except ModelFileError as error:
        raise ModelFileError(f"{file} cannot be loaded: {error}") from error
    return SavedNetwork(layers, input_shape, params, state, seed, precision, frozen, metadata)


def _read_description(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the description and the tensors of the network in a model file or a checkpoint."""
    header, tensors = read(file)
    description = parse_entry(header, HEADER)
    if description.get("format") != FORMAT_VERSION:
        raise ModelFileError(
            f"it has format {description.get('format')!r}, this version of nnbackend reads "
            f"{FORMAT_VERSION}; it was written by version {description.get('version')!r}"
        )
    if CHECKPOINT in header:
        state = {name: tensor for name, tensor in tensors.items() if name.startswith(STATE)}
        tensors = select_prefix(tensors, PARAMETERS) | state
    return description, tensors


def read(file: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the header and the tensors of a file that :func:`write` wrote.

    Raises:
        ModelFileError: it is another kind of file, or damaged.
    """
    try:
        with safetensors.safe_open(file, framework="np") as content:
            header = content.metadata() or {}
            if HEADER not in header:
                raise ModelFileError("it is a safetensors file, but not one of nnbackend's")
            return header, {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ModelFileError(f"it is not a safetensors file, or is damaged ({error})") from error
    except (TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"it holds data of an unknown kind ({error})") from error


def parse_entry(header: Mapping[str, str], name: str) -> dict[str, Any]:
    """Return the table that an entry of a header holds as JSON."""
    try:
        # A model's description is strict JSON; the history of a training run may be infinite.
        constant = _refuse_constant if name == HEADER else float
        description = json.loads(header[name], parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"its description is not valid JSON ({error})") from error
    if not isinstance(description, dict):
        raise ModelFileError("its description is not a table")
    return description


def select_prefix(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the tensors whose names begin with ``prefix``, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which are not JSON and which ``save`` does not write."""
    raise ValueError(f"it holds {name}")


def _rebuild_layers(
    description: dict[str, Any], tensors: dict[str, Any]
) -> tuple[Sequential, Shapes, Params, State]:
    """Return layers, input shape, parameters and state, all checked against each other."""
    layers = rebuild(description.get("network"))
    if not isinstance(layers, Sequential):
        raise ModelFileError("it describes no network")
    shape = _read_shape(description)
    try:
        expected, _ = layers.init(shape, ShapeGenerator((0, 0)))
        state = init_state(layers, shape)
    except (ValueError, TypeError, MemoryError, OverflowError) as error:
        raise ModelFileError(f"its layers do not fit together: {error}") from error
    arrays = flatten(expected) | {STATE + name: array for name, array in flatten(state).items()}
    shapes = {name: tuple(value.shape) for name, value in arrays.items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if shapes != found:
        wrong = sorted(n for n in shapes.keys() | found.keys() if shapes.get(n) != found.get(n))
        raise ModelFileError(
            f"its tensors are not those of the network it describes: {', '.join(wrong[:5])}"
        )
    if any(tensor.dtype.kind != "f" for tensor in tensors.values()):
        raise ModelFileError("its tensors are not floating-point numbers")
    params = unflatten(tensors, expected)
    return layers, shape, params, unflatten(tensors, state, STATE)


def _read_shape(description: dict[str, Any]) -> Shapes:
    """Return the shape of a row of inputs, or the tree of shapes of several inputs."""
    shape = description.get("input_shape")
    if isinstance(shape, list | dict):
        with contextlib.suppress(ValueError, RecursionError):
            shapes = check_shapes("input_shape", shape)
            sizes: list[int] = []
            map_shapes(sizes.extend, shapes)
            if all(size < 2**31 for size in sizes):
                return shapes
    raise ModelFileError(f"its input shape {shape!r} is not a list of sizes")


def _read_precision(description: dict[str, Any]) -> Precision:
    """Return the precision that a file names; older files name the dtype alone."""
    dtype = description.get("dtype")
    if dtype not in DTYPES:
        raise ModelFileError(f"its dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    name = description.get("precision", dtype)
    if not isinstance(name, str) or name not in PRECISIONS or PRECISIONS[name].dtype != dtype:
        raise ModelFileError(f"its precision {name!r} is not one of parameters in {dtype}")
    return PRECISIONS[name]


def _read_seed(description: dict[str, Any]) -> int:
    seed = description.get("seed")
    if type(seed) is not int or not 0 <= seed < 2**64:
        raise ModelFileError(f"its seed {seed!r} is not a seed")
    return seed


def _read_frozen(description: dict[str, Any], params: Params) -> list[str]:
    """Return the names of the frozen parameters; older files have none."""
    names, known = description.get("frozen", []), flatten(params)
    if not isinstance(names, list) or not all(isinstance(n, str) and n in known for n in names):
        raise ModelFileError(f"the frozen parameters {names!r} are not parameters of the network")
    return names
