"""Channels made into pixels and back: PyTorch's order of channels, the inverse, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from pytorch import check, results

import nnbackend as nnb
from nnbackend.core.random import Generator

SHUFFLED = [((2, 3, 8), 2), ((1, 1, 9), 3), ((1, 5, 4), 2), ((3, 2, 2), 1), ((2, 2, 18), 3)]
UNSHUFFLED = [((4, 6, 2), 2), ((3, 3, 1), 3), ((2, 10, 1), 2), ((3, 2, 2), 1), ((6, 9, 2), 3)]


@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize(
    ("name", "shape", "factor"),
    [
        *(("PixelShuffle", *case) for case in SHUFFLED),
        *(("PixelUnshuffle", *case) for case in UNSHUFFLED),
    ],
)
def test_they_are_pytorchs(name, shape, factor, channels, backend64):
    torch = pytest.importorskip("torch")
    shape = shape if channels == "last" else (shape[-1], *shape[:-1])
    layer = getattr(nnb, name)(factor, channels)
    check(layer, rows((2, *shape)), getattr(torch.nn, name)(factor), backend64)


def test_the_channels_of_an_output_channel_lie_together(backend64):
    y, _, _ = results(nnb.PixelShuffle(2), np.arange(8.0).reshape(1, 1, 1, 8), backend64)
    assert y[0, :, :, 0].tolist() == [[0, 1], [2, 3]]
    assert y[0, :, :, 1].tolist() == [[4, 5], [6, 7]]


@pytest.mark.parametrize("channels", ["last", "first"])
def test_one_undoes_the_other(channels, backend64):
    x = rows((2, 6, 9, 9))
    small, _, _ = results(nnb.PixelUnshuffle(3, channels), x, backend64)
    again, _, _ = results(nnb.PixelShuffle(3, channels), small, backend64)
    assert np.array_equal(again, x)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (nnb.PixelShuffle(2), (2, 2, 6), "channels that is divisible by 4, got 6"),
        (nnb.PixelShuffle(2, "first"), (2, 4, 4), "channels that is divisible by 4, got 2"),
        (nnb.PixelUnshuffle(2), (4, 3, 4), "divisible by it, got 4 and 3"),
        (nnb.PixelUnshuffle(2), (1, 4, 4), "divisible by it, got 1 and 4"),
        (nnb.PixelShuffle(2), (4, 4), "expects .batch, height, width, channels."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_when_the_network_is_built(layer, shape, words):
    with pytest.raises(ValueError, match=words):
        layer.init(shape, Generator.of(0))


@pytest.mark.parametrize("factor", [0, -2, 1.5, (2, 2)])
def test_wrong_factors_are_refused(factor):
    for layer in (nnb.PixelShuffle, nnb.PixelUnshuffle):
        with pytest.raises(ValueError, match="factor must be a whole number of at least 1"):
            layer(factor)
