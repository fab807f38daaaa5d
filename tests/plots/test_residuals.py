"""Residuals, and true numbers by predicted ones: a point for each row."""

from __future__ import annotations

import numpy as np
import pytest

import nnbackend as nnb

Y, SAID = [1.0, 2.0, 4.0], [[1.5], [2.0], [3.0]]


def test_residuals(ax):
    nnb.plots.residuals(Y, SAID, ax=ax)
    zero, points = ax.lines
    assert list(zero.get_ydata()) == [0.0, 0.0]
    assert points.get_xdata().tolist() == [1.5, 2.0, 3.0]
    assert points.get_ydata().tolist() == [-0.5, 0.0, 1.0]
    assert ax.get_title() == "mean 0.1667, standard deviation 0.7638"


def test_predictions(ax):
    nnb.plots.predictions(Y, SAID, ax=ax)
    diagonal, points = ax.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [1.0, 4.0]
    assert points.get_xdata().tolist() == [1.5, 2.0, 3.0]
    assert points.get_ydata().tolist() == Y


@pytest.mark.parametrize("draw", [nnb.plots.residuals, nnb.plots.predictions])
@pytest.mark.parametrize(
    ("y", "predicted", "error", "message"),
    [
        (Y, [1.0, 2.0], ValueError, "there are 3 and 2"),
        (Y, np.ones((3, 2)), ValueError, r"predicted.*\(3, 2\). Take one output at a time"),
        ([1.0, np.nan], [1.0, 2.0], ValueError, r"y\[1\] is not"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), [1.0, 2.0], ValueError, r"y\[1\] is not"),
        (["a"], [1.0], TypeError, "y must be numbers"),
        ([], [], ValueError, "for each of some rows"),
    ],
)
def test_what_cannot_be_drawn(draw, y, predicted, error, message):
    with pytest.raises(error, match=message):
        draw(y, predicted)
