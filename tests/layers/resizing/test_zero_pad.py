"""Padding with zeros: PyTorch's outputs and gradients, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from pytorch import check, results

import nnbackend as nnb
from nnbackend.core.random import Generator

CASES = {  # with channels last: shape, and padding
    "one-number": ((1, 2), 2),
    "one-axis": ((5, 2), ((0, 3),)),
    "none": ((3, 4, 2), 0),
    "one-pixel": ((1, 1, 1), (2, 1)),
    "every-side-another": ((3, 5, 2), ((1, 2), (3, 0))),
    "three-axes": ((2, 3, 1, 2), (1, (0, 2), 0)),
}


@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_pytorchs(case, channels, backend64):
    torch = pytest.importorskip("torch")
    shape, padding = case
    axes = len(shape) - 1
    layer = getattr(nnb, f"ZeroPad{axes}D")(padding, channels)
    pairs = sum(reversed(layer.padding), ())
    function = getattr(torch.nn, f"ZeroPad{axes}d")(pairs)
    shape = shape if channels == "last" else (shape[-1], *shape[:-1])
    check(layer, rows((2, *shape)), function, backend64)


def test_the_pairs_are_in_the_order_of_the_axes(backend64):
    y, _, _ = results(nnb.ZeroPad2D(((1, 0), (0, 2))), np.ones((1, 1, 1, 1)), backend64)
    assert y[0, :, :, 0].tolist() == [[0, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize("padding", [-1, (1, -1), ((0, -1), 0), (1, 2, 3), "same", ((1, 2, 3), 0)])
def test_wrong_padding_is_refused(padding):
    with pytest.raises(ValueError, match="padding must be a whole number of at least 0"):
        nnb.ZeroPad2D(padding)


def test_other_axes_are_refused():
    with pytest.raises(ValueError, match=r"expects \(batch, length, channels\)"):
        nnb.ZeroPad1D(1).init((4,), Generator.of(0))
