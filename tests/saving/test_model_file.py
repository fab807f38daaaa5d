"""Networks in files: round trips, custom layers, and files that are damaged, foreign or hostile."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
import tracemalloc
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.numpy
from cases import ACTIVATIONS, INITIALIZERS, LAYERS, STATEFUL_LAYERS, each, rows
from hypothesis import given, settings
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.errors import ModelFileError
from nnbackend.saving.schema import MAX_DEPTH

X = rows((5, 3))


def network(backend="numpy", **given):
    layers = [
        nnb.Dense(4, activation=nnb.activations.LeakyReLU(0.2)),
        nnb.Dropout(0.25),
        nnb.Dense(2),
    ]
    return nnb.Network(layers, **({"backend": backend, "input_shape": 3} | given))


def weights(net):
    return host(net.backend, net.state_dict())


# ------------------------------------------------------------------------------------- round trips


def test_a_network_comes_back_as_it_was(backend, tmp_path):
    net = network(backend, seed=2**64 - 1)
    net.fit(X, np.ones((5, 2)), epochs=2)
    net.metadata = {"classes": ["a", "ä"], "scale": [0.1, 1e300], "nested": {"none": None}}
    path = net.save(tmp_path / "net.safetensors")
    found = nnb.load(path, backend=backend)
    assert (found.layers, found.seed, found.backend) == (net.layers, net.seed, net.backend)
    assert (found.input_shape, found.output_shape) == ((3,), (2,))
    assert found.metadata == net.metadata
    assert_equal(weights(found), weights(net))
    assert_equal(host(backend, found.predict(X)), host(backend, net.predict(X)))


def test_what_one_backend_wrote_another_reads(backend, tmp_path):
    net = network(backend)
    here = nnb.load(net.save(tmp_path / "a"))
    assert here.backend.name == "numpy"
    there = nnb.load(here.save(tmp_path / "b"), backend=backend)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert_close(
        host(backend, there.predict(X)), host(here.backend, net.to("numpy").predict(X)), 1e-6
    )


def test_a_dtype_is_kept_unless_another_is_asked_for(backend64, tmp_path):
    path = network(backend64).save(tmp_path / "net")
    assert nnb.load(path, backend=backend64.name).backend.dtype_name == "float64"
    assert nnb.load(path, dtype="float32").backend.dtype_name == "float32"


@each([*LAYERS, *STATEFUL_LAYERS])
def test_every_layer_comes_back(case, tmp_path):
    net = nnb.Network(case.thing, input_shape=case.shape)
    found = nnb.load(net.save(tmp_path / "net"))
    assert found.layers == net.layers
    assert_equal(weights(found), weights(net))


@each(ACTIVATIONS)
def test_every_activation_comes_back(case, tmp_path):
    net = nnb.Network([nnb.Dense(2, case.thing), nnb.Activation(case.thing)], input_shape=3)
    assert nnb.load(net.save(tmp_path / "net")).layers == net.layers


@pytest.mark.parametrize("name", INITIALIZERS)
def test_every_initializer_comes_back(name, tmp_path):
    net = nnb.Network([nnb.Dense(2, initializer=INITIALIZERS[name].thing)], input_shape=3)
    assert nnb.load(net.save(tmp_path / "net")).layers == net.layers


def test_numpys_numbers_in_a_description_are_written_as_plain_ones(tmp_path):
    layers = [nnb.Dense(np.int64(4)), nnb.Dropout(np.float32(0.5)),
              nnb.Activation(nnb.activations.ELU(np.float64(2)))]  # fmt: skip
    net = nnb.Network(layers, input_shape=np.int32(3), seed=np.int64(1))
    assert nnb.load(net.save(tmp_path / "net")).layers == net.layers


def test_the_header_is_readable_json(tmp_path):
    path = network().save(tmp_path / "net")
    with safetensors.safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["nnbackend"])
        assert sorted(file.keys()) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    assert header["format"] == 1
    assert header["version"] == nnb.__version__
    assert header["network"]["layer"] == "Sequential"


# ------------------------------------------------------------------------------------- custom layers


@nnb.register_layer
@dataclass(frozen=True)
class Scaled:
    """A layer of a user's, with another layer inside and a field that is computed."""

    layer: Any
    factor: float = 2.0
    known: bool = field(default=True, init=False)

    def init(self, input_shape, rng):
        params, shape = self.layer.init(input_shape, rng.child("inner"))
        return {"inner": params}, shape

    def forward(self, params, x, ctx):
        y, inner = self.layer.forward(params["inner"], x, ctx.child("inner"))

        def backward(dy, input_grad=True):
            dx, grads = inner(dy * self.factor, input_grad=input_grad)
            return dx, {"inner": grads}

        return y * self.factor, backward


@dataclass(frozen=True)
class Unregistered(Scaled):
    """A layer that this library is never told of."""


def test_a_registered_layer_comes_back(backend, tmp_path):
    net = nnb.Network(
        [Scaled(nnb.Dense(2, activation="tanh"), 3.0)], backend=backend, input_shape=3
    )
    found = nnb.load(net.save(tmp_path / "net"), backend=backend)
    assert found.layers == net.layers
    assert_equal(host(backend, found.predict(X)), host(backend, net.predict(X)))


def test_a_layer_must_be_registered_to_be_saved(tmp_path):
    net = nnb.Network([Unregistered(nnb.Dense(2))], input_shape=3)
    with pytest.raises(TypeError, match=r"Unregistered.*register_layer"):
        net.save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_a_layer_must_be_registered_to_be_loaded(tmp_path, monkeypatch):
    path = nnb.Network([Scaled(nnb.Dense(2))], input_shape=3).save(tmp_path / "net")
    monkeypatch.delitem(nnb.layers.LAYERS._classes, "Scaled")
    with pytest.raises(ModelFileError, match=r"'Scaled'.*registered before"):
        nnb.load(path)


# ------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("metadata", [{"x": object()}, {"x": np.ones(2)}, {"x": {1, 2}}, {"x": 1j}])
def test_metadata_that_is_no_plain_data_is_refused(metadata, tmp_path):
    net = network()
    net.metadata = metadata
    with pytest.raises(TypeError, match="the network's metadata must be plain data: "):
        net.save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_metadata_that_is_not_finite_is_refused(value, tmp_path):
    net = network()
    net.metadata = {"x": value}
    with pytest.raises(ValueError, match="JSON"):
        net.save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_an_unbuilt_network_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="no parameters yet"):
        network(input_shape=None).save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_saving_again_replaces_the_file_and_keeps_its_mode(tmp_path):
    path = tmp_path / "net"
    network(seed=1).save(path)
    path.chmod(0o640)
    network(seed=2).save(path)
    assert nnb.load(path).seed == 2
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("where", ["missing/net", "folder"])
def test_a_place_that_cannot_be_written_is_named(where, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=where):
        network().save(tmp_path / where)
    assert [p.name for p in tmp_path.rglob("*")] == ["folder"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(function, tmp_path, monkeypatch):
    path = tmp_path / "net"
    network(seed=1).save(path)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space left"):
        network(seed=2).save(path)
    assert nnb.load(path).seed == 1
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


# ------------------------------------------------------------------------------------- bad files


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        nnb.load(tmp_path / "absent")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        nnb.load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"not a model", b"\x00" * 64, b"PK\x03\x04" + bytes(100), b"\xff" * 100,
     struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 4) + b"null",
     struct.pack("<Q", 2**27) + b" " * 1000],
)  # fmt: skip
def test_a_file_of_another_kind_is_refused(content, tmp_path):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="foreign cannot be loaded"):
        nnb.load(path)


def test_a_model_of_another_library_is_refused(tmp_path):
    path = tmp_path / "other"
    safetensors.numpy.save_file({"w": np.ones(3)}, path, metadata={"format": "pt"})
    with pytest.raises(ModelFileError, match="not one of nnbackend's"):
        nnb.load(path)


def write(path, tensors=None, **changes):
    """Write a model file with some of its description changed; ``...`` leaves a part out."""
    net = network()
    description = {
        "format": 1, "version": "0.1.0", "dtype": "float32", "seed": 0, "input_shape": [3],
        "network": nnb.registry.describe(net.layers), "metadata": {},
    } | changes  # fmt: skip
    description = {name: value for name, value in description.items() if value is not ...}
    tensors = weights(net) if tensors is None else tensors
    safetensors.numpy.save_file(tensors, path, metadata={"nnbackend": json.dumps(description)})
    return path


def stack(*layers):
    return {"layer": "Sequential", "fields": {"layers": list(layers)}}


def dense(**fields):
    return {"layer": "Dense", "fields": {"out_features": 4} | fields}


def one(layer, **fields):
    """Return a description of a network of one layer."""
    return stack({"layer": layer, "fields": fields})


def repeated(times, depth=1, **fields):
    layer = {"layer": "Flatten", "fields": {}}
    for _ in range(depth):
        layer = {"layer": "Repeat", "fields": {"layer": layer, "times": times} | fields}
    return layer


def chain(count, first="x"):
    """Return a description of a graph of many nodes, one after the other."""
    nodes = [["n0", [dense(), first]]]
    nodes += [[f"n{i}", ["n0", f"n{i - 1}"]] for i in range(1, count)]
    return one("Graph", inputs="x", nodes={"mapping": nodes}, outputs=f"n{count - 1}")


HUGE = dense(out_features=10**9)
FAR = [[10**12, 10**12]]
CHANGES = {
    "huge convolution": {"network": one("Conv1D", out_channels=10**12, kernel_size=10**6)},
    "huge pooling": {"network": one("MaxPool1D", size=10**12, padding=FAR), "input_shape": [3, 1]},
    "far pooling": {"network": one("MaxPool1D", size=2, padding=FAR), "input_shape": [3, 1]},
    "same pooling": {
        "network": stack(
            {"layer": "MaxPool1D", "fields": {"size": 10**12, "stride": 1, "padding": "same"}}, HUGE
        ),
        "input_shape": [3, 1],
    },
    "long pooling": {
        "network": stack({"layer": "MaxPool1D", "fields": {"size": 2, "stride": 1}}, HUGE),
        "input_shape": [2**31 - 1, 1],
    },
    "many repeats": {"network": stack(repeated(10**9))},
    "shared repeats": {"network": stack(repeated(10**9, shared=True))},
    "repeated repeats": {"network": stack(repeated(1000, 20))},
    "rows of repeats": {"network": stack(*[repeated(9000)] * 100)},
    "many parts": {"network": one("Split", parts=2**31 - 1), "input_shape": [2**31 - 1]},
    "long circle": {"network": chain(5_000, "n4999")},
    "long graph": {"network": chain(5_000)},
    "names in a circle": {
        "network": one("Graph", inputs="x", nodes={"mapping": [["a", ["a", "x"]]]}, outputs="a")
    },
    "another format": {"format": 2, "version": "9.0"},
    "no format": {"format": ...},
    "no network": {"network": ...},
    "network null": {"network": None},
    "network a number": {"network": 3},
    "network a list": {"network": []},
    "network a layer": {"network": dense()},
    "unknown layer": {"network": stack({"layer": "Dence", "fields": {}})},
    "unknown kind": {"network": stack({"lair": "Dense"})},
    "unknown field": {"network": stack(dense(units=3))},
    "optimizer as layer": {"network": stack({"optimizer": "adam"})},
    "fewer layers": {"network": stack(dense())},
    "more layers": {"network": stack(dense(), dense(), dense())},
    "negative size": {"network": stack(dense(out_features=-1))},
    "fractional size": {"network": stack(dense(out_features=1.5))},
    "huge layer": {"network": stack(HUGE)},
    "huge layers": {"network": stack(HUGE, HUGE)},
    "size beyond memory": {"network": stack(dense(out_features=2**62), dense(out_features=2**62))},
    "size beyond all": {"network": stack(dense(out_features=10**30))},
    "many layers": {"network": stack(*[HUGE] * 2000)},
    "huge orthogonal": {
        "network": stack(dense(out_features=10**9, initializer={"initializer": "orthogonal"}))
    },
    "rate of two": {"network": stack({"layer": "Dropout", "fields": {"rate": 2}})},
    "huge input": {"input_shape": [10**9]},
    "endless input": {"input_shape": [2**31 - 1] * 40},
    "negative input": {"input_shape": [-3]},
    "no input": {"input_shape": ...},
    "scalar input": {"input_shape": []},
    "textual input": {"input_shape": "3"},
    "true input": {"input_shape": [True]},
    "dtype int": {"dtype": "int8"},
    "dtype list": {"dtype": ["float32"]},
    "no dtype": {"dtype": ...},
    "seed negative": {"seed": -1},
    "seed true": {"seed": True},
    "seed huge": {"seed": 2**64},
    "seed text": {"seed": "0"},
    "no seed": {"seed": ...},
    "metadata list": {"metadata": []},
    "metadata nan": {"metadata": {"x": float("nan")}},
    "metadata deep": {"metadata": {"x": [[[]]] * 2, "y": json.loads("[" * 900 + "]" * 900)}},
    "shape deep": {"input_shape": json.loads("[" * 900 + "]" * 900)},
    "shape table": {"input_shape": {"x": {"y": -1}}},
    "frozen text": {"frozen": "0.bias"},
    "frozen number": {"frozen": [0]},
    "frozen unknown": {"frozen": ["0.bias", "9.bias"]},
    "trained one": {"trained": [1]},
    "trained negative": {"trained": [1, -1]},
    "trained huge": {"trained": [2**40, 1]},
    "precision list": {"precision": ["float32"]},
    "precision of another dtype": {"precision": "float64"},
    "seed infinite": {"seed": float("inf")},
    "metadata inf": {"metadata": {"x": float("-inf")}},
}  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_description_that_is_wrong_is_refused_before_memory_is_taken(changes, tmp_path):
    path = write(tmp_path / "net", **changes)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="net cannot be loaded"):
            nnb.load(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


TENSORS = {
    "none": {},
    "one less": {n: v for n, v in weights(network()).items() if n != "0.bias"},
    "one more": weights(network()) | {"3.weight": np.ones(3, np.float32)},
    "another name": {n.replace("2", "1"): v for n, v in weights(network()).items()},
    "another shape": weights(network()) | {"0.bias": np.ones((4, 1), np.float32)},
    "transposed": weights(network()) | {"0.weight": np.ones((4, 3), np.float32)},
    "integers": weights(network()) | {"0.bias": np.ones(4, np.int32)},
    "truth values": weights(network()) | {"0.bias": np.ones(4, bool)},
}


@pytest.mark.parametrize("tensors", TENSORS.values(), ids=TENSORS)
def test_tensors_that_are_not_the_networks_are_refused(tensors, tmp_path):
    with pytest.raises(ModelFileError, match="net cannot be loaded"):
        nnb.load(write(tmp_path / "net", tensors))


def test_half_precision_weights_are_read(tmp_path):
    tensors = {name: v.astype(np.float16) for name, v in weights(network()).items()}
    assert nnb.load(write(tmp_path / "net", tensors)).predict(X).dtype == np.float32


def test_weights_of_an_unknown_kind_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    net = network()
    text = json.dumps({"format": 1, "network": nnb.registry.describe(net.layers)})
    tensors = {n: torch.tensor(v).to(torch.bfloat16) for n, v in weights(net).items()}
    save_file(tensors, tmp_path / "net", metadata={"nnbackend": text})
    with pytest.raises(ModelFileError):
        nnb.load(tmp_path / "net")


@pytest.mark.parametrize("depth", [100, 100_000])
def test_a_description_nested_without_end_is_refused(depth, tmp_path):
    head, tail = '{"layer":"Sequential","fields":{"layers":[', "]}}"
    text = f'{{"format":1,"network":{head * depth}{tail * depth}}}'
    path = tmp_path / "net"
    safetensors.numpy.save_file(weights(network()), path, metadata={"nnbackend": text})
    with pytest.raises(ModelFileError):
        nnb.load(path)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "nonsense", '{"format":', "9" * 10_000])
def test_a_description_that_is_no_table_is_refused(text, tmp_path):
    path = tmp_path / "net"
    safetensors.numpy.save_file(weights(network()), path, metadata={"nnbackend": text})
    with pytest.raises(ModelFileError):
        nnb.load(path)


def test_nothing_in_a_file_is_executed():
    code = (
        "import sys, nnbackend;"
        "bad = {'pickle', '_pickle'} & set(dir(nnbackend.saving.model_file));"
        "print(bad)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def loads_or_is_refused(content: bytes, folder) -> None:
    """Assert that a file gives a network or a ModelFileError, and nothing else."""
    path = folder / "damaged"
    path.write_bytes(content)
    try:
        net = nnb.load(path)
    except ModelFileError:
        return
    assert {name: v.shape for name, v in weights(net).items()} == {
        name: v.shape for name, v in weights(network()).items()
    }
    with np.errstate(all="ignore"):
        net.layers.forward(net.params, X.astype(np.float32), nnb.Context(net.backend))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    net = network()
    net.metadata = {"classes": ["a", "b"], "mean": [0.5, 1.5]}
    return net.save(tmp_path_factory.mktemp("saved") / "net").read_bytes()


@settings(max_examples=150)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(cut, saved, tmp_path):
    path = tmp_path / "cut"
    path.write_bytes(saved[: int(cut * len(saved))])
    with pytest.raises(ModelFileError):
        nnb.load(path)


@settings(max_examples=400)
@given(flips=st.lists(st.tuples(st.integers(0), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes_give_a_network_or_a_model_file_error(flips, saved, tmp_path):
    content = bytearray(saved)
    for place, change in flips:
        content[place % len(content)] ^= change
    loads_or_is_refused(bytes(content), tmp_path)


@settings(max_examples=400)
@given(edits=st.lists(st.tuples(st.integers(0), st.sampled_from(list('0123456789-.e"[]{}:,ntf'))),
                      min_size=1, max_size=3))  # fmt: skip
def test_edited_descriptions_give_a_network_or_a_model_file_error(edits, saved, tmp_path):
    """Bytes of the description changed into others that JSON is made of."""
    start = saved.index(b"nnbackend")
    length = saved.index(b'"}', start) - start
    content = bytearray(saved)
    for place, character in edits:
        content[start + place % length] = ord(character)
    loads_or_is_refused(bytes(content), tmp_path)


# ------------------------------------------------------------------- limits, checksums, what is refused


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "1" * 5000])
@pytest.mark.parametrize("place", ["metadata", "rate", "seed"])
def test_numbers_that_are_none_are_refused(place, number, tmp_path):
    places = {"metadata": "[7777]", "rate": "0.25", "seed": '"seed": 0'}
    path = write(tmp_path / "net", metadata={"x": [7777]})
    description, tensors = described(path)
    old, new = places[place], places[place].replace("7777", number).replace("0.25", number)
    text = json.dumps(description).replace(old, new.replace(": 0", f": {number}"))
    assert number in text
    safetensors.numpy.save_file(tensors, path, metadata={"nnbackend": text})
    with pytest.raises(ModelFileError, match="net cannot be loaded"):
        nnb.load(path)


def test_layers_as_deep_as_may_be_come_back(tmp_path):
    layer = nnb.Dense(3)
    for _ in range(60):
        layer = Scaled(layer, 1.0)
    net = nnb.Network([layer], input_shape=3)
    assert nnb.load(net.save(tmp_path / "net")).layers == net.layers


def described(path):
    """Return the description in a model file and its tensors."""
    with safetensors.safe_open(path, framework="np") as content:
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        return json.loads(content.metadata()["nnbackend"]), tensors


def test_a_changed_weight_or_description_is_noticed(tmp_path):
    path = network().save(tmp_path / "net")
    whole = path.read_bytes()
    for changed in (whole[:-1] + bytes([whole[-1] ^ 1]), whole.replace(b"0.25", b"0.75")):
        assert changed != whole
        path.write_bytes(changed)
        with pytest.raises(ModelFileError, match="it is damaged: its checksum"):
            nnb.load(path)


def test_a_file_without_a_checksum_loads(tmp_path):
    path = network().save(tmp_path / "net")
    description, tensors = described(path)
    del description["checksum"]
    assert_equal(weights(nnb.load(write(path, tensors, **description))), weights(network()))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_told(value, tmp_path):
    tensors = {name: np.full_like(v, value) for name, v in weights(network()).items()}
    with pytest.warns(UserWarning, match=r"net: NaN or infinity is in 0\.bias, 0\.weight,"):
        nnb.load(write(tmp_path / "net", tensors))


def test_state_that_is_nan_is_told_and_infinite_state_is_not(tmp_path):
    case = STATEFUL_LAYERS[0]
    net = nnb.Network([case.thing], input_shape=case.shape)
    net.state = {"0": {name: np.full_like(a, np.inf) for name, a in net.state["0"].items()}}
    nnb.load(net.save(tmp_path / "net"))
    net.state = {"0": {name: np.full_like(a, np.nan) for name, a in net.state["0"].items()}}
    with pytest.warns(UserWarning, match=r"net: NaN or infinity is in state/0\."):
        nnb.load(net.save(tmp_path / "net"))


def sparse(path, shape, layers):
    """Write a model file of huge weights that are not there: a hole in the file."""
    size = 4 * int(np.prod(shape, dtype=object))
    description = {
        "format": 1,
        "dtype": "float32",
        "seed": 0,
        "input_shape": [3],
        "network": layers,
    }
    header = json.dumps({
        "__metadata__": {"nnbackend": json.dumps(description)},
        "0.weight": {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]},
    }).encode()  # fmt: skip
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    return path


@pytest.mark.skipif(os.name == "nt", reason="files have no holes there")
@pytest.mark.parametrize("layers", [stack(dense()), stack(dense(bias=False)), stack()])
def test_shapes_are_compared_before_a_tensor_is_read(layers, tmp_path):
    path = sparse(tmp_path / "net", (2**31, 1), layers)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="its tensors are not those"):
            nnb.load(path)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("one", ['{"layer":"Flatten"}', r'{"l\u0061yer":"Flatten"}'])
def test_a_million_layers_are_refused_by_a_limit(one, tmp_path):
    layers = f'{{"layer":"Sequential","fields":{{"layers":[{",".join([one] * 1_000_000)}]}}}}'
    text = f'{{"format":1,"dtype":"float32","seed":0,"input_shape":[3],"network":{layers}}}'
    path = tmp_path / "net"
    safetensors.numpy.save_file({}, path, metadata={"nnbackend": text})
    with pytest.raises(ModelFileError, match=r"more than 100,000 (layers|items)"):
        nnb.load(path)


def test_frozen_names_are_taken_as_they_are(tmp_path):
    net = network().freeze("*.bias")
    assert nnb.load(net.save(tmp_path / "net")).frozen == ("0.bias", "2.bias")
    with pytest.raises(ModelFileError, match=r"it freezes '\*', which is no parameter"):
        nnb.load(write(tmp_path / "net", frozen=["*"]))


def deep(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("metadata", "error", "words"),
    [
        ([1], TypeError, "must be a dictionary of plain data, not list"),
        (None, TypeError, "must be a dictionary"),
        ({1: 2}, TypeError, "metadata has an entry 1, whose name is no text"),
        ({"a": {None: 2}}, TypeError, "metadata.a has an entry None"),
        ({"a": [{True: 2}]}, TypeError, "metadata.a has an entry True"),
        ({"a": deep(1, 900)}, ValueError, "nested more than 150 deep"),
        ({"a": deep(1, MAX_DEPTH - 1)}, ValueError, "nested more than 150 deep"),
        ({"a": 10**5000}, ValueError, "must be plain data"),
        ({"a": b"x"}, TypeError, "metadata.a holds b'x', which JSON has not"),
    ],
)
def test_save_refuses_what_load_would(metadata, error, words, tmp_path):
    net = network()
    net.metadata = metadata
    with pytest.raises(error, match=words):
        net.save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_save_writes_all_that_load_reads(tmp_path):
    net = network()
    net.metadata = {
        "deep": deep("x", MAX_DEPTH - 2),
        "": [1e308, -0.0, 2**63],
        "\ud800": "\0",
        "tuple": (1, 2),
    }
    found = nnb.load(net.save(tmp_path / "net")).metadata
    assert found == net.metadata | {"tuple": [1, 2]}


@nnb.register_layer
@dataclass(frozen=True)
class Whimsical:
    """A layer that takes another size than it gave when it is made again."""

    sizes: Any

    def init(self, input_shape, rng):
        if isinstance(self.sizes, tuple):
            raise ValueError("sizes are a list")
        return {}, input_shape

    def forward(self, params, x, ctx):
        return x, lambda dy, input_grad=True: (dy, {})


def test_a_network_that_could_not_be_made_again_is_not_saved(tmp_path):
    net = nnb.Network([Whimsical([1])], input_shape=3)
    with pytest.raises(
        ValueError, match=r"cannot be saved, for it would not load: .*sizes are a list"
    ):
        net.save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_what_is_no_file_is_not_waited_for(tmp_path):
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ModelFileError, match="not a regular file"):
            nnb.load(tmp_path / "pipe")


def write_description(path, layers, shape="[3]"):
    text = f'{{"format":1,"dtype":"float32","seed":0,"input_shape":{shape},"network":{layers}}}'
    safetensors.numpy.save_file({}, path, metadata={"nnbackend": text})
    return path


def test_layers_are_counted_however_they_are_written_and_nested(tmp_path):
    some = ",".join([r'{"l\u0061yer":"Flatten"}'] * 60_000)
    block = f'{{"layer":"Sequential","fields":{{"layers":[{some}]}}}}'
    layers = f'{{"layer":"Sequential","fields":{{"layers":[{block},{block}]}}}}'
    with pytest.raises(
        ModelFileError, match="loaded: its description has more than 100,000 layers"
    ):
        nnb.load(write_description(tmp_path / "net", layers))
    with pytest.raises(ModelFileError, match="more than 100,000 sizes of inputs"):
        nnb.load(write_description(tmp_path / "net", "{}", f"[{','.join(['[1]'] * 60_000)}]"))


def test_metadata_are_not_counted_as_layers(tmp_path):
    net = network()
    net.metadata = {"notes": [{"layer": 1}] * 100_001}
    assert nnb.load(net.save(tmp_path / "net")).metadata == net.metadata


def test_tensors_of_more_than_the_free_memory_are_not_read(tmp_path, monkeypatch):
    path = network().save(tmp_path / "net")
    monkeypatch.setattr("nnbackend.saving.model_file.free_memory", lambda: 50)
    with pytest.raises(
        ModelFileError, match=r"its tensors take [0-9,]+ bytes of memory, and 50 are"
    ):
        nnb.load(path)
