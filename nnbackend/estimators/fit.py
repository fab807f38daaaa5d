"""Training an estimator in batches: its optimizer, its rows, and the library's own loop."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from nnbackend import optimizers
from nnbackend.backends.base import Backend
from nnbackend.core.history import History
from nnbackend.core.tree import tree_map
from nnbackend.core.types import Params
from nnbackend.data.samples import Samples
from nnbackend.estimators.arrays import on_host
from nnbackend.estimators.rules import Rate, ScikitLearnAdam, ScikitLearnSGD
from nnbackend.estimators.stopping import Stopping
from nnbackend.inference.predictor import Predictor
from nnbackend.losses import Loss
from nnbackend.optimizers import LBFGS, Optimizer
from nnbackend.training.loop import Loop
from nnbackend.training.objective import Objective
from nnbackend.training.trainer import Trainer

if TYPE_CHECKING:
    from nnbackend.estimators.base import NeuralEstimator

__all__ = ["AUTO_BATCH_ROWS", "EpochOrder", "fit_in_batches"]

AUTO_BATCH_ROWS = 200
_CALLER_LEVEL = 6  # of a warning: the line that called fit


def fit_in_batches(
    estimator: NeuralEstimator,
    objective: Objective,
    backend: Backend,
    params: Params,
    samples: Samples,
    target: Any,
    incremental: bool,
) -> None:
    """Train by a stochastic solver, and set the estimator's attributes.

    ``target`` has the targets before they became the network's. ``incremental`` means to go once through
    the rows, with the optimizer of the last time.

    Raises:
        ValueError: a setting does not go with the rows, or with ``partial_fit``.
    """
    settings: Any = estimator
    trainer = _trainer_for(estimator, objective, backend, params, incremental)
    if settings.early_stopping and incremental:
        raise ValueError("partial_fit does not support early_stopping=True")
    rows, validation = _split(estimator, objective.loss, samples, target, backend)
    if rows is None and scipy.sparse.issparse(samples.x):
        rows = np.arange(len(samples))
    size = _batch_rows(settings.batch_size, len(samples if rows is None else rows))
    epochs = 1 if incremental else settings.max_iter
    loop = _loop(estimator, trainer, samples, rows, size, validation, epochs)
    network = estimator._trained_network
    earlier = vars(estimator).get("history_") if incremental else None
    try:
        history = loop.train()
    finally:
        estimator._publish(network.params, network.state, backend)
        if earlier is not None and earlier is not settings.history_:
            settings.history_ = _joined(earlier, settings.history_)
    _warn(history, settings.max_iter, incremental)


def _loop(
    estimator: NeuralEstimator,
    trainer: Trainer,
    samples: Samples,
    rows: Any,
    batch_size: int,
    validation: Samples | None,
    epochs: int,
) -> Loop:
    """Return the library's loop, with scikit-learn's order of rows and its end of training."""
    settings: Any = estimator
    network = estimator._trained_network
    count = len(samples if rows is None else rows)

    def publish() -> None:
        network.params = trainer.result
        if trainer.state:
            network.state = trainer.state

    stopping = Stopping(estimator, estimator._optimizer.learning_rate, count)
    return Loop(
        trainer,
        samples,
        rows,
        batch_size=batch_size,
        shuffle=False,
        validation=validation,
        callbacks=[stopping, *(settings.callbacks or ())],
        publish=publish,
        network=network,
        epochs=epochs,
        order=EpochOrder(rows, count, settings._random_state) if settings.shuffle else None,
        evaluate=lambda held_out: {"score": _score(estimator, trainer, held_out)},
        check_finite=False,  # scikit-learn looks at the end only
    )


def _warn(history: History, max_iter: int, incremental: bool) -> None:
    """Warn of an end that is no convergence, in scikit-learn's words."""
    if history.stopped is not None and history.stopped.startswith("interrupted"):
        warnings.warn("Training interrupted by user.", stacklevel=_CALLER_LEVEL)
    elif history.stopped is None and len(history) == max_iter and not incremental:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({max_iter}) reached and the optimization "
            "hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=_CALLER_LEVEL,
        )


class EpochOrder:
    """The rows of each epoch: those of the last one, shuffled as ``sklearn.utils.shuffle`` does.

    Args:
        rows: the rows to take; None: all.
        count: their number.
        random_state: the source of random numbers.
    """

    def __init__(self, rows: Any, count: int, random_state: np.random.RandomState) -> None:
        self._rows = np.arange(count) if rows is None else rows
        self._random_state = random_state

    def __call__(self, epoch: int) -> np.ndarray[Any, Any]:
        """Return the rows of the next epoch."""
        order = np.arange(len(self._rows))
        self._random_state.shuffle(order)
        self._rows = self._rows[order]
        return self._rows


def _trainer_for(
    estimator: NeuralEstimator,
    objective: Objective,
    backend: Backend,
    params: Params,
    incremental: bool,
) -> Trainer:
    """Return the trainer of the last partial fit, or a new one."""
    kept: Trainer | None = vars(estimator).get("_trainer")
    layer_state = tree_map(backend.asarray, estimator._layer_state)
    if incremental and kept is not None and (kept.objective, kept.backend) == (objective, backend):
        kept.params, kept.state = params, layer_state
        return kept
    state: Mapping[str, Any] | None = None
    if incremental and "_optimizer" in vars(estimator):
        state = vars(estimator).get("_optimizer_state")
        state = state if kept is None else on_host(kept.optimizer_state(), kept.backend)
    else:
        estimator._optimizer = _optimizer_of(estimator)
        estimator._optimizer_state = None
    start = params, estimator._seed
    trainer = Trainer(objective, estimator._optimizer, backend, *start, state=layer_state)
    if state is not None:
        trainer.restore_optimizer(state)
    estimator._trainer, estimator._trained_network = trainer, estimator._network_of(params)
    return trainer


def _optimizer_of(settings: Any) -> Optimizer:
    """Return a new optimizer, as ``solver`` and its companions say."""
    rate: Any = settings.learning_rate
    if not callable(rate):
        kind = rate if settings.solver == "sgd" else "constant"
        rate = Rate(settings.learning_rate_init, kind, settings.power_t)
    if settings.solver == "sgd":
        nesterov = bool(settings.nesterovs_momentum)
        return ScikitLearnSGD(rate, float(settings.momentum), nesterov)
    if settings.solver == "adam":
        betas = float(settings.beta_1), float(settings.beta_2)
        return ScikitLearnAdam(rate, *betas, float(settings.epsilon))
    if isinstance(settings.solver, str):
        return optimizers.get(settings.solver, learning_rate=rate)
    if isinstance(settings.solver, LBFGS):
        raise ValueError("solver='lbfgs' is the estimator's L-BFGS, with max_iter, max_fun and tol")
    return settings.solver  # type: ignore[no-any-return]


def _batch_rows(batch_size: int | str, count: int) -> int:
    """Return the rows of a step."""
    if isinstance(batch_size, str):
        return min(AUTO_BATCH_ROWS, count)
    if batch_size > count:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=_CALLER_LEVEL,
        )
    return min(int(batch_size), count)


def _split(
    estimator: NeuralEstimator, loss: Loss, samples: Samples, target: Any, backend: Backend
) -> tuple[Any, Samples | None]:
    """Return the rows to learn from (None: all) and what to score after each epoch, if anything."""
    settings: Any = estimator
    if settings.validation_data is not None:
        return None, estimator._validation_samples(loss, backend)
    if not settings.early_stopping:
        return None, None
    kept, held_out = train_test_split(
        np.arange(len(target)),
        random_state=settings._random_state,
        test_size=settings.validation_fraction,
        stratify=settings._stratify(target),
    )
    if len(held_out) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your "
            "dataset."
        )
    return kept, samples.take(held_out, backend)


def _score(estimator: Any, trainer: Trainer, validation: Any) -> float:
    """Return the estimator's score on the validation rows."""
    predictor = Predictor(trainer.objective.layers, trainer.backend)
    z = validation.outputs(predictor, trainer.result, trainer.state)
    targets = validation.targets(trainer.backend)
    score: float = estimator._score_outputs(z, *targets, trainer.objective, trainer.backend)
    return score


def _joined(earlier: History, later: History) -> History:
    """Return the history of one partial fit after those of the others."""
    if len(later):
        earlier.extend({name: column for name, column in later.items() if name != "epoch"})
    earlier.stopped = later.stopped
    return earlier
