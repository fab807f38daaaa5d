"""L-BFGS: SciPy's own iterates, scikit-learn's final loss, and what can go wrong."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from cases import rows
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.callbacks import Callback

optimize = pytest.importorskip("scipy.optimize")

X, W = rows((60, 4)), rows((4, 2), 1)
LABELS = (X[:, 0] * X[:, 1] > 0).astype(float)[:, None]


def hidden(backend="numpy", dtype="float64", seed=0):
    layers = [nnb.Dense(8, activation="tanh"), nnb.Dense(1)]
    return nnb.Network(layers, backend=backend, dtype=dtype, seed=seed, input_shape=4)


def fit(net, optimizer=None, epochs=40, y=LABELS, loss="binary_cross_entropy", **kwargs):
    return net.fit(X, y, loss=loss, optimizer=optimizer or nnb.LBFGS(), epochs=epochs,
                   batch_size=None, **kwargs)  # fmt: skip


def test_a_linear_model_ends_at_the_least_squares(backend64):
    net = nnb.Network([nnb.Dense(2)], backend=backend64)
    history = fit(net, nnb.LBFGS(tolerance=1e-12, loss_tolerance=0), y=X @ W + 0.5, loss="mse")
    found = host(net.backend, net.params)["0"]
    np.testing.assert_allclose(found["weight"], W, atol=1e-9)
    np.testing.assert_allclose(found["bias"], 0.5, atol=1e-9)
    assert len(history) < 40
    assert history.stopped.startswith("converged (")
    assert history["loss"] == sorted(history["loss"], reverse=True)


def test_every_iterate_is_scipys(backend64):
    """Logistic regression, with value and gradient written out here."""

    def function(parameters):
        z = X @ parameters[:4] + parameters[4]
        t = LABELS[:, 0]
        value = np.mean(np.logaddexp(0, z) - t * z)
        slope = (1 / (1 + np.exp(-z)) - t) / len(t)
        return value, np.append(X.T @ slope, slope.sum())

    net = nnb.Network([nnb.Dense(1)], backend=backend64, input_shape=4)
    start = host(net.backend, net.params)["0"]
    losses = []
    optimize.minimize(
        function, np.append(start["weight"], start["bias"]), jac=True, method="L-BFGS-B",
        callback=lambda intermediate_result: losses.append(intermediate_result.fun),
        options={"maxcor": 10, "ftol": 1e-12, "gtol": 1e-9},
    )  # fmt: skip
    history = fit(net, nnb.LBFGS(tolerance=1e-9, loss_tolerance=1e-12))
    assert len(losses) > 3
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-10)


def test_the_final_loss_is_scikit_learns():
    neural = pytest.importorskip("sklearn.neural_network")
    twin = neural.MLPClassifier((8,), "tanh", solver="lbfgs", alpha=0.0, max_iter=1, tol=1e-4,
                                warm_start=True)  # fmt: skip
    with pytest.warns(match="max_iter"):
        twin.fit(X, LABELS[:, 0])
    net = hidden()
    params = host(net.backend, net.params)
    twin.coefs_ = [params[i]["weight"] for i in "01"]
    twin.intercepts_ = [params[i]["bias"] for i in "01"]
    twin.max_iter = 500
    twin.fit(X, LABELS[:, 0])
    history = fit(net, nnb.LBFGS(tolerance=1e-4), epochs=500)
    assert history.stopped.startswith("converged")
    assert history["loss"][-1] == pytest.approx(twin.loss_, rel=1e-4)
    assert history["loss"][-1] < 0.05


def test_backends_agree(backend64):
    net, other = hidden(backend64), hidden()
    found, expected = fit(net, epochs=15), fit(other, epochs=15)
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-6)


def test_float32_ends_well(backend):
    net = hidden(backend, None)
    history = fit(net, epochs=200)
    assert history["loss"][-1] < 0.05
    assert all(p.dtype == backend.dtype for p in net.state_dict().values())


def test_weights_of_rows_count(backend64):
    weight = np.arange(60) % 3
    net, twin = (nnb.Network([nnb.Dense(2)], backend=backend64) for _ in range(2))
    y, optimizer = rows((60, 2), 5), nnb.LBFGS(tolerance=1e-10, loss_tolerance=0)
    fit(net, optimizer, y=y, loss="mse", sample_weight=weight)
    index = np.repeat(np.arange(60), weight)
    twin.fit(X[index], y[index], optimizer=optimizer, epochs=40, batch_size=None)
    assert_close(host(backend64, net.params), host(backend64, twin.params), 1e-7)


def test_an_iteration_is_an_epoch(backend64):
    events = []

    class Log(Callback):
        def epoch_start(self, run):
            events.append(("start", run.epoch))

        def batch_end(self, run):
            events.append(("batch", run.step))

        def epoch_end(self, run):
            events.append(("end", run.epoch, len(run.history)))

    history = fit(hidden(backend64), epochs=3, callbacks=[Log()], validation_split=0.25,
                  metrics=["accuracy"])  # fmt: skip
    assert events == [e for n in (1, 2, 3) for e in (("start", n), ("batch", 1), ("end", n, n))]
    assert len(history) == 3
    assert history.stopped is None
    assert set(history) == {"epoch", "loss", "accuracy", "validation_loss", "validation_accuracy",
                            "seconds"}  # fmt: skip


def test_a_run_that_has_converged_before_has_one_epoch(backend64):
    net = nnb.Network([nnb.Dense(2)], backend=backend64)
    optimizer = nnb.LBFGS(tolerance=1e-9, loss_tolerance=0)
    fit(net, optimizer, y=X @ W, loss="mse")
    before = host(backend64, net.params)
    history = fit(net, optimizer, y=X @ W, loss="mse")
    assert len(history) == 1
    assert history.stopped.startswith("converged")
    assert_equal(host(backend64, net.params), before)


def test_a_callback_ends_it(backend64):
    history = fit(hidden(backend64), callbacks=[lambda run: run.epoch == 4 and run.stop("enough")])
    assert (len(history), history.stopped) == (4, "enough")


def test_ctrl_c_keeps_the_iterations_done(backend64, capsys):
    kept = []

    class Interrupting(Callback):
        def epoch_end(self, run):
            kept.append(host(backend64, run.network.params))

        def epoch_start(self, run):
            if run.epoch == 4:
                raise KeyboardInterrupt

    net = hidden(backend64)
    history = fit(net, callbacks=[Interrupting()])
    assert len(history) == 3
    assert "interrupted in epoch 4" in history.stopped
    assert_equal(host(backend64, net.params), kept[2])


def test_parameters_that_a_callback_sets_are_trained_further(backend64):
    net = nnb.Network([nnb.Dense(2)], backend=backend64)

    def thrown_back(run):
        if run.epoch == 3:
            run.network.params = host_to(run.network, 7.0)

    def host_to(network, value):
        state = {name: np.full(p.shape, value) for name, p in network.state_dict().items()}
        return network.load_state_dict(state).params

    history = fit(net, nnb.LBFGS(tolerance=1e-10, loss_tolerance=0), y=X @ W, loss="mse",
                  callbacks=[thrown_back])  # fmt: skip
    assert history["loss"][3] > history["loss"][2]
    np.testing.assert_allclose(host(backend64, net.params)["0"]["weight"], W, atol=1e-8)


def barrier(prediction, target, sample_weight=None):
    """A loss that is NaN where a prediction is not above zero: ``mean(p - log(p))``, smallest at 1."""
    xp = prediction.__array_namespace__()
    value = xp.mean(prediction - xp.log(prediction))
    return value, (1.0 - 1.0 / prediction) / prediction.shape[0]


def test_a_line_that_leads_to_nan_is_not_the_end():
    net = nnb.Network([nnb.Dense(1)], dtype="float64", input_shape=1)
    net.load_state_dict({"0.weight": [[0.3]], "0.bias": [40.0]})
    x = np.linspace(-1, 1, 9)[:, None]
    seen = []

    def noted(prediction, target, sample_weight=None):
        seen.append(float(prediction.min()))
        return barrier(prediction, target)

    history = net.fit(x, x, loss=noted, optimizer="lbfgs", batch_size=None, epochs=200)
    assert history["loss"][-1] == pytest.approx(1.0, abs=1e-4)
    assert history.stopped.startswith("converged")
    assert min(seen) <= 0.0


@pytest.mark.parametrize("scale", [1e200, np.nan])
def test_a_start_that_is_not_finite_is_a_divergence(scale):
    net = hidden()
    before = host(net.backend, net.params)

    def lost(prediction, target, sample_weight=None):
        return prediction.sum() * scale * scale, prediction

    with pytest.raises(nnb.errors.DivergenceError, match="epoch 1; the network keeps"):
        fit(net, loss=lost)
    assert_equal(host(net.backend, net.params), before)


@pytest.mark.parametrize("layer", [nnb.Dropout(0.3)])
def test_a_loss_with_chance_in_it_is_refused(layer, backend):
    net = nnb.Network([nnb.Dense(8), layer, nnb.Dense(1)], backend=backend)
    with pytest.raises(ValueError, match="without dropout"):
        fit(net)
    assert net.input_shape is None


@pytest.mark.parametrize("batch_size", [1, 32, 59])
def test_a_batch_that_is_not_all_is_refused(batch_size):
    with pytest.raises(ValueError, match="give batch_size=None"):
        hidden().fit(X, LABELS, optimizer="lbfgs", batch_size=batch_size)
    assert len(hidden().fit(X, LABELS, optimizer="lbfgs", batch_size=60, epochs=2)) == 2


def test_what_streams_is_refused():
    with pytest.raises(ValueError, match="have to be arrays"):
        hidden().fit([(X, LABELS)], optimizer="lbfgs", loss="binary_cross_entropy")


def test_there_are_no_single_steps():
    net, optimizer = hidden(), nnb.LBFGS()
    with pytest.raises(TypeError, match=r"Network\.fit"):
        net.partial_fit(X, LABELS, optimizer=optimizer)
    with pytest.raises(TypeError, match=r"Network\.fit"):
        optimizer.update(net.params, net.params, optimizer.init(net.params))


def test_without_scipy_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'nnbackend\[scipy\]'"):
        fit(hidden())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"history": 0}, "history"),
        ({"tolerance": -1}, "tolerance"),
        ({"loss_tolerance": float("nan")}, "loss_tolerance"),
        ({"line_search": 0.5}, "line_search"),
    ],
)
def test_a_value_out_of_range_is_named(arguments, word):
    with pytest.raises(ValueError, match=word):
        nnb.LBFGS(**arguments)


def test_a_run_is_not_resumed_from_its_middle_for_it_would_go_another_way(tmp_path):
    whole, parts = hidden(), hidden()
    optimizer = nnb.LBFGS(tolerance=1e-8, loss_tolerance=0)
    keep = nnb.callbacks.Checkpoint(tmp_path, keep=None)
    expected = fit(whole, optimizer, epochs=5, callbacks=[keep])
    first, middle, *_, last = nnb.checkpoints.files(tmp_path)
    with pytest.raises(nnb.errors.ResumeError, match=r"SciPy keeps .* nnb.load\(checkpoint\)"):
        fit(parts, optimizer, epochs=5, resume=middle)
    begun = fit(parts, optimizer, epochs=5, resume=first)  # before the first iteration
    assert begun["loss"] == expected["loss"]
    assert fit(hidden(), optimizer, epochs=5, resume=last)["loss"] == expected["loss"]  # done
