"""The arguments of training, which the constructors of all estimators take as ``**training``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, TypedDict

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from nnbackend.backends.base import Backend
from nnbackend.backends.choose import BACKENDS
from nnbackend.core.precision import PRECISIONS
from nnbackend.data import host_data
from nnbackend.optimizers import OPTIMIZERS, Optimizer

__all__ = ["TRAINING_CONSTRAINTS", "TrainingArguments", "keep_arguments", "name_arguments"]


class TrainingArguments(TypedDict, total=False):
    """The types of the arguments; the docstring of ``MLPClassifier`` says what they mean."""

    solver: str | Optimizer
    batch_size: int | str
    learning_rate: str | Callable[[int], float]
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: bool | int
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    validation_data: tuple[Any, ...] | None
    metrics: Any
    callbacks: Sequence[Any] | None
    max_time: float | None
    backend: str | Backend | None
    device: Any
    precision: str | None
    data_on: str


# By name: the default, and what scikit-learn checks the argument against.
_ARGUMENTS: dict[str, tuple[Any, Any]] = {
    "solver": ("adam", [StrOptions({"lbfgs", *OPTIMIZERS}), Optimizer]),
    "batch_size": ("auto", [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")]),
    "learning_rate": ("constant", [StrOptions({"constant", "invscaling", "adaptive"}), callable]),
    "learning_rate_init": (0.001, [Interval(Real, 0, None, closed="neither")]),
    "power_t": (0.5, [Interval(Real, 0, None, closed="left")]),
    "max_iter": (200, [Interval(Integral, 1, None, closed="left")]),
    "shuffle": (True, ["boolean"]),
    "random_state": (None, ["random_state"]),
    "tol": (1e-4, [Interval(Real, 0, None, closed="left")]),
    "verbose": (False, ["verbose"]),
    "warm_start": (False, ["boolean"]),
    "momentum": (0.9, [Interval(Real, 0, 1, closed="both")]),
    "nesterovs_momentum": (True, ["boolean"]),
    "early_stopping": (False, ["boolean"]),
    "validation_fraction": (0.1, [Interval(Real, 0, 1, closed="left")]),
    "beta_1": (0.9, [Interval(Real, 0, 1, closed="left")]),
    "beta_2": (0.999, [Interval(Real, 0, 1, closed="left")]),
    "epsilon": (1e-8, [Interval(Real, 0, None, closed="neither")]),
    "n_iter_no_change": (
        10,
        [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    ),
    "max_fun": (15000, [Interval(Integral, 1, None, closed="left")]),
    "validation_data": (None, [tuple, list, None]),
    "metrics": (None, [str, tuple, list, dict, None]),
    "callbacks": (None, [tuple, list, None]),
    "max_time": (None, [Interval(Real, 0, None, closed="neither"), None]),
    "backend": (None, [StrOptions({*BACKENDS, "auto"}), Backend, None]),
    "device": (None, "no_validation"),
    "precision": (None, [StrOptions(set(PRECISIONS)), None]),
    "data_on": ("auto", [StrOptions(set(host_data.PLACEMENTS))]),
}
TRAINING_CONSTRAINTS = {name: constraint for name, (_, constraint) in _ARGUMENTS.items()}


def keep_arguments(estimator: Any, arguments: dict[str, Any]) -> None:
    """Make the arguments of a constructor (its ``locals()``) attributes, as scikit-learn wants it.

    Raises:
        TypeError: there is no argument of that name.
    """
    training = arguments["training"]
    for name in training.keys() - _ARGUMENTS.keys():
        raise TypeError(f"{type(estimator).__name__}() got an unexpected keyword argument {name!r}")
    for name, (default, _) in _ARGUMENTS.items():
        setattr(estimator, name, training.get(name, default))
    for name, value in arguments.items():
        if name not in ("self", "training"):
            setattr(estimator, name, value)


def name_arguments(constructor: Any) -> None:
    """Write ``**training`` in full in the signature of a constructor, where scikit-learn looks it up."""
    signature = inspect.signature(constructor)
    own = [p for p in signature.parameters.values() if p.name != "training"]
    if len(own) < len(signature.parameters):
        types = TrainingArguments.__annotations__
        own += [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=types[name].__forward_arg__,
            )
            for name, (default, _) in _ARGUMENTS.items()
        ]
        constructor.__signature__ = signature.replace(parameters=own)
