"""Transforms of batches: against slow loops, and equal on all backends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases import rows
from tools import assert_close, assert_equal, host, training

import nnbackend as nnb
from nnbackend.core.registry import field_names
from nnbackend.core.types import Batch, Context
from nnbackend.transforms import CutMix, Mixup, RandomCrop, RandomFlip, RandomShift
from nnbackend.transforms.base import batch_words, row_words, uniform_integers
from nnbackend.transforms.beta import beta_cdf, beta_draws
from nnbackend.transforms.partners import partners

NUMPY = nnb.get_backend("numpy", dtype="float64")
IMAGES = rows((7, 5, 6, 3))
TARGETS = np.eye(4)[[0, 1, 2, 3, 0, 1, 2]]
WEIGHT = np.asarray([1.0, 0.0, 2.0, 0.5, 1.0, 0.0, 3.0])
IMAGE_TRANSFORMS = [
    RandomFlip(),
    RandomFlip(vertical=True, probability=0.7),
    RandomCrop(padding=2),
    RandomCrop((4, 3), padding=1, fill="edge"),
    RandomShift(9, fill=-1.5),
    RandomShift(fraction=0.4, fill="edge"),
]
MIXING = [Mixup(), Mixup(2.0, "row"), CutMix(), CutMix(0.5, "row")]
ALL = [*IMAGE_TRANSFORMS, *MIXING]


def apply(backend, transform, x=IMAGES, y=TARGETS, weight=None, step=3):
    """Return a changed batch on the host, in float64."""
    batch = Batch(*(None if a is None else backend.asarray(a) for a in (x, y, weight)))
    before = host(backend, tuple(batch))
    found = transform.apply(batch, training(backend, step))
    assert_equal(host(backend, tuple(batch)), before) if weight is not None else None
    return host(backend, tuple(found))


def words(count, name=None, per_row=True):
    """Return the random words that a transform draws."""
    ctx = training(NUMPY, 3)
    ctx = ctx if name is None else ctx.child(name)
    return (row_words(ctx, len(IMAGES), count) if per_row else batch_words(ctx, count)).astype(int)


@pytest.mark.parametrize("transform", ALL, ids=repr)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
def test_all_backends_agree(transform, weight, backend64):
    found, expected = (apply(b, transform, weight=weight) for b in (backend64, NUMPY))
    for a, b in zip(found, expected, strict=True):
        if b is not None:
            assert_close(a, b, 1e-10)
    if isinstance(transform, (CutMix, *map(type, IMAGE_TRANSFORMS))):
        assert_equal(found[0], expected[0])  # which numbers go where is no matter of rounding


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_padding_changes_nothing(transform, backend):
    """A batch that is padded with rows of weight 0 has the rows of the one that is not."""
    x = np.concatenate([IMAGES, IMAGES[:1], IMAGES[:1]])
    y, weight = (
        np.concatenate([TARGETS, TARGETS[:1], TARGETS[:1]]),
        np.asarray([1.0] * 7 + [0.0] * 2),
    )
    padded, plain = apply(backend, transform, x, y, weight), apply(backend, transform)
    assert_equal(padded[0][:7], plain[0])
    assert_equal(padded[1][:7], plain[1])
    np.testing.assert_allclose(padded[2], weight, atol=1e-6)


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_steps_differ(transform):
    assert not np.array_equal(apply(NUMPY, transform)[0], apply(NUMPY, transform, step=4)[0])


@pytest.mark.parametrize(
    "transform", IMAGE_TRANSFORMS[:3] + IMAGE_TRANSFORMS[4:5] + MIXING[2:], ids=repr
)
def test_channels_may_come_first_or_not_at_all(transform, backend):
    fields = {name: getattr(transform, name) for name in field_names(type(transform), init=True)}
    last = apply(backend, transform)[0]
    first = type(transform)(**{**fields, "channels": "first"})
    assert_equal(np.moveaxis(apply(backend, first, np.moveaxis(IMAGES, 3, 1))[0], 1, 3), last)
    none = type(transform)(**{**fields, "channels": "none"})
    assert_equal(apply(backend, none, IMAGES[..., 0])[0], last[..., 0])


@pytest.mark.parametrize(
    "transform", [RandomFlip(), RandomShift(2), RandomCrop(), CutMix()], ids=repr
)
@pytest.mark.parametrize("shape", [(6, 9, 2), (6, 3, 4, 5, 2)])
def test_signals_and_volumes(transform, shape, backend):
    x = rows(shape)
    found = apply(backend, transform, x, rows((6, 1)))[0]
    assert found.shape == shape
    for image in found:  # nothing is made up
        assert np.isin(image.astype(np.float32), np.append(x.astype(np.float32), 0.0)).all()


@pytest.mark.parametrize("vertical", [False, True])
def test_flips(vertical):
    found, drawn = apply(NUMPY, RandomFlip(vertical=vertical))[0], words(2) < 1 << 23
    assert 0 < drawn[:, 0].sum() < 7
    for image, given, (left, top) in zip(found, IMAGES, drawn, strict=True):
        expected = given[:, ::-1] if left else given
        assert_equal(image, expected[::-1] if top and vertical else expected)
    assert_equal(apply(NUMPY, RandomFlip(probability=0.0))[0], IMAGES)
    assert_equal(apply(NUMPY, RandomFlip(probability=1.0))[0], IMAGES[:, :, ::-1])


@pytest.mark.parametrize(
    ("transform", "sizes", "low", "high"),
    [
        (RandomCrop(padding=2, fill=0.5), (5, 6), (-2, -2), (2, 2)),
        (RandomCrop((4, 3), padding=1, fill="edge"), (4, 3), (-1, -1), (2, 4)),
        (RandomCrop(2, padding=0), (2, 2), (0, 0), (3, 4)),
        (RandomShift(9, fill=-1.5), (5, 6), (-9, -9), (9, 9)),
        (RandomShift(fraction=0.4, fill="edge"), (5, 6), (-2, -2), (2, 2)),
    ],
)  # fmt: skip
def test_shifts_and_crops(transform, sizes, low, high):
    found, drawn = apply(NUMPY, transform)[0], words(2)
    for n, image in enumerate(found):
        s, t = (math.floor(w * (b - a + 1) / 2**24) + a
                for w, a, b in zip(drawn[n], low, high, strict=True))  # fmt: skip
        for i in range(sizes[0]):
            for j in range(sizes[1]):
                row, column = i + s, j + t
                if 0 <= row < 5 and 0 <= column < 6:
                    expected = IMAGES[n, row, column]
                elif transform.fill == "edge":
                    expected = IMAGES[n, min(max(row, 0), 4), min(max(column, 0), 5)]
                else:
                    expected = np.full(3, transform.fill)
                assert_equal(image[i, j], expected)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
def test_partners(weight, backend):
    for step in range(20):
        ctx = training(backend, step)
        batch = Batch(
            backend.asarray(IMAGES), None, None if weight is None else backend.asarray(weight)
        )
        found = host(backend, partners(batch, ctx))
        counts = np.ones(7, dtype=bool) if weight is None else weight > 0
        assert sorted(found) == list(range(7))
        assert (found[counts] != np.arange(7)[counts]).all()
        assert_equal(found[~counts], np.arange(7)[~counts])
        assert counts[found[counts]].all()
    alone = Batch(backend.asarray(IMAGES[:1]), None, None)
    assert host(backend, partners(alone, training(backend))).tolist() == [0]
    nobody = Batch(backend.asarray(IMAGES), None, backend.asarray(np.zeros(7)))
    assert host(backend, partners(nobody, training(backend))).tolist() == list(range(7))


@pytest.mark.parametrize("per", ["batch", "row"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
def test_mixup(per, weight):
    x, y, w = apply(NUMPY, Mixup(0.7, per), weight=weight)
    ctx = training(NUMPY, 3)
    batch = Batch(IMAGES, TARGETS, weight)
    partner = partners(batch, ctx.child("partner"))
    s = np.broadcast_to(beta_draws(words(1, "share", per == "row")[:, 0], 0.7, ctx), (7,))
    for i, j in enumerate(partner):
        assert_close(x[i], s[i] * IMAGES[i] + (1 - s[i]) * IMAGES[j], 1e-14)
        assert_close(y[i], s[i] * TARGETS[i] + (1 - s[i]) * TARGETS[j], 1e-14)
        if weight is not None:
            assert_close(w[i], s[i] * weight[i] + (1 - s[i]) * weight[j], 1e-14)
    assert weight is None or per == "row" or abs(w.sum() - weight.sum()) < 1e-12


@pytest.mark.parametrize("per", ["batch", "row"])
def test_cutmix(per):
    seen = []
    for step in range(30):
        x, y, _ = apply(NUMPY, CutMix(per=per), step=step)
        ctx = training(NUMPY, step)
        partner = partners(Batch(IMAGES, TARGETS), ctx.child("partner"))
        ctx = ctx.child("share")
        drawn = np.broadcast_to(
            row_words(ctx, 7, 3) if per == "row" else batch_words(ctx, 3), (7, 3)
        )
        for i, j in enumerate(partner):
            s = (drawn[i, 0] + 0.5) / 2**24  # the quantile of Beta(1, 1)
            expected, count = IMAGES[i].copy(), 0
            height, width = (int(n * math.sqrt(1 - s)) for n in (5, 6))
            top = math.floor(int(drawn[i, 1]) * 5 / 2**24) - height // 2
            left = math.floor(int(drawn[i, 2]) * 6 / 2**24) - width // 2
            for a in range(max(top, 0), min(top + height, 5)):
                for b in range(max(left, 0), min(left + width, 6)):
                    expected[a, b], count = IMAGES[j, a, b], count + 1
            assert_equal(x[i], expected)
            assert_close(y[i], TARGETS[i] * (1 - count / 30) + TARGETS[j] * (count / 30), 1e-14)
            seen.append(count)
    assert min(seen) <= 1
    assert max(seen) > 12


@pytest.mark.parametrize("alpha", [1e-3, 0.05, 0.2, 0.5, 1.0, 2.5, 30.0, 1e3, 1e4])
def test_the_beta_distribution(alpha, backend):
    stats = pytest.importorskip("scipy.stats")
    x = np.concatenate(
        [np.linspace(0, 1, 41), 0.5 + np.linspace(-3, 3, 31) / np.sqrt(8 * alpha + 4)]
    )
    x = x[(x >= 0) & (x <= 1)]
    assert_close(
        np.asarray([beta_cdf(float(v), alpha) for v in x]), stats.beta.cdf(x, alpha, alpha), 1e-10
    )
    drawn = np.append(np.arange(0, 1 << 24, 9973, dtype=np.int32), (1 << 24) - 1)
    given = backend.xp.asarray(drawn, device=backend.device)
    draws = host(backend, beta_draws(given, alpha, Context(backend, True)))
    assert ((draws >= 0) & (draws <= 1)).all()
    expected = stats.beta.ppf((drawn + 0.5) / 2**24, alpha, alpha)
    np.testing.assert_allclose(draws, expected, rtol=0.0, atol=1 / 512)


def test_uniform_integers(backend):
    drawn = np.append(np.arange(0, 1 << 24, 9973, dtype=np.int32), (1 << 24) - 1)
    given = backend.xp.asarray(drawn, device=backend.device)
    for count in (1, 2, 7, 224, 1 << 18):
        found = host(backend, uniform_integers(given, count))
        assert_equal(found, (drawn.astype(np.int64) * count) >> 24)
    with pytest.raises(ValueError, match="places along an axis"):
        uniform_integers(given, (1 << 18) + 1)
