"""Estimators that wrap any list of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import numpy as np

from nnbackend.backends.base import namespace
from nnbackend.core.layer_tree import first_layer
from nnbackend.core.random import Generator
from nnbackend.core.shapes import check_shapes
from nnbackend.core.tree import tree_map
from nnbackend.core.types import Array, Layer, Params
from nnbackend.estimators.arguments import TrainingArguments, keep_arguments
from nnbackend.estimators.base import NeuralEstimator
from nnbackend.estimators.files import saves
from nnbackend.estimators.heads import ClassifierHead, RegressorHead
from nnbackend.layers import Dense, Sequential
from nnbackend.losses import Loss

__all__ = ["NetworkClassifier", "NetworkRegressor"]

_DEFAULT_LAYERS = (Dense(100, activation="relu"),)


class NetworkEstimator(NeuralEstimator):
    """Layers that the user gives, initialized as they say."""

    _array_attributes = ("params_", "classes_")
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "layers": [tuple, list, Sequential],
        "input_shape": [tuple, list, None],
    }

    def _hidden_layers(self) -> list[Layer]:
        layers = self.layers if isinstance(self.layers, Sequential) else Sequential(self.layers)
        first: Any = first_layer(layers)
        if getattr(first, "takes", "numbers") != "numbers":
            raise ValueError(
                f"the first layer ({type(first).__name__}) takes {first.takes}, and estimators have "
                "rows of numbers; train such layers in a nnbackend.Network"
            )
        return list(layers.layers)

    def _initial_params(self, layers: Sequential, shape: tuple[int, ...], dtype: str) -> Params:
        """Draw the parameters by the layers' own initializers, from a seed."""
        seed = int(self._random_state.randint(np.iinfo(np.int32).max))
        params, _ = layers.init(shape, Generator.of(seed))
        return tree_map(lambda leaf: leaf.astype(dtype), params)

    def _input_shape(self, features: int) -> tuple[int, ...]:
        if self.input_shape is None:
            return (features,)
        shape: tuple[int, ...] = check_shapes("input_shape", self.input_shape)
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

    def __init__(
        self,
        layers: Sequence[Layer] = _DEFAULT_LAYERS,
        *,
        loss: str | Loss = "log_loss",
        input_shape: Sequence[int] | None = None,
        alpha: float = 0.0,
        class_weight: Any = None,
        **training: Unpack[TrainingArguments],
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

    def __init__(
        self,
        layers: Sequence[Layer] = _DEFAULT_LAYERS,
        *,
        loss: str | Loss = "squared_error",
        input_shape: Sequence[int] | None = None,
        alpha: float = 0.0,
        **training: Unpack[TrainingArguments],
    ) -> None:
        keep_arguments(self, locals())
