"""Filters: the pixels are the weights."""

from __future__ import annotations

import numpy as np
import pytest

import nnbackend as nnb


def network(*layers, shape):
    return nnb.Network(list(layers), input_shape=shape, seed=0, dtype="float64")


def pixels(ax):
    return np.ma.filled(ax.images[0].get_array().astype(float), np.nan)


@pytest.mark.parametrize("backend", ["numpy", "array-api-strict"])
def test_filters_of_one_channel(backend, ax):
    net = nnb.Network([nnb.Conv2D(5, (3, 2))], input_shape=(6, 6, 1), seed=0, backend=backend)
    nnb.plots.filters(net, ax=ax)
    weight = net.to_numpy(net.params["0"]["weight"])
    shown = pixels(ax)
    assert shown.shape == (2 * 4 - 1, 3 * 3 - 1)  # 2 rows of 3 filters, a line between them
    for i in range(5):
        row, column = divmod(i, 3)
        tile = shown[4 * row : 4 * row + 3, 3 * column : 3 * column + 2]
        np.testing.assert_array_equal(tile, weight[:, :, 0, i])
    assert np.isnan(shown[3]).all()
    assert np.isnan(shown[:, 2]).all()
    largest = np.abs(weight).max()
    assert ax.images[0].get_clim() == (-largest, largest)
    assert ax.get_xlabel() == f"black: -{largest:.4g}, gray: 0, white: {largest:.4g}"


def test_three_channels_are_colors_around_gray(ax):
    net = network(nnb.Conv2D(1, 2), shape=(4, 4, 3))
    weight = net.params["0"]["weight"]
    nnb.plots.filters(net, ax=ax)
    np.testing.assert_allclose(pixels(ax), weight[..., 0] / (2 * np.abs(weight).max()) + 0.5)


def test_other_channels_are_side_by_side(ax):
    net = network(nnb.Conv2D(3, 1), shape=(2, 2, 2))
    nnb.plots.filters(net, ax=ax)
    np.testing.assert_array_equal(pixels(ax)[::2, ::2], net.params["0"]["weight"][0, 0].T)


def test_a_dense_layer_over_images(ax):
    net = network(nnb.Flatten(), nnb.Dense(2), shape=(3, 2, 1))
    nnb.plots.filters(net, shape=(3, 2), ax=ax)
    weight = net.params["1"]["weight"]
    np.testing.assert_array_equal(pixels(ax)[:, :2], weight[:, 0].reshape(3, 2))
    np.testing.assert_array_equal(pixels(ax)[:, 3:], weight[:, 1].reshape(3, 2))


def test_a_layer_by_its_place_and_some_outputs_only(ax):
    net = network(
        nnb.Conv2D(2, 1), nnb.Residual([nnb.Conv2D(4, 1), nnb.Conv2D(2, 1)]), shape=(2, 2, 1)
    )
    nnb.plots.filters(net, "1.0", most=3, ax=ax)
    np.testing.assert_array_equal(
        pixels(ax)[::2, ::2], net.params["1"]["0"]["weight"][0, 0, :, :3].T
    )
    assert ax.get_title() == "layer 1.0: Conv2D"
    assert ax.get_xlabel().startswith("3 of 4 outputs; ")


@pytest.mark.parametrize(
    ("net", "arguments", "message"),
    [
        (nnb.Network([nnb.Conv2D(2, 3)]), {}, "no parameters yet"),
        (network(nnb.Flatten(), shape=(2,)), {}, "no Conv2D and no Dense"),
        (network(nnb.Dense(2), shape=(4,)), {}, "Dense layer of 4 inputs: say which image"),
        (network(nnb.Dense(2), shape=(4,)), {"shape": (2, 3)}, r"with 4 numbers.*\(2, 3\)"),
        (network(nnb.Dense(2), shape=(4,)), {"shape": (4,)}, "with 4 numbers"),
        (network(nnb.Dense(2), shape=(4,)), {"layer": "1"}, "unknown Conv2D or Dense layer '1'"),
        (network(nnb.Conv2D(2, 1), shape=(2, 2, 1)), {"shape": (1, 1)}, "leave shape= out"),
        (network(nnb.WeightNorm(nnb.Conv2D(2, 2)), shape=(2, 2, 1)), {}, "no Conv2D and no Dense"),
        (network(nnb.Conv2D(2, 1), shape=(2, 2, 1)), {"most": 0}, "most must be"),
    ],
)
def test_what_cannot_be_drawn(net, arguments, message):
    with pytest.raises(ValueError, match=message):
        nnb.plots.filters(net, **arguments)


def test_weights_that_are_not_finite():
    net = network(nnb.Dense(1), shape=(4,))
    net.params["0"]["weight"][0, 0] = np.inf
    with pytest.raises(ValueError, match="layer 0 are not finite"):
        nnb.plots.filters(net, shape=(2, 2))
