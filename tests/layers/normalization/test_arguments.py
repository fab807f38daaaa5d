"""What layer, RMS, group and instance normalization refuse."""

from __future__ import annotations

import pytest

import nnbackend as nnb


@pytest.mark.parametrize(
    ("make", "words"),
    [(lambda: nnb.LayerNorm(0), "axes"), (lambda: nnb.LayerNorm(epsilon=0), "epsilon"),
     (lambda: nnb.LayerNorm(affine=1), "affine"), (lambda: nnb.LayerNorm(bias="no"), "bias"),
     (lambda: nnb.RMSNorm(1.5), "axes"), (lambda: nnb.RMSNorm(epsilon=-1), "epsilon"),
     (lambda: nnb.GroupNorm(0), "groups"), (lambda: nnb.GroupNorm(2, channels="middle"), "channels"),
     (lambda: nnb.InstanceNorm(channels=1), "channels"),
     (lambda: nnb.InstanceNorm(epsilon=float("nan")), "epsilon")],
)  # fmt: skip
def test_wrong_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [(nnb.LayerNorm(3), (4, 5), r"layer 0 \(LayerNorm\): .*last 3 axes.*\(4, 5\)"),
     (nnb.RMSNorm(2), (4,), r"layer 0 \(RMSNorm\): .*last 2 axes.*\(4,\)"),
     (nnb.GroupNorm(3), (5, 4), r"layer 0 \(GroupNorm\): 4 channels cannot .*groups=3"),
     (nnb.GroupNorm(2, channels="first"), (5, 4), "5 channels cannot"),
     (nnb.InstanceNorm(), (4,), r"layer 0 \(InstanceNorm\): .*each has one"),
     (nnb.InstanceNorm(), (1, 4), "each has one"), (nnb.GroupNorm(1), (), "scalar")],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(layer, shape, words):
    with pytest.raises(ValueError, match=words):
        nnb.Network([layer], input_shape=shape)
