"""Search for good arguments of an estimator, by Optuna and cross-validation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone, is_classifier
from sklearn.model_selection import cross_val_score

from nnbackend.core.checks import check_number, check_size
from nnbackend.errors import given
from nnbackend.estimators.tabular import TabularClassifier
from nnbackend.estimators.tabular_base import TabularEstimator

__all__ = ["Search", "search_arguments", "suggest_tabular"]

_HIDDEN = {
    "3 of 256": (256, 256, 256),
    "5 of 64": (64, 64, 64, 64, 64),
    "1 of 512": (512,),
    "3 of 512": (512, 512, 512),
}


@dataclass(frozen=True)
class Search:
    """What a search has found.

    Attributes:
        estimator: with the best arguments, fitted on all rows.
        arguments: the best arguments by name; none if those of the estimator were the best.
        score: their mean score over the folds; larger is better.
        study: Optuna's study, with all trials.
    """

    estimator: Any
    arguments: dict[str, Any]
    score: float
    study: Any


def suggest_tabular(trial: Any, estimator: Any) -> dict[str, Any]:
    """Return arguments of a tabular estimator that a trial is to compare.

    The learning rate is drawn between 0.02 and 0.3, evenly by its logarithm, hidden layers from three of
    256 or of 512, five of 64, and one of 512 units, and for classes label smoothing from 0 and 0.1.

    Args:
        trial: Optuna's trial.
        estimator: a :class:`TabularClassifier` or :class:`TabularRegressor`.

    Source: the search space of RealMLP, Holzmüller, Grinsztajn, Steinwart (2024), arXiv:2407.04491.
    """
    found: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "hidden": _HIDDEN[trial.suggest_categorical("hidden", [*_HIDDEN])],
    }
    if isinstance(estimator, TabularClassifier):
        found["label_smoothing"] = trial.suggest_categorical("label_smoothing", [0.0, 0.1])
    return found


def search_arguments(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    trials: int = 30,
    folds: int = 3,
    space: Callable[[Any, Any], Mapping[str, Any]] | None = None,
    scoring: Any = None,
    max_time: float | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
) -> Search:
    """Search for the arguments with which an estimator predicts held-out rows best.

    Optuna's tree-structured Parzen estimator proposes arguments, and cross-validation judges them. Those
    that the estimator has are judged, too, and stay if none are better. ::

        found = search_arguments(TabularClassifier(random_state=0), X, y, trials=20)
        found.estimator.predict(X_new)

    Args:
        estimator: any estimator of scikit-learn's rules; it is not changed.
        X: the rows.
        y: their targets.
        trials: how many sets of arguments are compared; default 30.
        folds: into how many parts the rows are divided, each held out once; default 3.
        space: a function ``space(trial, estimator)`` that returns arguments by name; None (the default):
            :func:`suggest_tabular`.
        scoring: as scikit-learn's ``cross_val_score`` takes it; None (the default): minus the log loss
            of classes, minus the root mean square error of numbers.
        max_time: the seconds after which no further trial begins; None (the default): all of them run.
        seed: of the proposals; default 0. The estimator's ``random_state`` fixes the rest.
        n_jobs: how many folds are computed at the same time, see joblib; default None: one.

    Raises:
        ImportError: Optuna is not installed: ``pip install 'nnbackend[search]'``.
        ValueError: a number is out of range.
        TypeError: another estimator than a tabular one, and no ``space``.
    """
    check_size("trials", trials)
    check_size("folds", folds, 2)
    seconds = None if max_time is None else check_number("max_time", max_time, 0.0)
    if space is None and not isinstance(estimator, TabularEstimator):
        raise TypeError(
            f"there is a space for tabular estimators alone; for {given(estimator)} give one: "
            "space=lambda trial, estimator: {...}"
        )
    optuna = _optuna()
    suggest = space or suggest_tabular
    classifies = is_classifier(estimator)
    judged = scoring or ("neg_log_loss" if classifies else "neg_root_mean_squared_error")
    arguments: dict[int, dict[str, Any]] = {}

    def judge(chosen: Mapping[str, Any]) -> float:
        model = clone(estimator).set_params(**chosen)
        scores = cross_val_score(
            model, X, y, cv=folds, scoring=judged, n_jobs=n_jobs, error_score="raise"
        )
        return float(scores.mean())

    def run(trial: Any) -> float:
        arguments[trial.number] = dict(suggest(trial, estimator))
        return judge(arguments[trial.number])

    started = time.monotonic()
    own_score = judge({})
    left = None if seconds is None else max(seconds - (time.monotonic() - started), 0.0)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    if left is None or left > 0.0:
        study.optimize(run, n_trials=trials, timeout=left)
    best, best_score = {}, own_score
    if study.trials and study.best_value > own_score:
        best, best_score = arguments[study.best_trial.number], float(study.best_value)
    return Search(clone(estimator).set_params(**best).fit(X, y), best, best_score, study)


def _optuna() -> Any:
    """Return Optuna, which then says what is wrong and no more."""
    try:
        import optuna
    except ImportError as error:
        raise ImportError(
            "the search needs Optuna; run: pip install 'nnbackend[search]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
