"""Backends: which there are, what is brought to them, and what they say when they cannot be used."""

from __future__ import annotations

import copy
import importlib
import math
import pickle
import subprocess
import sys

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from conftest import require
from hypothesis import given
from tools import assert_equal, host

import nnbackend as nnb
from nnbackend.backends import choose, library
from nnbackend.backends.base import Backend
from nnbackend.backends.choose import available_backends, get_backend
from nnbackend.core.types import Batch, StepResult
from nnbackend.errors import BackendUnavailableError, UnknownNameError

VALUES = np.array([[0.0, 1.5, -2.0], [3.0, -4.25, 5.0]])


def test_each_backend_asked_for_is_usable(library):
    """Skips, with the reason, for a backend that cannot be used here."""
    require(library)
    made = get_backend(library)
    status = next(s for s in available_backends() if s.name == library)
    assert status.usable
    assert status.reason == ""
    assert status.version
    assert status.device == made.device_name()
    assert made.name == library


def test_float64_is_there_or_its_tests_are_left_out(variant):
    if variant.float64:
        assert variant.make("float64").asarray(1).dtype == variant.make("float64").xp.float64
    else:
        with pytest.raises(ValueError, match="float64"):
            variant.make("float64").asarray(1)
        pytest.skip(f"{variant.name} has no float64: tests in float64 are left out")


def test_what_cannot_be_used_says_why_and_what_can():
    for status in available_backends():
        if not status.usable:
            assert status.reason
            with pytest.raises(BackendUnavailableError, match="Usable here: numpy") as error:
                get_backend(status.name)
            assert status.reason in str(error.value)


@pytest.mark.parametrize("name", ["torch", "jax", "cupy", "array-api-strict"])
def test_a_library_that_is_not_installed_comes_with_the_command(name, monkeypatch):
    cls = choose._class(name)
    module = name.replace("-", "_")
    for loaded in list(sys.modules):
        if loaded.split(".")[0] == module:
            monkeypatch.delitem(sys.modules, loaded)
    find = importlib.import_module

    def missing(wanted, *args):
        if wanted.split(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return find(wanted, *args)

    monkeypatch.setattr(library.importlib, "import_module", missing)
    with pytest.raises(BackendUnavailableError, match="not installed; run: pip install"):
        cls()


def test_a_library_that_is_broken_says_how(monkeypatch):
    def broken(wanted, *args):
        raise ImportError("libfoo.so.3: cannot open shared object file")

    monkeypatch.setattr(library.importlib, "import_module", broken)
    with pytest.raises(BackendUnavailableError, match=r"installed but.*libfoo\.so\.3"):
        library.import_library(Backend, "foo")


def test_auto_is_cupy_where_there_is_a_device_and_numpy_otherwise():
    usable = {status.name for status in available_backends() if status.usable}
    assert get_backend("auto").name == ("cupy" if "cupy" in usable else "numpy")


@pytest.mark.parametrize("name", ["tensorflow", "", "NUMPYY", "jax.numpy"])
def test_an_unknown_backend_is_refused(name):
    with pytest.raises(UnknownNameError, match="unknown backend"):
        nnb.Network([], backend=name)


@pytest.mark.parametrize("dtype", ["float16", "int32", float, np.float32, ""])
def test_another_dtype_is_refused(dtype):
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'float64'"):
        nnb.Network([], dtype=dtype)


@pytest.mark.parametrize("device", ["cuda", "cuda:7", 3])
def test_a_device_that_numpy_does_not_have_is_refused(device):
    with pytest.raises(BackendUnavailableError, match="NumPy computes on the CPU only"):
        get_backend("numpy", device)


@pytest.mark.parametrize(
    ("name", "device"),
    [("torch", "cuda:99"), ("torch", "nowhere"), ("jax", "cuda:9"), ("jax", 99), ("jax", "nowhere"),
     ("array-api-strict", "nowhere"), ("cupy", "99"), ("cupy", "nowhere")],
)  # fmt: skip
def test_a_device_that_is_not_there_is_named(name, device):
    require(name)
    with pytest.raises(BackendUnavailableError, match=str(device)):
        get_backend(name, device)


def test_jax_without_64_bits_says_how_to_switch_them_on():
    pytest.importorskip("jax")
    code = "import nnbackend; nnbackend.Network([], backend='jax', dtype='float64')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={"PATH": "", "JAX_PLATFORMS": "cpu", "PYTHONPATH": ":".join(sys.path)},
                          check=False)  # fmt: skip
    assert done.returncode == 1
    assert "BackendUnavailableError" in done.stderr
    assert "jax_enable_x64" in done.stderr
    assert "JAX_ENABLE_X64=1" in done.stderr


def test_jax_in_32_bits_works_without_a_warning():
    pytest.importorskip("jax")
    code = (
        "import nnbackend as nnb, numpy as np;"
        "n = nnb.Network([nnb.Dense(4, 'relu'), nnb.Dropout(0.1), nnb.Dense(3)], backend='jax');"
        "n.fit(np.ones((5, 2)), np.arange(5) % 3, loss='softmax_cross_entropy', batch_size=2,"
        " metrics=['accuracy', 'mae'], validation_split=0.3, sample_weight=[1, 2, 1, 1, 1]);"
        "print(n.predict(np.ones((5, 2))).dtype)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True,
                          env={"PATH": "", "JAX_PLATFORMS": "cpu", "PYTHONPATH": ":".join(sys.path)},
                          check=False)  # fmt: skip
    assert done.stdout == "float32\n", done.stderr


TWO_DEVICES = """
import numpy as np
import nnbackend as nnb

x, y = np.random.default_rng(0).normal(size=(40, 5)), np.arange(40) % 3
layers = [nnb.Dense(8, "relu"), nnb.Dropout(0.1), nnb.Dense(3)]
nets = [nnb.Network(layers, backend="jax", device=device) for device in ("cpu:1", 0)]
task = {"loss": "softmax_cross_entropy", "batch_size": 16, "verbose": 0}
for net in nets:
    net.fit(x, y, epochs=2, metrics=["accuracy"], validation_split=0.2, **task)
    net.fit(x, y, data_on="host", class_weight="balanced", **task)
    net.partial_fit(x, y, loss="softmax_cross_entropy")
    net.evaluate(x, y)
    y_hat, backward = net.forward(x, training=True)
    dx, grads = backward(np.ones(y_hat.shape))
    for array in (y_hat, dx, grads["0"]["weight"], net.predict(x), *net.state_dict().values()):
        assert array.devices() == {net.backend.device}, array.devices()
for a, b in zip(*(net.state_dict().values() for net in nets), strict=True):
    assert np.array_equal(a, b)
print([device.name for device in net.backend.devices()])
"""


def test_networks_of_jax_keep_to_their_devices():
    pytest.importorskip("jax")
    done = subprocess.run([sys.executable, "-W", "error", "-c", TWO_DEVICES], capture_output=True,
                          text=True, check=False,
                          env={"PATH": "", "JAX_PLATFORMS": "cpu", "PYTHONPATH": ":".join(sys.path),
                               "XLA_FLAGS": "--xla_force_host_platform_device_count=2"})  # fmt: skip
    assert done.stdout == "['cpu:0', 'cpu:1']\n", done.stderr


# ------------------------------------------------------------------------------------- as values


def test_backends_are_equal_that_do_the_same(variant):
    one, other = variant.make("float32"), variant.make("float32")
    assert one == other
    assert hash(one) == hash(other)
    assert one != "numpy"
    assert repr(one).startswith("Backend(")
    if variant.float64:
        wide = variant.make("float64")
        assert wide != one
        assert one.replace(dtype="float64") == wide
        assert wide.dtype_name == "float64"


def test_a_backend_stands_for_itself(backend):
    assert get_backend(backend) is backend
    assert nnb.Network([], backend=backend).backend is backend


@pytest.mark.parametrize(
    ("module", "name"),
    [("numpy", "numpy"), ("array_api_compat.numpy", "numpy"), ("torch", "torch"),
     ("array_api_compat.torch", "torch"), ("jax.numpy", "jax"), ("array_api_strict", "array-api-strict"),
     ("cupy", "cupy"), ("array_api_compat.cupy", "cupy")],
)  # fmt: skip
def test_a_namespace_stands_for_its_library(module, name):
    require(name)
    assert get_backend(importlib.import_module(module)) == get_backend(name)


def test_any_namespace_of_the_standard_will_do():
    """As that of a library this one has never heard of."""
    strict = pytest.importorskip("array_api_strict")
    made = Backend(xp=strict, dtype="float64")
    net = nnb.Network(
        [nnb.Dense(3, activation="gelu"), nnb.Dropout(0.1), nnb.Dense(1)], backend=made
    )
    twin = nnb.Network(net.layers, dtype="float64")
    x, y = np.ones((4, 2)), np.zeros(4)
    assert net.fit(x, y, epochs=3)["loss"] == pytest.approx(twin.fit(x, y, epochs=3)["loss"])
    assert net.to(dtype="float32").backend == Backend(xp=strict)
    assert get_backend(made, device=made.xp.Device("device1")).device == made.xp.Device("device1")


@pytest.mark.parametrize("spec", [3, None, Backend, object(), math])
def test_what_is_no_backend_is_a_type_error(spec):
    with pytest.raises(TypeError, match="backend must be"):
        get_backend(spec)


# ------------------------------------------------------------------------------------- bringing in


def pandas_frame():
    return pytest.importorskip("pandas").DataFrame(VALUES)


def polars_frame():
    return pytest.importorskip("polars").DataFrame(VALUES)


def torch_tensor(**given):
    return pytest.importorskip("torch").tensor(VALUES, **given)


def jax_array():
    return pytest.importorskip("jax").numpy.asarray(VALUES)


def strict_array(device=None):
    strict = pytest.importorskip("array_api_strict")
    return strict.asarray(VALUES, device=device and strict.Device(device))


def read_only():
    x = VALUES.copy()
    x.flags.writeable = False
    return x


SOURCES = {
    "lists": VALUES.tolist,
    "tuples": lambda: tuple(map(tuple, VALUES)),
    "list of arrays": lambda: list(VALUES),
    "float32": lambda: VALUES.astype(np.float32),
    "float16": lambda: VALUES.astype(np.float16),
    "float64": VALUES.copy,
    "big-endian": lambda: VALUES.astype(">f8"),
    "Fortran order": lambda: np.asfortranarray(VALUES),
    "every second": lambda: np.repeat(VALUES, 2, axis=1)[:, ::2],
    "backwards": lambda: np.ascontiguousarray(VALUES[:, ::-1])[:, ::-1],
    "transposed": lambda: np.ascontiguousarray(VALUES.T).T,
    "read-only": read_only,
    "longdouble": lambda: VALUES.astype(np.longdouble),
    "objects": lambda: VALUES.astype(object),
    "subclass": lambda: np.ma.masked_array(VALUES),
    "pandas": pandas_frame,
    "polars": polars_frame,
    "torch": torch_tensor,
    "torch that requires grad": lambda: torch_tensor(requires_grad=True),
    "jax": jax_array,
    "strict": strict_array,
    "strict on device1": lambda: strict_array("device1"),
}
INTEGERS = ["int8", "uint8", "int16", "int32", "int64", "uint64", "bool"]


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_numbers_come_from_anywhere(source, backend):
    given = source()
    with backend.scope():
        x = backend.asarray(given)
    assert x.dtype == backend.dtype
    assert str(x.device) == str(backend.device)
    np.testing.assert_array_equal(host(backend, x), VALUES.astype(np.float32))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_and_truth_values_become_numbers(dtype, backend):
    x = np.array([[0, 1], [1, 0]], dtype)
    np.testing.assert_array_equal(host(backend, backend.asarray(x)), x.astype(np.float32))
    torch = pytest.importorskip("torch")
    if hasattr(torch, dtype):
        np.testing.assert_array_equal(host(backend, backend.asarray(torch.from_numpy(x))), x)


def test_columns_of_pandas_and_polars_are_arrays(backend):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for column in (pandas.Series([1, 2, 4]), pandas.Series([1, 2, 4], dtype="Int64"),
                   polars.Series([1, 2, 4]), polars.Series([1.0, 2.0, 4.0])):  # fmt: skip
        assert_equal(host(backend, backend.asarray(column)), np.array([1, 2, 4], np.float32))


def test_a_missing_value_becomes_nan(backend):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for column in (pandas.Series([1.0, None]), polars.Series([1.0, None]), polars.Series([1, None]),
                   np.array([1.0, None], object)):  # fmt: skip
        assert np.isnan(host(backend, backend.asarray(column))).tolist() == [False, True]


@given(x=hnp.arrays(st.sampled_from(["f4", ">f8", "i2", "u1", "?"]),
                    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
                    elements={"min_value": 0, "max_value": 100}))  # fmt: skip
def test_what_is_brought_comes_back(x, backend):
    np.testing.assert_array_equal(host(backend, backend.asarray(x)), x.astype(np.float32))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([[1.0], [2.0, 3.0]], "different lengths"),
        ([["a", "b"]], "real numbers"),
        ([[1.0, "x"]], "real numbers"),
        (np.array([1.0, "x"], object), "'x'"),
        (np.array([1j]), "complex"),
        (np.array(["2020-01-01"], "M8[D]"), "datetime"),
        (np.array([b"x"]), "S1"),
        ({"a": 1}, "got {'a': 1}"),
        (object(), "got <object"),
        ([[1.0, {}]], r"got \{\} at \(0, 1\)"),
    ],
)
def test_what_are_no_numbers_is_a_type_error(values, words, backend):
    with pytest.raises(TypeError, match=words):
        backend.asarray(values)


def test_arrays_that_can_be_shared_are_not_copied():
    """Memory is shared where both libraries allow it; NumPy's own arrays are taken as they are."""
    x = VALUES.copy()
    assert get_backend("numpy", dtype="float64").asarray(x) is x
    torch = pytest.importorskip("torch")
    made = get_backend("torch", dtype="float64")
    tensor = torch.from_numpy(x)
    assert made.asarray(tensor).data_ptr() == tensor.data_ptr()
    assert made.asarray(x).data_ptr() == x.ctypes.data
    back = get_backend("numpy", dtype="float64").asarray(tensor)
    assert back.ctypes.data == x.ctypes.data
    grown = torch.tensor(VALUES, requires_grad=True)
    assert np.shares_memory(get_backend("numpy", dtype="float64").asarray(grown),
                            grown.detach().numpy())  # fmt: skip


def test_gradient_tapes_stay_off():
    torch = pytest.importorskip("torch")
    x = torch.ones((3, 2), requires_grad=True)
    net = nnb.Network([nnb.Dense(1)], backend="torch")
    net.fit(x, torch.zeros(3, requires_grad=True))
    y, backward = net.forward(x)
    dx, grads = backward(torch.ones_like(y, requires_grad=True))
    for array in (net.predict(x), y, dx, *grads["0"].values(), *net.state_dict().values()):
        assert not array.requires_grad
    assert x.grad is None


def test_an_integer_dtype_can_be_asked_for(backend):
    labels = backend.asarray([0, 2, 1], backend.xp.int32)
    assert labels.dtype == backend.xp.int32
    assert_equal(host(backend, labels), np.array([0, 2, 1], np.int32))


def test_scans_join_numbers_and_batches(backend):
    """The loop that each backend may turn into one program of its own."""
    xp = backend.xp

    def body(carry, batch, scalars, number):
        x = batch.x
        return carry + xp.sum(x) * scalars[0], StepResult(xp.sum(x), None, x + 0.0)

    run = backend.scan(lambda backend: body)
    x = backend.asarray(np.arange(8.0).reshape(4, 2))
    start = xp.zeros((), dtype=backend.dtype, device=backend.device)
    carry, sums, nothing, same = run(start, Batch(x, x), 2, [(1.0,), (10.0,)], range(2))
    assert float(carry) == 6 + 220
    assert np.asarray(backend.fetch(sums)).tolist() == [6, 22]
    assert nothing is None
    assert_equal(host(backend, same), host(backend, x))


def test_a_backend_is_copied_as_itself_and_pickled_as_its_description(backend64):
    assert copy.deepcopy(backend64) is backend64
    assert copy.copy(backend64) is backend64
    assert pickle.loads(pickle.dumps(backend64)) == backend64
    own = Backend(xp=np)
    assert pickle.loads(pickle.dumps(own)) == own


def test_jax_shares_no_memory_that_may_change():
    require("jax")
    backend = get_backend("jax")
    wide = np.zeros(1000 + 16, dtype=np.float32)
    for first in range(16):  # one of these starts where JAX would share what it is given
        given = wide[first : first + 1000]
        given[...] = 1.0
        x = backend.asarray(given)
        given[...] = 2.0
        assert (host(backend, x) == 1.0).all()


def test_what_jax_has_goes_through_unless_something_is_to_change():
    require("jax")
    backend = get_backend("jax")
    x = backend.asarray(VALUES)
    assert backend.asarray(x) is x
    assert backend.asarray(x, dtype=backend.xp.int32).dtype == backend.xp.int32


def test_copies_are_arrays_of_their_own(backend):
    tree = {"a": {"b": backend.asarray(VALUES.copy())}, "c": {}, "0": backend.asarray([1.0])}
    copy = backend.copy_tree(tree)
    assert copy.keys() == tree.keys()
    assert copy["a"]["b"] is not tree["a"]["b"]
    assert copy["a"]["b"].dtype == backend.dtype
    assert_equal(host(backend, copy), host(backend, tree))


def test_labels_become_rows_of_a_unit_matrix(backend):
    labels = backend.examined([2.0, 0.0, 1.0, 2.0])
    rows = backend.one_hot(backend.examiner.xp.astype(labels, backend.examiner.xp.int32), 3)
    assert rows.dtype == backend.dtype
    assert str(rows.device) == str(backend.device)
    assert_equal(host(backend, rows), np.eye(3)[[2, 0, 1, 2]])
