"""Training in batches: order, optimizers, callbacks, validation, and where the data are."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import scipy.sparse
import sklearn
from estimators.pairs import SCORE, TARGETS, X
from sklearn.base import clone

import nnbackend as nnb
from nnbackend import estimators as ours
from nnbackend.backends.device import Memory
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.data import host_data
from nnbackend.estimators.base import NeuralEstimator
from nnbackend.estimators.fit import reshuffled

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_rows_are_shuffled_as_scikit_learn_shuffles_them():
    places, expected = np.arange(50), np.random.RandomState(3)
    order = reshuffled(places, np.random.RandomState(3))
    for epoch in (1, 2, 3):
        places = sklearn.utils.shuffle(places, random_state=expected)
        np.testing.assert_array_equal(order(epoch), places)
    some = np.arange(0, 50, 2)
    np.testing.assert_array_equal(
        reshuffled(some, np.random.RandomState(3))(1),
        sklearn.utils.shuffle(some, random_state=3),
    )


def test_an_interrupt_keeps_what_was_learned():
    def interrupt(run: Any) -> None:
        if run.epoch == 2:
            raise KeyboardInterrupt

    mlp = ours.MLPClassifier(callbacks=[interrupt])
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        mlp.fit(X, TARGETS["multiclass"])
    assert mlp.n_iter_ == 2
    assert mlp.predict(X).shape == (150,)


@pytest.mark.parametrize("solver", [
    "adamw", "rmsprop", nnb.SGD(0.05, momentum=0.9), nnb.AdamW(0.01, weight_decay=0.1),
])  # fmt: skip
def test_optimizers_of_this_library(solver):
    mlp = ours.MLPClassifier((16,), solver=solver, learning_rate_init=0.01, random_state=0,
                             max_iter=40, batch_size=30).fit(X, TARGETS["binary"])  # fmt: skip
    assert mlp.score(X, TARGETS["binary"]) > 0.9


def test_the_learning_rate_may_be_a_schedule():
    mlp = ours.MLPRegressor(learning_rate=lambda step: 0.01 / (1 + step), max_iter=3, batch_size=50)
    rates = mlp.fit(X, TARGETS["one"]).history_["learning_rate"]
    np.testing.assert_allclose(rates, [0.01 / 3, 0.01 / 6, 0.01 / 9])


def test_regularizers_constraints_and_averages_of_this_library_count():
    y = TARGETS["one"]
    make = lambda **k: ours.NetworkRegressor(  # noqa: E731
        [nnb.Dense(8, activation="tanh", **k)], max_iter=5, random_state=0
    )
    plain = make().fit(X, y)
    l2 = make(regularizer=nnb.regularizers.L2(0.5)).fit(X, y)
    bound = make(constraint=nnb.constraints.MaxNorm(0.5)).fit(X, y)
    norms = [np.linalg.norm(m.params_["0"]["weight"], axis=0).max() for m in (plain, l2, bound)]
    assert norms[1] < norms[0]
    assert norms[2] <= 0.5 + 1e-6 < norms[0]
    assert make(regularizer=nnb.regularizers.L2(0.5)).set_params(solver="lbfgs").fit(X, y).loss_ > (
        make().set_params(solver="lbfgs").fit(X, y).loss_
    )
    averaged = make().set_params(solver=nnb.optimizers.EMA(nnb.Adam(1e-3), 0.5)).fit(X, y)
    assert np.abs(averaged.params_["0"]["weight"] - plain.params_["0"]["weight"]).max() > 1e-7


def test_validation_data_of_one_s_own():
    y = TARGETS["multiclass"]
    mlp = ours.MLPClassifier(max_iter=6, random_state=0, validation_data=(X[100:], y[100:]))
    mlp.fit(X[:100], y[:100])
    assert len(mlp.validation_scores_) == 6
    assert mlp.validation_scores_[-1] == mlp.score(X[100:], y[100:])
    assert mlp.best_loss_ is not None  # it does not stop training
    mlp.set_params(early_stopping=True, n_iter_no_change=1, tol=0.1, max_iter=100)
    mlp.fit(X[:100], y[:100])
    assert mlp.n_iter_ < 100
    assert mlp.best_validation_score_ == mlp.score(X[100:], y[100:])
    some = ours.MLPClassifier(max_iter=1, warm_start=True, validation_data=(X[y < 2], y[y < 2]))
    assert len(some.fit(X, y).fit(X, y).validation_scores_) == 2
    weighted = ours.MLPRegressor(
        max_iter=3, validation_data=(X[100:], SCORE[100:, 0], np.arange(50.0))
    ).fit(X[:100], SCORE[:100, 0])
    np.testing.assert_allclose(
        weighted.validation_scores_[-1],
        weighted.score(X[100:], SCORE[100:, 0], sample_weight=np.arange(50.0)),
    )


class _HalveTheRate(nnb.callbacks.Callback):
    def epoch_end(self, run: Any) -> None:
        run.learning_rate_factor *= 0.5


def test_metrics_callbacks_and_time():
    y = TARGETS["multiclass"]
    seen: list[Any] = []

    class Watch(nnb.callbacks.Callback):
        def start(self, run: Any) -> None:
            seen.append("start")

        def batch_end(self, run: Any) -> None:
            seen.append(run.step)

        def epoch_end(self, run: Any) -> None:
            seen.append(run.history["loss"][-1])
            assert run.network.predict(X).shape == (150, 4)
            if run.epoch == 2:
                run.stop("enough")

        def stop(self, run: Any) -> None:
            seen.append("stop")

    mlp = ours.MLPClassifier(
        callbacks=[Watch()], metrics=["accuracy"], batch_size=60, random_state=0
    )
    mlp.fit(X, y)
    losses_ = mlp.loss_curve_
    assert seen == ["start", 1, 2, 3, losses_[0], 1, 2, 3, losses_[1], "stop"]
    assert mlp.history_.stopped == "enough"
    assert len(mlp.history_["accuracy"]) == 2
    assert set(mlp.history_) >= {"epoch", "loss", "accuracy", "learning_rate", "seconds"}
    converged = ours.MLPClassifier(callbacks=[lambda run: None], tol=9.0, n_iter_no_change=2).fit(
        X, y
    )
    assert converged.history_.stopped.startswith("Training loss did not improve")

    class Leave(nnb.callbacks.Callback):
        def batch_end(self, run: Any) -> None:
            if run.epoch == 2:
                run.stop("left", at_once=True)

    left = ours.MLPClassifier(callbacks=[Leave()], batch_size=60).fit(X, y)
    assert (left.n_iter_, left.history_.stopped) == (1, "left")
    plateau = ours.MLPClassifier(callbacks=[_HalveTheRate()], max_iter=4, random_state=0).fit(X, y)
    np.testing.assert_allclose(plateau.history_["learning_rate"], [1e-3, 5e-4, 2.5e-4, 1.25e-4])
    timed = ours.MLPClassifier(max_time=1e-9).fit(X, y)
    assert timed.n_iter_ == 1
    assert "max_time" in timed.history_.stopped


def test_mixed_precision_is_what_is_trained_in(monkeypatch):
    """Layers see numbers of 16 bits in training, too; what is kept is float32."""
    seen, forward = set(), nnb.Dense.forward

    def spied(layer, params, x, ctx):
        seen.add((ctx.training, str(x.dtype), str(params["weight"].dtype)))
        return forward(layer, params, x, ctx)

    monkeypatch.setattr(nnb.Dense, "forward", spied)
    given = {"max_iter": 20, "precision": "float16", "random_state": 0, "early_stopping": True}
    mlp = ours.MLPClassifier(**given).fit(X, TARGETS["binary"])
    assert seen == {(training, "float16", "float16") for training in (True, False)}
    assert mlp.coefs_[0].dtype == np.float32
    exact = ours.MLPClassifier(**given | {"precision": "float64"}).fit(X, TARGETS["binary"])
    np.testing.assert_allclose(mlp.loss_curve_, exact.loss_curve_, rtol=0.02)


ON_HOST = {
    "classes": (ours.MLPClassifier(dropout=0.1), "multiclass", {}),
    "labels": (ours.MLPClassifier(early_stopping=True), "multilabel", {}),
    "weights": (ours.MLPClassifier(solver="sgd", shuffle=False, metrics="accuracy"), "binary",
                {"sample_weight": np.linspace(0.1, 2.0, 150)}),
    "class weights": (ours.MLPClassifier(class_weight="balanced"), "multiclass", {}),
    "numbers": (ours.MLPRegressor(metrics="mae",
                                  validation_data=(X[:60], TARGETS["several"][:60])), "several", {}),
    "layers": (ours.NetworkRegressor([nnb.Dense(5, "tanh"), nnb.Flatten()], input_shape=(2, 3),
                                     loss="mse"), "one", {}),
    "in 16 bits": (ours.NetworkClassifier([nnb.Dense(5, "relu")], precision="float16"), "binary", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", ON_HOST)
def test_data_on_the_host_give_the_same(name, monkeypatch):
    estimator, kind, weights = ON_HOST[name]
    given = {"batch_size": 16, "max_iter": 4, "random_state": 2}
    here, there = (clone(estimator).set_params(data_on=p, **given) for p in ("device", "host"))
    monkeypatch.setattr(NumPyBackend, "block_bytes", 40 * 6 * 8)  # several blocks
    lying = noted(monkeypatch)
    for mlp in (here, there):
        mlp.fit(X, TARGETS[kind], **weights)
    count = len(lying) // 2  # beside the training data those to validate with
    assert lying == ["Samples"] * count + ["HostSamples"] * count
    assert here.validation_scores_ == there.validation_scores_
    one, other = (mlp.history_.to_dict() | {"seconds": None} for mlp in (here, there))
    assert one == other
    np.testing.assert_array_equal(here.predict(X), there.predict(X))
    assert not [t for t in threading.enumerate() if t.name == "nnbackend reader"]


def noted(monkeypatch):
    """Return a list in which it is noted where samples lie."""
    seen, made = [], NeuralEstimator._samples

    def samples(*args):
        found = made(*args)
        seen.append(type(found).__name__)
        return found

    monkeypatch.setattr(NeuralEstimator, "_samples", samples)
    return seen


def test_data_go_to_the_host_when_they_do_not_fit(monkeypatch):
    y, given = TARGETS["multiclass"], {"batch_size": 32, "max_iter": 2, "random_state": 1}
    size, lying = 8 * (X.size + len(y)), noted(monkeypatch)
    expected = ours.MLPClassifier(**given).fit(X, y).predict_proba(X)
    monkeypatch.setattr(host_data, "_ALWAYS_FITS_BYTES", 0)
    for free, place in ((2 * size, "Samples"), (2 * size - 1, "HostSamples")):
        memory = Memory(used=0, held=0, free=free, total=1 << 40, peak=0)
        monkeypatch.setattr(NumPyBackend, "memory", lambda self, memory=memory: memory)
        mlp = ours.MLPClassifier(**given).fit(X, y)
        assert lying[-1] == place
        np.testing.assert_array_equal(mlp.predict_proba(X), expected)
    ours.MLPClassifier(**given, data_on="device").fit(X, y)
    assert lying[-1] == "Samples"
    first = ours.MLPClassifier(**given).partial_fit(X, y, classes=np.unique(y))
    first.partial_fit(X, y)
    assert lying[-2:] == ["HostSamples"] * 2
    # A step that takes all rows needs all of them there, and a sparse X is on the host anyway.
    for whole in ({"batch_size": 150}, {"batch_size": "auto"}, {"solver": "lbfgs"}):
        ours.MLPClassifier(**given | whole, data_on="host").fit(X, y)
        assert lying[-1] == "Samples"
    sparse = ours.MLPClassifier(**given, data_on="host").fit(scipy.sparse.csr_matrix(X), y)
    assert lying[-1] == "SparseSamples"
    np.testing.assert_allclose(sparse.predict_proba(X), expected)


def test_where_data_lie_is_kept_and_copied(tmp_path):
    mlp = ours.MLPRegressor(max_iter=1, data_on="host").fit(X, TARGETS["one"])
    assert clone(mlp).data_on == pickle.loads(pickle.dumps(mlp)).data_on == "host"
    assert ours.load(mlp.save(tmp_path / "mlp.safetensors")).data_on == "host"
    kinds = ours.MLPClassifier, ours.MLPRegressor, ours.NetworkClassifier, ours.NetworkRegressor
    assert {kind().data_on for kind in kinds} == {"auto"}


def test_the_history_of_partial_fits_goes_on():
    mlp = ours.MLPClassifier(metrics="accuracy", random_state=0)
    for i in range(3):
        mlp.partial_fit(X, TARGETS["binary"], classes=[0, 1])
        assert mlp.n_iter_ == 1
        assert mlp.history_["epoch"] == list(range(1, i + 2))
    assert mlp.history_["loss"] == mlp.loss_curve_
    assert len(mlp.history_["accuracy"]) == 3
    mlp.set_params(max_iter=2).fit(X, TARGETS["binary"])
    assert mlp.history_["loss"] == mlp.loss_curve_ == mlp.loss_curve_[:2]


@pytest.mark.parametrize("container", [np.asarray, scipy.sparse.csr_matrix])
def test_checkpoints_are_written_of_data_of_any_kind(container, tmp_path):
    callbacks = [nnb.callbacks.Checkpoint(tmp_path)]
    mlp = ours.MLPClassifier(max_iter=3, batch_size=40, callbacks=callbacks)
    mlp.fit(container(X), TARGETS["multiclass"])
    network = nnb.load(callbacks[0].latest)
    np.testing.assert_array_equal(network.params["0"]["weight"], mlp.coefs_[0])
    np.testing.assert_allclose(network.predict(X), mlp.predict_proba(X))


def test_a_strength_of_the_penalty_is_learned_with_in_partial_fits():
    """The trainer of the last call is not taken when the penalty has changed."""
    strong, weak = (ours.MLPRegressor(random_state=0, alpha=a) for a in (100.0, 0.0))
    for mlp in (strong, weak):
        mlp.partial_fit(X, TARGETS["one"])
    changed = weak.set_params(alpha=100.0).partial_fit(X, TARGETS["one"])
    assert changed.loss_ > changed.loss_curve_[0] + 1.0


def test_frozen_layers_stay_as_they_are_with_a_penalty_too():
    frozen = nnb.optimizers.Frozen(nnb.Adam(1e-2), ("0.weight", "0.bias"))
    make = lambda epochs: ours.MLPRegressor(  # noqa: E731
        hidden_layer_sizes=(4, 3), solver=frozen, max_iter=epochs, alpha=1.0, random_state=0
    ).fit(X, TARGETS["one"])
    one, five = make(1), make(5)
    np.testing.assert_array_equal(one.coefs_[0], five.coefs_[0])
    assert np.abs(one.coefs_[1] - five.coefs_[1]).max() > 1e-3


def noisy(**given: Any) -> Any:
    """Return an estimator whose steps depend on nothing but parameters, rows and masks."""
    settings = {
        "solver": "sgd",
        "momentum": 0.0,
        "shuffle": False,
        "batch_size": 50,
        "dropout": 0.5,
    }
    return ours.MLPRegressor(random_state=3, **settings | given)


def test_masks_go_on_in_warm_starts():
    y = TARGETS["one"]
    whole = noisy(max_iter=4, alpha=0.0).fit(X, y)
    parts = noisy(max_iter=2, alpha=0.0, warm_start=True)
    for _ in range(2):
        parts.fit(X, y)
    assert parts.loss_curve_ == whole.loss_curve_
    again = parts.set_params(warm_start=False, max_iter=4).fit(X, y)  # from the beginning
    assert again.loss_curve_ == whole.loss_curve_


@pytest.mark.parametrize("between", ["pickle", "alpha", "file"])
def test_masks_go_on_after(between, tmp_path):
    y = TARGETS["one"]
    whole, parts = noisy(), noisy()
    for mlp in (whole, parts):
        mlp.partial_fit(X, y)
    if between == "pickle":
        parts = pickle.loads(pickle.dumps(parts))
    elif between == "file":
        parts = ours.load(parts.save(tmp_path / "mlp.safetensors"))
    else:
        parts.set_params(alpha=1.1e-4)
    for mlp in (whole, parts):
        mlp.partial_fit(X, y)
    np.testing.assert_allclose(parts.coefs_[0], whole.coefs_[0], rtol=1e-6)


def test_the_network_of_an_estimator_goes_on_with_other_masks():
    mlp = noisy(max_iter=2, warm_start=True).fit(X, TARGETS["one"])
    assert mlp.network_.trained == (6, 2)


@pytest.mark.parametrize("without", ["first", "middle", "last"])
@pytest.mark.parametrize("settings", [
    {}, {"solver": "sgd"}, {"shuffle": True, "batch_size": 1}, {"precision": "float16"},
    {"loss": "mse"}, {"loss": "poisson"}, {"metrics": ["mae"]}, {"alpha": 0.0},
], ids=str)  # fmt: skip
def test_a_batch_without_weight_teaches_nothing(without, settings):
    weight, y = np.ones(150), np.abs(TARGETS["one"])
    weight[{"first": slice(0, 50), "middle": slice(50, 100), "last": slice(149, None)}[without]] = 0
    given = {"batch_size": 50, "shuffle": False, "max_iter": 3, "random_state": 0} | settings
    if without == "last" and given["batch_size"] == 50:
        given["batch_size"] = 149
    mlp = ours.MLPRegressor(**given).fit(X, y, sample_weight=weight)
    assert np.isfinite(mlp.loss_curve_).all()
    other = np.where(weight > 0, y, 1e3)  # of rows that do not count
    again = ours.MLPRegressor(**given).fit(X, other, sample_weight=weight)
    np.testing.assert_array_equal(mlp.coefs_[0], again.coefs_[0])


def test_a_batch_without_weight_has_no_gradient():
    """With plain gradient descent an epoch of it and another one is an epoch of the other."""
    y, weight = TARGETS["binary"], np.r_[np.ones(75), np.zeros(75)]
    given = {"solver": "sgd", "momentum": 0.0, "shuffle": False, "batch_size": 75, "max_iter": 1,
             "random_state": 0, "alpha": 1.0}  # fmt: skip
    both = ours.MLPClassifier(**given).fit(X, y, sample_weight=weight)
    half = ours.MLPClassifier(**given).fit(X[:75], y[:75])
    np.testing.assert_array_equal(both.coefs_[0], half.coefs_[0])
