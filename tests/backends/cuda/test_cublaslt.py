"""Products by cuBLASLt: layouts on the host, descriptors in NVIDIA's library, and a card."""

from __future__ import annotations

import gc
import itertools
from typing import Any

import host_cublaslt as host
import numpy as np
import pytest
from conftest import require

from nnbackend.backends.cuda import cublaslt
from nnbackend.backends.cuda.cublaslt import Product, ProductError

SHAPES = [(5, 3, 4), (1, 3, 4), (5, 1, 4), (5, 3, 1), (1, 3, 1), (1, 1, 4), (5, 1, 1), (1, 1, 1)]
ORDERS = ["rows", "columns"]
STORES = ["whole", "part", "one in two"]
SPACE = cublaslt.new_workspace(host.HostCuPy())


@pytest.fixture
def lt(monkeypatch) -> host.HostCublasLt:
    """cuBLASLt on the host in the place of nvmath's."""
    lt = host.HostCublasLt(host.HostCuda())
    monkeypatch.setattr(cublaslt, "_bindings", lambda: lt)
    monkeypatch.setattr(
        cublaslt, "_enums", lambda: (host.ComputeType, host.Operation, host.CudaDataType)
    )
    cublaslt._handle.cache_clear()
    yield lt
    cublaslt._handle.cache_clear()


@pytest.fixture
def cupy(lt) -> host.HostCuPy:
    """CuPy on the host, on whose streams that cuBLASLt launches."""
    cupy = host.HostCuPy()
    cupy.cuda = lt.cuda
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

    Product(cupy, a, b, out, SPACE).launch()

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

    Product(cupy, row, column, out, SPACE).launch()
    Product(cupy, column, row, outer, SPACE).launch()

    np.testing.assert_allclose(out, row @ column)
    np.testing.assert_allclose(outer, column @ row)
    one = cupy.asarray(numbers((1, 1)))[::-1, ::-1]
    Product(cupy, one, one, out, SPACE).launch()
    np.testing.assert_allclose(out, one @ one)


def test_numbers_beside_a_part_are_not_touched(cupy):
    whole = cupy.asarray(np.full((5, 9), 7.0))

    Product(
        cupy, *map(cupy.asarray, (numbers((5, 3)), numbers((3, 4)))), whole[:, 2:6], SPACE
    ).launch()

    assert (whole[:, :2] == 7.0).all()
    assert (whole[:, 6:] == 7.0).all()
    np.testing.assert_allclose(whole[:, 2:6], numbers((5, 3)) @ numbers((3, 4)))


@pytest.mark.parametrize(
    ("compute", "inputs", "outputs", "number"),
    [
        ("float64", "float64", "float64", 70),
        ("float32", "float32", "float32", 68),
        ("tf32", "float32", "float32", 77),
        ("float16", "float16", "float16", 68),
        ("float16", "float16", "float32", 68),
    ],
)
def test_each_precision_asks_for_its_arithmetic(lt, cupy, compute, inputs, outputs, number):
    a, b = (cupy.asarray(numbers(s, inputs)) for s in ((5, 3), (3, 4)))
    out = cupy.empty((5, 4), outputs)

    product = Product(cupy, a, b, out, SPACE, compute)
    product.launch()

    (description,) = [d for d in lt.descriptors.values() if isinstance(d, dict)]
    assert description["compute"] == number
    assert description["scale"] == ("float64" if compute == "float64" else "float32")
    expected = np.asarray(a, np.float64) @ np.asarray(b, np.float64)
    error = {"float64": 1e-14, "float32": 1e-6, "float16": 2e-3}[outputs]
    np.testing.assert_allclose(np.asarray(out, np.float64), expected, rtol=error, atol=error)
    half = compute == "float16"
    assert lt.preferences.get("REDUCTION_SCHEME_MASK") == (2 if half else None)


def test_the_heuristic_is_told_how_addresses_are_aligned(lt, cupy):
    memory = cupy.empty(4096, np.float32)
    start = -(memory.data.ptr // 4) % 64  # of the first element whose address 256 divides

    def at(element: int, shape: tuple[int, int]) -> Any:
        return memory[start + element :][: shape[0] * shape[1]].reshape(shape)

    a, b, out = at(1, (4, 4)), at(66, (4, 4)), at(132, (4, 4))

    Product(cupy, a, b, out, SPACE)

    # cuBLASLt's A is our b, its B our a.
    asked = [lt.preferences[f"MIN_ALIGNMENT_{matrix}_BYTES"] for matrix in "ABCD"]
    assert asked == [8, 4, 16, 16]
    Product(cupy, at(64, (4, 4)), b, at(192, (4, 4)), SPACE)
    asked = [lt.preferences[f"MIN_ALIGNMENT_{matrix}_BYTES"] for matrix in "ABCD"]
    assert asked == [8, 256, 256, 256]


def test_a_workspace_is_used_up_to_its_end(lt, cupy):
    arrays = [cupy.asarray(numbers((4, 4))) for _ in range(3)]
    for _ in range(2):
        Product(cupy, *arrays, cublaslt.new_workspace(cupy))

    assert lt.preferences["MAX_WORKSPACE_BYTES"] == cublaslt.WORKSPACE_BYTES == 32 * 2**20
    assert lt.handles == 1  # one for the device


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        (((4, 3), (4, 5), (4, 5)), {}, "do not give"),
        (((4, 3), (3, 5), (5, 4)), {}, "do not give"),
        (((2, 4, 3), (3, 5), (4, 5)), {}, "a must have two dimensions, it has 3"),
        (((4, 0), (0, 5), (4, 5)), {}, "a has no elements"),
        (((4, 3), (3, 5), (4, 5)), {"compute": "float8"}, "no product in float8; known: float32"),
        (((4, 3), (3, 5), (4, 5)), {"compute": "tf32"}, "tf32 takes float32, a is float64"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(cupy, arrays, options, message):
    with pytest.raises(ProductError, match=message):
        Product(cupy, *(cupy.empty(shape, np.float64) for shape in arrays), SPACE, **options)


def test_dtypes_and_strides_that_do_not_fit_are_refused(cupy):
    a, b, out = (cupy.asarray(numbers((4, 4), np.float32)) for _ in range(3))

    with pytest.raises(ProductError, match="b is float64"):
        Product(cupy, a, b.astype(np.float64), out, SPACE)
    with pytest.raises(ProductError, match="gives float32, out is float64"):
        Product(cupy, a, b, out.astype(np.float64), SPACE)
    with pytest.raises(ProductError, match="no product in int64"):
        Product(cupy, cupy.empty((4, 4), np.int64), b, out, SPACE)
    with pytest.raises(ProductError, match="a must be contiguous along"):
        Product(cupy, cupy.empty((4, 8), np.float32)[:, ::2], b, out, SPACE)
    with pytest.raises(ProductError, match="a must be contiguous along"):
        Product(cupy, a[::-1], b, out, SPACE)
    with pytest.raises(ProductError, match="b must be contiguous along"):
        Product(cupy, a, cupy.asarray(np.broadcast_to(b[:1], (4, 4))), out, SPACE)


def test_a_product_without_algorithm_says_so_and_leaves_nothing(lt, cupy):
    lt.algorithms = []
    with pytest.raises(ProductError, match="no algorithm for this product: the operation is not"):
        Product(cupy, *(cupy.empty((4, 4), np.float32) for _ in range(3)), SPACE)
    gc.collect()

    assert not lt.descriptors


def test_descriptors_go_with_the_product(lt, cupy):
    product = Product(cupy, *(cupy.asarray(numbers((4, 4))) for _ in range(3)), SPACE)
    assert len(lt.descriptors) == 4  # the product and three matrices; what was preferred is gone

    del product
    gc.collect()
    assert not lt.descriptors


def test_it_is_launched_on_the_current_stream(lt, cupy):
    product = Product(cupy, *(cupy.asarray(numbers((4, 4), seed=i)) for i in range(3)), SPACE)
    stream = cupy.cuda.Stream()

    with stream:
        product.launch()
        product.launch()
    product.launch()

    assert (stream.time, cupy.cuda.get_current_stream().time) == (2.0, 1.0)


def test_where_it_cannot_be_used_the_reason_is_given(monkeypatch, lt):
    def missing() -> Any:
        raise ModuleNotFoundError("No module named 'nvmath'")

    assert cublaslt.available() == ""
    monkeypatch.setattr(lt, "get_version", lambda: 110903)
    assert "cuBLASLt 110903 is too old" in cublaslt.available()

    def broken() -> int:
        raise RuntimeError("CUDA driver is not found")

    monkeypatch.setattr(lt, "get_version", broken)
    assert cublaslt.available() == "cuBLASLt cannot be loaded: CUDA driver is not found"
    monkeypatch.setattr(cublaslt, "_bindings", missing)
    assert "nnbackend[cuda12]" in cublaslt.available()


def test_the_numbers_of_the_host_are_those_of_nvmath():
    pytest.importorskip("nvmath", exc_type=ImportError)
    lt = cublaslt._bindings()
    for ours, theirs in zip(
        (host.ComputeType, host.Operation, host.CudaDataType), cublaslt._enums(), strict=True
    ):
        assert {e.name: theirs[e.name] for e in ours} == {e.name: e for e in ours}
    for name in (
        "MatmulDescAttribute", "MatmulPreferenceAttribute", "ReductionScheme",
    ):  # fmt: skip
        ours, theirs = getattr(host, name), getattr(lt, name)
        assert {e.name: theirs[e.name] for e in ours} == {e.name: e for e in ours}
    for number, dtype in host.DESCRIPTION_DTYPES.items():
        assert np.dtype(lt.get_matmul_desc_attribute_dtype(number)) == dtype
    for number, dtype in host.PREFERENCE_DTYPES.items():
        assert np.dtype(lt.get_matmul_preference_attribute_dtype(number)) == dtype
    theirs = lt.matmul_heuristic_result_dtype
    assert theirs.itemsize == host.HEURISTIC.itemsize
    assert [(n, theirs.fields[n][1]) for n in theirs.names] == [
        (n, host.HEURISTIC.fields[n][1]) for n in host.HEURISTIC.names
    ]


@pytest.mark.parametrize("orders", list(itertools.product(ORDERS, repeat=3)), ids="-".join)
def test_nvidias_library_reads_the_descriptors_as_the_host_does(orders):
    if reason := cublaslt.available():
        pytest.skip(reason)
    for shape in SHAPES:
        _compare(cublaslt._bindings(), orders, shape)


def _compare(lt: Any, orders: tuple[str, ...], shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    values = numbers((m, k)), numbers((k, n), seed=1), np.full((m, n), np.nan)
    arrays = [
        lying(host.HostCuPy(), value, order, "part")
        for value, order in zip(values, orders, strict=True)
    ]
    made: list[Any] = []
    matrices = cublaslt._column_major(*arrays)
    description = cublaslt._describe(lt, made, cublaslt._COMPUTE_TYPES["float64"], *matrices[:2])
    layouts = [cublaslt._layout(lt, made, matrix) for matrix in matrices]

    def told(get: Any, descriptor: int, attribute: Any, dtype: Any) -> int:
        number, written = np.zeros(1, dtype), np.zeros(1, np.uint64)
        get(descriptor, attribute, number.ctypes.data, number.nbytes, written.ctypes.data)
        assert written[0] == number.nbytes
        return int(number[0])

    attributes = {
        number: told(lt.matmul_desc_get_attribute, description, number, dtype)
        for number, dtype in host.DESCRIPTION_DTYPES.items()
    }
    read = []
    for layout in layouts:
        names = [lt.MatrixLayoutAttribute[name] for name in ("TYPE", "ROWS", "COLS", "LD", "ORDER")]
        *place, order = (
            told(lt.matrix_layout_get_attribute, layout, a, lt.get_matrix_layout_attribute_dtype(a))
            for a in names
        )
        assert order == lt.Order.COL
        read.append(tuple(place))
    cublaslt._destroy(made)
    places = [(int(m.array.data.ptr), layout) for m, layout in zip(matrices, read, strict=True)]
    host.multiply(attributes, 1.0, 0.0, [*places, places[2]])

    np.testing.assert_allclose(arrays[2], values[0] @ values[1], rtol=1e-13)


@pytest.fixture
def card() -> Any:
    """CuPy with a device and cuBLASLt."""
    require("cupy")
    if reason := cublaslt.available():
        pytest.skip(reason)
    import cupy

    return cupy


@pytest.mark.parametrize("compute", ["float64", "float32", "tf32", "float16"])
def test_products_on_a_card(card, compute):
    dtype = "float32" if compute == "tf32" else compute
    tolerance = {"float64": 1e-13, "float32": 1e-5, "tf32": 5e-3, "float16": 5e-3}
    space = cublaslt.new_workspace(card)
    layouts = itertools.product(ORDERS, repeat=3)
    for orders, store, (m, k, n) in itertools.product(layouts, STORES, [*SHAPES, (64, 100, 72)]):
        values = numbers((m, k)).astype(dtype), numbers((k, n), seed=1).astype(dtype)
        a, b, out = (
            lying(card, value, order, store)
            for value, order in zip((*values, np.zeros((m, n), dtype)), orders, strict=True)
        )

        product = Product(card, a, b, out, space, compute)
        product.launch()

        expected = values[0].astype(np.float64) @ values[1].astype(np.float64)
        found = card.asnumpy(out).astype(np.float64)
        scale = tolerance[compute] * np.abs(expected).max()
        np.testing.assert_allclose(
            found, expected, atol=scale, err_msg=f"{orders} {store} {m, k, n}"
        )


def test_a_number_that_is_none_stays_so_on_a_card(card):
    a, out = card.asarray(numbers((64, 64), np.float32)), card.zeros((64, 64), np.float32)
    a[3] = np.nan

    Product(card, a, a, out, cublaslt.new_workspace(card)).launch()

    assert np.isnan(card.asnumpy(out[3])).all()  # else a loss that diverged would look sound
