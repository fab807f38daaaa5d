"""Every layer, activation, loss, optimizer, schedule, initializer, metric ..., listed once.

``test_registry.py`` fails for one that is registered and not in these tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import nnbackend as nnb
from nnbackend import activations, initializers, losses, metrics, optimizers, schedules
from nnbackend.constraints import MaxNorm, NonNegative, UnitNorm
from nnbackend.core.shapes import is_shape
from nnbackend.optimizers import EMA, SGD, SWA, AdamW, Clipped, Frozen, Grouped
from nnbackend.regularizers import L1, L2, ElasticNet


@dataclass(frozen=True)
class Case:
    """An object under test, and what goes into it.

    Attributes:
        id: what the test is called.
        thing: the object.
        shape: of one row of input; of several inputs a tree of shapes.
        target: makes targets for rows of that shape.
        indices: the number of indices, where the inputs are indices; of several inputs a tree, nested
            as ``shape``, with None for numbers.
    """

    id: str
    thing: Any
    shape: Any = (4,)
    target: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] | None = None
    indices: Any = None

    def inputs(self, batch: int, seed: int = 0) -> Any:
        """Return rows of input: an array, or a tree of arrays, of numbers or of indices."""
        return _inputs(self.shape, self.indices, batch, seed)


def each(cases: Iterable[Case]) -> Any:
    """Parametrize a test over cases, as its argument ``case``."""
    return pytest.mark.parametrize("case", list(cases), ids=lambda case: case.id)


def _inputs(shape: Any, indices: Any, batch: int, seed: int) -> Any:
    if not is_shape(shape):
        keys = list(shape) if isinstance(shape, dict) else range(len(shape))
        parts = {
            key: _inputs(
                shape[key], indices[key] if isinstance(indices, dict | tuple) else indices,
                batch, seed + 100 * i,
            )
            for i, key in enumerate(keys)
        }  # fmt: skip
        return parts if isinstance(shape, dict) else tuple(parts.values())
    if indices is None:
        return rows((batch, *shape), seed)
    rng = np.random.default_rng(seed)
    return rng.integers(indices, size=(batch, *shape), dtype=np.int32)


def rows(shape: Iterable[int], seed: int = 0, low: float = 0.1) -> np.ndarray:
    """Return numbers of either sign, in float64 and away from 0, where ReLU has its kink."""
    x = np.random.default_rng(seed).normal(size=tuple(shape))
    return np.sign(x) * (np.abs(x) + low)


ACTIVATIONS = [
    Case("identity", activations.Identity()),
    Case("sigmoid", activations.Sigmoid()),
    Case("tanh", activations.Tanh()),
    Case("relu", activations.ReLU()),
    Case("leaky_relu", activations.LeakyReLU()),
    Case("leaky_relu-0.2", activations.LeakyReLU(0.2)),
    Case("elu", activations.ELU()),
    Case("elu-0.5", activations.ELU(0.5)),
    Case("selu", activations.SELU()),
    Case("gelu", activations.GELU()),
    Case("gelu-tanh", activations.GELU("tanh")),
    Case("silu", activations.SiLU()),
    Case("softplus", activations.Softplus()),
    Case("exponential", activations.Exponential()),
    Case("mish", activations.Mish()),
    Case("softmax", activations.Softmax()),
    Case("relu6", activations.ReLU6()),
    Case("hardswish", activations.HardSwish()),
    Case("hardsigmoid", activations.HardSigmoid()),
    Case("hardtanh", activations.HardTanh()),
    Case("hardtanh-0.05-4", activations.HardTanh(0.05, 4.0)),
    Case("celu", activations.CELU()),
    Case("celu-0.5", activations.CELU(0.5)),
    Case("softsign", activations.Softsign()),
    Case("tanhshrink", activations.Tanhshrink()),
    Case("logsigmoid", activations.LogSigmoid()),
    Case("log_softmax", activations.LogSoftmax()),
    Case("sparsemax", activations.Sparsemax()),
]


@nnb.register_function("cube")
def cube(x: Any, xp: Any) -> Any:
    return x * x * x, lambda dy: 3.0 * x * x * dy


@nnb.register_function("wave")
def wave(x: Any, xp: Any) -> Any:
    return xp.sin(x)


@nnb.register_function("slope_of_wave")
def slope_of_wave(x: Any, xp: Any) -> Any:
    return xp.cos(x)


NORMALIZATION: list[Case] = [
    Case("weight_norm", nnb.WeightNorm(nnb.Dense(3, activation="tanh"))),
    Case("weight_norm-conv", nnb.WeightNorm(nnb.Conv1D(2, 2)), (4, 2)),
    Case("layer_norm", nnb.LayerNorm()),
    Case("layer_norm-axes", nnb.LayerNorm(axes=2, epsilon=0.1, bias=False), (2, 3, 4)),
    Case("layer_norm-plain", nnb.LayerNorm(affine=False), (3, 4)),
    Case("rms_norm", nnb.RMSNorm(), (3, 4)),
    Case("rms_norm-axes", nnb.RMSNorm(axes=2, epsilon=0.1, affine=False), (2, 3)),
    Case("group_norm", nnb.GroupNorm(2), (3, 2, 4)),
    Case("group_norm-first", nnb.GroupNorm(2, channels="first", epsilon=0.1), (6, 3)),
    Case("group_norm-plain", nnb.GroupNorm(1, affine=False)),
    Case("instance_norm", nnb.InstanceNorm(), (3, 2, 4)),
    Case("instance_norm-first", nnb.InstanceNorm(affine=True, channels="first"), (2, 5)),
]  # fmt: skip

CONVOLUTION: list[Case] = [
    Case("conv1d", nnb.Conv1D(3, 3, 2, "same", activation="tanh"), (6, 2)),
    Case("conv2d", nnb.Conv2D(3, 3, padding="same", bias_initializer="normal"), (4, 5, 2)),
    Case("conv2d-stride", nnb.Conv2D(2, (2, 1), (3, 2), ((0, 1), (1, 0)), regularizer=L2(0.1)),
         (5, 4, 2)),
    Case("conv2d-dilation", nnb.Conv2D(2, 2, 1, 1, 2, bias=False, channels="first"), (2, 4, 3)),
    Case("conv2d-groups", nnb.Conv2D(4, 2, groups=2, constraint=MaxNorm(0.5)), (3, 3, 4)),
    Case("conv2d-reflect", nnb.Conv2D(2, 3, padding="same", padding_mode="reflect"), (3, 4, 2)),
    Case("conv2d-edge", nnb.Conv2D(2, 3, padding=(0, (2, 1)), padding_mode="edge"), (3, 3, 1)),
    Case("conv2d-one", nnb.Conv2D(3, 1, 2, activation="relu"), (3, 4, 2)),
    Case("conv3d", nnb.Conv3D(2, (2, 1, 2), padding=((1, 0), 0, 1)), (2, 3, 2, 2)),
    Case("depthwise_conv1d", nnb.DepthwiseConv1D(2, 2, padding="same"), (4, 2)),
    Case("depthwise_conv2d", nnb.DepthwiseConv2D(3, padding="same", activation="silu"), (4, 3, 2)),
    Case("depthwise_conv2d-stride", nnb.DepthwiseConv2D(2, 2, 2, channels="first"), (2, 5, 4)),
    Case("depthwise_conv3d", nnb.DepthwiseConv3D(2, dilation=(1, 2, 1)), (2, 3, 2, 2)),
    Case("separable_conv1d", nnb.SeparableConv1D(3, 2, 2, multiplier=2), (5, 2)),
    Case("separable_conv2d",
         nnb.SeparableConv2D(3, 3, padding="same", activation="tanh", regularizer=L2(0.1)), (3, 4, 2)),
    Case("conv_transpose1d", nnb.ConvTranspose1D(2, 3, 2, 1, 1), (3, 2)),
    Case("conv_transpose2d", nnb.ConvTranspose2D(2, 2, 2, activation="relu"), (2, 3, 3)),
    Case("conv_transpose2d-same",
         nnb.ConvTranspose2D(4, 3, (2, 1), "same", dilation=(1, 2), groups=2, bias=False), (2, 3, 2)),
    Case("conv_transpose2d-cut",
         nnb.ConvTranspose2D(2, 3, 3, ((1, 0), 0), (2, 1), channels="first"), (2, 2, 2)),
    Case("conv_transpose3d", nnb.ConvTranspose3D(2, 2, (1, 2, 1), regularizer=L1(0.1)), (2, 1, 2, 2)),
]  # fmt: skip

POOLING: list[Case] = [
    Case("max_pool1d", nnb.MaxPool1D(2), (5, 2)),
    Case("max_pool2d", nnb.MaxPool2D(2), (4, 4, 2)),
    Case("max_pool2d-overlapping", nnb.MaxPool2D(3, 2, 1, channels="first"), (2, 4, 5)),
    Case("max_pool2d-dilation", nnb.MaxPool2D((2, 1), 1, "same", dilation=2), (3, 3, 1)),
    Case("max_pool3d", nnb.MaxPool3D((1, 2, 2)), (2, 2, 3, 2)),
    Case("average_pool1d", nnb.AveragePool1D(3, 1, "same"), (4, 2)),
    Case("average_pool2d", nnb.AveragePool2D(2), (4, 4, 2)),
    Case("average_pool2d-same", nnb.AveragePool2D(2, 1, "same", count_padding=False), (3, 4, 2)),
    Case("average_pool3d", nnb.AveragePool3D(2, 1, channels="first"), (2, 2, 3, 2)),
    Case("lp_pool1d", nnb.LpPool1D(2, p=1), (4, 2)),
    Case("lp_pool2d", nnb.LpPool2D(2, 1, 1), (3, 3, 2)),
    Case("lp_pool3d", nnb.LpPool3D(2, p=3, channels="first"), (1, 2, 2, 2)),
    Case("adaptive_average_pool1d", nnb.AdaptiveAveragePool1D(3), (5, 2)),
    Case("adaptive_average_pool2d", nnb.AdaptiveAveragePool2D((2, 3)), (4, 5, 2)),
    Case("adaptive_average_pool3d", nnb.AdaptiveAveragePool3D(2, "first"), (1, 3, 2, 2)),
    Case("adaptive_max_pool1d", nnb.AdaptiveMaxPool1D(3), (5, 2)),
    Case("adaptive_max_pool2d", nnb.AdaptiveMaxPool2D((2, 3)), (4, 5, 2)),
    Case("adaptive_max_pool3d", nnb.AdaptiveMaxPool3D(2, "first"), (1, 3, 2, 2)),
    Case("global_average_pool1d", nnb.GlobalAveragePool1D(), (4, 2)),
    Case("global_average_pool2d", nnb.GlobalAveragePool2D("first"), (2, 3, 4)),
    Case("global_average_pool3d", nnb.GlobalAveragePool3D(), (2, 1, 3, 2)),
    Case("global_max_pool1d", nnb.GlobalMaxPool1D(), (4, 2)),
    Case("global_max_pool2d", nnb.GlobalMaxPool2D("first"), (2, 3, 4)),
    Case("global_max_pool3d", nnb.GlobalMaxPool3D(), (2, 1, 3, 2)),
    Case("upsample1d", nnb.Upsample1D(3), (3, 2)),
    Case("upsample1d-linear", nnb.Upsample1D(3, "linear", align_corners=True), (4, 2)),
    Case("upsample2d", nnb.Upsample2D((1, 2)), (3, 2, 2)),
    Case("upsample2d-linear", nnb.Upsample2D(2, "bilinear", channels="first"), (2, 3, 2)),
    Case("upsample3d", nnb.Upsample3D((2, 1, 3), "linear"), (2, 1, 3, 1)),
    Case("zero_pad1d", nnb.ZeroPad1D(1), (3, 2)),
    Case("zero_pad2d", nnb.ZeroPad2D(((1, 0), 2)), (2, 3, 2)),
    Case("zero_pad3d", nnb.ZeroPad3D((0, 1, (0, 2)), "first"), (1, 2, 2, 2)),
    Case("crop1d", nnb.Crop1D(1), (4, 2)),
    Case("crop2d", nnb.Crop2D(((1, 0), 2)), (3, 5, 2)),
    Case("crop3d", nnb.Crop3D((0, 1, (0, 2)), "first"), (1, 2, 3, 4)),
    Case("pixel_shuffle", nnb.PixelShuffle(2), (2, 3, 8)),
    Case("pixel_unshuffle", nnb.PixelUnshuffle(2, "first"), (2, 4, 2)),
]  # fmt: skip

EMBEDDING: list[Case] = [
    Case("embedding", nnb.Embedding(5, 3), (4,), indices=5),
    Case("embedding-one", nnb.Embedding(6, 2, padding_index=5), (), indices=5),
    Case("embedding-axes", nnb.Embedding(5, 3, padding_index=4, max_norm=1.2, regularizer=L2(0.02)),
         (2, 3), indices=4),
    Case("embedding-norm", nnb.Embedding(5, 3, max_norm=1.0, norm=3.0), (4,), indices=5),
    Case("bag", nnb.EmbeddingBag(5, 3), (4,), indices=5),
    Case("bag-mean", nnb.EmbeddingBag(5, 3, "mean"), (2, 4), indices=5),
    Case("bag-mean-padding", nnb.EmbeddingBag(4, 3, "mean", padding_index=1), (3,), indices=4),
    Case("bag-max", nnb.EmbeddingBag(5, 3, "max"), (4,), indices=5),
    Case("bag-max-padding", nnb.EmbeddingBag(3, 2, "max", padding_index=0), (2,), indices=3),
    Case("bag-weighted", nnb.EmbeddingBag(5, 3, weighted=True, padding_index=4), ((4,), (4,)),
         indices=(5, None)),
]  # fmt: skip

STRUCTURE: list[Case] = [
    Case(
        "graph",
        nnb.Graph(
            inputs="x",
            nodes={
                "y": (nnb.Dense(3), "both"),
                "a": (nnb.Sequential([nnb.Dense(4, regularizer=L2(0.1)), nnb.Dropout(0.3)]), "x"),
                "b": ("a", "a"),
                "both": (nnb.Concatenate(), "a", "b", "x"),
            },
            outputs="y",
        ),
    ),
    Case(
        "graph-two-inputs",
        nnb.Graph(
            inputs=("image", "table"),
            nodes={
                "seen": (nnb.Sequential([nnb.Flatten(), nnb.Dense(3, "tanh")]), "image"),
                "both": (nnb.Concatenate(), "table", "seen"),
                "y": (nnb.Dense(3, "tanh"), "both"),
            },
            outputs="y",
        ),
        {"image": (2, 3), "table": (4,)},
    ),
    Case("add", nnb.Add(), ((3,), (3,), (3,))),
    Case("average", nnb.Average(), {"a": (2, 3), "b": (2, 3)}),
    Case("multiply", nnb.Multiply(), ((3,), (3,), (3,))),
    Case("bilinear", nnb.Bilinear(2), ((3,), (4,))),
    Case("bilinear-no-bias", nnb.Bilinear(3, bias=False), ((2, 3), (2, 2))),
    Case("highway", nnb.Highway([nnb.Dense(4, "tanh"), nnb.Dropout(0.3)])),
    Case("highway-axes", nnb.Highway([nnb.Dense(3)], gate_bias=0.5), (2, 3)),
    Case("reshape", nnb.Reshape((2, -1)), (4, 3)),
    Case("permute", nnb.Permute((2, 0, 1)), (2, 3, 4)),
    Case("lambda", nnb.Lambda(cube)),
    Case("lambda-derivative", nnb.Lambda(wave, slope_of_wave)),
    Case("parallel", nnb.Parallel([nnb.Dense(3, "tanh"), nnb.Dropout(0.3)])),
    Case("parallel-add", nnb.Parallel([nnb.Dense(4), nnb.Activation("tanh")], mode="add")),
    Case("parallel-multiply", nnb.Parallel([nnb.Dense(4)] * 2, "multiply")),
    Case("parallel-average", nnb.Parallel([nnb.Dense(4)] * 2, "average")),
    Case("parallel-one", nnb.Parallel([nnb.Dense(4)], axis=0)),
    Case("repeat", nnb.Repeat(nnb.Dense(4, "tanh"), 3)),
    Case("repeat-shared", nnb.Repeat(nnb.Sequential([nnb.Dense(4), nnb.Dropout(0.3)]), 3, shared=True)),
    Case("checkpoint", nnb.Checkpoint([nnb.Dense(4, "tanh"), nnb.Dropout(0.3), nnb.Dense(2)])),
    Case("freeze", nnb.Sequential([nnb.Dense(3), nnb.Freeze(nnb.Dense(3, "tanh"))])),
    Case(
        "split",
        nnb.Graph(
            "x",
            {
                "cut": (nnb.Split((1, 3)), "x"),
                "gate": (nnb.Dense(3, "sigmoid"), "cut.0"),
                "y": (nnb.Multiply(), "gate", "cut.1"),
            },
            "y",
        ),
    ),
    Case("concatenate", nnb.Concatenate(), ((3,), (2,))),
    Case("concatenate-axis-0", nnb.Concatenate(axis=0), {"a": (2, 3), "b": (1, 3)}),
]  # fmt: skip

GATES: list[Case] = [
    Case("prelu", nnb.PReLU()),
    Case("prelu-channels", nnb.PReLU(3, 0.1), (2, 3)),
    Case("prelu-first", nnb.PReLU(2, -0.5, channels="first"), (2, 3)),
    Case("glu", nnb.GLU()),
    Case("glu-first", nnb.GLU(channels="first"), (2, 3)),
    Case("swiglu", nnb.SwiGLU(), (3, 4)),
    Case("geglu", nnb.GEGLU()),
    Case("geglu-tanh", nnb.GEGLU(approximate="tanh")),
    Case("reglu", nnb.ReGLU()),
    Case("maxout", nnb.Maxout(3, 2)),
    Case("maxout-over-axes", nnb.Maxout(2, 3, bias=False, regularizer="l2"), (2, 4)),
    Case("maxout-one-piece", nnb.Maxout(3, 1, bias_initializer="normal", constraint=MaxNorm(0.5))),
    Case("normalize", nnb.Normalize(0.5, 2)),
    Case("normalize-channels", nnb.Normalize((0.1, -0.2, 0.3), [0.5, 1.0, 2.0], axis=1), (3, 2)),
]  # fmt: skip

REGULARIZATION: list[Case] = [
    Case("spatial_dropout", nnb.SpatialDropout(0.4), (3, 4)),
    Case("spatial_dropout-first", nnb.SpatialDropout(0.4, "first"), (4, 2, 2)),
    Case("spatial_dropout-none", nnb.SpatialDropout(0.0), (2, 2)),
    Case("drop_path", nnb.DropPath(0.4)),
    Case("drop_path-residual", nnb.Residual([nnb.Dense(4, "tanh"), nnb.DropPath(0.5)]), (2, 4)),
    Case("drop_block", nnb.DropBlock(0.3, 3), (6, 2)),
    Case("drop_block-2d", nnb.DropBlock(0.2, 2), (4, 3, 2)),
    Case("drop_block-first", nnb.DropBlock(0.3, 1, channels="first"), (2, 3, 2)),
    Case("drop_block-long", nnb.DropBlock(0.5), (4, 2)),
    Case("drop_block-none", nnb.DropBlock(0.0, 3), (4, 2)),
]  # fmt: skip

TABULAR: list[Case] = [
    Case("periodic_embedding", nnb.PeriodicEmbedding(5, 2, 0.5)),
    Case("periodic_embedding-some", nnb.PeriodicEmbedding(3, 1, count=2), (2, 4)),
    Case("periodic_embedding-axes", nnb.PeriodicEmbedding(4, 2, count=3, axes=2), (2, 4)),
    Case("feature_scale", nnb.FeatureScale(), (3, 4)),
    Case("feature_scale-axes", nnb.FeatureScale(axes=2), (3, 4)),
    Case("parametric_activation", nnb.ParametricActivation("selu")),
    Case("parametric_activation-axes", nnb.ParametricActivation("mish", axes=2), (2, 3, 4)),
    Case("scaled_dense", nnb.ScaledDense(3)),
    Case("scaled_dense-axes", nnb.ScaledDense(3, bias=False, data_driven=False), (2, 4)),
    Case("scaled_dense-members", nnb.ScaledDense(2, members=3, bias_initializer="normal"), (3, 4)),
    Case("member_dense", nnb.MemberDense(2, 3), (3, 4)),
    Case("member_dense-no-bias", nnb.MemberDense(2, 3, bias=False), (3, 4)),
    Case("rank_one_dense",
         nnb.RankOneDense(2, 3, bias_initializer="normal", input_initializer="random_signs",
                          output_initializer="normal"), (3, 4)),
    Case("rank_one_dense-no-bias", nnb.RankOneDense(4, 2, bias=False), (2, 3)),
    Case("replicate", nnb.Replicate(3), (2, 4)),
    Case("member_mean", nnb.MemberMean(), (3, 4)),
    Case("members", nnb.Sequential([nnb.Replicate(3), nnb.ScaledDense(4, 3),
                                    nnb.ParametricActivation("tanh", axes=2), nnb.Dropout(0.3),
                                    nnb.MemberDense(2, 3)])),
]  # fmt: skip

# Their own tests compare them with torch's layers; test_crosscheck_torch.py has the others.
FAMILIES = [
    *NORMALIZATION,
    *CONVOLUTION,
    *POOLING,
    *EMBEDDING,
    *STRUCTURE,
    *GATES,
    *REGULARIZATION,
    *TABULAR,
]

LAYERS = [
    *FAMILIES,
    Case("dropout-schedule", nnb.Dropout(schedules.FlatCosine(0.4, 4))),
    Case("dense", nnb.Dense(3)),
    Case("dense-no-bias", nnb.Dense(3, bias=False)),
    Case("dense-tanh", nnb.Dense(3, activation="tanh", bias_initializer="normal")),
    Case("dense-softmax", nnb.Dense(3, activation="softmax")),
    Case("dense-penalty", nnb.Dense(3, activation="tanh", regularizer=ElasticNet(0.02, 0.03))),
    Case("dense-constraint", nnb.Dense(3, constraint=MaxNorm(0.5))),
    Case("dense-one", nnb.Dense(1, activation="sigmoid"), (1,)),
    Case("dense-over-axes", nnb.Dense(3, activation="silu"), (2, 5, 4)),
    Case("activation", nnb.Activation("gelu"), (2, 3)),
    Case("dropout", nnb.Dropout(0.4)),
    Case("dropout-none", nnb.Dropout(0.0)),
    Case("gaussian_noise", nnb.GaussianNoise(0.3), (3, 2)),
    Case("gaussian_noise-none", nnb.GaussianNoise(0.0)),
    Case("alpha_dropout", nnb.AlphaDropout(0.3)),
    Case("alpha_dropout-none", nnb.AlphaDropout(0.0)),
    Case("flatten", nnb.Flatten(), (2, 3)),
    Case("residual", nnb.Residual([nnb.Dense(5, activation="tanh"), nnb.Dense(4)])),
    Case("residual-empty", nnb.Residual([])),
    Case("residual-penalty", nnb.Residual([nnb.Dense(4, regularizer=L1(0.02))])),
    Case("sequential", nnb.Sequential([nnb.Dense(3, activation="elu"), nnb.Dense(2)])),
    Case("sequential-empty", nnb.Sequential([])),
    Case(
        "nested",
        nnb.Sequential([
            nnb.Sequential([nnb.Flatten()]),
            nnb.Residual([nnb.Dropout(0.2), nnb.Residual([nnb.Dense(6, activation="mish")])]),
            nnb.Dense(2, activation="softplus"),
        ]),
        (3, 2),
    ),
]  # fmt: skip


@nnb.register_layer
@dataclass(frozen=True)
class RunningMean:
    """Takes away the mean of the rows seen in training; its own state, and no parameters."""

    rate: float = 0.1

    def init(self, input_shape: Any, rng: Any) -> Any:
        return {}, input_shape

    def init_state(self, input_shape: Any) -> Any:
        return {"mean": np.zeros(input_shape), "count": np.zeros(())}

    def forward(self, params: Any, x: Any, ctx: Any) -> Any:
        xp, mean = ctx.xp, ctx.state["mean"]
        if ctx.training:
            new = _row_mean(x, ctx)
            ctx.set_state(mean=mean + self.rate * (new - mean), count=ctx.state["count"] + 1.0)
        return x - xp.astype(mean, x.dtype), lambda dy, input_grad=True: (dy, {})


@nnb.register_layer
@dataclass(frozen=True)
class BatchScale:
    """Divides by the root mean square of the batch, ``y = weight * x / r``, or by a running one.

    In training ``r**2 = sum(w * x**2) / sum(w) + 1`` for each feature, with the row weights ``w``.
    """

    rate: float = 0.1

    def init(self, input_shape: Any, rng: Any) -> Any:
        return {"weight": np.linspace(0.5, 1.5, input_shape[-1])}, input_shape

    def init_state(self, input_shape: Any) -> Any:
        return {"square": np.ones(input_shape)}

    def forward(self, params: Any, x: Any, ctx: Any) -> Any:
        xp, weight, old = ctx.xp, params["weight"], ctx.state["square"]
        square = xp.astype(old, x.dtype)
        if ctx.training:
            square = _row_mean(x * x, ctx)
            ctx.set_state(square=old + self.rate * (square - old))
        r = xp.sqrt(square + 1.0)
        z = x / r

        def backward(dy: Any, input_grad: bool = True) -> Any:
            axes = tuple(range(len(x.shape) - 1))
            grads = {"weight": xp.sum(dy * z, axis=axes)}
            dz = dy * weight
            dx = dz / r
            if ctx.training:
                share = _row_share(x, ctx)
                dx = dx - share * x * (xp.sum(dz * z, axis=0) / (r * r))
            return dx, grads

        return weight * z, backward


def _row_share(x: Any, ctx: Any) -> Any:
    """Return what each row counts in a mean over rows, by which padding counts nothing."""
    xp, shape = ctx.xp, (x.shape[0], *[1] * (len(x.shape) - 1))
    weight = ctx.row_weight
    if weight is None:
        weight = xp.ones(x.shape[0], dtype=x.dtype, device=ctx.backend.device)
    weight, total = xp.astype(weight, x.dtype), xp.astype(xp.sum(weight), x.dtype)
    total = xp.where(total > 0.0, total, xp.ones_like(total))
    return xp.reshape(weight / total, shape)


def _row_mean(x: Any, ctx: Any) -> Any:
    return ctx.xp.sum(x * _row_share(x, ctx), axis=0)


SEVERAL_OUTPUTS = [nnb.Split(2), nnb.Freeze(nnb.Dense(3))]
"""Layers that the tables have inside others alone: with several outputs, or that cannot learn."""

STATEFUL_LAYERS = [
    Case("batch_norm", nnb.BatchNorm()),
    Case("spectral_norm", nnb.SpectralNorm(nnb.Dense(3, activation="tanh"), iterations=40)),
    Case("spectral_norm-conv", nnb.SpectralNorm(nnb.Conv1D(2, 2), iterations=40), (4, 2)),
    Case("batch_norm-first", nnb.BatchNorm(axis=1, momentum=0.5), (3, 2, 2)),
    Case("batch_norm-axes", nnb.BatchNorm(axis=(1, -1), epsilon=0.1), (2, 4, 3)),
    Case("batch_norm-plain", nnb.BatchNorm(affine=False), (4, 2)),
    Case("running_mean", RunningMean()),
    Case("batch_scale", BatchScale()),
    Case(
        "stateful-nested",
        nnb.Sequential([
            nnb.Residual([nnb.Dense(4), RunningMean(), nnb.Residual([BatchScale(0.3)])]),
            nnb.Dropout(0.2),
            BatchScale(),
        ]),
    ),
]  # fmt: skip


def _numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape)


def _probabilities(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(size=shape)


def _soft_labels(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])


def _labels(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(shape[-1], size=shape[:-1]).astype(np.int32)


def _one_hot(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.eye(shape[-1])[rng.integers(shape[-1], size=shape[:-1])]


def _counts(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.poisson(2.0, size=shape).astype(float)


def _yes_or_no(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(2, size=shape).astype(float)


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 2.0 * _yes_or_no(rng, shape) - 1.0


LOSSES = [
    Case("mse", losses.mse, target=_numbers),
    Case("mse-axes", losses.mse, (2, 3), target=_numbers),
    Case("mae", losses.mae, target=_numbers),
    Case("huber", losses.huber, target=_numbers),
    Case("huber-0.3", losses.Huber(0.3), target=_numbers),
    Case("log_cosh", losses.log_cosh, target=_numbers),
    Case("quantile", losses.quantile, target=_numbers),
    Case("quantile-0.9", losses.Quantile(0.9), target=_numbers),
    Case("quantiles", losses.Quantile((0.05, 0.5, 0.95)), (2, 3), target=_numbers),
    Case("poisson", losses.poisson, target=_counts),
    Case("cosine_similarity", losses.cosine_similarity, target=_numbers),
    Case("cosine_similarity-axes", losses.cosine_similarity, (2, 3), target=_numbers),
    Case("hinge", losses.hinge, target=_signs),
    Case("squared_hinge", losses.squared_hinge, target=_signs),
    Case("categorical_hinge", losses.categorical_hinge, target=_labels),
    Case("categorical_hinge-axes", losses.categorical_hinge, (2, 3), target=_one_hot),
    Case("binary_focal", losses.binary_focal, target=_yes_or_no),
    Case("binary_focal-soft", losses.BinaryFocal(1.5, alpha=0.25), target=_probabilities),
    Case("softmax_focal", losses.softmax_focal, target=_labels),
    Case("softmax_focal-0.5", losses.SoftmaxFocal(0.5), (2, 3), target=_soft_labels),
    Case("kl_divergence", losses.kl_divergence, target=_soft_labels),
    Case("kl_divergence-labels", losses.kl_divergence, target=_labels),
    Case("binary_cross_entropy-smooth", losses.BinaryCrossEntropy(0.1), target=_probabilities),
    Case("softmax_cross_entropy-smooth", losses.SoftmaxCrossEntropy(0.1), target=_soft_labels),
    Case("softmax_cross_entropy-smooth-labels", losses.SoftmaxCrossEntropy(label_smoothing=0.2),
         target=_labels),
    Case("binary_cross_entropy", losses.binary_cross_entropy, target=_probabilities),
    Case("softmax_cross_entropy", losses.softmax_cross_entropy, target=_soft_labels),
    Case("softmax_cross_entropy-labels", losses.softmax_cross_entropy, target=_labels),
    Case("softmax_cross_entropy-axes", losses.softmax_cross_entropy, (2, 3), target=_labels),
]  # fmt: skip

OPTIMIZERS = [
    Case("sgd", optimizers.SGD(0.1)),
    Case("sgd-decay", optimizers.SGD(0.1, weight_decay=0.02)),
    Case("sgd-momentum", optimizers.SGD(0.05, momentum=0.9)),
    Case("sgd-nesterov", optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
    Case("rmsprop", optimizers.RMSprop(0.01)),
    Case("rmsprop-momentum",
         optimizers.RMSprop(0.01, smoothing=0.9, momentum=0.8, weight_decay=0.01)),
    Case("adam", optimizers.Adam(0.02)),
    Case("adam-decay", optimizers.Adam(0.02, beta1=0.8, beta2=0.9, epsilon=1e-6,
                                       weight_decay=0.02)),
    Case("adamw", optimizers.AdamW(0.02)),
    Case("adamw-decay", optimizers.AdamW(0.02, weight_decay=0.1)),
    Case("adam-amsgrad", optimizers.Adam(0.02, beta2=0.9, amsgrad=True)),
    Case("adamw-amsgrad", optimizers.AdamW(0.02, beta2=0.9, amsgrad=True)),
    Case("nadam", optimizers.Nadam(0.02)),
    Case("nadam-decay", optimizers.Nadam(0.02, beta1=0.8, beta2=0.9, epsilon=1e-6,
                                         weight_decay=0.02, momentum_decay=0.1)),
    Case("radam", optimizers.RAdam(0.05)),
    Case("radam-decay", optimizers.RAdam(0.05, beta1=0.8, beta2=0.99, epsilon=1e-6,
                                         weight_decay=0.02)),
    Case("radam-no-epsilon", optimizers.RAdam(0.05, epsilon=0.0)),
    Case("adagrad", optimizers.Adagrad(0.5)),
    Case("adagrad-decay", optimizers.Adagrad(0.5, initial=0.1, epsilon=0.0, weight_decay=0.02)),
    Case("adadelta", optimizers.Adadelta(2.0, epsilon=1e-3)),
    Case("adadelta-decay", optimizers.Adadelta(smoothing=0.8, epsilon=1e-2,
                                               weight_decay=0.02)),
    Case("lion", optimizers.Lion(0.02)),
    Case("lion-decay", optimizers.Lion(0.02, beta1=0.8, beta2=0.95, weight_decay=0.1)),
    Case("lamb", optimizers.LAMB(0.05)),
    Case("lamb-decay", optimizers.LAMB(0.05, beta1=0.8, beta2=0.9, epsilon=1e-8,
                                       weight_decay=0.1)),
    Case("muon", optimizers.Muon(0.02, others=optimizers.AdamW(0.03))),
    Case("muon-plain", optimizers.Muon(0.02, momentum=0.8, nesterov=False, weight_decay=0.01,
                                       iterations=4, epsilon=1e-30,
                                       others=optimizers.Adam(0.02, epsilon=1e-30))),
    Case("muon-rms", optimizers.Muon(0.02, adjust="match_rms_adamw", others=optimizers.SGD(0.1))),
]  # fmt: skip

# Those that have no update of their own; test_lbfgs.py is about them.
SOLVERS = [Case("lbfgs", optimizers.LBFGS(history=5))]

SCHEDULES = [
    Case("constant", schedules.Constant(0.3)),
    Case("step", schedules.Step(0.4, every=7, factor=0.5)),
    Case("multi_step", schedules.MultiStep(0.4, (5, 6, 30), factor=0.3)),
    Case("exponential", schedules.Exponential(0.4, 0.95)),
    Case("exponential-every", schedules.Exponential(0.4, 0.5, every=10, minimum=0.05)),
    Case("polynomial", schedules.Polynomial(0.4, 40)),
    Case("polynomial-2", schedules.Polynomial(0.4, 30, power=2.0, final=0.1)),
    Case("cosine", schedules.Cosine(0.4, 50)),
    Case("cosine-final", schedules.Cosine(0.4, 30, final=0.1)),
    Case("cosine-restarts", schedules.Cosine(0.4, 9, final=0.1, multiplier=1)),
    Case("cosine-longer", schedules.Cosine(0.4, 7, final=0.1, multiplier=2)),
    Case("cosine_log", schedules.CosineLog(0.4, 50)),
    Case("cosine_log-two", schedules.CosineLog(0.4, 40, cycles=2)),
    Case("flat_cosine", schedules.FlatCosine(0.4, 40)),
    Case("one_cycle", schedules.OneCycle(0.4, 50)),
    Case("one_cycle-linear", schedules.OneCycle(0.4, 50, warmup=0.4, initial=0.1, final=0.01,
                                                shape="linear")),
    Case("inverse_square_root", schedules.InverseSquareRoot(0.4, 10)),
    Case("warmup", schedules.Warmup(schedules.Cosine(0.4, 40), 10)),
    Case("warmup-to-a-number", schedules.Warmup(0.4, 10, initial=0.1)),
    Case("transformer", schedules.Warmup(schedules.InverseSquareRoot(0.4, 10), 10)),
    Case("scaled", schedules.Scaled(schedules.Step(0.4, every=7, factor=0.5), 0.1)),
]  # fmt: skip

# Patterns match parameters of any network whose layers 0 and 2 have weight and bias.
WRAPPERS = [
    Case("clipped-norm", Clipped(AdamW(0.02), norm=0.5)),
    Case("clipped-value", Clipped(SGD(0.05, momentum=0.9), value=0.1)),
    Case("ema", EMA(AdamW(0.02), decay=0.9)),
    Case("ema-uncorrected", EMA(SGD(0.05), decay=0.9, bias_correction=False)),
    Case("swa", SWA(SGD(0.05), start=3, every=2)),
    Case("grouped", Grouped(AdamW(schedules.InverseSquareRoot(0.02, 4)),
                            {"0.*": {"learning_rate_factor": 0.5, "beta1": 0.8},
                             "*.bias": {"weight_decay": 0.3}, "2.*weight": SGD(0.1, momentum=0.5)})),
    Case("grouped-factors",
         Grouped(AdamW(0.02, weight_decay=schedules.FlatCosine(0.2, 8)),
                 {"0.weight": {"learning_rate_factor": 6.0, "weight_decay_factor": 0.5},
                  "2.*": {"weight_decay_factor": 0.0}})),
    Case("grouped-decay", Grouped(AdamW(0.02, weight_decay=0.2), decay="weights")),
    Case("frozen", Frozen(AdamW(0.02, weight_decay=0.1), ("0.weight", "2.*bias", "0.b*"))),
    Case("nested", Frozen(EMA(Clipped(Grouped(AdamW(0.02), decay="weights"), norm=0.5), decay=0.8),
                          "0.*")),
]  # fmt: skip

REGULARIZERS = [
    Case("l1", L1(0.02)),
    Case("l2", L2(0.03)),
    Case("elastic_net", ElasticNet(0.02, 0.03)),
    Case("none", L2(0.0)),
]

CONSTRAINTS = [
    Case("max_norm", MaxNorm(0.5)),
    Case("unit_norm", UnitNorm()),
    Case("non_negative", NonNegative()),
]

SHAPE = (300, 200)  # of a weight: fan-in 300, fan-out 200


@dataclass(frozen=True)
class AdamBase:
    """What an initializer promises for a weight of ``SHAPE``.

    Attributes:
        mean: of the values.
        std: of the values.
        bound: that no value exceeds, for the bounded ones.
    """

    thing: Any
    mean: float
    std: float
    bound: float = math.inf


_GLOROT, _HE, _LECUN = math.sqrt(2 / 500), math.sqrt(2 / 300), math.sqrt(1 / 300)
INITIALIZERS = {
    "zeros": AdamBase(initializers.Zeros(), 0.0, 0.0, 0.0),
    "ones": AdamBase(initializers.Ones(), 1.0, 0.0, 1.0),
    "normal": AdamBase(initializers.Normal(), 0.0, 1.0),
    "normal-2-3": AdamBase(initializers.Normal(2.0, 3.0), 2.0, 3.0),
    "uniform": AdamBase(initializers.Uniform(), 0.5, math.sqrt(1 / 12), 1.0),
    "uniform-1": AdamBase(initializers.Uniform(-1.0, 1.0), 0.0, math.sqrt(1 / 3), 1.0),
    "glorot_normal": AdamBase(initializers.GlorotNormal(), 0.0, _GLOROT),
    "glorot_uniform": AdamBase(initializers.GlorotUniform(), 0.0, _GLOROT, 3**0.5 * _GLOROT),
    "he_normal": AdamBase(initializers.HeNormal(), 0.0, _HE),
    "he_uniform": AdamBase(initializers.HeUniform(), 0.0, _HE, 3**0.5 * _HE),
    "lecun_normal": AdamBase(initializers.LecunNormal(), 0.0, _LECUN),
    "lecun_uniform": AdamBase(initializers.LecunUniform(), 0.0, _LECUN, 3**0.5 * _LECUN),
    "random_signs": AdamBase(initializers.RandomSigns(), 0.0, 1.0, 1.0),
    "orthogonal": AdamBase(initializers.Orthogonal(), 0.0, math.sqrt(1 / 300), 1.0),
}


@dataclass(frozen=True)
class Measured:
    """A metric under test.

    Attributes:
        thing: the metric.
        reference: ``reference(sklearn.metrics, prediction, target, weight) -> number``.
        kind: what it is shown: ``numbers``; ``classes``, probabilities of four classes and class
            numbers; ``binary``, probabilities of one output; or ``tags``, three on their own.
    """

    thing: Any
    reference: Callable[..., float]
    kind: str = "numbers"


def _averaged(name: str, average: str) -> Callable[..., float]:
    return lambda sk, p, t, w: getattr(sk, name)(
        t, p.argmax(1), average=average, sample_weight=w, zero_division=0.0
    )


def _plain(name: str) -> Callable[..., float]:
    return lambda sk, p, t, w: getattr(sk, name)(t, p > 0.5, sample_weight=w)


METRICS = {
    "accuracy": Measured(metrics.Accuracy(), lambda sk, p, t, w: sk.accuracy_score(
        t, p.argmax(1), sample_weight=w), "classes"),
    "accuracy-binary": Measured(metrics.Accuracy(), _plain("accuracy_score"), "binary"),
    "accuracy-threshold": Measured(metrics.Accuracy(0.3), lambda sk, p, t, w: np.average(
        ((p > 0.3) == t).mean(1), weights=w), "tags"),
    "balanced_accuracy": Measured(metrics.BalancedAccuracy(), lambda sk, p, t, w:
        sk.balanced_accuracy_score(t, p.argmax(1), sample_weight=w), "classes"),
    "balanced_accuracy-binary": Measured(
        metrics.BalancedAccuracy(), _plain("balanced_accuracy_score"), "binary"),
    "top_k_accuracy": Measured(metrics.TopKAccuracy(2), lambda sk, p, t, w:
        sk.top_k_accuracy_score(t, p, k=2, sample_weight=w, labels=range(4)), "classes"),
    "precision": Measured(metrics.Precision(), _plain("precision_score"), "binary"),
    "recall": Measured(metrics.Recall(), _plain("recall_score"), "binary"),
    "f1": Measured(metrics.F1(), _plain("f1_score"), "binary"),
    **{
        f"{name}-{average}": Measured(cls(average), _averaged(f"{name}_score", average), "classes")
        for name, cls in {
            "precision": metrics.Precision, "recall": metrics.Recall, "f1": metrics.F1,
        }.items()
        for average in ("macro", "micro", "weighted")
    },
    **{
        f"f1-{average}-tags": Measured(
            metrics.F1(average, threshold=0.5), lambda sk, p, t, w, average=average:
            sk.f1_score(t, p > 0.5, average=average, sample_weight=w), "tags")
        for average in ("macro", "micro", "weighted")
    },
    "f1-macro-binary": Measured(metrics.F1("macro"), lambda sk, p, t, w: sk.f1_score(
        t, p > 0.5, average="macro", sample_weight=w), "binary"),
    "roc_auc": Measured(metrics.ROCAUC(), lambda sk, p, t, w: sk.roc_auc_score(
        t, p, sample_weight=w), "binary"),
    "roc_auc-classes": Measured(metrics.ROCAUC(), lambda sk, p, t, w: sk.roc_auc_score(
        t, p, multi_class="ovr", sample_weight=w), "classes"),
    "roc_auc-tags": Measured(metrics.ROCAUC(outputs="sigmoid"), lambda sk, p, t, w:
        sk.roc_auc_score(t, p, sample_weight=w), "tags"),
    "average_precision": Measured(metrics.AveragePrecision(), lambda sk, p, t, w:
        sk.average_precision_score(t, p, sample_weight=w), "binary"),
    "average_precision-classes": Measured(metrics.AveragePrecision(), lambda sk, p, t, w:
        sk.average_precision_score(t, p, sample_weight=w), "classes"),
    "average_precision-tags": Measured(
        metrics.AveragePrecision(outputs="sigmoid"), lambda sk, p, t, w:
        sk.average_precision_score(t, p, sample_weight=w), "tags"),
    "log_loss": Measured(metrics.LogLoss(), lambda sk, p, t, w: sk.log_loss(
        t, p, sample_weight=w), "binary"),
    "log_loss-classes": Measured(metrics.LogLoss(), lambda sk, p, t, w: sk.log_loss(
        t, p, sample_weight=w), "classes"),
    "mse": Measured(metrics.MeanSquaredError(), lambda sk, p, t, w: sk.mean_squared_error(
        t, p, sample_weight=w)),
    "rmse": Measured(metrics.RootMeanSquaredError(), lambda sk, p, t, w:
        sk.mean_squared_error(t, p, sample_weight=w) ** 0.5),
    "mae": Measured(metrics.MeanAbsoluteError(), lambda sk, p, t, w: sk.mean_absolute_error(
        t, p, sample_weight=w)),
    "mape": Measured(metrics.MeanAbsolutePercentageError(), lambda sk, p, t, w:
        sk.mean_absolute_percentage_error(t, p, sample_weight=w)),
    "r2": Measured(metrics.R2(), lambda sk, p, t, w: sk.r2_score(t, p, sample_weight=w)),
}  # fmt: skip
