"""The bodies of kernels, compiled for a CPU: nothing here runs on a card."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import host_kernels
import numpy as np
import pytest
from fake_cupy import LABELS, TASK, X

import nnbackend as nnb
from nnbackend.backends import base
from nnbackend.backends.cuda import kernels
from nnbackend.core import random

pytestmark = pytest.mark.skipif(host_kernels.COMPILER is None, reason="there is no C compiler here")


class CUPY:
    """What the kernels ask of CuPy, on NumPy's arrays."""

    uint32, int32, empty = np.uint32, np.int32, staticmethod(np.empty)
    ElementwiseKernel = host_kernels.ElementwiseKernel


WORDS = [
    ((1, 2), 0, 0),
    ((0xFFFFFFFF, 0x80000000), 2**31 - 1, 3),
    ((7, 0), 5, 2**30 + 1),
    ((0, 0), 1, 10),
]


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
@pytest.mark.parametrize(("key", "step", "first"), WORDS)
def test_random_bits_are_those_of_every_backend(key, step, first, count):
    found = kernels.random_bits(CUPY, key, step, count, first)
    np.testing.assert_array_equal(found, random.bits(key, step, count, np, first=first))
    assert found.dtype == np.int32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.0, 0.25, 0.9, 1.0 - 2.0**-24])
@pytest.mark.parametrize(("key", "step", "first"), WORDS)
def test_a_random_mask_is_that_of_every_backend(key, step, first, rate, dtype):
    like, threshold = np.empty((5, 3, 20), dtype), round(rate * 2**24)
    found = kernels.random_mask(CUPY, key, step, like, threshold, first)
    expected = nnb.get_backend("numpy").random_mask(key, step, like, threshold, first)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == like.dtype
    assert rate not in (0.25, 0.9) or 0.0 < found.mean() < 1.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(1, 2), (7, 1), (50, 10), (4, 3, 5), (5,), (0, 3), (9, 128)], ids=str
)
def test_a_softmax_loss_is_the_pure_one(shape, dtype):
    rng = np.random.default_rng(0)
    z, target = (5.0 * rng.normal(size=shape)).astype(dtype), rng.random(shape).astype(dtype)
    target /= target.sum(axis=-1, keepdims=True)

    found = kernels.softmax_loss(CUPY, z, target)

    assert found is not None
    tolerance = 20.0 * np.finfo(dtype).eps
    for a, b in zip(found, nnb.losses.cross_entropy.softmax_loss(z, target, np), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf, 1e4, -1e4])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers_that_are_not_finite_show_in_a_softmax_loss_as_they_do_elsewhere(place, worst):
    z, target = np.array([[0.5, -1.0, 2.0]] * 3), np.eye(3)
    z[:, place] = worst

    found = kernels.softmax_loss(CUPY, z, target)

    for a, b in zip(found, nnb.losses.cross_entropy.softmax_loss(z, target, np), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_a_softmax_loss_is_left_to_other_functions_where_the_kernel_does_not_suit():
    half, wide = np.zeros((2, 3), "float16"), np.zeros((2, 3))
    assert kernels.softmax_loss(CUPY, half, half) is None
    assert kernels.softmax_loss(CUPY, wide, wide.astype("float32")) is None
    assert kernels.softmax_loss(CUPY, np.zeros((2, 129)), np.zeros((2, 129))) is None
    assert kernels.softmax_loss(CUPY, np.zeros((2, 0)), np.zeros((2, 0))) is None


def test_a_network_takes_dropout_and_loss_from_kernels(machine, monkeypatch):
    """Its parameters are those of NumPy, to rounding."""
    found = {}
    for name in ("numpy", "cupy"):
        layers = [nnb.Dense(8, "tanh"), nnb.Dropout(0.4), nnb.Dense(3)]
        net = nnb.Network(layers, backend=name, dtype="float64", seed=0)
        if name == "cupy":
            loss = partial(kernels.softmax_loss, machine.cupy)
            monkeypatch.setitem(base._kernels, (machine.cupy.ndarray, "softmax_loss"), loss)
        net.fit(X, LABELS, sample_weight=np.arange(60.0), **TASK, epochs=2, accumulate=2)
        found[name] = {n: net.to_numpy(p) for n, p in net.state_dict().items()}
    for name, expected in found["numpy"].items():
        np.testing.assert_allclose(found["cupy"][name], expected, rtol=1e-10, atol=1e-12)
    assert set(machine.launched) == {"nnbackend_random_mask", "nnbackend_softmax_loss"}
    assert len(machine.launched) == 2 * 2 * 8  # two parts of four batches in each epoch


def test_a_mask_at_a_step_that_is_an_array_is_the_same(machine):
    backend = nnb.get_backend("cupy")
    like = backend.asarray(np.zeros((4, 6)))
    step = backend.asarray(np.asarray(7), dtype=backend.xp.int32)
    for first in (0, 5):
        pure = backend.random_mask((3, 4), step, like, 2**23, first)
        kernel = backend.random_mask((3, 4), 7, like, 2**23, first)
        np.testing.assert_array_equal(backend.to_numpy(pure), backend.to_numpy(kernel))
    assert machine.launched == ["nnbackend_random_mask"] * 2


FRAME = """
#include <cupy/complex.cuh>
#include <cupy/carray.cuh>
#include <cupy/float16.cuh>
typedef {type} T;
extern "C" __global__ void kernel({inputs}, CArray<{out}, 1, 1, 1> _raw_out, CIndexer<1, 1> _ind) {{
    CUPY_FOR(i, _ind.size()) {{ _ind.set(i); {out} &{name} = _raw_out[_ind.get()]; {body}; }}
}}
"""
WORDS_OF_C = ", ".join(f"const unsigned int {word}" for word in ("first", "step", "key0", "key1"))
ROWS_OF_C = (
    "const CArray<T, 2, 1, 1> z, const CArray<T, 2, 0, 0> target, const int classes, "
    "CArray<T, 2, 1, 1> dy"
)


@pytest.mark.parametrize("kind", ["float", "double", "float16"])
def test_nvidias_compiler_takes_the_kernels(kind):
    """In the frame that CuPy gives them; needs CuPy and CUDA's headers, and no card."""
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    folders = [Path(cupy.__file__).parent / "_core" / "include"]
    for name in ("nvidia.cuda_runtime", "nvidia.cuda_cccl"):
        package = pytest.importorskip(name, exc_type=ImportError)
        folders.append(Path(package.__path__[0]) / "include")
    mask = (f"{WORDS_OF_C}, const unsigned int threshold", "T", "mask", kernels.RANDOM_MASK)
    bits = (WORDS_OF_C, "int", "bits", kernels.RANDOM_BITS)
    loss = (ROWS_OF_C, "T", "loss", kernels.SOFTMAX_LOSS)
    for inputs, out, name, body in [mask, bits] if kind == "float16" else [mask, bits, loss]:
        text = FRAME.format(type=kind, inputs=inputs, out=out, name=name, body=body)
        program = cupy.cuda.nvrtc.createProgram(text, "kernel.cu", [], [])
        options = ["--gpu-architecture=compute_80", "--std=c++17", *(f"-I{f}" for f in folders)]
        try:
            cupy.cuda.nvrtc.compileProgram(program, options)
        except cupy.cuda.nvrtc.NVRTCError:
            pytest.fail(cupy.cuda.nvrtc.getProgramLog(program))
        assert ".entry kernel(" in cupy.cuda.nvrtc.getPTX(program).decode()
