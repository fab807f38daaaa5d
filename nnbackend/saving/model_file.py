"""Networks in files: the weights as safetensors, the description as JSON in its header.

Nothing in a file is executed. A file is checked against what it claims before any memory is taken for
it: the description is rebuilt from registered classes only, and the shapes it implies must be those of
the tensors in the file. A checksum over description and tensors reveals a damaged file; files written
before there was one load, too.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import reprlib
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnbackend.core.checks import check_path
from nnbackend.core.host_memory import free_memory
from nnbackend.core.layer_tree import count_layers, init_state
from nnbackend.core.precision import DTYPES, PRECISIONS, Precision
from nnbackend.core.random import ShapeGenerator
from nnbackend.core.registry import MAX_ITEMS, describe, rebuild
from nnbackend.core.shapes import Shapes, check_shapes, map_shapes
from nnbackend.core.tree import flatten, unflatten
from nnbackend.core.types import Params, Shape, State
from nnbackend.core.version import __version__
from nnbackend.errors import ModelFileError
from nnbackend.layers import Sequential
from nnbackend.saving import schema
from nnbackend.saving.atomic import write_atomically

if TYPE_CHECKING:
    from nnbackend.network import Network

__all__ = ["SavedNetwork", "read_network", "save"]

FORMAT_VERSION = 1
HEADER = "nnbackend"
"""The entry of a file's header that describes the network."""
CHECKPOINT = "checkpoint"
"""The entry that only a checkpoint has, see :mod:`nnbackend.saving.checkpoint`."""
CHECKSUM = "checksum"
"""The entry of a checkpoint with the checksum of its state and all tensors.

A model has that of its description and tensors at the end of the description: the order of entries is
random, but the same network is to give the same file.
"""
PARAMETERS = "network/"
"""The prefix of the names of parameters in a checkpoint, which holds other tensors too."""
STATE = "state/"
"""The prefix of the names of the layers' state, in models and checkpoints: ``state/0.mean``."""

_MAX_PARTS = 30 * MAX_ITEMS  # names, numbers and tables in the description of layers
_DTYPES = {"F16": "f2", "F32": "f4", "F64": "f8"}  # of the network's tensors, in NumPy's words
_ALL_DTYPES = {
    **_DTYPES,
    "BOOL": "?",
    **{f"{sign}{8 * size}": f"{sign.lower()}{size}" for sign in "IU" for size in (1, 2, 4, 8)},
}
_DESCRIPTION = schema.record(
    {
        "dtype": schema.text(*DTYPES),
        "seed": schema.whole(0, 2**64 - 1),
        "network": schema.entries(),
        "input_shape": schema.anything,
    },
    {
        "precision": schema.text(*PRECISIONS),
        "frozen": schema.items(schema.text()),
        "metadata": schema.entries(),
        "trained": schema.items(schema.whole(high=2**31 - 1), 2, 2),
    },
)


def save(network: Network, path: str | os.PathLike[str]) -> Path:
    """Write a network's weights and description to ``path``, whole or not at all.

    Raises:
        TypeError: a layer is not registered, or ``network.metadata`` is not plain data.
        ValueError: the network has no parameters yet, the metadata holds NaN, or it would not load.
        OSError: the file cannot be written.
    """
    tensors = {n: network.to_numpy(p) for n, p in flatten(network.params).items()}
    tensors |= {STATE + n: network.to_numpy(a) for n, a in flatten(network.state).items()}
    return write(path, tensors, {HEADER: describe_network(network)})


def describe_network(network: Network) -> str:
    """Return the description of a network as JSON, for the header of a file that can be read again."""
    metadata: Any = network.metadata
    if not isinstance(metadata, dict):
        kind = type(metadata).__name__
        raise TypeError(f"the network's metadata must be a dictionary of plain data, not {kind}")
    try:
        schema.check_plain(metadata, "metadata", depth=1)
    except (TypeError, ValueError) as error:
        raise type(error)(f"the network's metadata must be plain data: {error}") from error
    description = {
        "format": FORMAT_VERSION,
        "version": __version__,
        "dtype": network.backend.dtype_name,
        "precision": network.backend.precision,
        "seed": network.seed,
        "input_shape": network.input_shape,
        "network": describe(network.layers),
        "frozen": list(network.frozen),
        "trained": list(network.trained),
        "metadata": metadata,
    }
    try:
        return json.dumps(description, allow_nan=False)
    except ValueError as error:  # a whole number of thousands of digits
        raise ValueError(f"the network's metadata must be plain data: {error}") from error


def write(path: str | os.PathLike[str], tensors: Mapping[str, Any], header: dict[str, str]) -> Path:
    """Write NumPy arrays and the texts of a header to a file, whole or not at all, with a checksum.

    Raises:
        ValueError: the file would not be read again.
        OSError: it cannot be written.
    """
    contiguous = {name: _as_written(name, tensor) for name, tensor in tensors.items()}
    try:
        shapes = {name: tensor.shape for name, tensor in contiguous.items()}
        _check_shapes(_rebuild(header[HEADER]).shapes(), header, shapes)
    except ModelFileError as error:
        raise ValueError(f"the network cannot be saved, for it would not load: {error}") from error
    covered, _ = _split_checksum(header)
    checksum = zlib.crc32(covered.encode())
    for name in sorted(contiguous):
        checksum = _add_tensor(checksum, name, contiguous[name])
    if CHECKPOINT in header:
        header = header | {CHECKSUM: f"{checksum:08x}"}
    else:
        header = header | {HEADER: f'{covered[:-1]}, "checksum": "{checksum:08x}"}}'}
    import safetensors.numpy  # not with the module: a network in a browser does without

    return write_atomically(path, safetensors.numpy.save(contiguous, metadata=header))


def _as_written(name: str, tensor: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array as its bytes go into a file: in C order, and in the byte order of this machine."""
    if tensor.dtype.kind not in "biuf" or tensor.dtype.itemsize > 8:
        raise TypeError(f"{name} is an array of {tensor.dtype}, which cannot be written to a file")
    return np.asarray(tensor, dtype=tensor.dtype.newbyteorder("="), order="C")


def _split_checksum(header: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the text that the checksum covers, and the checksum; None of models that have none yet."""
    if CHECKPOINT in header:  # it always had one
        return header[CHECKPOINT], header.get(CHECKSUM, "")
    found = re.fullmatch(r'(.*), "checksum": "([0-9a-f]{8})"\}', header[HEADER], re.DOTALL)
    return (header[HEADER], None) if found is None else (found[1] + "}", found[2])


def _add_tensor(checksum: int, name: str, tensor: np.ndarray[Any, Any]) -> int:
    """Return the CRC-32 of all before and of a tensor with its name."""
    return zlib.crc32(tensor.reshape(-1).data, zlib.crc32(name.encode(), checksum))


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
        trained: the steps and epochs of training; older files count none.
        metadata: the user's plain data.
    """

    layers: Sequential
    input_shape: Shapes
    params: Params
    state: State
    seed: int
    precision: Precision
    frozen: list[str]
    trained: tuple[int, int]
    metadata: dict[str, Any]

    def shapes(self) -> dict[str, Shape]:
        """Return the shape of each tensor by its name in a model file."""
        arrays = flatten(self.params) | {STATE + n: a for n, a in flatten(self.state).items()}
        return {name: tuple(array.shape) for name, array in arrays.items()}


class TensorFile:
    """A file that :func:`write` wrote, open for reading; tensors are read when they are asked for.

    Attributes:
        header: the texts of its header by name.
        shapes: the shape of each tensor.
    """

    def __init__(self, content: Any) -> None:
        self._content = content
        self.header: dict[str, str] = content.metadata() or {}
        if HEADER not in self.header:
            raise ModelFileError("it is a safetensors file, but not one of nnbackend's")
        slices = {name: content.get_slice(name) for name in content.keys()}  # noqa: SIM118
        self.shapes: dict[str, Shape] = {n: tuple(s.get_shape()) for n, s in slices.items()}
        self._dtypes: dict[str, str] = {n: s.get_dtype() for n, s in slices.items()}

    def network(self) -> SavedNetwork:
        """Return the network that the header describes, with zeros in the place of its tensors."""
        saved = _rebuild(self.header[HEADER])
        _check_shapes(saved.shapes(), self.header, self.shapes)
        names = network_names(self.header, self.shapes).values()
        if not {self._dtypes[name] for name in names} <= _DTYPES.keys():
            raise ModelFileError("its tensors are not floating-point numbers")
        return saved

    def outline(self, name: str) -> np.ndarray[Any, Any]:
        """Return zeros of the shape and dtype of a tensor, which take no memory.

        Raises:
            ModelFileError: NumPy has no such shape or dtype.
        """
        try:
            return np.broadcast_to(np.zeros((), _ALL_DTYPES[self._dtypes[name]]), self.shapes[name])
        except (KeyError, ValueError) as error:  # 100 axes, or bfloat16
            raise ModelFileError(f"its tensor {name} cannot be read: {error}") from error

    def read(self, wanted: Iterable[str]) -> dict[str, Any]:
        """Return tensors by name. All are looked at if there is a checksum, which old models lack."""
        if not set(self._dtypes.values()) <= _ALL_DTYPES.keys():
            raise ModelFileError("it holds tensors of an unknown kind")
        self._check_memory()
        wanted, tensors = set(wanted), {}
        covered, given = _split_checksum(self.header)
        checksum = zlib.crc32(covered.encode())
        for name in sorted(self.shapes if given is not None else wanted):
            try:
                tensor = self._content.get_tensor(name)
            except (ValueError, MemoryError) as error:
                raise ModelFileError(f"its tensor {name} cannot be read: {error}") from error
            if name in wanted:
                tensors[name] = tensor
            checksum = _add_tensor(checksum, name, tensor)
        if given not in (None, f"{checksum:08x}"):
            raise ModelFileError("it is damaged: its checksum is not that of its content")
        return tensors

    def _check_memory(self) -> None:
        """Refuse a file, which may be sparse, of more than the memory that is free."""
        sizes = {name: np.dtype(_ALL_DTYPES[kind]).itemsize for name, kind in self._dtypes.items()}
        size = sum(sizes[name] * math.prod(shape) for name, shape in self.shapes.items())
        free = free_memory()
        if free is not None and size > free:
            raise ModelFileError(
                f"its tensors take {size:,} bytes of memory, and {free:,} are free"
            )


@contextlib.contextmanager
def opened(file: Path) -> Iterator[TensorFile]:
    """Open a file that :func:`write` wrote.

    Raises:
        ModelFileError: it is another kind of file, or damaged.
    """
    import safetensors

    if not file.is_file():  # a pipe would be waited for
        raise ModelFileError("it is not a regular file")
    try:
        with safetensors.safe_open(file, framework="np") as content:
            yield TensorFile(content)
    except safetensors.SafetensorError as error:
        raise ModelFileError(f"it is not a safetensors file, or is damaged ({error})") from error


def network_names(header: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return the names of the network's tensors in a file by those that they have in a model file."""
    if CHECKPOINT not in header:
        return {name: name for name in names}
    return {n.removeprefix(PARAMETERS): n for n in names if n.startswith((PARAMETERS, STATE))}


def read_network(path: str | os.PathLike[str]) -> SavedNetwork:
    """Read the network in a model file or a checkpoint, checked against what it claims to be.

    Parameters that are not finite are read, with a warning, and so is state that is NaN.

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
        with opened(file) as content:
            saved = content.network()
            names = network_names(content.header, content.shapes)
            read = content.read(names.values())
    except ModelFileError as error:
        raise ModelFileError(f"{file} cannot be loaded: {error}") from error
    tensors = {name: read[own] for name, own in names.items()}
    params, state = unflatten(tensors, saved.params), unflatten(tensors, saved.state, STATE)
    broken = [name for name, tensor in tensors.items() if not _is_sound(name, tensor)]
    if broken:
        some = ", ".join(broken[:5]) + (" ..." if len(broken) > 5 else "")
        warnings.warn(
            f"{file}: NaN or infinity is in {some}, and will be in what the network predicts",
            UserWarning,
            stacklevel=3,
        )
    return replace(saved, params=params, state=state)


def _is_sound(name: str, tensor: np.ndarray[Any, Any]) -> bool:
    """Return whether parameters are finite; state, such as a smallest value so far, may be infinite."""
    return bool((~np.isnan(tensor) if name.startswith(STATE) else np.isfinite(tensor)).all())


def _check_shapes(
    expected: dict[str, Shape], header: Mapping[str, str], shapes: Mapping[str, Shape]
) -> None:
    """Check that the tensors of a file are those of the network that it describes."""
    found = {name: shapes[own] for name, own in network_names(header, shapes).items()}
    if expected != found:
        wrong = [n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n)]
        raise ModelFileError(
            f"its tensors are not those of the network it describes: {', '.join(sorted(wrong)[:5])}"
        )


def _rebuild(text: str) -> SavedNetwork:
    """Return the network that a header describes, with zeros, which take no memory, for its tensors."""
    description = schema.parse(text, "its description", first=_check_amount)
    if description.get("format") != FORMAT_VERSION:
        raise ModelFileError(
            f"it has format {description.get('format')!r}, this version of nnbackend reads "
            f"{FORMAT_VERSION}; it was written by version {description.get('version')!r}"
        )
    _DESCRIPTION(description, "its description")
    shape, precision = _read_shape(description), _read_precision(description)
    layers = rebuild(description["network"])
    if not isinstance(layers, Sequential):
        raise ModelFileError("it describes no network")
    try:
        if count_layers(layers) > MAX_ITEMS:
            raise ValueError(f"there are more than {MAX_ITEMS:,}")
        params, _ = layers.init(shape, ShapeGenerator((0, 0)))
        state = init_state(layers, shape)
    except Exception as error:  # a user's layer may refuse a shape in any way
        raise ModelFileError(f"its layers do not fit together: {error}") from error
    frozen, known = [*dict.fromkeys(description.get("frozen", []))], flatten(params)
    unknown = [name for name in frozen if name not in known]
    if unknown:
        raise ModelFileError(f"it freezes {unknown[0]!r}, which is no parameter of the network")
    steps, epochs = description.get("trained", (0, 0))
    return SavedNetwork(
        layers,
        shape,
        params,
        state,
        description["seed"],
        precision,
        frozen,
        (steps, epochs),
        description.get("metadata", {}),
    )


def _check_amount(description: Any, name: str) -> None:
    """Refuse too many layers or inputs before more time is spent on them."""
    if not isinstance(description, dict):
        return
    for count, _ in enumerate(schema.walk(description.get("input_shape"))):
        if count > MAX_ITEMS:
            raise ModelFileError(f"{name} has more than {MAX_ITEMS:,} sizes of inputs")
    layers = 0
    for count, part in enumerate(schema.walk(description.get("network"))):
        layers += isinstance(part, dict) and "layer" in part
        if layers > MAX_ITEMS or count > _MAX_PARTS:
            raise ModelFileError(f"{name} has more than {MAX_ITEMS:,} layers")


def _read_shape(description: dict[str, Any]) -> Shapes:
    """Return the shape of a row of inputs, or the tree of shapes of several inputs."""
    shape = description["input_shape"]
    if isinstance(shape, list | dict):
        with contextlib.suppress(ValueError):
            shapes = check_shapes("input_shape", shape)
            sizes: list[int] = []
            map_shapes(sizes.extend, shapes)
            if all(size < 2**31 for size in sizes):
                return shapes
    raise ModelFileError(f"its input shape {reprlib.repr(shape)} is not a list of sizes")


def _read_precision(description: dict[str, Any]) -> Precision:
    """Return the precision that a file names; older files name the dtype alone."""
    dtype = description["dtype"]
    precision = PRECISIONS[description.get("precision", dtype)]
    if precision.dtype != dtype:
        raise ModelFileError(
            f"its precision {precision.name!r} is not one of parameters in {dtype}"
        )
    return precision
