"""Model files and checkpoints with anything in them: refused with a reason, and nothing is touched."""

from __future__ import annotations

import functools
import json
import tempfile
import zlib
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import rows
from fuzz.judge import attempt, folder, part_of_examples, run_command
from hypothesis import given, note

import nnbackend as nnb

X, Y = rows((12, 3)), rows((12, 1), 1)
LAYERS = [nnb.Dense(4, activation="tanh"), nnb.Residual([nnb.Dense(4)]), nnb.Dropout(0.2),
          nnb.Dense(1)]  # fmt: skip

ODD_NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**30, 0.5, 1e308, float("inf"), float("nan")]),
)
ODD_TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["../victim", "../../victim", "/etc/passwd", "../000001-epoch-0001.safetensors",
                     "000001-epoch-0001.safetensors", "network/0.weight", "@tensor", "Dense", "\0"]),
)  # fmt: skip
ODD_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), ODD_NUMBERS, ODD_TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(ODD_TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)


def deep(levels: int) -> Any:
    """Return lists in lists."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


@functools.cache
def seeds() -> dict[str, bytes]:
    """Return a model file, and a checkpoint of a run with callbacks that keep a state."""
    net = nnb.Network(LAYERS, input_shape=3, seed=1)
    net.metadata = {"note": ["a", 1, {"b": None}]}
    with tempfile.TemporaryDirectory() as name:
        callbacks = [nnb.callbacks.EarlyStopping(patience=3), nnb.callbacks.Checkpoint(name)]
        net.fit(X, Y, epochs=2, batch_size=5, validation_split=0.25, callbacks=callbacks, verbose=0)
        net.save(Path(name) / "model")
        checkpoint = nnb.checkpoints.files(name)[-1]
        return {"model": (Path(name) / "model").read_bytes(), "checkpoint": checkpoint.read_bytes()}


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header of a file, its entries read as JSON, and its tensors' bytes."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    entries = header["__metadata__"]
    header["__metadata__"] = {
        name: text if name == "checksum" else json.loads(text) for name, text in entries.items()
    }
    return header, content[8 + size :]


def joined(header: dict[str, Any], data: bytes) -> bytes:
    """Return a file of a header and data, with the checksum that a checkpoint should have."""
    metadata = header["__metadata__"]
    if isinstance(metadata, dict):
        texts = {n: v if isinstance(v, str) else json.dumps(v) for n, v in metadata.items()}
        if "checksum" in texts:
            texts["checksum"] = checksum(texts.get("checkpoint", ""), header, data)
        header = {**header, "__metadata__": texts}
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def checksum(text: str, header: dict[str, Any], data: bytes) -> str:
    total = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    for name in sorted(header.keys() - {"__metadata__"}):
        total = zlib.crc32(name.encode("utf-8", "surrogatepass"), total)
        offsets = header[name].get("data_offsets") if isinstance(header[name], dict) else None
        if isinstance(offsets, list) and len(offsets) == 2 and all(type(n) is int for n in offsets):
            total = zlib.crc32(data[offsets[0] : offsets[1]], total)
    return f"{total:08x}"


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all that is inside nested dictionaries and lists."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(item, (*path, key))
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any, drop: bool) -> Any:
    """Return nested data with another value in a place, or without that place."""
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[key] = changed(value[key], tuple(rest), new, drop)
    elif drop:
        del copy[key]
    else:
        copy[key] = new
    return copy


EDITS = st.lists(
    st.tuples(st.integers(0, 999), ODD_VALUES, st.integers(0, 4)), min_size=1, max_size=2
)
"""Where in a header, the new value there, and whether (0) the place goes instead."""


def edited(content: bytes, edits: list[tuple[int, Any, int]]) -> bytes:
    """Return a file whose header says something else in some places."""
    header, data = parts(content)
    for number, new, drop in edits:
        known = places(header)
        path = known[number % len(known)]
        note(f"{path}: {'dropped' if drop == 0 else repr(new)}")
        header = changed(header, path, new, drop == 0)
        header.setdefault("__metadata__", {})
    return joined(header, data)


DAMAGE = st.lists(
    st.tuples(
        st.floats(0, 1), st.integers(0, 40), st.booleans(),
        st.binary(max_size=9) | st.sampled_from([b"\0" * 8, b"\xff" * 8, b'"', b"[" * 2000]),
    ), min_size=1, max_size=3,
)  # fmt: skip
"""Where in a file, how many bytes go, whether they are doubled instead, and what comes there."""


def damaged(content: bytes, damage: list[tuple[float, int, bool, bytes]]) -> bytes:
    """Return a file with some bytes changed, cut out, added or doubled."""
    for share, count, doubled, new in damage:
        at = int(share * len(content))
        old = content[at : at + count]
        content = content[:at] + (old * 2 if doubled else new) + content[at + count :]
    return content


def use(content: bytes) -> None:
    """Load a file in every way there is, and use what was loaded."""
    with folder() as here:
        path = here / "000002-epoch-0002.safetensors"
        path.write_bytes(content)
        loaded, net = attempt(nnb.load, path)
        if loaded:
            attempt(net.predict, X)
            attempt(net.save, here / "again.safetensors")
        attempt(nnb.checkpoints.load, path)
        attempt(nnb.checkpoints.newest, here)
        run_command("inspect", str(path))
        run_command("draw", str(path))
        fresh = nnb.Network(LAYERS, input_shape=3, seed=1)
        callbacks = [nnb.callbacks.EarlyStopping(patience=3), nnb.callbacks.Checkpoint(here)]
        attempt(fresh.fit, X, Y, epochs=3, batch_size=5, validation_split=0.25, verbose=0,
                callbacks=callbacks, resume=path)  # fmt: skip


@pytest.mark.parametrize("kind", ["model", "checkpoint"])
@part_of_examples(4)
@given(edits=EDITS)
def test_headers(kind, edits):
    use(edited(seeds()[kind], edits))


@pytest.mark.parametrize("kind", ["model", "checkpoint"])
@part_of_examples(4)
@given(damage=DAMAGE, end=st.floats(0, 1))
def test_bytes(kind, damage, end):
    content = damaged(seeds()[kind], damage)
    use(content)
    use(content[: int(end * len(content))])


@part_of_examples(4)
@given(content=st.binary(max_size=60))
def test_other_files(content):
    use(content)


@pytest.mark.parametrize("kind", ["model", "checkpoint"])
@pytest.mark.parametrize("levels", [70, 900, 20_000])
def test_deep_descriptions(kind, levels):
    header, data = parts(seeds()[kind])
    for entry in header["__metadata__"].keys() - {"checksum"}:
        text = "[" * levels + "]" * levels
        entries = {**header["__metadata__"], entry: text}
        use(joined({**header, "__metadata__": entries}, data))


@pytest.mark.parametrize("shape", [[2**40], [2**62, 4], [0], [], [1, 12], [12, 1]])
def test_tensors_of_another_size(shape):
    header, data = parts(seeds()["model"])
    tensor = next(name for name in header if name != "__metadata__")
    header[tensor] = {**header[tensor], "shape": shape}
    use(joined(header, data))
    bits = np.full(len(data), 255, np.uint8).tobytes()  # NaN in each tensor
    use(joined(parts(seeds()["model"])[0], bits))
