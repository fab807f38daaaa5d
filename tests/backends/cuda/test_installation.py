"""What CuPy says that cannot be used: no driver, no device, a library that is missing."""

from __future__ import annotations

import sys

import pytest
from fake_cupy import packages

import nnbackend as nnb
from nnbackend.backends import choose, device
from nnbackend.errors import BackendUnavailableError


def complaint(device=None):
    with pytest.raises(BackendUnavailableError) as error:
        nnb.get_backend("cupy", device)
    assert "Usable here: numpy" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("device", [2, -1, "cuda:7", "9"])
def test_a_device_that_is_not_there(machine, device, monkeypatch):
    text = complaint(device)
    assert f"no CUDA device {str(device).removeprefix('cuda:')}" in text
    assert "this machine has 2, numbered from 0" in text
    assert "CUDA_VISIBLE" not in text
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    assert "CUDA_VISIBLE_DEVICES=3,4 may hide some" in complaint(device)


def test_a_device_object_that_is_not_there(machine):
    assert "no CUDA device 5" in complaint(machine.cupy.cuda.Device(5))


@pytest.mark.parametrize("device", ["cuda:one", "cpu", "cuda:", "", "cuda:-1"])
def test_a_name_that_no_device_has(machine, device):
    assert f"no CUDA device is called {device!r}; say 0, 1 or 'cuda:1'" in complaint(device)


@pytest.mark.parametrize("device", [1.0, True, [0], object()])
def test_what_cannot_be_a_device(machine, device):
    with pytest.raises(
        TypeError, match=r"a number, a name like 'cuda:1' or a cupy.cuda.Device; got"
    ):
        nnb.get_backend("cupy", device)


def test_there_is_no_driver(machine):
    machine.driver = 0
    machine.failure = (
        "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA ..."
    )
    assert "there is no NVIDIA driver here: install it" in complaint()
    assert nnb.get_backend("auto").name == "numpy"


def test_the_driver_is_too_old(machine):
    machine.driver, machine.failure = 11040, "cudaErrorInsufficientDriver: ..."
    text = complaint()
    assert "too old: it supports CUDA 11.4, and CuPy needs CUDA 12.0 or later" in text
    assert "update the driver to 525 or later" in text


def test_cupy_is_for_another_cuda_than_the_driver(machine, monkeypatch):
    packages(monkeypatch, "cupy-cuda13x")
    machine.driver, machine.runtime = 12080, 13000
    machine.failure = "cudaErrorInsufficientDriver: ..."
    text = complaint()
    assert "cupy-cuda13x is for CUDA 13, and the driver here supports CUDA 12.8" in text
    assert (
        "pip uninstall -y cupy-cuda13x, then install cupy-cuda12x by pip install 'nnbackend[cuda12]'"
        in text
    )
    assert "or update the driver to 580 or later" in text


def test_a_newer_driver_runs_an_older_cuda(machine):
    machine.driver = 13000
    assert nnb.get_backend("cupy").name == "cupy"


@pytest.mark.parametrize("failure", [None, "cudaErrorNoDevice: no CUDA-capable device is detected"])
def test_there_is_no_device(machine, failure, monkeypatch):
    machine.cards, machine.failure = 0, failure
    assert "the driver reports no CUDA device; does nvidia-smi list one?" in complaint()
    choose._status.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "reports no CUDA device; CUDA_VISIBLE_DEVICES= may hide some" in complaint()


def test_the_device_fails_in_another_way(machine):
    machine.failure = (
        "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable"
    )
    assert "no CUDA device is usable: cudaErrorDevicesUnavailable" in complaint()


@pytest.mark.parametrize(
    ("name", "says", "named"),
    [("nvrtc", 'Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file: libnvrtc.so.13',
      "libnvrtc.so.13 or libnvrtc.so.12"),
     ("cublas", "libcublas.so.12: cannot open shared object file: No such file", "libcublas.so.12")],
)  # fmt: skip
def test_a_library_of_cuda_is_missing(machine, name, says, named):
    machine.missing[name] = says
    text = complaint()
    assert f"the library {named} is not found; pip install 'nnbackend[cuda12]' brings it" in text


BANNER = """
================================================================
Failed to import CuPy.

Check the Installation Guide for details:
  https://docs.cupy.dev/en/latest/install.html

Original error:
  ImportError: {}
================================================================
"""


def import_fails(monkeypatch, error):
    monkeypatch.delitem(sys.modules, "cupy")
    find = device.importlib.import_module

    def import_module(name, *args):
        if name == "cupy":
            raise error
        return find(name, *args)

    monkeypatch.setattr(device.importlib, "import_module", import_module)


def test_importing_cupy_misses_a_library(machine, monkeypatch):
    missing = "libcudart.so.12: cannot open shared object file: No such file or directory"
    import_fails(monkeypatch, ImportError(BANNER.format(missing)))
    assert (
        "the library libcudart.so.12 is not found; pip install 'nnbackend[cuda12]'" in complaint()
    )


def test_importing_cupy_fails_in_another_way(machine, monkeypatch):
    import_fails(monkeypatch, ImportError(BANNER.format("numpy.dtype size changed")))
    assert "cannot be imported: ImportError: numpy.dtype size changed. Usable" in complaint()


def test_cupy_misses_a_package(machine, monkeypatch):
    import_fails(monkeypatch, ModuleNotFoundError("No module named 'cuda'", name="cuda"))
    assert "cupy is broken: No module named 'cuda'" in complaint()


def test_cupy_is_not_installed(machine, monkeypatch):
    import_fails(monkeypatch, ModuleNotFoundError("No module named 'cupy'", name="cupy"))
    assert "it is not installed; run: pip install 'nnbackend[cuda12]' (or cuda13" in complaint()


def test_two_cupys_that_fail_are_both_named(machine, monkeypatch):
    packages(monkeypatch, "cupy-cuda12x", "cupy-cuda13x")
    machine.driver, machine.failure = 12080, "cudaErrorInsufficientDriver: ..."
    machine.runtime = 13000
    text = complaint()
    assert "installed more than once, as cupy-cuda12x and cupy-cuda13x" in text
    assert "pip uninstall -y cupy-cuda12x cupy-cuda13x" in text


def test_two_cupys_that_work_are_warned_of(machine, monkeypatch):
    packages(monkeypatch, "cupy-cuda12x", "cupy")
    with pytest.warns(UserWarning, match="as cupy-cuda12x and cupy, and their files are mixed"):
        nnb.get_backend("cupy")
