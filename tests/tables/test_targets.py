"""Targets with heavy tails, there and back; and what a target seems to be."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tables.columns import numbers, texts

from nnbackend.errors import ModelFileError, UnknownNameError
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.targets import (
    LogNumber,
    QuantileNumber,
    describe_target,
    learn_target_number,
    skewness,
)

RNG = np.random.default_rng(0)
TARGETS = {
    "lognormal": np.exp(3 * RNG.normal(size=3000)),
    "both signs": np.sinh(5 * RNG.normal(size=500)),
    "few": numbers(0, 0, 0, 1, 5, 5, 1e6),
    "two": numbers(3, 4),
    "large": numbers(-1e300, 1, 2, 1e300),
    "small": numbers(1e-300, 2e-300, 5e-300),
}


@pytest.mark.parametrize("scale", ["standard", "max", "none", "robust", "log", "quantile"])
@pytest.mark.parametrize("name", TARGETS)
def test_targets_come_back_in_their_units(name, scale):
    column = TARGETS[name]
    encoder = learn_target_number("y", column, scale)
    encoded = encoder.encode(column)
    assert encoded.shape == (len(column), 1)
    assert np.isfinite(encoded).all()
    size = np.abs(column).max() if scale in ("standard", "robust") else 0.0
    # Between its knots a quantile's line goes to where 12 digits are left of float64's 16.
    np.testing.assert_allclose(encoder.decode(encoded), column, rtol=1e-11, atol=1e-14 * size)


def test_transformed_targets_are_about_normal():
    column = TARGETS["lognormal"]
    assert skewness(column) > 10
    for scale in ("log", "quantile"):
        encoded = learn_target_number("y", column, scale).encode(column)[:, 0]
        assert abs(skewness(encoded)) < 2
        assert (np.diff(encoded[np.argsort(column)]) >= 0).all()
    assert abs(encoded.mean()) < 0.02
    assert abs(encoded.std() - 1) < 0.05


def test_the_logarithm_is_log1p_and_its_mirror_image():
    encoder = LogNumber("y", 0.0, 1.0)
    assert encoder.encode(numbers(np.e - 1, 0, 1 - np.e))[:, 0].tolist() == pytest.approx(
        [1, 0, -1]
    )
    far = encoder.decode(numbers(1e5, -1e5)[:, None])
    assert np.isfinite(far).all()
    assert far[0] > 1e308 > 0 > far[1]


def test_quantiles_go_on_beyond_the_training_rows():
    encoder = QuantileNumber.learn("y", numbers(0, 1, 2, 10))
    assert encoder.values == (0, 1, 2, 10)
    assert np.all(np.diff(encoder.normal) > 0)
    outside = numbers(-5, 20, 0.5)
    np.testing.assert_allclose(encoder.decode(encoder.encode(outside)), outside)
    assert encoder.encode(outside)[0, 0] < encoder.normal[0]
    assert len(QuantileNumber.learn("y", TARGETS["lognormal"]).values) == 1001
    many = QuantileNumber.learn("y", np.repeat(np.arange(5000.0), 3))
    assert (many.values[0], many.values[-1]) == (0, 4999)


def test_targets_that_cannot_be():
    with pytest.raises(UnknownNameError, match="scale of a target 'logs'; did you mean 'log'"):
        learn_target_number("y", numbers(1, 2), "logs")
    with pytest.raises(ValueError, match="target 'y' has one value only"):
        QuantileNumber.learn("y", numbers(1, 1))
    with pytest.raises(ValueError, match="numbers of column 'y' are too large"):
        QuantileNumber.learn("y", numbers(-1e308, 1e308))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (texts("a", None, "b"), ("classification", 2, True, False, 1)),
        (numbers(0, 1, 1, np.nan), ("classification", 2, True, False, 1)),
        (numbers(*[1, 2, 3] * 5), ("regression", 3, True, False, 0)),
        (numbers(*range(30)), ("regression", 30, False, False, 0)),
        (numbers(0.5, 1, 2), ("regression", 3, False, False, 0)),
        (TARGETS["lognormal"], ("regression", 3000, False, True, 0)),
        (numbers(np.nan), ("regression", 0, False, False, 1)),
    ],
)
def test_what_a_target_seems_to_be(column, expected):
    facts = describe_target(column)
    found = facts.task, facts.distinct, facts.may_be_classes, facts.heavy_tailed, facts.missing
    assert found == expected


@pytest.mark.parametrize("column", [numbers(3, 3), numbers(np.nan), numbers(1e308, -1e308)])
def test_the_skewness_of_hard_columns_is_a_number(column):
    assert skewness(column) == 0
    assert np.isfinite(skewness(np.append(column, [5.0, 7.0])))


def test_the_skewness_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    for column in (TARGETS["lognormal"], RNG.normal(size=50)):
        assert skewness(column) == pytest.approx(stats.skew(column))


@pytest.mark.parametrize("scale", ["log", "quantile"])
def test_an_encoder_with_a_transformed_target_survives_json(scale):
    table = {"x": numbers(1, 2, 3), "y": numbers(1, 10, 1000)}
    encoder = TableEncoder.learn(table, "y", ["x"], target_scale=scale)
    again = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder
    assert encoder.scales_target
    assert encoder.task == "regression"
    np.testing.assert_allclose(again.target.decode(again.encode_target(table)), table["y"])


@pytest.mark.parametrize(
    "target",
    [
        {"encoding": "log", "name": "y", "shift": 0.0, "scale": 0.0},
        {"encoding": "quantile", "name": "y", "values": [1.0], "normal": [0.0]},
        {"encoding": "quantile", "name": "y", "values": [1.0, 1.0], "normal": [0.0, 1.0]},
        {"encoding": "quantile", "name": "y", "values": [1.0, 2.0], "normal": [0.0, 1.0, 2.0]},
        {"encoding": "robust_number", "name": "y", "center": 0.0, "factor": 1.0},
        {"encoding": "unknown", "name": "y"},
    ],
)
def test_hostile_targets_are_refused(target):
    number = {"name": "x", "fill": 0.0, "shift": 0.0, "scale": 1.0}
    with pytest.raises(ModelFileError, match="description of its table is damaged"):
        TableEncoder.from_dict({"features": [number], "target": target})
