"""Dropout of channels, of rows and of blocks."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import assert_close, assert_equal, host, training

import nnbackend as nnb
from nnbackend import Context

NUMPY = nnb.get_backend("numpy")
LAYERS = [
    (nnb.SpatialDropout(0.4), (3, 2, 5)),
    (nnb.SpatialDropout(0.4, "first"), (5, 3)),
    (nnb.DropPath(0.4), (3,)),
    (nnb.DropBlock(0.3, 2), (5, 4, 3)),
    (nnb.DropBlock(0.3, 3, "first"), (3, 5)),
]
each_layer = pytest.mark.parametrize(
    ("layer", "shape"), LAYERS, ids=[f"{type(layer).__name__}{shape}" for layer, shape in LAYERS]
)


def masked(layer, shape, backend=NUMPY, step=0):
    """Return what a layer makes of ones in training: its mask, scaled."""
    ones = backend.xp.ones(shape, dtype=backend.dtype, device=backend.device)
    with backend.scope():
        return host(backend, layer.forward({}, ones, training(backend, step))[0])


@each_layer
def test_masks_are_the_same_on_every_backend(layer, shape, backend):
    for step in (0, 7):
        assert_equal(
            masked(layer, (6, *shape), backend, step), masked(layer, (6, *shape), step=step)
        )


@each_layer
def test_masks_change_with_the_step_and_not_with_the_rows_behind(layer, shape):
    whole = masked(layer, (40, *shape))
    assert_equal(masked(layer, (7, *shape)), whole[:7])
    assert (masked(layer, (40, *shape), step=1) != whole).any()


@each_layer
@pytest.mark.parametrize("start", [0, 1, 4])
def test_a_part_of_a_batch_draws_the_numbers_of_its_rows(layer, shape, start, backend):
    x, ctx = backend.asarray(rows((9, *shape))), training(backend, step=3)
    with backend.scope():
        whole, _ = layer.forward({}, x, ctx)
        expected = host(backend, whole)[start : start + 3]
        for first_row in (start, backend.asarray(start, backend.xp.int32)):
            ctx.start_pass(3, first_row=first_row)
            part, _ = layer.forward({}, x[start : start + 3, ...], ctx)
            assert_close(host(backend, part), expected, 1e-6)


@each_layer
def test_nothing_is_dropped_outside_training(layer, shape, backend):
    x = backend.asarray(rows((3, *shape)))
    y, backward = layer.forward({}, x, Context(backend))
    assert_equal(host(backend, y), host(backend, x))
    assert_equal(host(backend, backward(x)[0]), host(backend, x))


@each_layer
def test_the_gradient_goes_through_the_same_mask(layer, shape, backend):
    x, dy = backend.asarray(rows((5, *shape))), backend.asarray(rows((5, *shape), 1))
    with backend.scope():
        _, backward = layer.forward({}, x, training(backend))
        dx, _ = backward(dy)
    assert_close(host(backend, dx), host(backend, dy) * masked(layer, (5, *shape)), 1e-6)


@pytest.mark.parametrize("layer", [nnb.SpatialDropout(0.3), nnb.DropPath(0.3)], ids=repr)
def test_the_rate_is_dropped_and_the_rest_scaled_up(layer):
    mask = masked(layer, (2000, 2, 3))
    numbers = mask[:, 0] if isinstance(layer, nnb.SpatialDropout) else mask[:, 0, 0]
    deviation = np.sqrt(0.3 * 0.7 / numbers.size)
    assert abs((numbers == 0).mean() - 0.3) < 4 * deviation
    np.testing.assert_allclose(mask[mask != 0], 1 / 0.7, rtol=1e-6)


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 4), (3, 2, 2, 4)])
def test_spatial_dropout_drops_channels_as_a_whole(shape):
    mask = masked(nnb.SpatialDropout(0.5), (20, *shape))
    by_channel = mask.reshape(20, -1, 4)
    assert (by_channel == by_channel[:, :1]).all()
    assert {tuple(row) for row in by_channel[:, 0] > 0} > {(True,) * 4}
    first = masked(nnb.SpatialDropout(0.5, "first"), (20, 4, *shape[:-1]))
    assert_equal(np.moveaxis(first, 1, -1), mask)


def test_drop_path_drops_the_branch_of_a_residual(backend):
    branch = nnb.Residual([nnb.Dense(4, initializer="ones"), nnb.DropPath(0.5)])
    net = nnb.Network([branch], input_shape=4, backend=backend)
    x = rows((30, 4)).astype("float32")
    y = host(net.backend, net.forward(x, training=True)[0])
    dropped = (y == x).all(axis=1)
    assert 5 < dropped.sum() < 25
    expected = x + 2.0 * x.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(y[~dropped], expected[~dropped], rtol=1e-4, atol=1e-5)


def blocks_of(zeros, size):
    """Return where numbers are in a block of zeros, for an array (rows, height, width, channels)."""
    height, width = zeros.shape[1:3]
    inside = np.zeros_like(zeros)
    for i in range(height - size[0] + 1):
        for j in range(width - size[1] + 1):
            part = (slice(None), slice(i, i + size[0]), slice(j, j + size[1]))
            whole = zeros[part].all(axis=(1, 2))
            inside[part] |= whole[:, None, None]
    return inside


@pytest.mark.parametrize(("shape", "size"), [((7, 6), 3), ((7, 6), 1), ((2, 6), 3), ((5, 1), 4)])
def test_drop_block_drops_blocks_and_keeps_the_mean_of_each_row(shape, size):
    mask = masked(nnb.DropBlock(0.3, size), (300, *shape, 2))
    zeros = mask == 0
    assert_equal(blocks_of(zeros, [min(size, n) for n in shape]), zeros)
    kept = (~zeros).sum(axis=(1, 2, 3))
    assert (kept == 0).mean() < 0.2
    whole = mask[kept > 0]
    np.testing.assert_allclose(whole.mean(axis=(1, 2, 3)), 1.0, rtol=1e-5)
    for row in whole[:20]:
        assert len(np.unique(row[row > 0])) == 1
    assert 0.15 < zeros.mean() < 0.33


def test_blocks_of_one_axis_and_of_three():
    intervals = masked(nnb.DropBlock(0.3, 3), (50, 9, 2))
    assert_equal(blocks_of(intervals[:, :, None] == 0, (3, 1)), intervals[:, :, None] == 0)
    cubes = masked(nnb.DropBlock(0.1, 2), (20, 4, 5, 3, 2)) == 0
    for depth in range(4):  # each zero has another before or behind it
        near = [cubes[:, d] for d in (depth - 1, depth + 1) if 0 <= d < 4]
        assert not (cubes[:, depth] & ~np.any(near, axis=0)).any()


@pytest.mark.parametrize("layer", [nnb.SpatialDropout(0.5), nnb.DropBlock(0.5)], ids=repr)
def test_rows_without_an_axis_beside_the_channels_are_refused(layer):
    for shape in ((4,), ()):
        with pytest.raises(
            ValueError, match=r"layer 0 .*an axis or more beside .*there is Dropout"
        ):
            nnb.Network([layer], input_shape=shape)


def test_training_on_numpy_is_that_of_every_backend(backend64):
    def fitted(backend):
        layers = [
            nnb.SpatialDropout(0.2),
            nnb.Residual([nnb.Dense(3, "tanh"), nnb.DropPath(0.3)]),
            nnb.DropBlock(0.2, 2),
            nnb.Flatten(),
            nnb.Dense(1),
        ]
        net = nnb.Network(layers, seed=2, backend=backend, dtype="float64")
        x, y = rows((22, 4, 3)), rows((22, 1), 1)
        net.fit(x, y, epochs=5, batch_size=8, verbose=0)
        return host(net.backend, net.state_dict())

    assert_close(fitted(backend64), fitted("numpy"), 1e-10)
