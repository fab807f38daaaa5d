"""scikit-learn's rules for the end of training."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimators.pairs import TARGETS, X, pair
from sklearn.exceptions import ConvergenceWarning

import nnbackend as nnb
from nnbackend import estimators as ours
from nnbackend.estimators.stopping import Stopping

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(("settings", "y"), [
    ({"max_iter": 2}, "multiclass"),
    ({"max_iter": 40, "tol": 5.0, "n_iter_no_change": 2}, "multiclass"),
    ({"max_iter": 40, "tol": 5.0, "n_iter_no_change": 2, "early_stopping": True}, "one"),
    ({"max_iter": 20, "tol": 5.0, "n_iter_no_change": 1, "solver": "sgd",
      "learning_rate": "adaptive", "learning_rate_init": 4e-6}, "binary"),
])  # fmt: skip
def test_progress_is_printed_in_the_same_words(capsys, settings, y):
    printed = []
    for estimator in pair(y, verbose=True, **settings):
        estimator.fit(X, TARGETS[y])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "Iteration 1, loss = " in printed[0]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("settings", "kind"), [
    ({"max_iter": 1}, ConvergenceWarning),
    ({"max_iter": 1, "batch_size": 1000}, UserWarning),
    ({"max_iter": 1, "solver": "lbfgs"}, ConvergenceWarning),
])  # fmt: skip
def test_warnings_are_the_same(settings, kind):
    found = []
    for estimator in pair("multiclass", **settings):
        with pytest.warns(kind) as caught:
            estimator.fit(X, TARGETS["multiclass"])
        found.append([(str(w.message), w.category) for w in caught])
    assert found[0] == found[1]


class Seen(nnb.callbacks.Callback):
    """Keeps the first weights of each epoch."""

    def __init__(self) -> None:
        self.weights: list[Any] = []

    def epoch_end(self, run: Any) -> None:
        self.weights.append(run.network.state_dict()["0.weight"])


def test_early_stopping_as_a_callback_gives_back_its_best_epoch():
    seen, stopping = Seen(), nnb.callbacks.EarlyStopping("loss", patience=2)
    mlp = ours.MLPRegressor(
        solver="sgd",
        learning_rate_init=0.2,
        max_iter=30,
        random_state=1,
        callbacks=[seen, stopping],
    ).fit(X, TARGETS["one"])
    assert stopping.best_epoch < mlp.n_iter_
    np.testing.assert_array_equal(mlp.coefs_[0], seen.weights[stopping.best_epoch - 1])


def test_scikit_learn_s_early_stopping_gives_back_its_best_epoch():
    seen = Seen()
    mlp = ours.MLPClassifier(
        early_stopping=True, n_iter_no_change=3, learning_rate_init=0.05, max_iter=60,
        random_state=0, callbacks=[seen],
    ).fit(X, TARGETS["multiclass"])  # fmt: skip
    best = int(np.argmax(mlp.validation_scores_))
    assert best < mlp.n_iter_ - 1
    np.testing.assert_array_equal(mlp.coefs_[0], seen.weights[best])
    assert mlp.history_["validation_score"] == mlp.validation_scores_


def test_an_epoch_whose_figure_is_nan_is_none_without_improvement():
    settings = {"tol": 0.1, "n_iter_no_change": 1, "early_stopping": False, "verbose": False}
    counts = {
        "best_loss_": 1.0,
        "_no_improvement_count": 0,
        "loss_curve_": [],
        "t_": 0,
        "n_iter_": 0,
    }
    estimator = SimpleNamespace(**settings, **counts, max_time=None)
    stopping = Stopping(estimator, None, 10)
    found = []
    for loss in (2.0, np.nan, 2.0, 0.95, 0.5, 2.0):
        run = SimpleNamespace(history={"loss": [loss]}, stop=lambda reason: None)
        stopping.epoch_end(run)
        found.append(estimator._no_improvement_count)
    assert found == [1, 0, 1, 2, 0, 1]  # 0.95 is better, but not by tol
    assert estimator.best_loss_ == 0.5
    assert estimator.t_ == 60


def test_a_run_that_a_callback_ends_in_its_last_epoch_has_no_warning():
    def end(run: Any) -> None:
        if run.epoch == 3:
            run.stop("enough")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mlp = ours.MLPClassifier(max_iter=3, callbacks=[end]).fit(X, TARGETS["binary"])
    assert mlp.history_.stopped == "enough"


@pytest.mark.filterwarnings("default")
def test_warnings_point_at_the_line_that_called():
    for call in (lambda e: e.fit(X, TARGETS["one"]), lambda e: e.partial_fit(X, TARGETS["one"])):
        with pytest.warns(UserWarning, match="clipped") as caught:
            call(ours.MLPRegressor(max_iter=1, batch_size=1000))
        assert {w.filename for w in caught} == {__file__}


def test_an_interrupted_epoch_is_undone():
    class Interrupt(nnb.callbacks.Callback):
        def batch_end(self, run: Any) -> None:
            if (run.epoch, run.step) == (3, 2):
                raise KeyboardInterrupt

    seen = Seen()
    mlp = ours.MLPClassifier(batch_size=50, callbacks=[seen, Interrupt()])
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        mlp.fit(X, TARGETS["multiclass"])
    assert mlp.n_iter_ == len(mlp.loss_curve_) == len(mlp.history_) == 2
    assert "interrupted" in mlp.history_.stopped
    np.testing.assert_array_equal(mlp.coefs_[0], seen.weights[-1])


def test_early_stopping_may_be_turned_on_and_off_between_fits():
    settings = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0}
    stopped = ours.MLPClassifier(early_stopping=True, **settings).fit(X, TARGETS["multiclass"])
    stopped.set_params(early_stopping=False).partial_fit(X, TARGETS["multiclass"])
    assert stopped.best_loss_ == stopped.loss_
    plain = ours.MLPClassifier(warm_start=True, **settings).fit(X, TARGETS["multiclass"])
    plain.set_params(early_stopping=True).fit(X, TARGETS["multiclass"])
    assert plain.best_validation_score_ == max(plain.validation_scores_)
