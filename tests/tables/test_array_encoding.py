"""Arrays of images and signals: which axis has the channels, and how they are scaled."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnbackend.errors import ModelFileError, UnknownNameError
from nnbackend.tables.array_encoding import ArrayEncoder, check_features, find_channels

Y = {"y": np.array(["a", "b"] * 6, dtype=object)}


def learn(rows, table=Y, **more):
    return ArrayEncoder.learn("x", rows, "y", table, **more)


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(3.0, 2.0, (12, *shape))


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((), "none"), ((5,), "none"), ((4, 4), "none"), ((28, 28), "none"), ((28, 10), "none"),
        ((40, 1), "last"), ((100, 12), "last"), ((12, 100), "first"), ((100, 26), "none"),
        ((28, 28, 1), "last"), ((1, 28, 28), "first"), ((3, 32, 32), "first"), ((32, 32, 3), "last"),
        ((4, 4, 4), "last"), ((1, 4, 4), "first"), ((4, 4, 1), "last"), ((64, 64, 13), "last"),
        ((16, 20, 24), "none"), ((8, 8, 8, 8), "last"), ((1, 8, 8, 8), "first"),
        ((8, 8, 8, 2), "last"), ((5, 5, 5, 5, 5), "none"),
    ],
)  # fmt: skip
def test_the_channels_are_found_in_the_shape(shape, channels):
    assert find_channels(shape) == channels


@pytest.mark.parametrize(
    ("channels", "axes"), [("last", (0, 1, 2)), ("first", (0, 2, 3)), ("none", (0, 1, 2, 3))]
)
def test_each_channel_has_mean_0_and_deviation_1(channels, axes):
    rows = images(5, 4, 3)
    encoded = learn(rows, channels=channels).encode_features(rows, "float64")
    np.testing.assert_allclose(encoded.mean(axis=tuple(range(encoded.ndim - 1))), 0, atol=1e-12)
    np.testing.assert_allclose(encoded.std(axis=tuple(range(encoded.ndim - 1))), 1, atol=1e-12)
    expected = (rows - rows.mean(axis=axes, keepdims=True)) / rows.std(axis=axes, keepdims=True)
    moved = {"last": expected, "first": np.moveaxis(expected, 1, -1)}
    np.testing.assert_allclose(encoded, moved.get(channels, expected[..., None]), atol=1e-12)


def test_other_scales():
    rows = images(5, 4, 3)
    assert (learn(rows, scale="none").encode_features(rows, "float64") == rows).all()
    largest = np.abs(rows).max(axis=(0, 1, 2))
    np.testing.assert_allclose(
        learn(rows, scale="max").encode_features(rows, "float64"), rows / largest
    )


def test_blocks_of_rows_are_encoded_as_one(monkeypatch):
    rows = images(5, 4, 3)
    whole = learn(rows)
    monkeypatch.setattr("nnbackend.tables.array_encoding._BLOCK", 100)
    parts = learn(rows)
    np.testing.assert_allclose(parts.shift, whole.shift, rtol=1e-14)
    np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-14)
    np.testing.assert_allclose(parts.encode_features(rows), whole.encode_features(rows), atol=1e-6)


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1e30, 1e200])
@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_numbers_of_any_size_are_scaled(size, offset):
    rows = (images(4, 4) + offset) * size
    encoded = learn(rows).encode_features(rows)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose([encoded.mean(), encoded.std()], [0, 1], atol=1e-5)


def test_a_channel_of_one_value_is_shifted_only():
    rows = images(4, 4, 2)
    rows[..., 1] = 0.1
    encoder = learn(rows, channels="last")
    assert (encoder.shift[1], encoder.scale[1]) == (0.1, 1.0)
    assert not encoder.encode_features(rows)[..., 1].any()


def test_what_cannot_be_learned_from_is_refused():
    for wrong, message in (
        (np.ones((12, 4, 4)), "has one value only in the training rows, 1"),
        (np.zeros((0, 4, 4)), "holds no values"),
        (images(4, 4).astype(str), "holds no numbers"),
        (np.where(images(4, 4) > 3, 1.7e308, -1.7e308), "too large to scale"),
    ):
        with pytest.raises(ValueError, match=message):
            learn(wrong)
    with pytest.raises(UnknownNameError, match="unknown scale"):
        learn(images(4, 4), scale="maximum")
    with pytest.raises(UnknownNameError, match="unknown channels"):
        learn(images(4, 4), channels="middle")


def test_the_row_with_a_gap_is_named(monkeypatch):
    monkeypatch.setattr("nnbackend.tables.array_encoding._BLOCK", 32)
    rows = images(4, 4)
    rows[7, 0, 0] = np.nan
    with pytest.raises(ValueError, match="in row 8;"):
        check_features("x", rows)


def test_a_description_is_read_again_and_damaged_ones_are_refused():
    encoder = learn(images(5, 4, 3), channels="last")
    description = json.loads(json.dumps(encoder.to_dict()))
    assert ArrayEncoder.from_dict(description) == encoder
    features = description["features"]
    for part, value in (
        ("name", ""), ("name", 3), ("name", "y"), ("shape", []), ("shape", [5, 4, 0]),
        ("shape", [5, -4, 3]),
        ("shape", [5, 4, 2]), ("shape", "543"), ("shape", [1.0, 4, 3]), ("shape", [2] * 99),
        ("channels", "middle"), ("channels", "first"), ("channels", "none"), ("shift", [0.0]),
        ("shift", [0.0, 0.0, float("nan")]), ("scale", [1.0, 1.0, 0.0]), ("scale", [1.0, -1.0, 1.0]),
        ("scale", None), ("more", 1),
    ):  # fmt: skip
        with pytest.raises(ModelFileError, match="description of its arrays is damaged"):
            ArrayEncoder.from_dict(description | {"features": features | {part: value}})
    for wrong in (
        None, [], {}, description | {"target": {"name": "y", "classes": ["a"]}},
        description | {"integer_classes": True}, description | {"integer_classes": 1},
        description | {"more": 1}, {"features": features},
    ):  # fmt: skip
        with pytest.raises(ModelFileError, match="description of its arrays is damaged"):
            ArrayEncoder.from_dict(wrong)
