"""Numbers and categories scaled as RealMLP does, and what that makes of hard columns."""

from __future__ import annotations

import numpy as np
import pytest
from tables.columns import numbers, texts

from nnbackend.tables.features import MAX_ONE_HOT, FeatureEncoder
from nnbackend.tables.numbers import MissingIndicator, RobustNumber, robust_scale, smooth_clip
from nnbackend.tables.table import TableWarning

CODES = np.array(
    [
        [1, 1, 1, 1, 1],
        [0, 2, 2, 2, 2],
        [1, 1, 3, 3, 3],
        [1, 2, 4, 4, 9],
        [1, 0, 1, 8, 5],
        [1, 1, 1, 5, 6],
        [0, 1, 0, 6, 7],
    ]
)
# From pytabkit 1.8.0, float32: its one_hot, median_center, robust_scale and smooth_clip.
NUMERIC = [
    [-0.13778548, 0.0, 0.0, 0.0],
    [0.0, 0.0, 0.0, 0.0],
    [-0.91908997, 1.66410065, 0.0, 0.0],
    [2.95907974, 0.0, 1.66410065, 0.0],
    [-0.38753027, 2.4000001, 0.0, 0.0],
    [0.9973262, 0.0, 0.0, 0.0],
    [0.4099122, 0.0, 0.0, 0.0],
]
A, B, C, D = 1.66410065, 1.21841538, 0.65079141, 0.94868332
CATEGORIES = [
    [0, 0, D, 0, 0, 0, A, 0, 0, 0, 0, 0, 0, 0],
    [-A, -B, 0, A, 0, 0, 0, A, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, A, 0, 0, 0, A, 0, 0, 0, 0, 0],
    [0, -B, 0, 0, 0, A, 0, 0, 0, A, 0, 0, 0, 0],
    [0, -C, D, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, A],
    [0, 0, D, 0, 0, 0, 0, 0, 0, 0, A, 0, 0, 0],
    [-A, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, A, 0, 0],
]


def realmlp_table():
    """The rows of the reference; category 7 of the fourth column is in no row of it."""
    table = {
        "a": numbers(1.5, 2.25, -3, 100, 0.125, 8, 4.5),
        "b": numbers(0, 0, 1, 0, 2, 0, 0),
        "c": numbers(0, 0, 0, 5, 0, 0, 0),
        "d": numbers(7, 7, 7, 7, 7, 7, 7),
    }
    for place, codes in enumerate(CODES.T):
        table[f"c{place}"] = texts(*(None if code == 0 else f"v{code}" for code in codes))
    return table


def test_the_recipe_of_realmlp_gives_the_numbers_of_the_authors_package():
    table = realmlp_table()
    kinds = dict.fromkeys("abcd", "number") | {f"c{place}": "category" for place in range(5)}
    shuffled = dict(reversed(kinds.items()))  # numbers come first all the same
    for order in (kinds, shuffled):
        encoder = FeatureEncoder.learn(table, order, "robust", max_one_hot=MAX_ONE_HOT)
        encoded = encoder.encode(table)
        assert encoded.numeric_count == 4
        names = [f.name for f in encoder.features]
        assert set(names[:4]) == set("abcd")
    encoder = FeatureEncoder.learn(table, kinds, "robust", max_one_hot=MAX_ONE_HOT)
    encoded = encoder.encode(table)
    # Ours has no column for the category 7 of the fourth column, and one-hot up to eight categories.
    expected = np.concatenate([NUMERIC, CATEGORIES], axis=1)
    expected = np.delete(expected, 4 + 12, axis=1)
    assert encoded.numbers.dtype == np.float64
    # In the fifth column eight of nine categories are in the table: it is one-hot here.
    np.testing.assert_allclose(encoded.numbers[:, : expected.shape[1]], expected, atol=1e-6)


def test_more_than_eight_categories_are_indices_and_zero_is_missing():
    column = texts(*(f"v{i}" for i in range(9)), None)
    encoder = FeatureEncoder.learn(
        {"c": column}, {"c": "category"}, "robust", max_one_hot=MAX_ONE_HOT
    )
    encoded = encoder.encode({"c": column})
    assert encoded.indices.dtype == np.int64
    assert encoded.indices[:, 0].tolist() == [*range(1, 10), 0]
    assert encoded.cardinalities == (10,)
    assert encoded.numbers.shape == (10, 0)
    with pytest.warns(TableWarning, match=r"1 row with a category that training has not seen"):
        assert encoder.encode({"c": texts("new", "v3")}).indices[:, 0].tolist() == [0, 4]
    eight = {"c": texts(*(f"v{i}" for i in range(8)), None)}
    encoder = FeatureEncoder.learn(eight, {"c": "category"}, "robust", max_one_hot=MAX_ONE_HOT)
    assert encoder.encode(eight).numbers.shape == (9, 8)


def test_an_unseen_category_counts_as_missing():
    for count in (1, 2, 4):
        known = [f"v{i}" for i in range(count)]
        table = {"c": texts(*known, None)}
        encoder = FeatureEncoder.learn(table, {"c": "category"}, "robust")
        with pytest.warns(TableWarning, match="has not seen: 'new'"):
            found = encoder.encode({"c": texts("new", None)}).numbers
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[1], encoder.encode(table).numbers[-1])


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1.0, 1e200, 1e307])
def test_scaled_numbers_are_finite_and_keep_their_order(size):
    column = numbers(-4, -1, 0, 0.5, 3, 4) * size
    learned = RobustNumber.learn("a", column)
    encoded = learned.encode(np.append(column, [np.nan, -1.7e308, 1.7e308]))[:, 0]
    assert np.isfinite(encoded).all()
    assert encoded[6] == 0
    assert (np.diff(encoded[:6]) > 0).all() or size < 1e-300
    assert -3 <= encoded[7] <= encoded[8] <= 3
    if size in (1.0, 1e200):
        np.testing.assert_allclose(
            encoded[:6], RobustNumber.learn("a", column / size).encode(column / size)[:, 0]
        )


def test_the_smooth_clip_goes_to_three():
    z = np.array([0.0, 1.0, -3.0, 1e300, -1e300])
    np.testing.assert_allclose(
        smooth_clip(z, 0.0, 1.0), [0, 1 / np.sqrt(1 + 1 / 9), -3 / np.sqrt(2), 3, -3]
    )


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (numbers(5, 5, 5), (5, 0)),
        (numbers(0.3, 0.1 + 0.2, 0.3), (0.3, 0)),  # rounding is no scale
        (numbers(np.nan, np.nan), (0, 0)),
        (numbers(0, 0, 0, 0, 0, 4), (0, 0.5)),
        (numbers(np.nan, 1, 2, 3, 4, 5), (3, 0.5)),
    ],
)
def test_columns_that_hardly_vary(column, expected):
    found = robust_scale("a", column)
    assert found == pytest.approx(expected)
    encoded = RobustNumber("a", *found).encode(np.append(column, 1e9))
    assert np.isfinite(encoded).all()


def test_numbers_that_overflow_are_refused_by_name():
    with pytest.raises(ValueError, match="column 'a' are too large"):
        robust_scale("a", numbers(-1.7e308, -1.7e308, 1.7e308, 1.7e308))
    with pytest.raises(ValueError, match="'a' held numbers in training and holds texts here"):
        RobustNumber("a", 0.0, 1.0).encode(texts("x"))


@pytest.mark.parametrize("scale", ["standard", "robust"])
def test_a_sign_of_missing_values_is_an_option(scale):
    table = {"a": numbers(1, np.nan, 3), "b": numbers(1, 2, 3), "c": texts("x", "y", None)}
    plain = FeatureEncoder.learn(table, list(table), scale)
    signed = FeatureEncoder.learn(table, list(table), scale, indicators=True)
    assert [f.name for f in signed.features if isinstance(f, MissingIndicator)] == ["a"]
    assert signed.width == plain.width + 1
    assert signed.kinds == plain.kinds == {"a": "number", "b": "number", "c": "known"}
    with pytest.warns(TableWarning, match="missing numbers filled"):
        found = signed.encode(table).numbers
    sign = next(j for j in range(found.shape[1]) if found[:, j].tolist() == [0, 1, 0])
    assert sign == {"standard": 1, "robust": 2}[scale]
    assert FeatureEncoder.from_dict(signed.to_dict()) == signed
