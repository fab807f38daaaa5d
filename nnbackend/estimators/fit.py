"""Training an estimator in batches: its optimizer, its rows, and the library's own loop."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from nnbackend import optimizers
from nnbackend.backends.base import Backend
from nnbackend.core.history import History
from nnbackend.core.tree import tree_map
from nnbackend.core.types import Params
from nnbackend.data.samples import Samples
from nnbackend.data.validate import check_positive_weight
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

__all__ = ["AUTO_BATCH_ROWS", "fit_in_batches", "reshuffled"]

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
    trainer = _trainer_for(estimator, objective, backend, params, incremental)
    if estimator.early_stopping and incremental:
        raise ValueError("partial_fit does not support early_stopping=True")
    rows, validation = _split(estimator, objective.loss, samples, target, backend)
    _check_weights(samples, rows, validation, backend)
    if rows is None and (estimator.shuffle or scipy.sparse.issparse(samples.x)):
        rows = np.arange(len(samples))
    count = len(samples if rows is None else rows)
    network = estimator._trained_network
    earlier = vars(estimator).get("history_") if incremental else None
    stopping = Stopping(estimator, estimator._optimizer.learning_rate, count)
    loop = Loop(
        trainer,
        samples,
        rows,
        batch_size=_batch_rows(estimator.batch_size, count),
        shuffle=False,
        validation=validation,
        callbacks=[stopping, *(estimator.callbacks or ())],
        publish=lambda: network._take_from(trainer),
        network=network,
        epochs=1 if incremental else estimator.max_iter,
        order=reshuffled(rows, estimator._random_state) if estimator.shuffle else None,
        evaluate=lambda held_out: {"score": _score(estimator, trainer, held_out)},
        check_finite=False,  # scikit-learn looks at the end only
    )
    try:
        history = loop.train()
    finally:
        estimator._publish(network.params, network.state, backend)
        estimator._steps = trainer.steps
        if earlier is not None and earlier is not estimator.history_:
            estimator.history_ = _joined(earlier, estimator.history_)
    _warn(history, estimator.max_iter, incremental)


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


def reshuffled(rows: Any, random_state: np.random.RandomState) -> Callable[[int], Any]:
    """Return a function that shuffles the rows of the last epoch, as ``sklearn.utils.shuffle`` does."""

    def order(epoch: int) -> Any:
        nonlocal rows
        places = np.arange(len(rows))
        random_state.shuffle(places)
        rows = rows[places]
        return rows

    return order


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
    start = params, estimator._seed, estimator._steps
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
    settings: Any, loss: Loss, samples: Samples, target: Any, backend: Backend
) -> tuple[Any, Samples | None]:
    """Return the rows to learn from (None: all) and what to score after each epoch, if anything."""
    if settings.validation_data is not None:
        return None, settings._validation_samples(loss, backend)
    if not settings.early_stopping:
        return None, None
    # scikit-learn splits two classes in proportion, and nothing else.
    binary = is_classifier(settings) and target.ndim == 2 and target.shape[1] == 1
    kept, held_out = train_test_split(
        np.arange(len(target)),
        random_state=settings._random_state,
        test_size=settings.validation_fraction,
        stratify=target.astype(bool) if binary else None,
    )
    if len(held_out) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your "
            "dataset."
        )
    return kept, samples.take(held_out, backend)


def _check_weights(
    samples: Samples, rows: Any, validation: Samples | None, backend: Backend
) -> None:
    """Check that some of the rows that are learned from, and some that are scored, have a weight."""
    learned = samples.learned().weight
    if learned is not None:
        at = samples.placement(backend)
        if rows is not None:
            learned = at.xp.take(learned, at.asarray(rows, dtype=at.xp.int32), axis=0)
        check_positive_weight(learned, at, " that are learned from, times their class_weight")
    if validation is not None:
        check_positive_weight(
            validation.weight, validation.placement(backend), " that are scored after each epoch"
        )


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
