"""What all estimators share: data in, training by scikit-learn's rules, outputs, and what is kept."""

from __future__ import annotations

import math
import operator
import os
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Integral, Real
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from nnbackend import losses, metrics, optimizers
from nnbackend.activations import ACTIVATIONS, Identity
from nnbackend.backends.base import Backend, Forward, namespace
from nnbackend.backends.choose import BACKENDS, get_backend
from nnbackend.core.history import History
from nnbackend.core.layer_tree import weights_with
from nnbackend.core.precision import PRECISIONS
from nnbackend.core.tree import leaves, paths, tree_map
from nnbackend.core.types import Array, Layer, Params
from nnbackend.data import host_data
from nnbackend.data.samples import Samples
from nnbackend.errors import BackendUnavailableError
from nnbackend.estimators.arrays import HOST, Home, SparseSamples, dense, home_of, to_host
from nnbackend.estimators.rules import Rate, ScikitLearnAdam, ScikitLearnSGD
from nnbackend.estimators.solvers import (
    PenalizedTrainer,
    check_same_each_time,
    minimize,
    unpacked,
)
from nnbackend.inference import predictor
from nnbackend.layers import Activation, Dense, Sequential
from nnbackend.losses import Loss
from nnbackend.metrics.outputs import outputs_of
from nnbackend.network import Network
from nnbackend.optimizers import LBFGS, OPTIMIZERS, Optimizer
from nnbackend.training.loop import FitRun
from nnbackend.training.objective import Objective

__all__ = ["NeuralEstimator", "keep_arguments"]

_STOCHASTIC = ("sgd", "adam")
_TRANSIENT = ("_home", "_trainer", "_described")  # they do not go into a pickle
_AUTO_ROWS = 200  # of a batch
_BATCH_ROWS = 4096  # of a sparse matrix that are made dense at a time
_LOOKED_AT = 1 << 21  # bytes of rows that are looked at, and are still in the cache for the product
_FEWEST_TOGETHER = 256  # rows; a product for fewer takes longer
_FEW = 10_000  # numbers that are looked at one by one in no time
_EMPTY: Mapping[str, Any] = MappingProxyType({})


class NeuralEstimator(BaseEstimator):
    """The base of the estimators; it knows no architecture and no kind of target.

    A subclass gives ``_hidden_layers`` and how parameters are initialized and kept; a head
    (:mod:`nnbackend.estimators.heads`) gives targets, loss and predictions.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "solver": [StrOptions({"lbfgs", *_STOCHASTIC, *OPTIMIZERS}), Optimizer],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), callable],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "backend": [StrOptions({*BACKENDS, "auto"}), Backend, None],
        "device": "no_validation",
        "precision": [StrOptions(set(PRECISIONS)), None],
        "data_on": [StrOptions(set(host_data.PLACEMENTS))],
        "validation_data": [tuple, list, None],
        "callbacks": [tuple, list, None],
        "metrics": [str, tuple, list, dict, None],
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
    }

    # Made by fit
    _layers: Sequential
    _home: Home
    _dtype: str
    _seed: int
    _described: tuple[Any, ...]
    n_outputs_: int
    loss_: float
    best_loss_: Any
    _array_attributes: ClassVar[tuple[str, ...]]

    # What a subclass gives

    def _hidden_layers(self) -> list[Layer]:
        """Return the layers before the output layer."""
        raise NotImplementedError

    def _initial_params(self, layers: Sequential, shape: tuple[int, ...], dtype: str) -> Params:
        """Return initial parameters on the host, drawn from ``self._random_state``."""
        raise NotImplementedError

    def _is_built(self) -> bool:
        """Return whether there are parameters to go on from."""
        raise NotImplementedError

    def _keep_params(self, params: Params) -> None:
        """Make parameters, in arrays of the home, the public attributes."""
        raise NotImplementedError

    def _kept_params(self) -> Params:
        """Return the public attributes as parameters."""
        raise NotImplementedError

    def _kept_arrays(self) -> list[Array]:
        """Return the arrays of the public attributes, in any order."""
        return leaves(self._kept_params())

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
            y: targets: class labels or numbers, of shape (samples,) or (samples, outputs).
            sample_weight: how much each sample counts, of shape (samples,); None: all alike.

        Returns:
            the estimator.
        """
        return self._fit(X, y, sample_weight)

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False) -> Any:
        hidden = self._hidden_layers()
        first = not self._is_built() or (not self.warm_start and not incremental)
        home = home_of(X)
        X, target = self._validate_input(X, to_host(y), incremental, first)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(to_host(sample_weight), target)
            if not np.any(sample_weight):
                raise ValueError("Sample weights must contain at least one non-zero number.")
        weight = self._weights(target, sample_weight, incremental)
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
        loss, output = self._loss_and_output(target)
        self._layers = Sequential([*hidden, Dense(self.n_outputs_)])
        self._session: list[Any] = []  # what predictions keep from one to the next
        with backend.scope():
            if first:
                self._start(int(X.shape[1]), given)
            objective = Objective(
                *self._trained(loss, output),
                metrics=self._watched(loss),
                penalties=weights_with("regularizer", self._layers),
                constraints=weights_with("constraint", self._layers),
            )
            samples = self._samples(X, target, weight, backend)
            params = self._placed(backend)
            if self.solver == "lbfgs":
                self._fit_lbfgs(objective, backend, params, samples)
            else:
                self._fit_stochastic(objective, backend, params, samples, target, incremental)
        if not all(_finite(leaf) for leaf in leaves(self._kept_params())):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        return self

    def _start(self, features: int, dtype: str) -> None:
        """Draw the initial parameters in the dtype of X, and forget what earlier fits left."""
        dtype = dtype if self.precision is None else PRECISIONS[self.precision].dtype
        params = self._initial_params(self._layers, self._input_shape(features), dtype)
        self.n_iter_ = 0
        self.t_ = 0
        self._seed = self._draw_seed()
        self._keep_params(tree_map(self._home.from_host, params))
        if self.solver != "lbfgs":
            self.loss_curve_: list[float] = []
            self._no_improvement_count = 0
            scored = self.early_stopping or self.validation_data is not None
            self.validation_scores_: list[float] | None = [] if scored else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None
            self.best_loss_ = None if self.early_stopping else np.inf

    def _draw_seed(self) -> int:
        """Return the seed of what is random in the layers; without dropout nothing is drawn."""
        if not self._random_layers():
            return 0
        return int(self._random_state.randint(np.iinfo(np.int32).max))

    def _random_layers(self) -> bool:
        """Return whether there are layers of which it is not known that nothing in them is random."""
        return not all(isinstance(layer, Dense | Activation) for layer in self._layers.layers)

    def _backend_for(self, home: Home, dtype: str) -> Backend:
        """Return the backend to compute with."""
        asked = self.precision
        if asked is None and isinstance(self.backend, Backend):
            asked = self.backend.precision
        spec: Any = self.backend
        if spec is None and self.device is None:
            make: Callable[[str], Backend] = home.backend
        else:
            spec = home.xp if spec is None and home.xp is not None else spec or "numpy"
            make = lambda name: get_backend(spec, self.device, precision=name)  # noqa: E731
        if asked is not None:
            return make(asked)
        try:
            return make(dtype)
        except BackendUnavailableError:
            if dtype == "float32":
                raise
        return make("float32")  # a library or a device without float64

    def _trained(self, loss: Loss, output: Any) -> tuple[Sequential, Loss, Any]:
        """Return what is trained: without the output activation, if the loss contains it."""
        absorbed = losses.absorbed_activation(loss)
        if absorbed is not None:
            return self._layers, loss, output
        return self._ending_in(output), loss, Identity()

    def _ending_in(self, activation: Any) -> Sequential:
        """Return the layers with an activation at their end."""
        return Sequential([*self._layers.layers[:-1], Dense(self.n_outputs_, activation)])

    def _watched(self, loss: Loss) -> Mapping[str, Any]:
        """Return the metrics by name, told what the network's outputs mean."""
        if not self.metrics:
            return _EMPTY
        ends_in = ACTIVATIONS.name_of(self._output_activation())
        meaning = outputs_of(loss, ends_in) or self._meaning()
        return metrics.resolve(self.metrics, meaning, (self.n_outputs_,))

    def _meaning(self) -> str | None:
        return None

    def _weights(self, target: Any, sample_weight: Any, incremental: bool) -> Any:
        """Return the weight of each sample, with that of its class in it, or None."""
        return sample_weight

    def _samples(self, X: Any, target: Any, weight: Any, backend: Backend) -> Samples:
        """Return the data, where they are to lie; a sparse X stays sparse until rows are taken."""
        sparse = scipy.sparse.issparse(X)
        at = backend if sparse else self._place(X, target, weight, backend)
        y = self._network_target(target, at)
        if weight is not None:
            weight = at.asarray(weight)
        if sparse:
            return SparseSamples(X.tocsr(), y, weight)
        x = at.asarray(X)
        kind = Samples if at is backend else host_data.HostSamples
        return kind(self._shaped(at.packed(x) if self.shuffle else x), y, weight)

    def _place(self, X: Any, target: Any, weight: Any, backend: Backend) -> Backend:
        """Return the backend whose arrays the data are to be: the one that computes, or NumPy."""
        size = _AUTO_ROWS if self.batch_size == "auto" else self.batch_size
        if self.solver == "lbfgs" or size >= len(target):  # a step takes all rows
            return backend
        return host_data.placement((X, target, weight), backend, self.data_on)

    def _shaped(self, x: Array) -> Array:
        return x

    def _placed(self, backend: Backend) -> Params:
        """Return the parameters on a backend."""
        return tree_map(backend.asarray, self._kept_params())

    # The stochastic solvers

    def _fit_stochastic(
        self,
        objective: Objective,
        backend: Backend,
        params: Params,
        samples: Samples,
        target: Any,
        incremental: bool,
    ) -> None:
        started = time.perf_counter()
        trainer = self._ready_trainer(objective, backend, params, incremental)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        rows, validation = self._split(samples, target, backend)
        count = len(samples if rows is None else rows)
        size = self._batch_rows(count)
        if rows is None and scipy.sparse.issparse(samples.x):
            rows = np.arange(count)
        places = np.arange(count)
        self.n_iter_ = 0
        best: Params | None = None
        error: BaseException | None = None
        run = self._run(trainer, math.ceil(count / size), incremental)
        try:
            for _ in range(self.max_iter):
                began = time.perf_counter()
                if run is not None:
                    run.epoch_begins()
                order = rows
                if self.shuffle:
                    places = self._shuffled(places)
                    order = places if rows is None else rows[places]
                each_block, block_rows = _blocks(run, size)
                with trainer.blocks(samples, size, order, block_rows) as blocks:
                    figures = trainer.epoch(blocks, size, each_block)
                self.loss_ = figures["loss"]
                if run is not None and run.at_once:  # a callback left the epoch
                    self.history_.stopped = run.reason
                    break
                self.n_iter_ += 1
                self.t_ += count
                self.loss_curve_.append(self.loss_)
                if self.verbose:
                    print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
                if validation is not None and self._scored(trainer, validation):
                    best = _copied(trainer.result, backend)
                self._count_no_improvement()
                figures["learning_rate"] = trainer.rates(1)[0]
                if validation is not None and self.validation_scores_:
                    figures["validation_score"] = self.validation_scores_[-1]
                figures["seconds"] = time.perf_counter() - began
                self.history_.extend({name: [value] for name, value in figures.items()})
                if run is not None:
                    run.epoch = len(self.history_)
                    run.notify("epoch_end")
                if self._converged() or incremental or self._out_of_time(started, run):
                    break
                if self.n_iter_ == self.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and "
                        "the optimization hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=4,
                    )
        except KeyboardInterrupt:
            self.history_.stopped = "interrupted by the user"
            warnings.warn("Training interrupted by user.", stacklevel=4)
        except BaseException as problem:
            error = problem
            raise
        finally:
            self._publish(trainer.result if best is None else best, backend)
            if run is not None:
                run.publish()
                run.reason = self.history_.stopped
                run.end(error)

    def _shuffled(self, places: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return what ``sklearn.utils.shuffle`` does, from the same random numbers."""
        order = np.arange(len(places))
        self._random_state.shuffle(order)
        return places[order]

    def _ready_trainer(
        self, objective: Objective, backend: Backend, params: Params, incremental: bool
    ) -> PenalizedTrainer:
        """Return the trainer of the last partial fit, or a new one."""
        kept: PenalizedTrainer | None = getattr(self, "_trainer", None)
        described = objective.layers, objective.loss, dict(objective.metrics), backend, self.alpha
        if incremental and kept is not None and self._described == described:
            kept.params = params
            return kept
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._make_optimizer()
            self._optimizer_state = None
        trainer = PenalizedTrainer(
            float(self.alpha), objective, self._optimizer, backend, params, self._seed
        )
        state = kept.optimizer_state() if kept is not None else self._optimizer_state
        if incremental and state is not None:
            trainer.restore_optimizer(_on_host(state, kept.backend if kept is not None else None))
        self._trainer, self._described = trainer, described
        return trainer

    def _make_optimizer(self) -> Optimizer:
        """Return a new optimizer, as ``solver`` and its companions say."""
        rate: Any = self.learning_rate
        if not callable(rate):
            kind = rate if self.solver == "sgd" else "constant"
            rate = Rate(self.learning_rate_init, kind, self.power_t)
        if self.solver == "sgd":
            return ScikitLearnSGD(rate, float(self.momentum), bool(self.nesterovs_momentum))
        if self.solver == "adam":
            return ScikitLearnAdam(
                rate, float(self.beta_1), float(self.beta_2), float(self.epsilon)
            )
        if isinstance(self.solver, str):
            return optimizers.get(self.solver, learning_rate=rate)
        if isinstance(self.solver, LBFGS):
            raise ValueError(
                "solver='lbfgs' is the estimator's L-BFGS, with max_iter, max_fun and tol"
            )
        return self.solver  # type: ignore[no-any-return]

    def _batch_rows(self, count: int) -> int:
        if self.batch_size == "auto":
            return min(_AUTO_ROWS, count)
        if self.batch_size > count:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                stacklevel=5,
            )
        return min(int(self.batch_size), count)

    def _split(self, samples: Samples, target: Any, backend: Backend) -> tuple[Any, Samples | None]:
        """Return the rows to learn from (None: all) and what to score after each epoch, if anything."""
        if self.validation_data is not None:
            return None, self._given_validation(backend)
        if not self.early_stopping:
            return None, None
        kept, held_out = train_test_split(
            np.arange(len(target)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._stratify(target),
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your "
                "dataset."
            )
        return kept, samples.take(held_out, backend)

    def _given_validation(self, backend: Backend) -> Samples:
        """Return ``validation_data`` on the backend.

        Raises:
            ValueError: it is no pair or triple, or does not fit the training data.
        """
        if len(self.validation_data) not in (2, 3):
            raise ValueError("validation_data must be (X, y) or (X, y, sample_weight)")
        X, y, *weight = self.validation_data
        X, target = self._validate_input(X, to_host(y), True, False, some=True)
        if weight:
            weight = [_check_sample_weight(to_host(weight[0]), target)]
        samples = self._samples(X, target, weight[0] if weight else None, backend)
        if isinstance(samples, SparseSamples):
            samples = samples.take(np.arange(len(target)), backend)
        return samples

    def _scored(self, trainer: PenalizedTrainer, validation: Samples) -> bool:
        """Score the validation samples; return whether this was the best epoch of early stopping."""
        forward = predictor.forward_pass(trainer.objective.layers, trainer.backend)
        z = validation.outputs(forward, trainer.result, trainer.backend)
        targets = validation.targets(trainer.backend)
        score = self._score_outputs(z, *targets, trainer.objective, trainer.backend)
        if self.validation_scores_ is None:  # validation data that an earlier fit did not have
            self.validation_scores_ = []
        self.validation_scores_.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")
        if not self.early_stopping:
            return False
        if score < self.best_validation_score_ + self.tol:
            self._no_improvement_count += 1
        else:
            self._no_improvement_count = 0
        if score > self.best_validation_score_:
            self.best_validation_score_ = score
            return True
        return False

    def _count_no_improvement(self) -> None:
        """Without early stopping, see whether the training loss still falls."""
        if self.early_stopping:
            return
        loss = self.loss_curve_[-1]
        if loss > self.best_loss_ - self.tol:
            self._no_improvement_count += 1
        else:
            self._no_improvement_count = 0
        if loss < self.best_loss_:
            self.best_loss_ = loss

    def _converged(self) -> bool:
        """Return whether training should stop; an adaptive rate is divided first."""
        given = self._optimizer.learning_rate
        rate = given if isinstance(given, Rate) else Rate(0.0)
        rate.epoch_ends(self.t_)
        if self._no_improvement_count <= self.n_iter_no_change:
            return False
        what = (
            "Validation score did not improve more than"
            if self.early_stopping
            else "Training loss did not improve more than"
        )
        message = f"{what} tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        ending = rate.shrink()
        if self.verbose:
            print(message, ending or f"Setting learning rate to {rate.now:f}")
        if ending is not None:
            self.history_.stopped = message
            return True
        self._no_improvement_count = 0
        return False

    def _run(self, trainer: PenalizedTrainer, steps: int, incremental: bool) -> FitRun | None:
        """Start a history, and if there are callbacks the run that they see."""
        if not incremental or not hasattr(self, "history_"):
            self.history_ = History()
        if not self.callbacks:
            return None
        network = self._network_of(trainer.params)

        def publish() -> None:
            network.params = _copied(trainer.result, trainer.backend)

        run = FitRun(
            network, self.max_iter, self.callbacks, steps, trainer, publish, given=self.get_params
        )
        run.history = self.history_
        run.begin()
        return run

    def _out_of_time(self, started: float, run: FitRun | None) -> bool:
        """Return whether ``max_time`` is over, or a callback asks to stop."""
        if run is not None and run.reason is not None:
            self.history_.stopped = run.reason
            return True
        if self.max_time is not None and time.perf_counter() - started >= self.max_time:
            self.history_.stopped = f"max_time of {self.max_time:g} s is over"
            return True
        return False

    def _publish(self, params: Params, backend: Backend) -> None:
        """Make what was learned the public attributes."""
        self._keep_params(tree_map(lambda leaf: self._home.bring(leaf, backend), params))

    # L-BFGS

    def _fit_lbfgs(
        self, objective: Objective, backend: Backend, params: Params, samples: Samples
    ) -> None:
        if isinstance(samples, SparseSamples):
            samples = samples.take(np.arange(len(samples)), backend)
        if self._random_layers():
            check_same_each_time(objective, backend, params, samples, self._seed)
        found = minimize(
            objective,
            backend,
            params,
            samples,
            self._packing(params),
            alpha=float(self.alpha),
            tol=self.tol,
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            verbose=bool(self.verbose),
            seed=self._seed,
        )
        self.n_iter_ = _check_optimize_result("lbfgs", found, self.max_iter)
        self.loss_ = float(found.fun)
        learned = unpacked(found.x, params, self._packing(params))
        if self._home is HOST:  # SciPy's numbers are float64, also where loss and gradient are not
            self._dtype = str(found.x.dtype)
        else:
            learned = tree_map(lambda leaf: self._home.from_host(leaf.astype(self._dtype)), learned)
        self._keep_params(learned)

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. "
                f"{self.solver} is not stochastic."
            )
        return True

    # Outputs

    def _output(self, X: Any, method: str) -> tuple[Array, Backend]:
        """Return the numbers before the output activation, for rows of X."""
        if self._plain(X):
            backend, forward, params = self._prediction()
            z = forward.again(params, X)
            if z is None:
                with backend.scope():
                    bring, rows = partial(self._examined, X, backend), _rows_together(X, backend)
                    z = predictor.forward_in_batches(forward, params, X, backend, rows, bring)
            return z, backend
        check_is_fitted(self)
        self._check_home(X, method)
        X = self._validated(X)
        backend, forward, params = self._prediction()
        with backend.scope():
            if not scipy.sparse.issparse(X):
                bring = partial(self._brought, backend)
                return predictor.forward_in_batches(
                    forward, params, X, backend, bring=bring
                ), backend
            X, rows = X.tocsr(), X.shape[0]
            parts = (
                forward(params, self._shaped(dense(X[i : i + _BATCH_ROWS], backend)))
                for i in range(0, rows, _BATCH_ROWS)
            )
            return backend.joined(parts, rows), backend

    def _validated(self, X: Any) -> Any:
        """Return X, or raise what scikit-learn raises."""
        return validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)

    def _brought(self, backend: Backend, part: Any, first: int) -> Array:
        """Return some rows on the backend."""
        return self._shaped(backend.asarray(part))

    def _examined(self, X: Any, backend: Backend, part: Any, first: int) -> Array:
        """Return some rows of X on the backend, looked at just before they are used."""
        if not _finite(part):
            self._validated(X)
        return self._brought(backend, part, first)

    def _plain(self, X: Any) -> bool:
        """Return whether X needs no validation but for finite numbers: it is a fitting NumPy matrix.

        scikit-learn's own takes longer than the prediction of a single row.
        """
        return (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.dtype.char in "df"
            and X.shape[1] == self.__dict__.get("n_features_in_")
            and X.shape[0] > 0
            and self.__dict__.get("_home", HOST) is HOST
            and "feature_names_in_" not in self.__dict__
            and "_layers" in self.__dict__
        )

    def _check_home(self, X: Any, method: str) -> None:
        """Refuse an X of another library than that of ``fit``, in scikit-learn's words."""
        mine, other = self._result_home(), home_of(X)
        if (mine.xp, str(mine.device)) == (other.xp, str(other.device)):
            return
        name = f"{type(self).__name__}.{method}()"
        if mine.xp is other.xp:
            reason = (
                f"Devices used during fit ({mine.device}) and {method} ({other.device}) differ."
            )
        else:
            names = [getattr(home.xp, "__name__", "numpy") for home in (mine, other)]
            reason = (
                f"Array namespaces used during fit ({names[0]}) and {method} ({names[1]}) differ."
            )
        raise ValueError(
            f"Inputs passed to {name} must use the same namespace and the same device as those "
            f"passed to fit(). {reason} You can convert the estimator by pickling it, which makes "
            "all its arrays NumPy's, or fit it again."
        )

    def _result_home(self) -> Home:
        """Return where results go."""
        home: Home = self.__dict__.get("_home", HOST)
        return home

    def _prediction(self) -> tuple[Backend, Forward, Params]:
        """Return backend, program and parameters, which are kept while the attributes are the same."""
        sources = self._kept_arrays()
        if self._session and self._session[0] is self._layers:
            _, backend, forward, placed, known = self._session
            if len(known) == len(sources) and all(map(operator.is_, known, sources)):
                return backend, forward, placed
        backend = self._fitted_backend()
        forward = predictor.forward_pass(self._layers, backend)
        placed = self._kept_params()
        # NumPy's parameters are used where they are, so that changes made to them count.
        if backend.name != "numpy" or self._result_home() is not HOST:
            placed = tree_map(backend.asarray, placed)
        # Changed in place: a prediction sets no attribute.
        self._session[:] = [self._layers, backend, forward, placed, sources]
        return backend, forward, placed

    def _fitted_backend(self) -> Backend:
        """Return the backend of the fitted network; NumPy, and a warning, where it cannot be used."""
        try:
            backend = self._backend_for(self._result_home(), self._dtype)
            same = backend.dtype_name == self._dtype
            return backend if same else backend.replace(dtype=self._dtype)
        except BackendUnavailableError as error:
            warnings.warn(f"{error} NumPy predicts in its place.", stacklevel=5)
            return get_backend("numpy", None, self._dtype)

    # What is kept

    @property
    def network_(self) -> Network:
        """The fitted network as a :class:`~nnbackend.network.Network` of its own, on the backend."""
        check_is_fitted(self)
        return self._network_of(self._kept_params())

    def _network_of(self, params: Params) -> Network:
        backend = self._fitted_backend()
        layers = self._ending_in(self._output_activation())
        network = Network(layers, backend=backend, seed=self._seed)
        with backend.scope():
            return network.restore(self._input_shape(self.n_features_in_), params, {})

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
        from nnbackend.estimators import files

        return files.save(self, path)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        for name in _TRANSIENT:
            state.pop(name, None)
        trainer = self.__dict__.get("_trainer")
        if trainer is not None:
            state["_optimizer_state"] = _on_host(trainer.optimizer_state(), trainer.backend)
        home = self._result_home()
        if home is not HOST:
            backend = home.backend("float32")
            for name in self._array_attributes:
                state[name] = _on_host(state.get(name), backend)
        if "_session" in state:
            state["_session"] = []
        return state

    def __sklearn_is_fitted__(self) -> bool:
        return self._is_built()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags

    def _sk_visual_block_(self) -> Any:
        from nnbackend.estimators.html import block

        return block(self)


def keep_arguments(estimator: NeuralEstimator, arguments: dict[str, Any]) -> None:
    """Make the arguments of a constructor (its ``locals()``) attributes, as scikit-learn wants it."""
    for name, value in arguments.items():
        if name != "self":
            setattr(estimator, name, value)


def _blocks(run: FitRun | None, size: int) -> tuple[Callable[[int], bool] | None, int | None]:
    """Return what :meth:`Trainer.epoch` takes to tell callbacks of steps."""
    if run is None or not run.listening:
        return None, None

    def each_block(steps: int) -> bool:
        run.step = steps
        run.notify("batch_end")
        return not run.at_once

    intervals = [n for n in (c.batch_interval for c in run.listening) if n is not None]
    return each_block, size * math.gcd(*intervals) if intervals else None


def _on_host(value: Any, backend: Backend | None) -> Any:
    """Return nested arrays of a backend as copies of NumPy's."""
    if isinstance(value, dict):
        return {name: _on_host(item, backend) for name, item in value.items()}
    if isinstance(value, list):
        return [_on_host(item, backend) for item in value]
    if backend is None or not hasattr(value, "dtype") or isinstance(value, np.ndarray):
        return value
    return np.array(backend.to_numpy(value))


def _copied(params: Params, backend: Backend) -> Params:
    return tree_map(lambda leaf: backend.xp.asarray(leaf, copy=True), params)


def _finite(x: Array) -> bool:
    """Return whether all numbers are finite; of many, a sum of squares proves it in one fast pass."""
    if isinstance(x, np.ndarray):
        if x.size < _FEW:
            return bool(np.isfinite(x).all())
        with np.errstate(over="ignore", invalid="ignore"):
            return math.isfinite(np.vdot(x, x)) or bool(np.isfinite(x).all())
    xp = namespace(x)
    return bool(xp.all(xp.isfinite(x)))


def _rows_together(X: Any, backend: Backend) -> int:
    """Return how many rows of a NumPy matrix to look at and to compute at a time."""
    if backend.forward_bytes is None:
        return predictor.BATCH_ROWS
    row_bytes: int = X.shape[1] * X.itemsize
    return min(max(_LOOKED_AT // row_bytes, _FEWEST_TOGETHER), predictor.BATCH_ROWS)
