"""Every layer, activation, loss, optimiser, schedule, initialiser, metric ..., listed once.

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
from nnbackend.optimizers import EMA, SGD, SWA, AdamW, Clipped, Frozen, Grouped
from nnbackend.regularizers import L1, L2, ElasticNet


@dataclass(frozen=True)
class Case:
    """An object under test, and what goes into it.

    Attributes:
        id: what the test is called.
        thing: the object.
        shape: of one row of input.
        target: makes targets for rows of that shape.
    """

    id: str
    thing: Any
    shape: tuple[int, ...] = (4,)
    target: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] | None = None


def each(cases: Iterable[Case]) -> Any:
    """Parametrise a test over cases, as its argument ``case``."""
    return pytest.mark.parametrize("case", list(cases), ids=lambda case: case.id)


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
    Case("mish", activations.Mish()),
    Case("exponential", activations.Exponential()),
    Case("softmax", activations.Softmax()),
]

LAYERS = [
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


def _numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape)


def _probabilities(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(size=shape)


def _soft_labels(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])


def _labels(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(shape[-1], size=shape[:-1]).astype(np.int32)


LOSSES = [
    Case("mse", losses.mse, target=_numbers),
    Case("mse-axes", losses.mse, (2, 3), target=_numbers),
    Case("mae", losses.mae, target=_numbers),
    Case("huber", losses.huber, target=_numbers),
    Case("huber-0.3", losses.Huber(0.3), target=_numbers),
    Case("binary_cross_entropy", losses.binary_cross_entropy, target=_probabilities),
    Case("softmax_cross_entropy", losses.softmax_cross_entropy, target=_soft_labels),
    Case("softmax_cross_entropy-labels", losses.softmax_cross_entropy, target=_labels),
    Case("softmax_cross_entropy-axes", losses.softmax_cross_entropy, (2, 3), target=_labels),
]

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
class Moments:
    """What an initialiser promises for a weight of ``SHAPE``.

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
    "zeros": Moments(initializers.Zeros(), 0.0, 0.0, 0.0),
    "ones": Moments(initializers.Ones(), 1.0, 0.0, 1.0),
    "normal": Moments(initializers.Normal(), 0.0, 1.0),
    "normal-2-3": Moments(initializers.Normal(2.0, 3.0), 2.0, 3.0),
    "uniform": Moments(initializers.Uniform(), 0.5, math.sqrt(1 / 12), 1.0),
    "uniform-1": Moments(initializers.Uniform(-1.0, 1.0), 0.0, math.sqrt(1 / 3), 1.0),
    "glorot_normal": Moments(initializers.GlorotNormal(), 0.0, _GLOROT),
    "glorot_uniform": Moments(initializers.GlorotUniform(), 0.0, _GLOROT, 3**0.5 * _GLOROT),
    "he_normal": Moments(initializers.HeNormal(), 0.0, _HE),
    "he_uniform": Moments(initializers.HeUniform(), 0.0, _HE, 3**0.5 * _HE),
    "lecun_normal": Moments(initializers.LecunNormal(), 0.0, _LECUN),
    "lecun_uniform": Moments(initializers.LecunUniform(), 0.0, _LECUN, 3**0.5 * _LECUN),
    "orthogonal": Moments(initializers.Orthogonal(), 0.0, math.sqrt(1 / 300), 1.0),
}


def _r2(p: np.ndarray, t: np.ndarray, w: np.ndarray) -> float:
    mean = np.average(t, axis=0, weights=w)
    return float(np.mean(1 - w @ (p - t) ** 2 / (w @ (t - mean) ** 2)))


METRICS = {
    "accuracy": (metrics.Accuracy(),
                 lambda p, t, w: np.average(p.argmax(1) == t.argmax(1), weights=w)),
    "accuracy-threshold": (metrics.Accuracy(0.5),
                           lambda p, t, w: np.average(((p > 0.5) == (t > 0.5)).mean(1), weights=w)),
    "mse": (metrics.MeanSquaredError(),
            lambda p, t, w: np.average(((p - t) ** 2).mean(1), weights=w)),
    "rmse": (metrics.RootMeanSquaredError(),
             lambda p, t, w: np.average(((p - t) ** 2).mean(1), weights=w) ** 0.5),
    "mae": (metrics.MeanAbsoluteError(),
            lambda p, t, w: np.average(np.abs(p - t).mean(1), weights=w)),
    "r2": (metrics.R2(), _r2),
}  # fmt: skip
