"""Files of models, checkpoints and estimators, changed at random: ``nox -s fuzz``.

Whatever is in a file, reading it gives what it was or one of the library's errors. A change may be one
of bytes, of the header of safetensors, of a tensor, or of a value in the JSON, with a checksum that is
right.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import struct
import sys
import tempfile
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import nnbackend as nnb
from nnbackend import tables
from nnbackend.callbacks import Checkpoint, EarlyStopping, LearningRateLog, ReduceOnPlateau
from nnbackend.core.precision import PRECISIONS
from nnbackend.errors import DataError, DivergenceError, ModelFileError, ResumeError
from nnbackend.tables.array_encoding import ArrayEncoder

FIXTURES = Path(__file__).parent / "fixtures"
ALLOWED = (ModelFileError, ResumeError, DivergenceError, DataError)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


# Stands for 900 lists in each other, which Python's json may not write where the stack is deep already.
DEEP = "900 lists"

VALUES = [
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, 2**70, 10**30, 0.0, 0.5, -1.5, 1e-320, 1e308,
    float("inf"), float("nan"), "", "x", "relu", "float64", "../victim", "/etc/passwd", "0.weight",
    "\ud800", "\0", "U99999999", "O", [], [1], [[]], ["x"], [1.5, None], {}, {"x": 1},
    {"layer": "Dense"}, {"@tensor": "0.weight"}, {"@tensor": "network/0.weight"}, {"number": "nan"},
    {"tuple": [1]}, {"pairs": [[[], 1]]}, nested(100), DEEP, [0] * 1000,
]  # fmt: skip


def copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


# ------------------------------------------------------------------------------------ changing a file


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header of a safetensors file and the bytes of its tensors."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: dict[str, Any], tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def sealed(header: dict[str, Any], tensors: bytes) -> bytes:
    """Return the file with the checksum that belongs to it."""
    texts = header["__metadata__"]
    if "checkpoint" in texts:
        checksum = zlib.crc32(texts["checkpoint"].encode())
        for name in sorted(header.keys() - {"__metadata__"}):
            start, stop = header[name]["data_offsets"]
            checksum = zlib.crc32(tensors[start:stop], zlib.crc32(name.encode(), checksum))
        texts["checksum"] = f"{checksum:08x}"
    return joined(header, tensors)


def places(value: Any, depth: int = 60) -> Iterator[tuple[Any, Any]]:
    """Yield the container and the key of every value inside a value."""
    if depth and isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key], depth - 1)


def change_json(value: Any, rng: random.Random) -> None:
    """Change, remove, copy, rename or add something in JSON."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        found = list(places(value))
        if not found:
            return
        (container, key), (source, there) = rng.choice(found), rng.choice(found)
        action = rng.choice(["set", "set", "set", "remove", "copy", "rename", "add"])
        if action == "set":
            container[key] = copied(rng.choice(VALUES))
        elif action == "remove":
            del container[key]
        elif action == "copy":
            container[key] = copied(source[there])
        elif action == "rename" and isinstance(container, dict):
            container[rng.choice(["", "x", "layer", "0", "fields", "@tensor"])] = container.pop(key)
        elif isinstance(container, list):
            container.append(copied(rng.choice(VALUES)))
        else:
            container["more"] = copied(rng.choice(VALUES))


def change_texts(content: bytes, rng: random.Random) -> bytes:
    """Change a value in the JSON of a description or of a run."""
    header, tensors = split(content)
    texts = header["__metadata__"]
    name = rng.choice([name for name in texts if name != "checksum"])
    value = json.loads(texts[name])
    value.pop("checksum", None)
    change_json(value, rng)
    text = json.dumps(value).replace("Infinity", rng.choice(["Infinity", "1e999"]))
    texts[name] = text.replace(json.dumps(DEEP), "[" * 900 + "]" * 900)
    if name != "checkpoint" and "checkpoint" in texts:
        state = json.loads(texts["checkpoint"])
        state.pop("description", None)
        texts["checkpoint"] = json.dumps(state)
    return sealed(header, tensors)


def change_header(content: bytes, rng: random.Random) -> bytes:
    """Change a value in the header of safetensors."""
    header, tensors = split(content)
    change_json(header, rng)
    return joined(header, tensors)


def change_tensor(content: bytes, rng: random.Random) -> bytes:
    """Change name, dtype or shape of a tensor, or its numbers to NaN, so that the file stays whole."""
    header, tensors = split(content)
    texts = header["__metadata__"]
    if "checkpoint" not in texts:
        description = json.loads(texts["nnbackend"])
        description.pop("checksum", None)
        texts["nnbackend"] = json.dumps(description)
    name = rng.choice(sorted(header.keys() - {"__metadata__"}))
    entry = header[name]
    start, stop = entry["data_offsets"]
    action = rng.choice(["name", "dtype", "shape", "nan", "noise"])
    if action == "name":
        header[rng.choice(["x", "", name + ".x", "state/" + name, "network/" + name])] = header.pop(
            name
        )
    elif action == "dtype":
        entry["dtype"] = {"F64": "I64", "I64": "F64"}.get(
            entry["dtype"], rng.choice(["I32", "U32"])
        )
    elif action == "shape":
        size = int(np.prod(entry["shape"]))
        entry["shape"] = rng.choice(
            [[size], [size, 1], [1, size], [1] * 70 + [size], entry["shape"][::-1]]
        )
    else:
        noise = b"\xff" * (stop - start) if action == "nan" else rng.randbytes(stop - start)
        tensors = tensors[:start] + noise + tensors[stop:]
    return sealed(header, tensors)


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    """Cut a file, or change, insert or remove some of its bytes."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 3, 20])):
        place = rng.randrange(rng.choice([16, 500, len(changed)]))
        action = rng.choice(["flip", "cut", "insert", "remove"])
        if action == "flip":
            changed[place % len(changed)] ^= rng.randrange(1, 256)
        elif action == "cut" and len(changed) > 100:
            del changed[max(place, 50) :]
        elif action == "insert":
            changed[place:place] = rng.randbytes(rng.randrange(1, 9))
        else:
            del changed[place : place + 1]
        if not changed:
            break
    return bytes(changed)


CHANGES = [change_texts] * 6 + [change_tensor] * 2 + [change_header, change_bytes]


# ------------------------------------------------------------------------------------- reading a file


def predicts(network: nnb.Network) -> None:
    """Predict with a network that was loaded, if it is one of sizes that can be."""
    x = (
        np.zeros((2, *network.input_shape), np.float32)
        if isinstance(network.input_shape, tuple)
        else None
    )
    if x is not None and x.ndim <= 3:
        network.predict(x)
    assert network.backend.precision in PRECISIONS


def as_model(path: Path) -> None:
    predicts(nnb.load(path))


ROWS = np.linspace(-1, 1, 60).reshape(20, 3), np.linspace(0, 1, 20)[:, None]


def run(directory: Path, epochs: int, resume: Path | None = None) -> None:
    """Train a small network with every callback that has a state."""
    layers = [nnb.Dense(4, "tanh"), nnb.Dropout(0.2), nnb.Dense(1)]
    watch = [EarlyStopping("loss", 3), ReduceOnPlateau("loss", patience=2), LearningRateLog()]
    stop = nnb.callbacks.Lambda(batch_end=lambda r: r.steps == 9 and r.stop("enough", at_once=True))
    nnb.Network(layers, input_shape=3, seed=1).fit(
        *ROWS, epochs=epochs, batch_size=5, metrics=["mae"], resume=resume, verbose=0,
        optimizer=nnb.optimizers.EMA(nnb.Adam(0.01)),
        callbacks=[*watch, Checkpoint(directory, keep=2), *([] if resume else [stop])],
    )  # fmt: skip


def as_checkpoint(path: Path) -> None:
    run(path.parent / "run", 4, path)


def as_estimator(path: Path) -> None:
    from nnbackend import estimators

    loaded = estimators.load(path)
    x = np.zeros((2, loaded.n_features_in_))
    loaded.predict(x)
    assert repr(loaded)
    loaded.get_params()


def as_table(path: Path) -> None:
    model = tables.load(path)
    if isinstance(model, tables.ArrayModel):
        if math.prod(model.encoder.shape) < 10_000:
            with contextlib.suppress(ValueError):
                model.predict(np.ones((2, *model.encoder.shape)))
        return
    columns = {f.name: np.array([1.0, 2.0]) if f.kind == "number" else np.array(["a", "b"], dtype=object)
               for f in model.encoder.features}  # fmt: skip
    with contextlib.suppress(ValueError):  # numbers that a column may have, but float32 has not
        model.predict(columns)


def array_model(path: Path) -> Path:
    """Write a model of images of 2 x 3 pixels as the command line does."""
    targets = {"y": np.array(["1", "2"] * 2, dtype=object)}
    encoder = ArrayEncoder.learn(
        "x", np.arange(24.0).reshape(4, 2, 3), "y", targets, integer_classes=True
    )
    layers = [nnb.Conv2D(2, 3, padding="same"), nnb.BatchNorm(), nnb.Flatten(), nnb.Dense(2)]
    network = nnb.Network(layers, input_shape=encoder.input_shape)
    model = tables.ArrayModel(network, encoder, "softmax_cross_entropy")
    network.metadata = model.metadata()
    return network.save(path)


def sources(folder: Path) -> list[tuple[bytes, Callable[[Path], None]]]:
    """Return files that are whole, and how each is read."""
    run(folder, 3)
    checkpoints = sorted(folder.glob("*.safetensors"))
    model = folder / "model"
    network = nnb.Network([nnb.Dense(3, "relu"), nnb.Residual([nnb.Dense(3)])], input_shape=3)
    network.metadata = {"a": [1, {"b": 2.5}], "c": None}
    network.freeze("0.bias").save(model)
    found = [(path.read_bytes(), as_checkpoint) for path in checkpoints]
    found += [(path.read_bytes(), as_model) for path in (model, checkpoints[-1])]
    found += [((FIXTURES / f"model_{name}.safetensors").read_bytes(), as_model)
              for name in ("mixed", "half")]  # fmt: skip
    found.append(((FIXTURES / "command_line.safetensors").read_bytes(), as_table))
    found.append((array_model(folder / "images").read_bytes(), as_table))
    try:
        import sklearn  # noqa: F401
    except ImportError:
        return found
    return found + [((FIXTURES / f"estimator_{name}.safetensors").read_bytes(), as_estimator)
                    for name in ("classifier", "regressor")]  # fmt: skip


def foreign_errors(count: int, seed: int) -> Iterator[tuple[str, bytes, BaseException]]:
    """Yield the errors, of changed files, that are none of the library's, and what was read."""
    rng = random.Random(seed)
    with (
        tempfile.TemporaryDirectory() as name,
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        folder = Path(name)
        (folder / "precious").write_text("precious")
        whole = sources(folder)
        path = folder / "changed.safetensors"
        for _ in range(count):
            content, read = rng.choice(whole)
            path.write_bytes(rng.choice(CHANGES)(content, rng))
            before = {p.name for p in folder.iterdir()}
            try:
                read(path)
            except ALLOWED:
                pass
            except Exception as error:
                yield read.__name__, path.read_bytes(), error
            assert {p.name for p in folder.iterdir()} >= before, "a file was deleted"
            for left in (folder / "run").glob("*"):
                left.unlink()


def main() -> int:
    count, seed = (
        int(sys.argv[1]) if len(sys.argv) > 1 else 2000,
        int(sys.argv[2]) if len(sys.argv) > 2 else 0,
    )
    seen: Counter[str] = Counter()
    for reader, content, error in foreign_errors(count, seed):
        last = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in last if "nnbackend" in frame.filename][-1]
        key = f"{reader}: {type(error).__name__} {Path(own.filename).name}:{own.lineno} {own.name}"
        if not seen[key]:
            print(f"{key}: {str(error)[:200]}", flush=True)
            Path(tempfile.gettempdir(), f"foreign-{len(seen)}.safetensors").write_bytes(content)
        seen[key] += 1
    print(f"{count} files, {sum(seen.values())} foreign errors of {len(seen)} kinds")
    return bool(seen)


if __name__ == "__main__":
    sys.exit(main())
