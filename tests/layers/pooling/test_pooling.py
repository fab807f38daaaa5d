"""Pooling layers: PyTorch's outputs and gradients, ties, NaN, padding, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cases import rows
from pytorch import check, results
from tools import assert_close, training

import nnbackend as nnb
from nnbackend.core.random import Generator
from nnbackend.layers.pooling.base import leaves_windows_empty, numbers_inside
from nnbackend.layers.pooling.stages import Windows

WINDOWS = {  # of rows of that shape: arguments by name
    "plain": ((6, 8, 3), {"size": 2}),
    "leaves-some": ((5, 7, 3), {"size": 2}),
    "overlapping": ((7, 6, 2), {"size": 3, "stride": 2, "padding": 1}),
    "one-number": ((4, 5, 2), {"size": 1}),
    "one-number-stride": ((4, 5, 2), {"size": 1, "stride": 2}),
    "stride-larger-than-size": ((8, 9, 2), {"size": 2, "stride": (3, 4)}),
    "as-large-as-the-input": ((4, 5, 2), {"size": (4, 5)}),
    "of-one-axis": ((9, 4), {"size": 3, "stride": 2, "padding": 1}),
    "of-three-axes": ((4, 3, 5, 2), {"size": (2, 1, 3), "stride": (1, 2, 2), "padding": (1, 0, 1)}),
    "first": ((2, 5, 6), {"size": (2, 3), "stride": 1, "channels": "first"}),
}
KINDS = {"max_pool": "MaxPool", "avg_pool": "AveragePool", "lp_pool": "LpPool"}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("case", WINDOWS.values(), ids=WINDOWS)
def test_windows_are_pytorchs(case, batch, name, backend64):
    torch = pytest.importorskip("torch")
    shape, arguments = case
    axes = len(shape) - 1
    if name == "lp_pool":
        arguments = {**arguments, "padding": "valid"}
    layer = getattr(nnb, f"{KINDS[name]}{axes}D")(**arguments)
    pool = getattr(torch.nn.functional, f"{name}{axes}d")
    given = {"kernel_size": layer.size, "stride": layer.stride}
    if name == "lp_pool":
        given["norm_type"] = 2
        if axes == 1:  # it takes no tuples there
            given |= {"kernel_size": layer.size[0], "stride": layer.stride[0]}
    elif layer.padding != "valid":
        given["padding"] = tuple(low for low, _ in layer.padding)
    check(layer, rows((batch, *shape)), lambda x: pool(x, **given), backend64)


@pytest.mark.parametrize("shape", [(8, 9, 2), (9, 11, 1)])
def test_dilated_maxima_are_pytorchs(shape, backend64):
    torch = pytest.importorskip("torch")
    layer = nnb.MaxPool2D((2, 3), 2, 1, dilation=(3, 2))
    check(
        layer, rows((2, *shape)),
        lambda x: torch.nn.functional.max_pool2d(x, (2, 3), 2, 1, (3, 2)), backend64,
    )  # fmt: skip


def test_equal_numbers_give_the_gradient_to_the_first_as_in_pytorch(backend64):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(2, size=(2, 6, 6, 2)).astype(float)
    for size, stride in ((2, 2), (3, 2), (3, 1)):
        check(
            nnb.MaxPool2D(size, stride), x,
            lambda x, how=(size, stride): torch.nn.functional.max_pool2d(x, *how), backend64,
        )  # fmt: skip
    for size in (1, 4):
        check(
            nnb.AdaptiveMaxPool2D(size), x,
            lambda x, size=size: torch.nn.functional.adaptive_max_pool2d(x, size), backend64,
        )  # fmt: skip
    y, dy, dx = results(nnb.GlobalMaxPool2D(), np.ones((1, 2, 3, 1)), backend64)
    assert y == 1.0
    assert dx.reshape(-1).tolist() == [dy[0, 0], 0, 0, 0, 0, 0]


def test_nan_is_larger_than_any_number(backend):
    x = rows((2, 4, 4, 3)).astype(np.float32)
    x[1, 2, 1, 0] = np.nan
    for layer in (nnb.MaxPool2D(2), nnb.AdaptiveMaxPool2D(2), nnb.GlobalMaxPool2D()):
        y, _, _ = results(layer, x, backend)
        assert np.isnan(y).sum() == 1


def test_padding_is_never_the_largest(backend64):
    y, _, dx = results(nnb.MaxPool2D(3, 1, "same"), np.full((1, 3, 3, 1), -5.0), backend64)
    assert (y == -5.0).all()
    assert dx.shape == (1, 3, 3, 1)


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((6, 8, 3), (3, 2, 1)),
        ((5, 5, 2), (2, 1, 1)),
        ((7, 4), (3, 2, 1)),
        ((3, 4, 5, 1), (3, 2, 1)),
    ],
)
def test_means_without_padding_are_pytorchs(shape, arguments, backend64):
    torch = pytest.importorskip("torch")
    axes = len(shape) - 1
    pool = getattr(torch.nn.functional, f"avg_pool{axes}d")
    layer = getattr(nnb, f"AveragePool{axes}D")(*arguments, count_padding=False)
    function = lambda x: pool(x, *arguments, count_include_pad=False)  # noqa: E731
    check(layer, rows((2, *shape)), function, backend64)


@pytest.mark.parametrize("kind", ["Average", "Max"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, (5, 7), (7, 9)], ids=str)
def test_bins_are_pytorchs(size, kind, backend64):
    torch = pytest.importorskip("torch")
    layer = getattr(nnb, f"Adaptive{kind}Pool2D")(size)
    pool = getattr(torch.nn.functional, f"adaptive_{'avg' if kind == 'Average' else 'max'}_pool2d")
    check(layer, rows((2, 5, 7, 3)), lambda x: pool(x, size), backend64)


@pytest.mark.parametrize("kind", ["Average", "Max"])
@pytest.mark.parametrize("shape", [(7, 2), (4, 3, 5, 2)], ids=str)
def test_bins_of_other_numbers_of_axes_are_pytorchs(shape, kind, backend64):
    torch = pytest.importorskip("torch")
    axes, name = len(shape) - 1, "avg" if kind == "Average" else "max"
    layer = getattr(nnb, f"Adaptive{kind}Pool{axes}D")(3)
    pool = getattr(torch.nn.functional, f"adaptive_{name}_pool{axes}d")
    check(layer, rows((2, *shape)), lambda x: pool(x, (3,) * axes), backend64)


@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize("kind", ["Average", "Max"])
@pytest.mark.parametrize("shape", [(5, 2), (3, 4, 2), (2, 3, 4, 2)], ids=str)
def test_whole_axes_are_pytorchs(shape, kind, channels, backend64):
    torch = pytest.importorskip("torch")
    axes, name = len(shape) - 1, "avg" if kind == "Average" else "max"
    layer = getattr(nnb, f"Global{kind}Pool{axes}D")(channels)
    pool = getattr(torch.nn.functional, f"adaptive_{name}_pool{axes}d")
    check(layer, rows((3, *shape)), lambda x: pool(x, (1,) * axes), backend64)


def test_the_norm_of_zeros_has_no_gradient(backend64):
    y, _, dx = results(nnb.LpPool2D(2), np.zeros((1, 2, 2, 1)), backend64)
    assert y == 0.0
    assert (dx == 0.0).all()


def test_norms_take_absolute_values(backend64):
    x = rows((2, 4, 4, 1))
    y, _, _ = results(nnb.LpPool2D(2, p=3), x, backend64)
    cubes = np.abs(x) ** 3
    sums = cubes.reshape(2, 2, 2, 2, 2, 1).sum((2, 4))
    assert_close(y, sums ** (1 / 3), 1e-10)


def test_means_of_many_half_numbers_do_not_overflow(backend):
    if not hasattr(backend.xp, "float16"):
        pytest.skip("the library has no float16")
    x = backend.xp.astype(backend.asarray(np.full((1, 8, 8, 1), 4096.0)), backend.xp.float16)
    for layer in (nnb.GlobalAveragePool2D(), nnb.AveragePool2D(8), nnb.AdaptiveAveragePool2D(1)):
        with backend.scope():
            y, _ = layer.forward({}, x, training(backend))
        assert y.dtype == x.dtype
        assert float(backend.xp.sum(backend.xp.astype(y, backend.dtype))) == 4096.0


@pytest.mark.parametrize(
    ("make", "shape", "words"),
    [
        (lambda: nnb.MaxPool2D(3), (2, 5, 1), "larger than its padded input"),
        (lambda: nnb.MaxPool2D(2, padding=2), (4, 4, 1), "no number of an input"),
        (lambda: nnb.AveragePool2D(2, 1, ((0, 2), 0)), (4, 4, 1), "no number of an input"),
        (lambda: nnb.MaxPool1D(2, padding=1, dilation=2), (1, 1), "no number of an input"),
        (lambda: nnb.MaxPool2D(2), (4, 4), "expects .batch, height, width, channels."),
        (lambda: nnb.GlobalAveragePool2D(), (4,), "expects .batch, height, width, channels."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_when_the_network_is_built(make, shape, words):
    with pytest.raises(ValueError, match=words):
        make().init(shape, Generator.of(0))


def test_the_layer_is_named_by_its_path(backend):
    layer = nnb.Sequential([nnb.Sequential([nnb.MaxPool2D(2)])])
    with pytest.raises(ValueError, match=r"0\.0: expects"):
        layer.forward({"0": {"0": {}}}, backend.asarray(rows((2, 3))), training(backend))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 200.0])
def test_powers_of_a_norm_neither_overflow_nor_vanish(p, scale, backend):
    if backend.dtype_name == "float16":
        pytest.skip("16 bits do not hold such numbers")
    x = scale * np.asarray([3.0, -4.0, 0.0, 0.0]).reshape((1, 2, 2, 1))
    y, _, dx = results(nnb.LpPool2D(2, p=p), x, backend)
    size = (3.0**p + 4.0**p) ** (1.0 / p)
    np.testing.assert_allclose(y.ravel(), [scale * size], rtol=1e-5)
    expected = [(3.0 / size) ** (p - 1.0), -((4.0 / size) ** (p - 1.0)), 0.0, 0.0]
    np.testing.assert_allclose(
        dx.ravel() / dx.ravel()[1] * expected[1], expected, rtol=1e-4, atol=1e-7
    )
    assert dx.ravel()[1] != 0.0


def test_the_numbers_inside_windows_are_counted_whatever_the_sizes():
    sizes = itertools.product(
        (1, 2, 3), (1, 2, 5), (1, 2, 4), (1, 2, 3, 5), (0, 1, 3, 8), (0, 2, 8)
    )
    tried = 0
    for size, stride, dilation, length, before, after in sizes:
        how, span = Windows(size, stride, dilation), dilation * (size - 1) + 1
        if length + before + after < span:
            continue
        count = (length + before + after - span) // stride + 1
        starts = range(-before, count * stride - before, stride)
        expected = tuple(
            sum(0 <= start + j * dilation < length for j in range(size)) for start in starts
        )
        assert numbers_inside(how, length, before, count) == expected
        assert leaves_windows_empty(how, length, before, count) == (0 in expected)
        tried += 1
    assert tried > 1000
