"""Backends are chosen by name, by namespace, or as what can be used here."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys

import numpy as np
import pytest
from conftest import require

import nnbackend as nnb
from nnbackend.backends.base import Backend
from nnbackend.backends.choose import available_backends, get_backend
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
