"""What must be the same for a run to go on from a checkpoint, and where two runs differ, in words."""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnbackend.core.registry import registered_name
from nnbackend.errors import ResumeError

if TYPE_CHECKING:
    from nnbackend.saving.checkpoint import Checkpoint

__all__ = ["check_same_run", "differences", "identity", "sample"]


def identity(value: Any) -> Any:
    """Return plain data by which a description (an optimizer, a loss ...) is recognized.

    What is registered gives its name and fields; of other objects and functions the name is known.
    """
    value = getattr(value, "__wrapped__", value)  # what is only being measured
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): identity(item) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [identity(item) for item in value]
    registered = registered_name(value)
    if registered is not None:
        kind, name = registered
        return {kind: name, "fields": _fields(value)}
    if is_dataclass(value) and not isinstance(value, type):
        return {"object": _path(type(value)), "fields": _fields(value)}
    return {"object": _path(value if hasattr(value, "__qualname__") else type(value))}


def _fields(value: Any) -> dict[str, Any]:
    return {f.name: identity(getattr(value, f.name)) for f in fields(value) if f.init}


def _path(named: Any) -> str:
    return f"{named.__module__}.{named.__qualname__}"


def check_same_run(found: Checkpoint, task: Mapping[str, Any]) -> None:
    """Check that a run is the one that wrote a checkpoint; warn if it goes on elsewhere.

    Args:
        found: the checkpoint.
        task: of this run: all that must be the same, and ``where`` it computes.

    Raises:
        ResumeError: it is not; the message says all that differs.
    """
    theirs = dict(found.state.get("task", {}))
    theirs.setdefault("precision", theirs.get("dtype"))  # older ones had no choice
    wrong = differences(theirs, {name: v for name, v in task.items() if name != "where"})
    if wrong:
        raise ResumeError(
            f"{found.path} is of another run: {'; '.join(wrong)}. To start a new run from its "
            "weights alone, take nnbackend.load(...) of that file"
        )
    where = differences(theirs, {"where": task.get("where")})
    if where:
        warnings.warn(
            f"the run goes on elsewhere than it began ({'; '.join(where)}): its figures agree "
            "to rounding, not to the last bit",
            UserWarning,
            stacklevel=2,
        )


def differences(theirs: Any, mine: Any, name: str = "") -> list[str]:
    """Return in words where plain data differ; what only ``theirs`` has on top is left out."""
    if isinstance(theirs, dict) and isinstance(mine, dict) and _alike(theirs, mine):
        keys = [*mine, *(key for key in theirs if name and key not in mine)]
        within = [differences(theirs.get(k), mine.get(k), _joined(name, k)) for k in keys]
        return [text for texts in within for text in texts]
    same_length = isinstance(theirs, list) and isinstance(mine, list) and len(theirs) == len(mine)
    if same_length:
        within = [
            differences(a, b, _joined(name, i))
            for i, (a, b) in enumerate(zip(theirs, mine, strict=True))
        ]
        return [text for texts in within for text in texts]
    if theirs == mine and type(theirs) is type(mine):
        return []
    return [f"{name} is {_short(theirs)} in the checkpoint and {_short(mine)} here"]


def _alike(theirs: dict[str, Any], mine: dict[str, Any]) -> bool:
    """Return whether two tables are to be compared entry by entry: not those of other objects."""
    described = {"fields", "object"} & (theirs.keys() | mine.keys())
    return not described or theirs.keys() == mine.keys()


def _joined(name: str, key: Any) -> str:
    """Return the words for a place in plain data; those that mean nothing to people are left out."""
    return name if key == "fields" else f"{name} {key}".strip()


def _short(value: Any) -> str:
    """Return plain data in words, with descriptions as they are written in Python."""
    if isinstance(value, list):
        text = f"[{', '.join(map(_short, value))}]"
    elif isinstance(value, dict) and "fields" in value:
        kind = next(iter(value))
        given = ", ".join(f"{name}={_short(v)}" for name, v in value["fields"].items())
        text = f"{value[kind]}({given})" if given else f"{value[kind]}"
    elif isinstance(value, dict) and value.keys() == {"object"}:
        text = value["object"]
    else:
        text = json.dumps(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


def sample(arrays: Sequence[Any], host: Callable[[Any], Any]) -> int:
    """Return a number by which data are recognized: a checksum of 16 of their rows."""
    checksum = 0
    for array in arrays:
        if array is not None:
            for row in sorted({int(i) for i in np.linspace(0, array.shape[0] - 1, 16)}):
                values = np.ascontiguousarray(host(array[row : row + 1, ...]))
                checksum = zlib.crc32(values.data, checksum)
    return checksum
