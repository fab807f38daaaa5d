"""CuPy as recorded steps see it, with a make-believe CuPy, and a step from end to end."""

from __future__ import annotations

from typing import Any

import host_cublas as host
import numpy as np
import pytest
from fake_cupy import LABELS, TASK, X, small_network

from nnbackend.backends.cuda import cublas
from nnbackend.backends.cuda.library import CuPyLibrary
from nnbackend.backends.cupy import CuPyBackend
from nnbackend.backends.replay import replayed as steps

SCAN = CuPyBackend.scan


@pytest.fixture
def card(machine) -> CuPyLibrary:
    return CuPyLibrary(machine.cupy, tf32=False)


def test_a_view_is_in_the_memory_of_its_base(card, machine):
    base = card.empty(64)
    view = card.view(base, 16, (2, 3), (4, 8), np.dtype("float32"))
    view[...] = machine.cupy.asarray(np.arange(6, dtype="float32").reshape(2, 3))

    assert card.address(view) == card.address(base) + 16
    expected = [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
    np.testing.assert_array_equal(card.to_host(base)[16:40].view("float32"), expected)


def test_a_piece_of_memory_is_that_of_all_views_in_it(card):
    base = card.from_host(np.arange(24, dtype="float32").reshape(4, 6))
    for array in (base, base[1:, 2:4], base.T):
        whole = card.whole(array)
        assert (card.address(whole), whole.nbytes) == (card.address(base), 96)
    np.testing.assert_array_equal(card.to_host(card.whole(base[2:])).view("float32"), np.arange(24))


def test_arrays_are_copied_there_and_back(card):
    there = np.arange(3.0)
    array = card.from_host(there)
    there += 1.0
    back = card.to_host(array)
    back += 1.0
    np.testing.assert_array_equal(card.to_host(array), [0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("tf32", "dtype", "compute"),
    [
        (False, "float32", host.ComputeType.COMPUTE_32F),
        (True, "float32", host.ComputeType.COMPUTE_32F_FAST_TF32),
        (True, "float64", host.ComputeType.COMPUTE_64F),
    ],
)
def test_products_are_those_of_cublas_in_one_workspace(tf32, dtype, compute, machine, blas):
    library, rng = CuPyLibrary(machine.cupy, tf32), np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype(dtype) for s in ((5, 3), (3, 4), (4, 2))]
    a, b, c = map(library.from_host, arrays)
    first, second = (library.from_host(np.zeros(s, dtype)) for s in ((5, 4), (5, 2)))
    held = machine.used[0]

    for launch in (library.product(a, b, first), library.product(first, c, second)):
        launch()

    expected = arrays[0] @ arrays[1] @ arrays[2]
    np.testing.assert_allclose(library.to_host(second), expected, rtol=1e-5)
    assert machine.used[0] - held == cublas.WORKSPACE_BYTES
    assert blas.launched == [compute, compute]


def test_row_products_are_sums_of_products(card):
    arrays = np.random.default_rng(0).normal(size=(2, 5, 3))
    a, b = map(card.from_host, arrays)
    out = card.from_host(np.zeros(5))
    card.row_products(a, b, out)()
    np.testing.assert_allclose(card.to_host(out), np.sum(arrays[0] * arrays[1], axis=-1))


def test_a_run_whose_steps_are_played_is_the_plain_one(machine, blas, monkeypatch):
    """There is no graph on the make-believe card: the same launches are made one by one."""

    def fitted(mode: str) -> dict[str, Any]:
        monkeypatch.setenv("NNBACKEND_CUPY_STEP", mode)
        net = small_network(seed=0)
        net.fit(X, LABELS, **TASK, epochs=6)
        return {name: net.to_numpy(p) for name, p in net.state_dict().items()}

    monkeypatch.setattr(CuPyBackend, "scan", SCAN)
    monkeypatch.setattr(steps, "WARMUP_STEPS", 2)
    expected = fitted("plain")
    assert not blas.launched
    with pytest.warns(UserWarning, match="its launches are not captured as a graph"):
        found = fitted("graph")

    assert len(blas.launched) > 50
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)
