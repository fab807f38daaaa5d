"""Upsampling: PyTorch's outputs and gradients, the adjoint, 16-bit sums, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from pytorch import check, results
from tools import assert_close, host, training

import nnbackend as nnb
from nnbackend.core.random import Generator

NAMES = {1: "linear", 2: "bilinear", 3: "trilinear"}
SHAPES = {  # with channels last, and factors
    "one-number": ((1, 2), 3),
    "odd-length": ((5, 2), 3),
    "one-pixel": ((1, 1, 3), 2),
    "one-row": ((1, 5, 2), (3, 2)),
    "one-column": ((4, 1, 2), (2, 5)),
    "odd-sizes": ((3, 5, 2), 2),
    "factor-1": ((3, 4, 2), 1),
    "factor-1-along-an-axis": ((3, 4, 2), (1, 4)),
    "large-factor": ((2, 3, 1), (7, 3)),
    "three-axes": ((2, 3, 1, 2), (2, 1, 3)),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "linear-align"])
@pytest.mark.parametrize("case", SHAPES.values(), ids=SHAPES)
def test_it_is_pytorchs(case, mode, channels, batch, backend64):
    torch = pytest.importorskip("torch")
    shape, factor = case
    axes = len(shape) - 1
    mode, _, align = mode.partition("-")
    layer = getattr(nnb, f"Upsample{axes}D")(factor, mode, bool(align), channels)
    arguments = {"mode": "nearest"}
    if mode == "linear":
        arguments = {"mode": NAMES[axes], "align_corners": bool(align)}
    shape = shape if channels == "last" else (shape[-1], *shape[:-1])
    function = torch.nn.Upsample(scale_factor=tuple(map(float, layer.factor)), **arguments)
    check(layer, rows((batch, *shape)), function, backend64)


def test_pytorchs_names_of_modes_are_taken(backend64):
    x = rows((2, 3, 4, 5, 1))
    y, _, _ = results(nnb.Upsample3D(2, "trilinear"), x, backend64)
    expected, _, _ = results(nnb.Upsample3D(2, "linear"), x, backend64)
    assert np.array_equal(y, expected)
    with pytest.raises(ValueError, match=r"mode must be 'nearest' or 'linear', got 'bilinear'"):
        nnb.Upsample1D(mode="bilinear")


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_16_bit_gradients_are_added_in_32_bits(mode, backend):
    if not hasattr(backend.xp, "float16"):
        pytest.skip("the library has no float16")
    half = backend.xp.float16
    x = backend.xp.astype(backend.asarray(np.zeros((1, 1, 64, 1))), half)
    with backend.scope():
        y, backward = nnb.Upsample2D((64, 1), mode).forward({}, x, training(backend))
        dy = np.where(np.arange(64) == 0, 2048.0, 1.0).reshape(1, 64, 1, 1).repeat(64, axis=2)
        dx, _ = backward(backend.xp.astype(backend.asarray(dy), half))
    assert y.dtype == dx.dtype == half
    wide = host(backend, backend.xp.astype(dx, backend.dtype))
    assert (
        wide == float(np.float16(2048 + 63))
    ).all()  # one by one they would be lost: 2048 + 1 = 2048


def test_a_constant_stays_constant(backend64):
    for align in (False, True):
        layer = nnb.Upsample2D((3, 7), "linear", align)
        y, _, _ = results(layer, np.full((1, 4, 5, 1), 3.7), backend64)
        assert_close(y, np.full(y.shape, 3.7), 1e-14)


@pytest.mark.parametrize("factor", [0, -1, 1.5, (2, 2, 2)])
def test_wrong_factors_are_refused(factor):
    with pytest.raises(ValueError, match="factor must be a whole number of at least 1"):
        nnb.Upsample2D(factor)


def test_aligned_corners_need_interpolation():
    with pytest.raises(ValueError, match="align_corners must be False with mode='nearest'"):
        nnb.Upsample2D(2, align_corners=True)


def test_other_axes_are_refused():
    with pytest.raises(ValueError, match=r"expects \(batch, height, width, channels\)"):
        nnb.Upsample2D().init((4, 4), Generator.of(0))
