"""The arguments of training, which the constructors of all estimators take as ``**training``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Annotated, Any, TypedDict, get_args, get_type_hints

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from nnbackend.backends.base import Backend
from nnbackend.backends.choose import BACKENDS
from nnbackend.core.precision import PRECISIONS
from nnbackend.data import host_data
from nnbackend.optimizers import OPTIMIZERS, Optimizer

__all__ = ["COUNT", "FRACTION", "NOT_NEGATIVE", "TRAINING_CONSTRAINTS", "TrainingArguments",
           "keep_arguments", "name_arguments"]  # fmt: skip

COUNT = Interval(Integral, 1, None, closed="left")
FRACTION = Interval(Real, 0, 1, closed="left")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
UP_TO_ONE = Interval(Real, 0, 1, closed="both")


class TrainingArguments(TypedDict, total=False):
    """By name: the type, the default, and what scikit-learn checks the argument against.

    The docstring of ``MLPClassifier`` says what they mean.
    """

    solver: Annotated[str | Optimizer, "adam", [StrOptions({"lbfgs", *OPTIMIZERS}), Optimizer]]
    batch_size: Annotated[int | str, "auto", [StrOptions({"auto"}), COUNT]]
    learning_rate: Annotated[
        str | Callable[[int], float],
        "constant",
        [StrOptions({"constant", "invscaling", "adaptive"}), callable],
    ]
    learning_rate_init: Annotated[float, 0.001, [POSITIVE]]
    power_t: Annotated[float, 0.5, [NOT_NEGATIVE]]
    max_iter: Annotated[int, 200, [COUNT]]
    shuffle: Annotated[bool, True, ["boolean"]]
    random_state: Annotated[Any, None, ["random_state"]]
    tol: Annotated[float, 1e-4, [NOT_NEGATIVE]]
    verbose: Annotated[bool | int, False, ["verbose"]]
    warm_start: Annotated[bool, False, ["boolean"]]
    momentum: Annotated[float, 0.9, [UP_TO_ONE]]
    nesterovs_momentum: Annotated[bool, True, ["boolean"]]
    early_stopping: Annotated[bool, False, ["boolean"]]
    validation_fraction: Annotated[float, 0.1, [FRACTION]]
    beta_1: Annotated[float, 0.9, [FRACTION]]
    beta_2: Annotated[float, 0.999, [FRACTION]]
    epsilon: Annotated[float, 1e-8, [POSITIVE]]
    n_iter_no_change: Annotated[float, 10, [COUNT, Options(Real, {np.inf})]]
    max_fun: Annotated[int, 15000, [COUNT]]
    validation_data: Annotated[tuple[Any, ...] | None, None, [tuple, list, None]]
    metrics: Annotated[Any, None, [str, tuple, list, dict, None]]
    callbacks: Annotated[Sequence[Any] | None, None, [tuple, list, None]]
    max_time: Annotated[float | None, None, [POSITIVE, None]]
    backend: Annotated[str | Backend | None, None, [StrOptions({*BACKENDS, "auto"}), Backend, None]]
    device: Annotated[Any, None, "no_validation"]
    precision: Annotated[str | None, None, [StrOptions(set(PRECISIONS)), None]]
    data_on: Annotated[str, "auto", [StrOptions(set(host_data.PLACEMENTS))]]


_ARGUMENTS = {
    name: get_args(hint)
    for name, hint in get_type_hints(TrainingArguments, include_extras=True).items()
}
TRAINING_CONSTRAINTS = {name: constraint for name, (_, _, constraint) in _ARGUMENTS.items()}


def keep_arguments(estimator: Any, arguments: dict[str, Any]) -> None:
    """Make the arguments of a constructor (its ``locals()``) attributes, as scikit-learn wants it.

    Raises:
        TypeError: there is no argument of that name.
    """
    training = arguments.pop("training")
    for name in training.keys() - _ARGUMENTS.keys():
        raise TypeError(f"{type(estimator).__name__}() got an unexpected keyword argument {name!r}")
    del arguments["self"]
    defaults = {name: default for name, (_, default, _) in _ARGUMENTS.items()}
    vars(estimator).update(defaults | training | arguments)


def name_arguments(constructor: Any) -> None:
    """Write ``**training`` in full in the signature of a constructor, where scikit-learn looks it up."""
    signature = inspect.signature(constructor)
    own = [p for p in signature.parameters.values() if p.name != "training"]
    if len(own) < len(signature.parameters):
        own += [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
            )
            for name, (hint, default, _) in _ARGUMENTS.items()
        ]
        constructor.__signature__ = signature.replace(parameters=own)
