"""Folds, searches and cross-validation in several processes, by joblib and by Dask."""

from __future__ import annotations

import numpy as np
import pytest

joblib = pytest.importorskip("joblib")
pytest.importorskip("sklearn")

from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402

from nnbackend.estimators import TabularClassifier, TabularRegressor  # noqa: E402
from nnbackend.tabular import training  # noqa: E402

SMALL = {"epochs": 3, "hidden": [8], "random_state": 0}


def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    return x, x[:, 0] + 0.1 * x[:, 1] ** 2


def test_folds_of_several_processes_are_the_same_networks():
    x, y = rows()
    for make, target in ((TabularRegressor, y), (TabularClassifier, y > 0)):
        alone, together = (make(**SMALL, folds=3, n_jobs=n).fit(x, target) for n in (1, 2))
        np.testing.assert_allclose(together.predict(x), alone.predict(x), atol=1e-5)
        assert len(together.histories_) == 3
        assert [h["loss"] for h in together.histories_] == [
            pytest.approx(h["loss"], abs=1e-5) for h in alone.histories_
        ]
        np.testing.assert_array_equal(together.held_out_[0], alone.held_out_[0])
        np.testing.assert_allclose(together.held_out_[1], alone.held_out_[1], atol=1e-5)


def test_none_takes_what_joblib_was_told():
    assert training._count_jobs(None) == 1
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert training._count_jobs(None) == 2


def test_the_time_is_shared_by_what_runs_at_once(monkeypatch):
    x, y = rows()
    shares = []

    def fit_network(*args, max_time, **more):
        shares.append(max_time)
        return fit(*args, max_time=None, **more)

    fit = training.fit_network
    monkeypatch.setattr(training, "fit_network", fit_network)
    with joblib.parallel_config(backend="threading"):
        TabularRegressor(**SMALL, folds=3, n_jobs=2, max_time=100).fit(x, y)
    assert len(shares) == 3  # in two rounds
    assert all(40 < share <= 50 for share in shares)


def test_no_jobs_at_all_is_refused():
    x, y = rows()
    with pytest.raises(ValueError, match="n_jobs == 0"):
        TabularRegressor(**SMALL, folds=2, n_jobs=0).fit(x, y)


def test_scikit_learns_search_in_processes():
    x, y = rows()
    space = {"learning_rate": [0.01, 0.2]}
    together, alone = (
        GridSearchCV(TabularRegressor(**SMALL), space, cv=2, n_jobs=n).fit(x, y) for n in (2, None)
    )
    scores = (search.cv_results_["mean_test_score"] for search in (together, alone))
    np.testing.assert_allclose(*scores, atol=1e-4)


@pytest.mark.filterwarnings("default")  # Dask's own
def test_dask_distributes_folds_and_cross_validation():
    distributed = pytest.importorskip("distributed")
    x, y = rows()
    model = TabularRegressor(**SMALL)
    alone = cross_val_score(model, x, y, cv=2)
    folds = TabularRegressor(**SMALL, folds=2).fit(x, y).predict(x)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        np.testing.assert_allclose(cross_val_score(model, x, y, cv=2), alone, atol=1e-4)
        assert training._count_jobs(None) == 2
        together = TabularRegressor(**SMALL, folds=2).fit(x, y)
        np.testing.assert_allclose(together.predict(x), folds, atol=1e-5)
