"""What the CuPy backend tells a card to run; what of it can be tested without one.

A module in CuPy's place notes what it is asked for. It says nothing of CuPy itself.
"""

from __future__ import annotations

import numpy as np
import pytest

from nnbackend.backends import cublaslt, cuda, cupy
from nnbackend.backends.cuda import CudaDevice


class Module:
    """A compiled source: kernels note how they are called."""

    def __init__(self, code, options):
        self.code, self.options, self.calls = code, options, []

    def get_function(self, name):
        return lambda grid, block, args: self.calls.append((name, grid, block, args))


class FakeCuPy:
    """NumPy, with what of CuPy the device touches beside."""

    empty, full = np.empty, staticmethod(np.full)
    isnan = np.isnan
    matmul, add, maximum = np.matmul, np.add, np.maximum

    def __init__(self):
        self.modules = []

    def RawModule(self, code, options):  # CuPy's name
        self.modules.append(Module(code, options))
        return self.modules[-1]


class Product:
    """A product of cuBLASLt that notes how it was made.

    ``can``: the activations for which there is an algorithm. ``keeps_nan``: whether its ReLU does.
    """

    made: list = []
    can: tuple = (None, "relu")
    keeps_nan = True

    def __init__(self, module, a, b, out, **settings):
        if settings.get("activation") not in self.can:
            raise cublaslt.ProductError("no algorithm")
        self.made.append(settings)
        self._work = a, b, out, settings

    def launch(self):
        a, b, out, settings = self._work
        np.matmul(a, b, out=out)
        if settings.get("bias") is not None:
            out += settings["bias"]
        if settings.get("activation") == "relu":
            (np.maximum if self.keeps_nan else np.fmax)(out, 0.0, out=out)


class Captured:
    """A graph that notes what it was made of; ``refusal``: what its capture ends in."""

    refusal = ""

    def __init__(self, module, launch_all):
        self.launch_all, self.refused = launch_all, ""

    def replay(self):
        self.launch_all(None)
        self.refused = self.refusal


@pytest.fixture
def usable(monkeypatch):
    """Let cuBLASLt be there."""
    monkeypatch.setattr(Product, "made", [])
    monkeypatch.setattr(cublaslt, "available", lambda: "")
    monkeypatch.setattr(cublaslt, "Product", Product)
    monkeypatch.setattr(cublaslt, "new_workspace", lambda module: np.empty(1))
    monkeypatch.setattr(cuda, "Captured", Captured)


def test_kernels_are_called_with_their_grid_block_and_arrays():
    device = CudaDevice(FakeCuPy(), graphs=False)
    first, second = device.kernels("text", ["a", "b"])
    x, y = np.zeros(2), np.ones(3)
    second(5, (32, 4), [x, y])
    first(1, (256, 1), [y])
    (module,) = device._cupy.modules
    assert module.code == "text"
    assert "--fmad=false" in module.options  # else a kernel rounds otherwise than its operations
    assert [call[:3] for call in module.calls] == [("b", (5,), (32, 4)), ("a", (1,), (256, 1))]
    assert module.calls[0][3] == (x, y)


def test_without_cublaslt_products_are_cupys_and_nothing_is_captured(monkeypatch):
    monkeypatch.setattr(cublaslt, "available", lambda: "it is not here")
    device = CudaDevice(FakeCuPy())
    assert device.refused == "it is not here"
    assert not device.epilogues
    a, out = np.eye(3) * 2.0, np.empty((3, 3))
    device.product(a, a.T, out)()
    np.testing.assert_array_equal(out, a @ a)
    done = []
    device.captured([lambda: done.append(1), lambda: done.append(2)])()
    assert done == [1, 2]


def test_products_share_a_workspace_and_round_as_asked(usable):
    device = CudaDevice(FakeCuPy(), tf32=True)
    Product.made.clear()
    single, double = np.ones((2, 2), "f4"), np.ones((2, 2))
    device.product(single, single, np.empty_like(single), single[0], "relu")
    device.product(double, double, np.empty_like(double))
    first, second = Product.made
    assert (first["compute"], second["compute"]) == ("tf32", None)
    assert (first["activation"], second["activation"]) == ("relu", None)
    assert first["bias"] is not None
    assert first["workspace"] is second["workspace"]


def test_a_relu_that_loses_nan_is_left_to_kernels(usable, monkeypatch):
    assert CudaDevice(FakeCuPy()).epilogues == (None, "relu")
    monkeypatch.setattr(Product, "keeps_nan", False)
    assert CudaDevice(FakeCuPy()).epilogues == (None,)


@pytest.mark.parametrize("can", [(None, "relu"), (None,)])
def test_what_a_product_cannot_do_is_done_after_it(can, usable, monkeypatch):
    monkeypatch.setattr(Product, "can", can)
    device, out = CudaDevice(FakeCuPy()), np.empty((3, 3))
    a, bias = np.arange(9.0).reshape(3, 3) - 4.0, np.array([1.0, -20.0, 3.0])
    device.product(a, a, out, bias, "relu")()
    np.testing.assert_array_equal(out, np.maximum(a @ a + bias, 0.0))


def test_a_product_that_nothing_can_do_is_an_error(usable, monkeypatch):
    device = CudaDevice(FakeCuPy())
    monkeypatch.setattr(Product, "can", ())
    with pytest.raises(cublaslt.ProductError):
        device.product(np.eye(2), np.eye(2), np.eye(2))


def test_launches_are_captured(usable):
    device, done = CudaDevice(FakeCuPy()), []
    device.captured([lambda: done.append(1), lambda: done.append(2)])()
    assert done == [1, 2]
    assert device.refused == ""


def test_a_capture_that_fails_is_told_once(usable, monkeypatch):
    monkeypatch.setattr(Captured, "refusal", "it synchronises")
    device, done = CudaDevice(FakeCuPy()), []
    run = device.captured([lambda: done.append(1)])
    with pytest.warns(RuntimeWarning, match="it synchronises"):
        run()
    run()
    assert done == [1, 1]


def test_how_steps_are_run_is_a_choice(monkeypatch):
    monkeypatch.delenv("NNBACKEND_CUPY_STEP", raising=False)
    assert cupy._how() == "graph"
    monkeypatch.setenv("NNBACKEND_CUPY_STEP", "fused")
    assert cupy._how() == "fused"
    monkeypatch.setenv("NNBACKEND_CUPY_STEP", "quick")
    with pytest.raises(ValueError, match="must be one of graph, fused, plain; got 'quick'"):
        cupy._how()
