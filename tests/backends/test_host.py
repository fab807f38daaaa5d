"""Numbers come from lists, frames and arrays of any library; what are no numbers is refused."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from tools import assert_equal, host

from nnbackend.backends.choose import get_backend

VALUES = np.array([[0.0, 1.5, -2.0], [3.0, -4.25, 5.0]])


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
