"""The geometry of convolution and pooling: sizes, padding and its adjoint, the place of channels."""

from __future__ import annotations

import numpy as np
import pytest
from tools import assert_close, assert_equal, host

from nnbackend import Context
from nnbackend.layers import spatial


@pytest.mark.parametrize(
    ("value", "axes", "expected"),
    [(2, 1, (2,)), (3, 2, (3, 3)), ((1, 2), 2, (1, 2)), ([1, 2, 3], 3, (1, 2, 3)),
     (np.int64(4), 2, (4, 4)), (np.asarray([4, 5]), 2, (4, 5))],
)  # fmt: skip
def test_a_number_or_one_for_each_axis(value, axes, expected):
    found = spatial.check_sizes("stride", value, axes)
    assert found == expected
    assert all(type(n) is int for n in found)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "3", (1,), (1, 2, 3), (1, 0), (1, "2")])
def test_other_sizes_are_refused_by_name(value):
    with pytest.raises(ValueError, match="stride must be a whole number of at least 1, or a tuple"):
        spatial.check_sizes("stride", value, 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("valid", "valid"), ("same", "same"), (1, ((1, 1), (1, 1))), ((1, 2), ((1, 1), (2, 2))),
     (((0, 1), (2, 3)), ((0, 1), (2, 3))), ((1, [0, 2]), ((1, 1), (0, 2)))],
)  # fmt: skip
def test_padding_becomes_a_word_or_pairs(value, expected):
    assert spatial.check_padding(value, 2) == expected


@pytest.mark.parametrize(
    "value", ["full", -1, (1, -1), ((0, 1), (0, -1)), ((0, 1, 2), 0), (1,), 0.5, None, True, {1: 2}]
)
def test_other_padding_is_refused_by_name(value):
    with pytest.raises(ValueError, match="padding must be 'valid'"):
        spatial.check_padding(value, 2)


@pytest.mark.parametrize("length", [1, 5, 6, 7])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_gives_a_window_for_each_stride(length, size, stride, dilation):
    how = (size,), (stride,), (dilation,)
    ((low, high),) = pairs = spatial.padding_pairs("same", (length,), *how)
    assert low <= high <= low + 1
    (count,) = spatial.output_lengths((length,), how[0], how[1], pairs, how[2])
    assert count == -(-length // stride)


def test_a_kernel_larger_than_its_padded_input_is_refused():
    how = ((4, 5), (3, 3), (1, 1))
    assert spatial.output_lengths(*how, ((0, 0), (0, 0)), (1, 1)) == (2, 3)
    with pytest.raises(ValueError, match=r"spans \(5, 5\), which is larger .*\(4, 5\)"):
        spatial.output_lengths(*how, ((0, 0), (0, 0)), (2, 2))
    with pytest.raises(ValueError, match=r"size \(3,\) is larger than its padded .*\(2,\)"):
        spatial.output_lengths((1,), (3,), (1,), ((0, 1),), (1,))


@pytest.mark.parametrize(
    ("channels", "words"),
    [("last", r"\(batch, height, width, channels\)"), ("first", r"\(batch, channels, height, width\)")],
)  # fmt: skip
def test_other_axes_are_refused(channels, words):
    with pytest.raises(ValueError, match=rf"expects {words}, got \(batch, 784\)"):
        spatial.input_lengths((784,), 2, channels)
    with pytest.raises(ValueError, match=f"expects {words}, got inputs of shapes"):
        spatial.input_lengths(((3,), (4,), (5,)), 2, channels)
    assert spatial.input_lengths((5, 6, 7), 2, channels) in {((5, 6), 7), ((6, 7), 5)}


def test_a_batch_with_other_channels_is_refused_by_the_path(backend):
    x, ctx = backend.xp.zeros((2, 5, 6, 4), device=backend.device), Context(backend)
    spatial.check_input(x, 2, 4, ctx)
    spatial.check_input(x, 2, 5, ctx, "first")
    where = ctx.child("2").child("conv")
    with pytest.raises(ValueError, match=r"^2.conv: expects \(batch, height, width, 3\), got \(2,"):
        spatial.check_input(x, 2, 3, where)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "edge"])
@pytest.mark.parametrize(
    "pairs", [((0, 0), (0, 0)), ((1, 2), (0, 3)), ((2, 0), (1, 1)), ((2, 2), (3, 3))]
)
def test_padding_and_its_adjoint(mode, pairs, backend64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4, 2))
    name = {"zeros": "constant"}.get(mode, mode)
    expected = np.pad(x, ((0, 0), *pairs, (0, 0)), mode=name)
    d = rng.normal(size=expected.shape)

    def run(x, d):
        padded = spatial.pad(x, pairs, backend64, mode)
        return padded, spatial.pad_adjoint(d, pairs, backend64, mode)

    with backend64.scope():
        arrays = [backend64.asarray(a.copy()) for a in (x, d)]
        for found in (run(*arrays), backend64.compile(run)(*arrays)):
            padded, dx = (host(backend64, array) for array in found)
            assert_equal(padded, expected)
            assert dx.shape == x.shape
            assert np.vdot(dx, x) == pytest.approx(np.vdot(d, expected), rel=1e-12)
            other = rng.normal(size=x.shape)
            moved = np.pad(other, ((0, 0), *pairs, (0, 0)), mode=name)
            assert np.vdot(dx, other) == pytest.approx(np.vdot(d, moved), rel=1e-12)


def test_any_number_can_be_put_around(backend):
    x = np.arange(6.0).reshape(1, 3, 2)
    with backend.scope():
        found = spatial.pad(backend.asarray(x), ((1, 2),), backend, value=-np.inf)
    expected = np.pad(x, ((0, 0), (1, 2), (0, 0)), constant_values=-np.inf)
    assert_equal(host(backend, found), expected.astype(np.float32))


def test_what_is_too_short_is_not_reflected(backend):
    x = backend.xp.zeros((1, 3, 1), device=backend.device)
    with pytest.raises(ValueError, match="at least 4, got 3"):
        spatial.pad(x, ((0, 3),), backend, "reflect")


def test_channels_go_to_the_end_and_back(backend):
    x = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    with backend.scope():
        given = backend.asarray(x)
        last = spatial.channels_last(given, "first", backend.xp)
        assert_close(host(backend, last), np.moveaxis(x, 1, -1), 0)
        back = spatial.channels_as_given(last, "first", backend.xp)
        assert_close(host(backend, back), x, 0)
        assert spatial.channels_last(given, "last", backend.xp) is given
