"""scikit-learn's rules for the end of training, as a callback of the library's own loop."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from nnbackend.callbacks import Callback, Run
from nnbackend.core.types import Params, State
from nnbackend.estimators.rules import Rate

if TYPE_CHECKING:
    from nnbackend.estimators.base import NeuralEstimator

__all__ = ["Stopping"]


class Stopping(Callback):
    """Keeps what scikit-learn keeps of each epoch, and ends training when it would.

    The attributes of the estimator (``loss_curve_``, ``best_loss_``, ``validation_scores_`` ...) are
    where the rules count, so that a warm start continues with them. With early stopping the network has
    the parameters of the best epoch at the end.
    """

    every_batch = False
    only_watches = True

    def __init__(self, estimator: NeuralEstimator, rate: Any, rows: int) -> None:
        self._estimator: Any = estimator
        self._rate = rate if isinstance(rate, Rate) else Rate(0.0)
        self._rows = rows  # of an epoch
        self._started = time.perf_counter()
        self._best: tuple[Params, State] | None = None
        self._converged: str | None = None

    def start(self, run: Run) -> None:
        """Show the history, and begin to count epochs."""
        self._estimator.history_ = run.history
        self._estimator.n_iter_ = 0

    def epoch_end(self, run: Run) -> None:
        """Count the epoch, and see whether it was the last one."""
        estimator = self._estimator
        estimator.loss_ = loss = run.history["loss"][-1]
        estimator.n_iter_ += 1
        estimator.t_ += self._rows
        estimator.loss_curve_.append(loss)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
        if "validation_score" in run.history:
            self._keep_score(run.history["validation_score"][-1])
        stalled = self._score_stalled(run) if estimator.early_stopping else self._loss_stalled()
        # NaN is no epoch without improvement, as in scikit-learn.
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if stalled else 0
        self._rate.end_epoch(estimator.t_)
        if estimator._no_improvement_count > estimator.n_iter_no_change:
            self._end_or_shrink_rate(run)
        seconds = estimator.max_time
        if seconds is not None and time.perf_counter() - self._started >= seconds:
            run.stop(f"max_time of {seconds:g} s is over")

    def stop(self, run: Run) -> None:
        """Give the network the best parameters, and the history the reason for the end."""
        run.reason = run.history.stopped = self._converged or run.reason
        if self._best is not None:
            run.network.params, run.network.state = self._best

    def _keep_score(self, score: float) -> None:
        estimator = self._estimator
        if estimator.validation_scores_ is None:  # no earlier fit had validation data
            estimator.validation_scores_ = []
        estimator.validation_scores_.append(score)
        if estimator.verbose:
            print(f"Validation score: {score:f}")

    def _score_stalled(self, run: Run) -> bool:
        """Return whether the score no longer rises; keep the parameters of the best one."""
        estimator, score = self._estimator, run.history["validation_score"][-1]
        before = estimator.best_validation_score_
        if before is None:  # it was trained without early stopping so far
            before = -math.inf
        if score > before:
            estimator.best_validation_score_ = score
            copy = run.network.backend.copy_tree
            self._best = copy(run.parameters()), copy(run.network.state)
        return bool(score < before + estimator.tol)

    def _loss_stalled(self) -> bool:
        """Return whether the training loss no longer falls."""
        estimator = self._estimator
        # None: it was trained with early stopping so far.
        before = math.inf if estimator.best_loss_ is None else estimator.best_loss_
        if estimator.loss_ < before:
            estimator.best_loss_ = estimator.loss_
        return bool(estimator.loss_ > before - estimator.tol)

    def _end_or_shrink_rate(self, run: Run) -> None:
        """Ask for the end of the run, or divide an adaptive learning rate."""
        estimator = self._estimator
        what = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={estimator.tol:f} for "
            f"{estimator.n_iter_no_change} consecutive epochs."
        )
        ending = self._rate.shrink()
        if estimator.verbose:
            print(message, ending or f"Setting learning rate to {self._rate.now:f}")
        if ending is None:
            estimator._no_improvement_count = 0
            return
        self._converged = message
        run.stop(message)
