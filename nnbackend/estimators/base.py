"""The base class of the estimators: parameters, fit, files and pickles."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import ChainMap
from dataclasses import replace
from functools import partial
from pathlib import Path as FilePath
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.base import _fit_context, is_classifier
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from nnbackend import metrics
from nnbackend.activations import ACTIVATIONS, Exponential, Identity, Sigmoid, Softmax
from nnbackend.backends.base import Backend
from nnbackend.core.layer_tree import init_state
from nnbackend.core.precision import PRECISIONS
from nnbackend.core.tree import paths, tree_map
from nnbackend.core.types import Array, Context, Layer, Params, State
from nnbackend.data import host_data
from nnbackend.data.samples import Samples, row_major
from nnbackend.data.targets import takes_classes, targets
from nnbackend.data.validate import weights
from nnbackend.errors import given
from nnbackend.estimators import files
from nnbackend.estimators.arguments import NOT_NEGATIVE, TRAINING_CONSTRAINTS, name_arguments
from nnbackend.estimators.arrays import HOST, SparseSamples, check_held, home_of, on_host, to_host
from nnbackend.estimators.fit import AUTO_BATCH_ROWS, fit_in_batches
from nnbackend.estimators.lbfgs import fit_by_lbfgs
from nnbackend.estimators.predict import PredictingEstimator
from nnbackend.layers import Activation, Dense, Sequential
from nnbackend.losses import Loss
from nnbackend.metrics.outputs import outputs_of
from nnbackend.network import Network
from nnbackend.regularizers import PerRowL2
from nnbackend.training.objective import Objective, objective_for

__all__ = ["NeuralEstimator"]

_NOT_PICKLED = ("_home", "_trainer", "_trained_network")
_OUTPUTS = {
    "identity": Identity(),
    "exp": Exponential(),
    "logistic": Sigmoid(),
    "softmax": Softmax(),
}


class NeuralEstimator(PredictingEstimator):
    """The base class of the estimators, for any layers and any kind of target.

    A subclass defines the hidden layers, and how parameters are initialized and stored; a head
    (:mod:`nnbackend.estimators.heads`) defines targets, loss and predictions.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TRAINING_CONSTRAINTS,
        "alpha": [NOT_NEGATIVE],
    }

    n_outputs_: int
    _steps = 0  # of training so far: random layers draw other numbers in each

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        parents = [vars(parent).get("_parameter_constraints", {}) for parent in cls.__mro__]
        cls._parameter_constraints = dict(ChainMap(*parents))
        if "__init__" in vars(cls):
            name_arguments(cls.__init__)

    def _validate_params(self) -> None:
        """Check the parameters, as scikit-learn does, for which an int may be larger than any float."""
        super()._validate_params()
        for name, value in self.get_params(deep=False).items():
            if isinstance(value, int) and value >= 2**63:
                raise ValueError(f"{name} must be below 2**63, got {given(value)}")

    # For subclasses to define

    @abstractmethod
    def _hidden_layers(self) -> list[Layer]:
        """Return the layers before the output layer."""

    @abstractmethod
    def _initial_params(self, layers: Sequential, shape: tuple[int, ...], dtype: str) -> Params:
        """Return initial parameters on the host, drawn from ``self._random_state``."""

    @abstractmethod
    def _keep_params(self, params: Params) -> None:
        """Store parameters, arrays of the library of X, as the public attributes."""

    def _packing(self, params: Params) -> list[tuple[str, ...]]:
        """Return the order of the parameters in the vector of L-BFGS."""
        return list(paths(params))

    def _input_shape(self, features: int) -> tuple[int, ...]:
        """Return the shape of a row of the network's input."""
        return (features,)

    # Learning

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit the network to data and targets.

        Args:
            X: array-like, frame or sparse matrix of shape (samples, features).
            y: the targets: class labels or numbers, of shape (samples,) or (samples, outputs).
            sample_weight: how much each sample counts, of shape (samples,); None (the default): 1.

        Returns:
            the estimator.
        """
        return self._fit(X, y, sample_weight)

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False) -> Any:
        hidden = self._hidden_layers()
        first = not self.__sklearn_is_fitted__() or (not self.warm_start and not incremental)
        home = home_of(X)
        known = None if first else self.n_outputs_
        X, target = self._validate_input(X, to_host(y), incremental, first)
        self._check_outputs(known, "y")
        if sample_weight is not None:
            sample_weight = _check_sample_weight(to_host(sample_weight), target)
            if not np.any(sample_weight):
                raise ValueError("Sample weights must contain at least one non-zero number.")
        class_weight = self._class_weights(target, incremental)
        self._random_state = check_random_state(self.random_state)
        self._home = home
        given = str(X.dtype).rpartition(".")[2]
        backend = self._backend_for(home, given)
        if self.solver == "lbfgs" and backend.mixed:
            raise ValueError(
                "solver='lbfgs' compares losses that differ by less than 16 bits can show; with "
                f"precision={backend.precision!r} take solver='adam' or 'sgd'"
            )
        self._dtype = backend.dtype_name
        loss = self._choose_loss(target)
        self._layers = Sequential([*hidden, Dense(self.n_outputs_)])
        self._session: list[Any] = []  # cached by predictions
        with backend.scope():
            if first:
                self._start(int(X.shape[1]), given)
            params = tree_map(backend.asarray, self._kept_params())
            objective = self._objective(loss, params)
            samples = self._samples(X, target, sample_weight, loss, backend, class_weight)
            if self.solver == "lbfgs":
                fit_by_lbfgs(self, objective, backend, params, samples)
            else:
                fit_in_batches(self, objective, backend, params, samples, target, incremental)
        if not all(map(home.backend("float32").all_finite, self._kept_arrays())):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        return self

    def _start(self, features: int, dtype: str) -> None:
        """Draw the initial parameters in the dtype of X, and drop what earlier fits left."""
        dtype = dtype if self.precision is None else PRECISIONS[self.precision].dtype
        params = self._initial_params(self._layers, self._input_shape(features), dtype)
        self.n_iter_ = self.t_ = self._seed = self._steps = 0
        if self._has_random_layers():  # without dropout nothing is drawn
            self._seed = int(self._random_state.randint(np.iinfo(np.int32).max))
        self._keep_params(tree_map(self._home.from_host, params))
        state = init_state(self._layers, self._input_shape(features))
        self._layer_state = tree_map(lambda a: self._home.from_host(a.astype(dtype)), state)
        if self.solver != "lbfgs":
            self.loss_curve_: list[float] = []
            self._no_improvement_count = 0
            scored = self.early_stopping or self.validation_data is not None
            self.validation_scores_: list[float] | None = [] if scored else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None
            self.best_loss_ = None if self.early_stopping else np.inf

    def _has_random_layers(self) -> bool:
        """Return whether a layer may draw random numbers; a subclass may, whatever its parent does."""
        return not all(type(layer) in (Dense, Activation) for layer in self._layers.layers)

    def _ending_in(self, activation: Any) -> Sequential:
        """Return the layers with an activation at their end."""
        return Sequential([*self._layers.layers[:-1], Dense(self.n_outputs_, activation)])

    def _output_activation(self) -> Any:
        return _OUTPUTS[self.out_activation_]

    def _activated(self, z: Array, backend: Backend) -> Array:
        """Return the network's output for the numbers before its activation."""
        with backend.scope():
            return self._output_activation()(z, Context(backend))[0]

    def _checked_data(self, X: Any, y: Any, reset: bool, **given: Any) -> tuple[Any, Any]:
        """Return X and y as scikit-learn checks them; X may keep the dtypes of its library."""
        xp = home_of(X).xp or np
        dtypes = [xp.float64, xp.float32] if hasattr(xp, "float64") else [xp.float32]
        given |= {"accept_sparse": ["csr", "csc"], "multi_output": True, "dtype": dtypes}
        X, y = validate_data(self, X, y, reset=reset, **given)
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _objective(self, loss: Loss, params: Params) -> Objective:
        """Return the objective: scikit-learn's penalty is divided by rows, and rows are counted."""
        shape, output = (self.n_outputs_,), self._output_activation()
        name = ACTIVATIONS.name_of(output)
        meaning = outputs_of(loss, name) or (name if is_classifier(self) else None)
        watched = metrics.resolve(self.metrics, meaning, shape)
        network = self._ending_in(output), self._layers, output, params, shape
        objective = objective_for(*network, loss, watched)
        penalty = None
        if self.alpha:
            weights = tuple(path for path in paths(params) if path[-1] == "weight")
            penalty = PerRowL2(float(self.alpha), weights)
        return replace(objective, row_penalty=penalty, mean_by_rows=True)

    def _class_weights(self, target: Any, incremental: bool) -> Any:
        """Return the weight of each sample by its class; None: all count 1."""
        return None

    def _samples(
        self,
        X: Any,
        target: Any,
        weight: Any,
        loss: Loss,
        backend: Backend,
        class_weight: Any = None,
    ) -> Samples:
        """Return the data, placed as ``data_on`` says; a sparse X stays sparse until rows are taken."""
        sparse = scipy.sparse.issparse(X)
        at = backend
        if not sparse:
            size = AUTO_BATCH_ROWS if self.batch_size == "auto" else self.batch_size
            size = None if self.solver == "lbfgs" else size
            at = host_data.placement((X, target, weight), backend, self.data_on, size)
        if target.ndim == 1 and not takes_classes(loss):
            target = np.eye(self.n_outputs_)[target]
        y = targets(target, at, loss, (self.n_outputs_,), X)
        weight = weights(weight, at, len(target))
        if class_weight is not None:
            class_weight = at.asarray(class_weight)
        if sparse:
            check_held(X, at.asarray(X.data), at)
            return SparseSamples(X.tocsr(), y, weight, class_weight)
        x = at.asarray(X)
        check_held(X, x, at)
        x = self._shaped(row_major(x, at) if self.shuffle else x)
        kind = Samples if at is backend else host_data.HostSamples
        return kind(x, y, weight, class_weight)

    def _validation_samples(self, loss: Loss, backend: Backend) -> Samples:
        """Return ``validation_data`` on the backend.

        Raises:
            ValueError: it is no pair or triple, or does not fit the training data.
        """
        if len(self.validation_data) not in (2, 3):
            raise ValueError("validation_data must be (X, y) or (X, y, sample_weight)")
        X, y, *weight = self.validation_data
        known = self.n_outputs_
        X, target = self._validate_input(X, to_host(y), True, False, some=True)
        self._check_outputs(known, "the y of validation_data")
        given = _check_sample_weight(to_host(weight[0]), target) if weight else None
        samples = self._samples(X, target, given, loss, backend)
        if isinstance(samples, SparseSamples):
            samples = samples.take(np.arange(len(target)), backend)
        return samples

    def _check_outputs(self, known: int | None, name: str) -> None:
        """Refuse targets with another number of outputs than the network has, and keep that number."""
        given = self.n_outputs_
        if known not in (None, given):
            self.n_outputs_ = known
            raise ValueError(
                f"{name} has {given} output{'s' * (given > 1)}, and this {type(self).__name__} was "
                f"fitted with {known}; for others make a new one, or fit without warm_start"
            )

    def _publish(self, params: Params, state: State, backend: Backend) -> None:
        """Store the parameters and the state of the layers, arrays of a backend, after training."""
        bring = partial(self._home.from_backend, backend=backend)
        self._keep_params(tree_map(bring, params))
        self._layer_state = tree_map(bring, state)

    def _check_solver(self) -> bool:
        """Refuse ``partial_fit`` with lbfgs, in scikit-learn's words."""
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. "
                f"{self.solver} is not stochastic."
            )
        return True

    # Files and pickles

    @property
    def network_(self) -> Network:
        """The fitted network as a :class:`~nnbackend.network.Network` with copies of all arrays."""
        check_is_fitted(self)
        network = self._network_of(self._kept_params())
        network.trained = self._steps, len(getattr(self, "loss_curve_", ()))
        return network

    def _network_of(self, params: Params) -> Network:
        """Return a network with copies of parameters, ending in the output activation."""
        backend = self._fitted_backend()
        layers = self._ending_in(self._output_activation())
        network = Network(layers, backend=backend, seed=self._seed)
        with backend.scope():
            shape = self._input_shape(self.n_features_in_)
            return network.restore(shape, params, {}, self._layer_state)

    def save(self, path: str | os.PathLike[str]) -> FilePath:
        """Write the fitted estimator to one file, without pickle.

        The file is that of :meth:`nnbackend.Network.save`, with parameters, classes and what else
        was learned in its metadata; :func:`nnbackend.estimators.load` reads the estimator,
        :func:`nnbackend.load` the bare network. Not kept: ``callbacks`` and ``validation_data``,
        a ``random_state`` that is no number, and the optimizer's state.

        Raises:
            NotFittedError: there is nothing to save.
            TypeError: a parameter is neither plain data nor a description that is registered.
            OSError: the file cannot be written; an old one of that name is untouched then.
        """
        return files.save(self, path)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        for name in _NOT_PICKLED:
            state.pop(name, None)
        trainer = self.__dict__.get("_trainer")
        if trainer is not None:
            state["_optimizer_state"] = on_host(trainer.optimizer_state(), trainer.backend)
        home = self._result_home()
        if home is not HOST:
            backend = home.backend("float32")
            for name in {*self._array_attributes, "_layer_state"} & state.keys():
                state[name] = on_host(state[name], backend)
        return state | {"_session": []}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, self._array_attributes[0])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags

    def _sk_visual_block_(self) -> Any:
        from nnbackend.estimators.html import block

        return block(self)
