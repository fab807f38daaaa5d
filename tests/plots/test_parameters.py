"""Weights and gradients over a run: the lines are what the record holds."""

from __future__ import annotations

import numpy as np
import pytest

import nnbackend as nnb
from nnbackend.callbacks import Record

X = np.random.default_rng(0).normal(size=(20, 3))
Y = X[:, :1] ** 2


def run(record, *layers):
    net = nnb.Network(
        [*layers, nnb.Dense(1)] if layers else [nnb.Dense(4, "tanh"), nnb.Dense(1)], seed=0
    )
    net.fit(X, Y, epochs=4, batch_size=5, loss="mse", callbacks=[record], verbose=0)
    return record


@pytest.fixture(scope="module")
def record():
    return run(Record(probe=(X, Y)))


@pytest.mark.parametrize("of", ["weights", "gradients"])
def test_a_line_for_each_layer(record, of, ax):
    assert nnb.plots.parameters_over_time(record, of=of, ax=ax) is ax
    norms = record.weight_norms if of == "weights" else record.gradient_norms
    assert [line.get_label() for line in ax.lines] == ["0.weight", "1.weight"]
    for line in ax.lines:
        assert line.get_xdata().tolist() == [0, 4, 8, 12, 16]
        np.testing.assert_array_equal(line.get_ydata(), norms[line.get_label()])
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == f"norm of {of}"
    assert len({line.get_linestyle() for line in ax.lines}) == 2


def test_norms_of_zero_are_on_a_linear_scale(record, ax):
    nnb.plots.parameters_over_time(record, ["0.weight", "0.bias"], ax=ax)
    assert ax.lines[1].get_ydata()[0] == 0.0
    assert ax.get_yscale() == "linear"


def test_quantiles_are_a_line_and_two_bands(record, ax):
    nnb.plots.parameters_over_time(record, "0.weight", of="gradients", show="quantiles", ax=ax)
    low, first, median, third, high = record.gradient_quantiles["0.weight"].T
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), median)
    for band, (bottom, top) in zip(ax.collections, ((low, high), (first, third)), strict=True):
        corners = band.get_paths()[0].vertices
        for step, a, b in zip(record.steps, bottom, top, strict=True):
            assert {a, b} <= set(corners[corners[:, 0] == step, 1])


def test_each_number_of_a_parameter(record, ax):
    nnb.plots.parameters_over_time(record, "0.weight", show="values", ax=ax)
    drawn = np.stack([line.get_ydata() for line in ax.lines], axis=1)
    np.testing.assert_array_equal(drawn, record.parameters["0.weight"].reshape(5, 12))
    assert ax.get_title() == "0.weight"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": "0.weigth"}, "unknown parameter '0.weigth'; did you mean '0.weight'"),
        ({"names": []}, "got none"),
        ({"of": "biases"}, "of must be 'weights' or 'gradients'"),
        ({"show": "mean"}, "show must be 'norm', 'quantiles' or 'values'"),
        (
            {"show": "quantiles"},
            "quantiles are of one parameter: name it; there are 0.weight, 1.weight",
        ),
        ({"show": "values", "of": "gradients"}, "of gradients norms and quantiles are recorded"),
    ],
)
def test_what_cannot_be_drawn(record, arguments, message):
    with pytest.raises(ValueError, match=message):
        nnb.plots.parameters_over_time(record, **arguments)


def test_what_was_not_recorded():
    with pytest.raises(ValueError, match=r"nothing was recorded.*callbacks=\[record\]"):
        nnb.plots.parameters_over_time(Record())
    with pytest.raises(ValueError, match=r"no gradients.*Record\(probe=\(x, y\)\)"):
        nnb.plots.parameters_over_time(run(Record()), of="gradients")
    with pytest.raises(ValueError, match=r"no values of parameters.*more than max_parameters=3"):
        nnb.plots.parameters_over_time(run(Record(max_parameters=3)), "0.weight", show="values")
    with pytest.raises(TypeError, match=r"callbacks\.Record"):
        nnb.plots.parameters_over_time({"0.weight": [1.0]})


def test_too_many_lines():
    deep = run(Record(), *[nnb.Dense(2)] * 20)
    with pytest.raises(ValueError, match=r"21 lines.*at most 20"):
        nnb.plots.parameters_over_time(deep)
    wide = run(Record(), nnb.Dense(400))
    with pytest.raises(ValueError, match=r"1,200 numbers, at most 1,000.*'quantiles'"):
        nnb.plots.parameters_over_time(wide, "0.weight", show="values")
