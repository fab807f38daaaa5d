"""Estimators that wrap any list of layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import StrOptions

from nnbackend.backends.base import Backend, namespace
from nnbackend.core.random import Generator
from nnbackend.core.tree import tree_map
from nnbackend.core.types import Array, Layer, Params
from nnbackend.estimators.base import NeuralEstimator, keep_arguments
from nnbackend.estimators.files import saves
from nnbackend.estimators.heads import ClassifierHead, RegressorHead
from nnbackend.layers import Dense, Sequential
from nnbackend.losses import LOSSES, Loss
from nnbackend.optimizers import Optimizer

__all__ = ["NetworkClassifier", "NetworkRegressor"]

_DEFAULT_LAYERS = (Dense(100, activation="relu"),)


class NetworkEstimator(NeuralEstimator):
    """Layers that the user gives, initialized as they say."""

    _array_attributes = ("params_", "classes_")
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NeuralEstimator._parameter_constraints,
        "layers": [tuple, list, Sequential],
        "input_shape": [tuple, list, None],
    }

    layers: Any
    input_shape: Any

    def _hidden_layers(self) -> list[Layer]:
        layers = self.layers if isinstance(self.layers, Sequential) else Sequential(self.layers)
        return list(layers.layers)

    def _initial_params(self, layers: Sequential, shape: tuple[int, ...], dtype: str) -> Params:
        """Draw the parameters by the layers' own initializers, from a seed."""
        seed = int(self._random_state.randint(np.iinfo(np.int32).max))
        params, _ = layers.init(shape, Generator.of(seed))
        return tree_map(lambda leaf: leaf.astype(dtype), params)

    def _input_shape(self, features: int) -> tuple[int, ...]:
        if self.input_shape is None:
            return (features,)
        shape = tuple(int(size) for size in self.input_shape)
        if math.prod(shape) != features:
            raise ValueError(
                f"input_shape {shape} takes rows of {math.prod(shape)} features, X has {features}"
            )
        return shape

    def _shaped(self, x: Array) -> Array:
        if self.input_shape is None:
            return x
        shape = (x.shape[0], *self._input_shape(int(x.shape[1])))
        return namespace(x).reshape(x, shape)

    def _is_built(self) -> bool:
        return hasattr(self, "params_")

    def _keep_params(self, params: Params) -> None:
        self.params_ = params

    def _kept_params(self) -> Params:
        return self.params_


@saves
class NetworkClassifier(ClassifierHead, NetworkEstimator):
    """A classifier made of any layers of this library.

    The output layer, ``Dense`` with an output for each class (one for two classes), is added: it
    depends on the data. Training, arguments and attributes are those of
    :class:`~nnbackend.estimators.MLPClassifier`, with ``params_`` in place of ``coefs_`` and
    ``intercepts_``; parameters start as their layers' initializers say, and there is no penalty
    unless ``alpha`` is given.

    Args:
        layers: the layers before the output layer, first to last.
        loss: ``"log_loss"``, or a loss of this library by name or as an object.
        input_shape: the shape of a row for the first layer, if that is not a row of features:
            ``(28, 28)`` for rows of 784.
        alpha: strength of the penalty on all weights; the rest as in ``MLPClassifier``.

    Attributes:
        params_: nested dictionaries of the parameters, by layer and name.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NetworkEstimator._parameter_constraints,
        "loss": [StrOptions({"log_loss", *LOSSES}), callable],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    def __init__(
        self,
        layers: Sequence[Layer] = _DEFAULT_LAYERS,
        *,
        loss: str | Loss = "log_loss",
        input_shape: Sequence[int] | None = None,
        solver: str | Optimizer = "adam",
        alpha: float = 0.0,
        batch_size: int | str = "auto",
        learning_rate: str | Callable[[int], float] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: Any = None,
        validation_data: tuple[Any, ...] | None = None,
        metrics: Any = None,
        callbacks: Sequence[Any] | None = None,
        max_time: float | None = None,
        backend: str | Backend | None = None,
        device: Any = None,
        precision: str | None = None,
        data_on: str = "auto",
    ) -> None:
        keep_arguments(self, locals())


@saves
class NetworkRegressor(RegressorHead, NetworkEstimator):
    """A regressor made of any layers of this library.

    The output layer, ``Dense`` with an output for each column of the targets, is added. The rest is as
    in :class:`NetworkClassifier` and :class:`~nnbackend.estimators.MLPRegressor`.

    Args:
        layers: the layers before the output layer, first to last.
        loss: ``"squared_error"``, ``"poisson"``, or a loss of this library by name or as an object.
        input_shape: the shape of a row for the first layer, if that is not a row of features.
        alpha: strength of the penalty on all weights; the rest as in ``MLPRegressor``.

    Attributes:
        params_: nested dictionaries of the parameters, by layer and name.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NetworkEstimator._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson", *LOSSES}), callable],
    }

    def __init__(
        self,
        layers: Sequence[Layer] = _DEFAULT_LAYERS,
        *,
        loss: str | Loss = "squared_error",
        input_shape: Sequence[int] | None = None,
        solver: str | Optimizer = "adam",
        alpha: float = 0.0,
        batch_size: int | str = "auto",
        learning_rate: str | Callable[[int], float] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        validation_data: tuple[Any, ...] | None = None,
        metrics: Any = None,
        callbacks: Sequence[Any] | None = None,
        max_time: float | None = None,
        backend: str | Backend | None = None,
        device: Any = None,
        precision: str | None = None,
        data_on: str = "auto",
    ) -> None:
        keep_arguments(self, locals())
