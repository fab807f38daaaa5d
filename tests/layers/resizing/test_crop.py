"""Cropping: a slice of the input and zeros in its gradient, and what is refused."""

from __future__ import annotations

import pytest
from cases import rows
from pytorch import check
from tools import training

import nnbackend as nnb
from nnbackend.core.random import Generator

CASES = {  # with channels last: shape, and cropping
    "one-axis": ((5, 2), ((0, 3),)),
    "one-number-left": ((3, 1), 1),
    "none": ((3, 4, 2), 0),
    "one-pixel-left": ((3, 4, 2), ((0, 2), (3, 0))),
    "every-side-another": ((6, 5, 2), ((1, 2), (3, 0))),
    "three-axes": ((3, 4, 1, 2), (1, (0, 2), 0)),
}


@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_pytorchs(case, channels, backend64):
    torch = pytest.importorskip("torch")
    shape, cropping = case
    layer = getattr(nnb, f"Crop{len(shape) - 1}D")(cropping, channels)
    pairs = [-number for pair in reversed(layer.cropping) for number in pair]
    shape = shape if channels == "last" else (shape[-1], *shape[:-1])
    check(layer, rows((2, *shape)), lambda x: torch.nn.functional.pad(x, pairs), backend64)


@pytest.mark.parametrize("cropping", [-1, (1, -1), ((0, -1), 0), (1, 2, 3), "same"])
def test_wrong_cropping_is_refused(cropping):
    with pytest.raises(
        ValueError, match="cropping must be a whole number of at least 0, or a tuple"
    ):
        nnb.Crop2D(cropping)


@pytest.mark.parametrize("cropping", [2, ((4, 0), 0), (0, (1, 2)), 9])
def test_nothing_left_is_refused_when_the_network_is_built(cropping):
    with pytest.raises(ValueError, match="leaves nothing of an input of size"):
        nnb.Crop2D(cropping).init((4, 3, 1), Generator.of(0))


def test_nothing_left_is_refused_of_other_rows_too(backend):
    layer = nnb.Sequential([nnb.Crop1D(((1, 4),))])
    with pytest.raises(
        ValueError, match=r"0: cropping of .* leaves nothing of an input of size \(3,\)"
    ):
        layer.forward({"0": {}}, backend.asarray(rows((2, 3, 1))), training(backend))
