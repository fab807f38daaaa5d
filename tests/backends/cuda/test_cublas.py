"""Products by cuBLAS: on the host, and on a card."""

from __future__ import annotations

import itertools
from typing import Any

import host_cublas as host
import numpy as np
import pytest
from conftest import require

from nnbackend.backends.cuda import cublas
from nnbackend.backends.cuda.cublas import ProductError, product

SHAPES = [(5, 3, 4), (1, 3, 4), (5, 1, 4), (5, 3, 1), (1, 3, 1), (1, 1, 4), (5, 1, 1), (1, 1, 1)]
ORDERS = ["rows", "columns"]
STORES = ["whole", "part", "one in two"]
SPACE = cublas.new_workspace(host.HostCuPy())


@pytest.fixture
def cupy(blas) -> host.HostCuPy:
    """CuPy on the host, on whose streams that cuBLAS launches."""
    cupy = host.HostCuPy()
    cupy.cuda = blas.cuda
    return cupy


def lying(xp: Any, values: Any, order: str, store: str) -> Any:
    """Return a matrix that lies by rows or columns, in one piece or as a part of a larger one."""
    rows, columns = values.shape if order == "rows" else values.T.shape
    if store == "whole":
        base = xp.empty((rows, columns), values.dtype)
    elif store == "part":  # some columns, from the third on
        base = xp.empty((rows, columns + 5), values.dtype)[:, 2 : 2 + columns]
    else:  # every other row
        base = xp.empty((2 * rows, columns), values.dtype)[::2]
    array = base if order == "rows" else base.T
    array[...] = xp.asarray(values)
    return array


def numbers(shape: tuple[int, ...], dtype: Any = np.float64, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("orders", list(itertools.product(ORDERS, repeat=3)), ids="-".join)
def test_a_product_is_right_however_the_matrices_lie_in_memory(cupy, orders, store, shape):
    m, k, n = shape
    values = numbers((m, k)), numbers((k, n), seed=1), np.full((m, n), np.nan)
    a, b, out = (
        lying(cupy, value, order, store) for value, order in zip(values, orders, strict=True)
    )
    before = a.copy(), b.copy()

    product(cupy, a, b, out, SPACE)()

    np.testing.assert_allclose(out, values[0] @ values[1], rtol=1e-14)
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])


def test_the_stride_along_an_axis_of_length_one_means_nothing(cupy):
    row, column = (
        cupy.asarray(numbers((3, 4)))[:1][::-1],
        cupy.asarray(numbers((4, 3)))[:, :1][:, ::-1],
    )
    assert row.strides[0] < 0
    assert column.strides[1] < 0
    out, outer = cupy.asarray(np.zeros((1, 1))), cupy.asarray(np.zeros((4, 4)))

    product(cupy, row, column, out, SPACE)()
    product(cupy, column, row, outer, SPACE)()

    np.testing.assert_allclose(out, row @ column)
    np.testing.assert_allclose(outer, column @ row)
    one = cupy.asarray(numbers((1, 1)))[::-1, ::-1]
    product(cupy, one, one, out, SPACE)()
    np.testing.assert_allclose(out, one @ one)


def test_numbers_beside_a_part_are_not_touched(cupy):
    whole = cupy.asarray(np.full((5, 9), 7.0))

    product(cupy, *map(cupy.asarray, (numbers((5, 3)), numbers((3, 4)))), whole[:, 2:6], SPACE)()

    assert (whole[:, :2] == 7.0).all()
    assert (whole[:, 6:] == 7.0).all()
    np.testing.assert_allclose(whole[:, 2:6], numbers((5, 3)) @ numbers((3, 4)))


@pytest.mark.parametrize(
    ("inputs", "outputs", "tf32", "number"),
    [
        ("float64", "float64", False, 70),
        ("float64", "float64", True, 70),
        ("float32", "float32", False, 68),
        ("float32", "float32", True, 77),
        ("float16", "float16", False, 68),
        ("float16", "float32", True, 68),
    ],
)
def test_each_precision_asks_for_its_arithmetic(blas, cupy, inputs, outputs, tf32, number):
    a, b = (cupy.asarray(numbers(s, inputs)) for s in ((5, 3), (3, 4)))
    out = cupy.empty((5, 4), outputs)

    product(cupy, a, b, out, SPACE, tf32)()

    assert blas.launched == [number]
    expected = np.asarray(a, np.float64) @ np.asarray(b, np.float64)
    error = {"float64": 1e-14, "float32": 1e-6, "float16": 2e-3}[outputs]
    np.testing.assert_allclose(np.asarray(out, np.float64), expected, rtol=error, atol=error)


def test_there_is_one_handle_for_a_device_and_it_adds_up_in_float32(blas, cupy):
    arrays = [cupy.asarray(numbers((4, 4))) for _ in range(3)]
    for _ in range(2):
        product(cupy, *arrays, cublas.new_workspace(cupy))

    assert blas.handles == 1
    assert blas.modes == {1: 16}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (((4, 3), (4, 5), (4, 5)), "do not give"),
        (((4, 3), (3, 5), (5, 4)), "do not give"),
        (((2, 4, 3), (3, 5), (4, 5)), "a must have two dimensions, it has 3"),
        (((4, 0), (0, 5), (4, 5)), "a has no elements"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(cupy, arrays, message):
    with pytest.raises(ProductError, match=message):
        product(cupy, *(cupy.empty(shape, np.float64) for shape in arrays), SPACE)


def test_dtypes_and_strides_that_do_not_fit_are_refused(cupy):
    a, b, out = (cupy.asarray(numbers((4, 4), np.float32)) for _ in range(3))

    with pytest.raises(ProductError, match="the factors are float32 and float64"):
        product(cupy, a, b.astype(np.float64), out, SPACE)
    with pytest.raises(ProductError, match="gives float32, out is float64"):
        product(cupy, a, b, out.astype(np.float64), SPACE)
    with pytest.raises(ProductError, match="no product in int64; known: float32"):
        product(cupy, cupy.empty((4, 4), np.int64), b, out, SPACE)
    with pytest.raises(ProductError, match="a must be contiguous along"):
        product(cupy, cupy.empty((4, 8), np.float32)[:, ::2], b, out, SPACE)
    with pytest.raises(ProductError, match="a must be contiguous along"):
        product(cupy, a[::-1], b, out, SPACE)
    with pytest.raises(ProductError, match="b must be contiguous along"):
        product(cupy, a, cupy.asarray(np.broadcast_to(b[:1], (4, 4))), out, SPACE)


def test_it_is_launched_on_the_current_stream(cupy):
    launch = product(cupy, *(cupy.asarray(numbers((4, 4), seed=i)) for i in range(3)), SPACE)
    stream = cupy.cuda.Stream()

    with stream:
        launch()
        launch()
    launch()

    assert (stream.time, cupy.cuda.get_current_stream().time) == (2.0, 1.0)


def test_where_it_cannot_be_used_the_reason_is_given(monkeypatch, blas):
    def missing() -> Any:
        raise ModuleNotFoundError("No module named 'nvmath'")

    def broken() -> int:
        raise RuntimeError("CUDA driver is not found")

    assert cublas.available(0) == ""
    monkeypatch.setattr(blas, "create", broken)
    assert cublas.available(1) == "cuBLAS cannot be loaded: CUDA driver is not found"
    monkeypatch.setattr(cublas, "_bindings", missing)
    assert "nnbackend[cuda12]" in cublas.available(1)


def test_the_numbers_of_the_host_are_those_of_nvmath():
    pytest.importorskip("nvmath", exc_type=ImportError)
    blas, data_types = cublas._bindings()
    for name in ("ComputeType", "Operation", "Math", "GemmAlgo"):
        theirs = getattr(blas, name)
        assert {e.name: theirs[e.name] for e in getattr(host, name)} == {
            e.name: e for e in getattr(host, name)
        }
    assert {e.name: data_types[e.name] for e in host.CudaDataType} == {
        e.name: e for e in host.CudaDataType
    }


@pytest.fixture
def card() -> Any:
    """CuPy with a device and cuBLAS."""
    require("cupy")
    if reason := cublas.available(0):
        pytest.skip(reason)
    import cupy

    return cupy


@pytest.mark.parametrize("compute", ["float64", "float32", "tf32", "float16"])
def test_products_on_a_card(card, compute):
    dtype = "float32" if compute == "tf32" else compute
    tolerance = {"float64": 1e-13, "float32": 1e-5, "tf32": 5e-3, "float16": 5e-3}
    space = cublas.new_workspace(card)
    layouts = itertools.product(ORDERS, repeat=3)
    for orders, store, (m, k, n) in itertools.product(layouts, STORES, [*SHAPES, (64, 100, 72)]):
        values = numbers((m, k)).astype(dtype), numbers((k, n), seed=1).astype(dtype)
        a, b, out = (
            lying(card, value, order, store)
            for value, order in zip((*values, np.zeros((m, n), dtype)), orders, strict=True)
        )

        product(card, a, b, out, space, tf32=compute == "tf32")()

        expected = values[0].astype(np.float64) @ values[1].astype(np.float64)
        found = card.asnumpy(out).astype(np.float64)
        scale = tolerance[compute] * np.abs(expected).max()
        np.testing.assert_allclose(
            found, expected, atol=scale, err_msg=f"{orders} {store} {m, k, n}"
        )


def test_a_number_that_is_none_stays_so_on_a_card(card):
    a, out = card.asarray(numbers((64, 64), np.float32)), card.zeros((64, 64), np.float32)
    a[3] = np.nan

    product(card, a, a, out, cublas.new_workspace(card))()

    assert np.isnan(card.asnumpy(out[3])).all()  # else a loss that diverged would look sound
