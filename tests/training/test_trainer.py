"""Fitting: what one call does to a network, and what it reports."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
import pytest
from cases import rows
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.errors import DivergenceError

X, Y = rows((23, 3)), rows((23, 2), 1)


def network(backend="numpy", **given):
    layers = [nnb.Dense(5, activation="tanh"), nnb.Dropout(0.1), nnb.Dense(2)]
    return nnb.Network(layers, backend=backend, input_shape=3, **given)


def weights(net):
    return host(net.backend, net.state_dict())


def test_fitting_makes_the_loss_smaller(backend):
    net = network(backend)
    history = net.fit(X, Y, epochs=60, optimizer=nnb.Adam(0.02), batch_size=8)
    assert history["loss"][-1] < 0.7 * history["loss"][0]


def test_a_history_has_a_number_per_epoch_for_each_name(backend):
    history = network(backend).fit(
        X,
        Y,
        optimizer=nnb.SGD(lambda step: 0.1 / (step + 1)),
        epochs=3,
        batch_size=10,
        metrics=["mae"],
        validation_split=0.2,
    )
    columns = history.to_dict()
    assert set(columns) == {"epoch", "loss", "mae", "validation_loss", "validation_mae",
                            "learning_rate", "seconds"}  # fmt: skip
    assert {len(column) for column in columns.values()} == {3} == {len(history)}
    assert columns["epoch"] == [1, 2, 3]
    assert columns["learning_rate"] == [0.1 / 2, 0.1 / 4, 0.1 / 6]  # of each epoch's last step
    assert all(isinstance(v, float) and math.isfinite(v) for v in columns["loss"])
    assert all(v >= 0 for v in columns["seconds"])
    assert history.stopped is None
    assert "3 epochs" in repr(history)
    assert "validation_mae" in history
    assert list(history) == list(columns)
    assert dict(history) == columns == dict(history.items())
    assert list(history.values()) == list(columns.values())
    with pytest.raises(KeyError, match="unknown metric 'val_loss'; did you mean 'validation_loss'"):
        history["val_loss"]


def test_the_same_seed_gives_the_same_and_another_another(backend):
    def learned(seed):
        net = network(backend, seed=seed)
        net.fit(X, Y, epochs=2, batch_size=7)
        return weights(net)

    first = learned(1)
    assert_equal(learned(1), first)
    assert not np.allclose(learned(2)["0.weight"], first["0.weight"])


@pytest.mark.parametrize("batch_size", [None, 23, 1000])
def test_a_batch_of_all_rows_is_one_step_an_epoch(batch_size, backend64):
    """Each epoch then is a step of gradient descent, here done by hand."""
    net = nnb.Network([nnb.Dense(2, bias=False)], backend=backend64, input_shape=3)
    w = weights(net)["0.weight"]
    net.fit(X, Y, epochs=4, batch_size=batch_size, optimizer=nnb.SGD(0.1))
    for _ in range(4):
        w = w - 0.1 * 2 / Y.size * X.T @ (X @ w - Y)
    assert_close(weights(net)["0.weight"], w, 1e-12)


@pytest.mark.parametrize("epochs", [1, 2, 3, 60])
def test_epochs_run_together_are_those_run_one_by_one(epochs, backend64):
    """A callback makes the loop go epoch by epoch; without one brief epochs are taken together."""
    together, singly = network(backend64), network(backend64)
    histories = [
        together.fit(X, Y, epochs=epochs, batch_size=None),
        singly.fit(X, Y, epochs=epochs, batch_size=None, callbacks=[lambda run: None]),
    ]
    assert_close(weights(together), weights(singly), 1e-12)
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-12)
    assert histories[0]["epoch"] == list(range(1, epochs + 1))


def test_the_loss_of_an_epoch_counts_each_row_once(backend64):
    net = network(backend64)
    history = nnb.Network([nnb.Dense(2)], backend=backend64).fit(
        X, Y, optimizer=nnb.SGD(0.0), batch_size=5
    )
    plain = nnb.Network([nnb.Dense(2)], backend=backend64, input_shape=3)
    assert history["loss"][0] == pytest.approx(plain.evaluate(X, Y, loss="mse")["loss"], rel=1e-12)
    assert net.input_shape == (3,)


def test_without_shuffling_batches_come_in_order(backend64):
    """With one weight at a time and batches of one row the order shows in the result."""
    x, y = np.array([[1.0], [2.0], [-1.0]]), np.array([1.0, 0.5, 3.0])
    net = nnb.Network([nnb.Dense(1, bias=False, initializer="zeros")], backend=backend64)
    net.fit(x, y, shuffle=False, batch_size=1, optimizer=nnb.SGD(0.1))
    w = 0.0
    for xi, yi in zip(x[:, 0], y, strict=True):
        w -= 0.1 * 2 * xi * (w * xi - yi)
    assert weights(net)["0.weight"][0, 0] == pytest.approx(w, rel=1e-13)


def test_a_weight_of_two_is_a_row_twice(backend64):
    twice = np.repeat(np.arange(23), np.arange(23) % 3)
    weighted, repeated = (
        nnb.Network([nnb.Dense(2)], backend=backend64, input_shape=3) for _ in range(2)
    )
    weighted.fit(X, Y, sample_weight=np.arange(23) % 3, epochs=5, batch_size=None)
    repeated.fit(X[twice], Y[twice], epochs=5, batch_size=None)
    assert_close(weights(weighted), weights(repeated), 1e-10)


def test_a_validation_split_holds_out_the_rounded_fraction_and_is_not_trained_on(backend64):
    net = nnb.Network([nnb.Dense(2)], backend=backend64, seed=5)
    kept, held_out = nnb.data.split(23, 0.3, seed=5)
    assert len(held_out) == 7
    assert sorted([*kept, *held_out]) == list(range(23))
    history = net.fit(X, Y, validation_split=0.3, epochs=2, batch_size=4)
    twin = nnb.Network([nnb.Dense(2)], backend=backend64, seed=5)
    other = twin.fit(X[kept], Y[kept], validation_data=(X[held_out], Y[held_out]), epochs=2,
                     batch_size=4)  # fmt: skip
    assert_close(weights(net), weights(twin), 1e-12)
    np.testing.assert_allclose(history["validation_loss"], other["validation_loss"], rtol=1e-12)
    expected = net.evaluate(X[held_out], Y[held_out])["loss"]
    assert history["validation_loss"][-1] == pytest.approx(expected, rel=1e-12)


def test_validation_data_may_be_weighted(backend64):
    w = np.arange(23.0)
    net = network(backend64)
    history = net.fit(X, Y, validation_data=(X, Y, w))
    expected = net.evaluate(X, Y, sample_weight=w)["loss"]
    assert history["validation_loss"][-1] == pytest.approx(expected, rel=1e-12)


def test_evaluate_takes_loss_and_metrics_of_the_last_fit(backend):
    net = nnb.Network([nnb.Dense(3)], backend=backend)
    labels = np.arange(23) % 3
    task = {"loss": "softmax_cross_entropy", "metrics": ["accuracy"]}
    net.fit(X, labels, **task)
    net.load_state_dict(net.state_dict())
    expected = net.evaluate(X, labels, **task)
    assert net.evaluate(X, labels) == expected
    assert net.evaluate(X, labels, loss="softmax_cross_entropy") == expected
    assert set(net.evaluate(X, labels, metrics=())) == {"loss"}


@pytest.mark.parametrize("which", ["loss", "metric", "regularizer"])
def test_what_users_write_gets_arrays_of_the_library_in_evaluations_too(which, backend):
    seen = []

    def loss(prediction, target):
        seen.extend([prediction, target])
        return nnb.losses.get("mse")(prediction, target)

    def metric(prediction, target):
        seen.extend([prediction, target])
        return nnb.metrics.get("mae")(prediction, target)

    def regularizer(weight):
        seen.append(weight)
        return backend.xp.sum(weight), backend.xp.ones_like(weight)

    layer = nnb.Dense(
        Y.shape[1], regularizer=regularizer if which == "regularizer" else nnb.regularizers.L1(0.5)
    )
    net = nnb.Network([layer], backend=backend, input_shape=X.shape[1])
    own = net.evaluate(
        X,
        Y,
        loss=loss if which == "loss" else "mse",
        metrics=[metric if which == "metric" else "mae"],
    )
    assert {type(array) for array in seen} == {type(net.params["0"]["weight"])}
    if which != "regularizer":
        expected = net.evaluate(X, Y, loss="mse", metrics=["mae"])
        assert [*own.values()] == pytest.approx([*expected.values()], rel=1e-5)


def test_evaluate_without_a_loss_asks_for_one(backend):
    with pytest.raises(ValueError, match="loss="):
        network(backend).evaluate(X, Y)


# ------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize(("loss", "ending"), [("binary_cross_entropy", "sigmoid"),
                                              ("softmax_cross_entropy", "softmax")])  # fmt: skip
@pytest.mark.parametrize("as_layer", [False, True])
def test_cross_entropies_work_with_probabilities_and_with_logits(loss, ending, as_layer, backend64):
    """The network that ends in probabilities learns what the one that ends in logits does."""

    def learned(activation):
        layers = [nnb.Dense(2, activation=activation)]
        if as_layer and activation:
            layers = [nnb.Dense(2), nnb.Activation(activation)]
        net = nnb.Network(layers, backend=backend64)
        labels = np.eye(2)[np.arange(23) % 2]
        history = net.fit(100 * X, labels, loss=loss, epochs=5, metrics=["accuracy"])
        return net, history

    (probable, history), (logits, other) = learned(ending), learned(None)
    assert_close(weights(probable), weights(logits), 1e-12)
    np.testing.assert_allclose(history["loss"], other["loss"], rtol=1e-12)
    assert history["accuracy"] == other["accuracy"]
    y = host(backend64, probable.predict(X))
    assert ((y >= 0) & (y <= 1)).all()
    assert (host(backend64, logits.predict(100 * X)) < 0).any()


def test_a_saturated_sigmoid_still_learns(backend):
    """Through the sigmoid's own derivative, which is 0 here, nothing would be learned."""
    net = nnb.Network([nnb.Dense(1, activation="sigmoid")], backend=backend, input_shape=1)
    net.load_state_dict({"0.weight": [[1000.0]], "0.bias": [0.0]})
    history = net.fit([[1.0]], [0.0], loss="binary_cross_entropy", optimizer=nnb.SGD(100.0),
                      epochs=10)  # fmt: skip
    assert history["loss"][0] == pytest.approx(1000)
    assert history["loss"][-1] < 1


@pytest.mark.parametrize(("loss", "ending"), [("binary_cross_entropy", "softmax"),
                                              ("softmax_cross_entropy", "sigmoid")])  # fmt: skip
def test_a_cross_entropy_after_the_wrong_activation_is_refused(loss, ending):
    net = nnb.Network([nnb.Dense(2, activation=ending)])
    with pytest.raises(ValueError, match=f"{loss}.*{ending}"):
        net.fit(X, np.eye(2)[np.arange(23) % 2], loss=loss)


def test_a_network_without_parameters_has_nothing_to_learn(backend):
    net = nnb.Network([nnb.Activation("tanh")], backend=backend)
    with pytest.raises(ValueError, match="no parameters"):
        net.fit(X, X)
    assert net.evaluate(X, np.tanh(X), loss="mse")["loss"] == pytest.approx(0, abs=1e-12)


def test_losses_metrics_and_schedules_may_be_functions(backend):
    xp = backend.xp

    def loss(prediction, target, sample_weight=None):
        return nnb.losses.mse(prediction, target, sample_weight)

    def largest(prediction, target, sample_weight=None):
        return xp.max(xp.abs(prediction - target))

    net = network(backend)
    history = net.fit(X, Y, loss=loss, metrics=[largest], optimizer=nnb.SGD(lambda t: 0.01),
                      batch_size=10)  # fmt: skip
    assert history["largest"][0] > 0
    assert net.evaluate(X, Y)["largest"] > 0


@dataclass(frozen=True)
class OutOfPlace(nnb.SGD):
    """Momentum by a rule that makes new arrays, as a user's may."""

    def rule(self, p, g, slots, h, xp):
        v = self.momentum * slots[0] + g
        return p - h.learning_rate * v, (v,)


def test_a_rule_that_makes_new_arrays_is_as_good_as_one_that_works_in_place(backend64):
    nets = network(backend64), network(backend64)
    for net, kind in zip(nets, (OutOfPlace, nnb.SGD), strict=True):
        net.fit(X, Y, optimizer=kind(0.05, momentum=0.9), epochs=4, batch_size=8)
    assert_close(weights(nets[0]), weights(nets[1]), 1e-12)


# ------------------------------------------------------------------------------------- partial fits


def test_partial_fits_are_one_fit_in_pieces(backend64):
    pieces, whole = network(backend64), network(backend64)
    task = {"loss": "huber", "optimizer": nnb.Adam(0.01)}
    values = [pieces.partial_fit(X[a : a + 5], Y[a : a + 5], **task) for a in range(0, 20, 5)]
    history = whole.fit(X[:20], Y[:20], **task, batch_size=5, shuffle=False)
    assert_close(weights(pieces), weights(whole), 1e-12)
    assert np.mean(values) == pytest.approx(history["loss"][0], rel=1e-12)


def test_setting_parameters_or_another_optimizer_starts_afresh(backend64):
    task = {"optimizer": nnb.SGD(0.1, momentum=0.9)}
    for change in (lambda n: n.load_state_dict(n.state_dict()),
                   lambda n: n.partial_fit(X, Y, optimizer=nnb.SGD(0.0))):  # fmt: skip
        net, twin = network(backend64), network(backend64)
        net.partial_fit(X, Y, **task)
        change(net)
        twin.load_state_dict(net.state_dict())
        twin.trained = net.trained
        net.partial_fit(X, Y, **task)
        twin.partial_fit(X, Y, **task)
        assert_close(weights(net), weights(twin), 1e-12)


# ------------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_finite_weights(batch_size, backend):
    net = network(backend)
    with pytest.raises(
        DivergenceError, match=r"epoch \d+.*smaller learning rate \(it was 1e\+18\)"
    ) as e:
        net.fit(X, Y, optimizer=nnb.SGD(1e18), epochs=50, batch_size=batch_size)
    assert len(e.value.history) < 50
    assert all(np.isfinite(w).all() for w in weights(net).values())
    assert np.isfinite(host(backend, net.predict(X))).all()


def test_weights_that_are_no_numbers_after_the_last_step_are_noticed(backend):
    """The loss of the last step is computed before the step that spoils the weights."""
    net = network(backend)
    before = weights(net)
    with pytest.raises(DivergenceError):
        net.fit(X, 1e4 * Y, optimizer=nnb.SGD(3e38), epochs=1, batch_size=None)
    assert_equal(weights(net), before)


@pytest.mark.parametrize("steps", [2**30 - 2, 2**31 - 1, 2**40])
def test_steps_without_end_can_be_counted(steps, backend, tmp_path):
    """Their numbers are words of 32 bits, which a long run of small steps comes to the end of."""
    net = network(backend)
    net.trained = steps, 0
    net.fit(X, Y, batch_size=8, epochs=2, accumulate=2)
    net(X, training=True)
    net.save(tmp_path / "model")
    assert nnb.load(tmp_path / "model").trained == net.trained


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_weights_that_were_no_numbers_before_are_not_called_the_last_finite_ones(optimizer):
    net = nnb.Network([nnb.Dense(2)], input_shape=3)
    net.params["0"]["weight"][0, 0] = np.nan
    with pytest.raises(DivergenceError, match="weights that it began with are not finite"):
        net.fit(X, Y, optimizer=optimizer, batch_size=None)
    if optimizer == "adam":
        with pytest.raises(DivergenceError, match="weights that it began with are not finite"):
            net.partial_fit(X, Y)


def test_a_diverged_optimizer_is_not_gone_on_with(backend):
    """Its running means are spoilt, and would spoil what good data teach."""
    net, twin = network(backend), network(backend)
    task = {"optimizer": nnb.SGD(0.01, momentum=0.9)}
    before = weights(net)
    with pytest.raises(DivergenceError):
        net.partial_fit(X, 1e30 * Y, **task)
    assert_equal(weights(net), before)
    twin.trained = net.trained  # equal dropout masks
    net.partial_fit(X, Y, **task)
    twin.partial_fit(X, Y, **task)
    assert_equal(weights(net), weights(twin))


# ------------------------------------------------------------------------------------- side by side


def test_two_threads_train_two_networks(backend):
    def learn(net):
        net.fit(X, Y, epochs=20, batch_size=4)

    alone, *both = [network(backend) for _ in range(3)]
    learn(alone)
    threads = [threading.Thread(target=learn, args=[net]) for net in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for net in both:
        assert_equal(weights(net), weights(alone))


def test_a_network_on_another_backend_does_not_disturb(backend64):
    net, other = network(backend64), network("numpy", dtype="float64")
    for _ in range(3):
        net.partial_fit(X, Y)
        other.partial_fit(X, Y)
    assert_close(weights(net), weights(other), 1e-12)
