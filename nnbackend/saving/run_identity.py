"""The identity of a run: whether a checkpoint belongs to it, and the differences in words."""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnbackend.core.registry import field_names, registered_name
from nnbackend.core.tree import arrays_in
from nnbackend.errors import ResumeError

if TYPE_CHECKING:
    from nnbackend.saving.checkpoint import Checkpoint

__all__ = ["check_same_run", "data_checksum", "describe", "find_differences", "whole_checksum"]

SAMPLED_ROWS = 16
MAX_CHARACTERS = 300
CHUNK_BYTES = 1 << 24


def describe(value: Any) -> Any:
    """Return plain data by which an object (an optimizer, a loss ...) is recognized in a later run.

    A registered object is described by its name and fields, other objects and functions by their name.
    """
    value = getattr(value, "__wrapped__", value)  # a layer or loss that is being profiled
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): describe(item) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [describe(item) for item in value]
    own: Any = type(value)
    named = value if hasattr(value, "__qualname__") else own
    kind, name = registered_name(value) or ("object", f"{named.__module__}.{named.__qualname__}")
    fields = {field: describe(getattr(value, field)) for field in field_names(own, init=True)}
    return {kind: name, "fields": fields} if is_dataclass(own) else {kind: name}


def check_same_run(found: Checkpoint, task: Mapping[str, Any]) -> None:
    """Check that a run is the one that wrote a checkpoint; warn if it is continued elsewhere.

    ``task`` describes this run: all that must be the same, ``where`` it computes, and how many processes
    share the reading of an epoch, the ``readers``.

    Raises:
        ResumeError: it is another run; the message says all that differs.
    """
    theirs = dict(found.state.get("task", {}))
    # Old checkpoints had no choice.
    theirs.setdefault("precision", theirs.get("dtype"))
    if "augment" in task:
        theirs.setdefault("augment", [])
    same = {name: v for name, v in task.items() if name not in ("where", "readers")}
    wrong = find_differences(theirs, same)
    if wrong:
        raise ResumeError(
            f"{found.path} is of another run: {'; '.join(wrong)}. To start a new run from its "
            "weights alone, take nnbackend.load(...) of that file"
        )
    _check_readers(found, theirs.get("readers", 1), task.get("readers", 1))
    where = find_differences(theirs, {"where": task.get("where")})
    if where:
        warnings.warn(
            f"the run is resumed elsewhere than it began ({'; '.join(where)}): its results agree "
            "to rounding, not to the last bit",
            UserWarning,
            stacklevel=2,
        )


def _check_readers(found: Checkpoint, theirs: int, mine: int) -> None:
    """Refuse to go on within an epoch that was read in other shares; after one, say what is different.

    Raises:
        ResumeError: some rows would count twice, and others never.
    """
    if theirs == mine:
        return
    shares = [f"in {n} shares" if n > 1 else "as a whole" for n in (theirs, mine)]
    if found.state["batch"]:
        raise ResumeError(
            f"{found.path} is from the middle of an epoch that is read {shares[0]}, and here epochs are "
            f"read {shares[1]}: go on with as many processes, or from one after a whole epoch"
        )
    warnings.warn(
        f"epochs were read {shares[0]} before the checkpoint, and are read {shares[1]} from here on: "
        "the same rows in other batches",
        UserWarning,
        stacklevel=2,
    )


def find_differences(
    theirs: Any, mine: Any, name: str = "", places: tuple[str, str] = ("in the checkpoint", "here")
) -> list[str]:
    """Return the differences of plain data in words, except top entries that only ``theirs`` has.

    ``places`` say where each of the two is.
    """
    if isinstance(theirs, list) and isinstance(mine, list) and len(theirs) == len(mine):
        theirs, mine = dict(enumerate(theirs)), dict(enumerate(mine))
    if isinstance(theirs, dict) and isinstance(mine, dict) and _are_comparable(theirs, mine):
        keys = [*mine, *(key for key in theirs if name and key not in mine)]
        within = [
            find_differences(theirs.get(k), mine.get(k), _join(name, k), places) for k in keys
        ]
        return [text for texts in within for text in texts]
    if theirs == mine and type(theirs) is type(mine):
        return []
    return [f"{name} is {_shorten(theirs)} {places[0]} and {_shorten(mine)} {places[1]}"]


def _are_comparable(theirs: dict[str, Any], mine: dict[str, Any]) -> bool:
    """Return whether to compare two dictionaries entry by entry: not those of different objects."""
    described = {"fields", "object"} & (theirs.keys() | mine.keys())
    return not described or theirs.keys() == mine.keys()


def _join(name: str, key: Any) -> str:
    """Return the name of a place in plain data, without the words that mean nothing to people."""
    return name if key == "fields" else f"{name} {key}".strip()


def _shorten(value: Any) -> str:
    """Return plain data as a short text, with descriptions written as in Python."""
    if isinstance(value, list):
        text = f"[{', '.join(map(_shorten, value))}]"
    elif isinstance(value, dict) and isinstance(value.get("fields"), dict):
        kind = next(iter(value))
        given = ", ".join(f"{name}={_shorten(v)}" for name, v in value["fields"].items())
        text = f"{value[kind]}({given})" if given else f"{value[kind]}"
    elif isinstance(value, dict) and value.keys() == {"object"}:
        text = str(value["object"])
    else:
        text = json.dumps(value)
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}..."


def data_checksum(arrays: Sequence[Any], to_numpy: Callable[[Any], Any]) -> int:
    """Return a number by which data are recognized: a checksum of 16 rows of each array in them."""
    checksum = 0
    for array in arrays_in(tuple(arrays)):
        for row in sorted({int(i) for i in np.linspace(0, array.shape[0] - 1, SAMPLED_ROWS)}):
            values = np.ascontiguousarray(to_numpy(array[row : row + 1, ...]))
            checksum = zlib.crc32(values.data, checksum)
    return checksum


def whole_checksum(arrays: Sequence[Any], to_numpy: Callable[[Any], Any]) -> int:
    """Return a checksum of all rows of each array: of a billion bytes it takes about a second."""
    checksum = 0
    for array in arrays_in(tuple(arrays)):
        count = array.shape[0]
        row_bytes = to_numpy(array[:1, ...]).nbytes
        rows = max(1, CHUNK_BYTES // max(1, row_bytes))
        for start in range(0, count, rows):
            values = np.ascontiguousarray(to_numpy(array[start : min(start + rows, count), ...]))
            checksum = zlib.crc32(values.data, checksum)
    return checksum
