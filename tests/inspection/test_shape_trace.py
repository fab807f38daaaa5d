"""What layers get and give, and what they cost, without computing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from cases import LAYERS, STATEFUL_LAYERS, each

import nnbackend as nnb
from nnbackend import Dense
from nnbackend.inspection.shape_trace import trace_shapes


def find(traced, path):
    """Return the record of a layer inside."""
    return next(one for one in traced.inside if one.path == path)


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [
        (Dense(5), (3,), 15),
        (Dense(5), (4, 2, 3), 8 * 15),
        (nnb.Conv1D(6, 3), (9, 2), 7 * 3 * 2 * 6),
        (nnb.Conv2D(6, (3, 2), stride=2, groups=2, bias=False), (9, 8, 4), 4 * 4 * 6 * 2 * 6),
        (nnb.Conv2D(6, 3, dilation=2, channels="first"), (4, 9, 8), 5 * 4 * 9 * 4 * 6),
        (nnb.DepthwiseConv2D(3, padding="same"), (9, 8, 4), 72 * 9 * 4),
        (nnb.SeparableConv2D(6, 3, stride=2), (9, 8, 4), 12 * (9 * 4 + 4 * 6)),
        (nnb.ConvTranspose2D(6, 3, stride=2), (4, 5, 2), 20 * 9 * 2 * 6),
        (nnb.Bilinear(4), ((2,), (3,)), 24),
        (nnb.Maxout(4, 3), (2,), 24),
        (nnb.Embedding(100, 8), (5,), 0),
        (nnb.Dropout(0.5), (7,), 0),
        (nnb.BatchNorm(), (7,), 0),
        (nnb.Sequential([Dense(5), Dense(2)]), (3,), 15 + 10),
        (nnb.Highway([Dense(3)]), (3,), 9 + 9),
        (nnb.Repeat(Dense(3), 4), (3,), 36),
        (nnb.Repeat(Dense(3), 4, shared=True), (3,), 36),
        (nnb.WeightNorm(nnb.Conv2D(2, 3)), (5, 5, 1), 9 * 9 * 2),
        (nnb.ScaledDense(5), (3,), 15),
        (nnb.ScaledDense(5, members=2), (2, 3), 30),
        (nnb.MemberDense(5, 2), (2, 3), 30),
        (nnb.RankOneDense(5, 2), (2, 3), 30),
        (nnb.PeriodicEmbedding(16, 3), (4,), 4 * 16 * 3),
        (nnb.PeriodicEmbedding(16, 3, count=2), (4,), 2 * 16 * 3),
    ],
)
def test_multiply_adds_of_a_row(layer, shape, count):
    assert trace_shapes(layer, shape).multiply_adds == count


@each([*LAYERS, *STATEFUL_LAYERS])
def test_every_layer_of_the_library_says_its_multiply_adds(case):
    assert trace_shapes(case.thing, case.shape).multiply_adds is not None


def test_multiply_adds_are_those_that_pytorch_counts():
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    pairs = [
        (nnb.Conv2D(6, (3, 2), stride=2, groups=2), torch.nn.Conv2d(4, 6, (3, 2), 2, groups=2)),
        (nnb.DepthwiseConv2D(3, dilation=2), torch.nn.Conv2d(4, 4, 3, dilation=2, groups=4)),
        (nnb.ConvTranspose2D(6, 3, stride=2), torch.nn.ConvTranspose2d(4, 6, 3, 2)),
        (Dense(7), torch.nn.Linear(4, 7)),
    ]
    for layer, theirs in pairs:
        shape = (4,) if isinstance(layer, Dense) else (9, 8, 4)
        x = torch.zeros(1, *np.roll(shape, 1))
        with FlopCounterMode(display=False) as counter:
            theirs(x)
        assert 2 * trace_shapes(layer, shape).multiply_adds == counter.get_total_flops(), layer


def test_a_shared_layer_is_one_record_that_runs_several_times():
    nodes = {"a": (Dense(4), "x"), "b": ("a", "z"), "c": (nnb.Concatenate(), "a", "b")}
    graph = nnb.Graph(inputs=("x", "z"), nodes=nodes, outputs="c")
    traced = trace_shapes(graph, {"x": (3,), "z": (3,)}, "0")
    shared = find(traced, "0.a")
    assert (shared.runs, shared.parameters, shared.multiply_adds) == (2, 16, 12)
    assert (traced.parameters, traced.multiply_adds, traced.activations) == (16, 24, 16)
    assert traced.output_shape == (8,)


def test_a_checkpoint_keeps_no_activations_of_the_layers_inside():
    layers = [Dense(64, "relu"), Dense(3)]
    assert trace_shapes(nnb.Sequential(layers), (5,)).activations == 67
    assert trace_shapes(nnb.Checkpoint(layers), (5,)).activations == 3


@dataclass(frozen=True)
class Mystery:
    """A layer with a matrix, which does not say how much it multiplies."""

    def init(self, input_shape, rng):
        return {"weight": np.zeros((3, 3))}, input_shape

    def forward(self, params, x, ctx):
        return x @ params["weight"], None


def test_a_layer_with_a_matrix_that_does_not_say_its_multiply_adds_is_unknown():
    traced = trace_shapes(nnb.Sequential([Dense(3), Mystery()]), (3,))
    assert find(traced, "1").multiply_adds is None
    assert traced.multiply_adds is None
    net = nnb.Network([Dense(3), Mystery()], input_shape=3)
    assert "?" in net.summary().splitlines()[2]
    assert "at least 9 multiply-adds" in net.summary()


def test_nothing_is_drawn():
    traced = trace_shapes(nnb.Sequential([Dense(10**7), Dense(10**7)]), (10**6,))
    assert traced.multiply_adds == 10**13 + 10**14


def test_layers_inside_follow_by_their_paths():
    block = nnb.Residual([nnb.Conv2D(2, 3, padding="same"), nnb.BatchNorm()])
    net = nnb.Network([block, nnb.Flatten(), Dense(3)], input_shape=(4, 4, 2))
    rows = net.summary_rows()
    assert [row.path for row in rows] == ["0", "0.0", "0.1", "1", "2"]
    assert [row.is_inside for row in rows] == [False, True, True, False, False]
    assert rows[0].parameters == rows[1].parameters + rows[2].parameters
    outer = sum(row.parameters for row in rows if not row.is_inside)
    assert f"{outer:,} parameters" in net.summary()
    assert "Residual()" in net.summary()


@pytest.mark.parametrize(("dtype", "size"), [("float32", "12 bytes"), ("float64", "24 bytes")])
def test_activations_are_counted_in_bytes_of_the_precision(dtype, size):
    net = nnb.Network([Dense(3)], backend="numpy", dtype=dtype, input_shape=2)
    assert f"and {size} of activations" in net.summary()
