"""The loss of several members."""

from __future__ import annotations

import numpy as np
import pytest
from cases import LOSSES, each, rows
from tools import assert_close, host

import nnbackend as nnb
from nnbackend import losses
from nnbackend.losses import EachMember

WEIGHTS = [0.0, 1.0, 2.0, 1.0, 0.5, 1.0]


@each(LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_mean_of_the_members_losses(case, weighted, backend64):
    shape = (6, *case.shape)
    predictions = [rows(shape, k) for k in range(3)]
    target = backend64.asarray(case.target(np.random.default_rng(0), shape))
    weight = (backend64.asarray(WEIGHTS),) if weighted else ()
    stacked = backend64.asarray(np.stack(predictions, axis=1))
    value, dy = EachMember(case.thing)(stacked, target, *weight)
    found = [case.thing(backend64.asarray(p), target, *weight) for p in predictions]
    assert float(value) == pytest.approx(np.mean([float(v) for v, _ in found]), rel=1e-12)
    wanted = np.stack([host(backend64, d) for _, d in found], axis=1) / 3
    assert_close(host(backend64, dy), wanted, 1e-12)


def test_it_says_of_outputs_and_targets_what_the_loss_inside_says():
    loss = EachMember("softmax_cross_entropy")
    assert loss.absorbs == "softmax"
    assert loss.targets == "classes"
    assert loss.fewest_outputs == 2
    assert loss == EachMember(losses.softmax_cross_entropy)
    assert hash(loss) == hash(EachMember(losses.softmax_cross_entropy))
    assert not hasattr(loss, "nothing")


def members(kind, backend, **given):
    end = [nnb.MemberDense(3, 4), nnb.Activation("softmax")] if kind == "classes" else [
        nnb.MemberDense(1, 4)]  # fmt: skip
    layers = [nnb.Replicate(4), nnb.RankOneDense(8, 4, input_initializer="random_signs"),
              nnb.Activation("tanh"), *end]  # fmt: skip
    return nnb.Network(layers, backend=backend, seed=2, input_shape=3, **given)


X = rows((60, 3))
CLASSES = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)


@pytest.mark.parametrize("targets", ["numbers", "one-hot", "column"])
def test_members_learn_classes_and_metrics_are_those_of_their_mean(targets, backend):
    net = members("classes", backend)
    y = {"numbers": CLASSES, "one-hot": np.eye(3)[CLASSES], "column": CLASSES[:, None]}[targets]
    task = {"loss": EachMember("softmax_cross_entropy"), "metrics": ["accuracy", "log_loss"]}
    history = net.fit(X, y, **task, optimizer=nnb.Adam(0.03), epochs=20, batch_size=16,
                      validation_data=(X, y), verbose=0)  # fmt: skip
    p = host(backend, net.predict(X))
    assert p.shape == (60, 4, 3)
    np.testing.assert_allclose(p.sum(axis=-1), 1.0, rtol=1e-5)
    mean = p.mean(axis=1)
    assert history["validation_accuracy"][-1] == pytest.approx((mean.argmax(1) == CLASSES).mean())
    right = mean[np.arange(60), CLASSES]
    assert history["validation_log_loss"][-1] == pytest.approx(-np.log(right).mean(), rel=1e-4)
    each = -np.log(p[np.arange(60), :, CLASSES]).mean()
    assert history["validation_loss"][-1] == pytest.approx(each, rel=1e-4)
    assert history["validation_accuracy"][-1] > 0.9
    ensemble = nnb.Network([*net.layers.layers, nnb.MemberMean()], backend=backend, input_shape=3)
    ensemble.load_state_dict(net.state_dict())
    np.testing.assert_allclose(host(backend, ensemble.predict(X)), mean, rtol=1e-5)


def test_members_learn_numbers_and_weights_count_rows(backend64):
    net, twin = members("numbers", backend64), members("numbers", backend64)
    y = X[:, :1] ** 2
    weight = np.where(np.arange(60) % 3 == 0, 0.0, 1.0 + np.arange(60) % 2)
    task = {"loss": EachMember("mse"), "optimizer": nnb.SGD(0.1), "epochs": 3, "batch_size": None,
            "verbose": 0}  # fmt: skip
    net.fit(X, y[:, 0], sample_weight=weight, **task)
    twice = np.repeat(np.arange(60), weight.astype(int))
    twin.fit(X[twice], y[twice], **task)
    assert_close(host(backend64, net.state_dict()), host(backend64, twin.state_dict()), 1e-10)


def test_each_member_learns_as_if_it_were_alone(backend64):
    """Gradients of a member's own weight are those of one network, divided by the members."""
    net = members("numbers", backend64)
    y, backward = net.forward(X, training=True)
    _, dy = EachMember("mse")(y, backend64.asarray(X[:, :1]))
    grads = host(backend64, backward(dy)[1])["3"]["weight"]
    for k in range(4):
        _, dk = losses.mse(y[:, k, :], backend64.asarray(X[:, :1]))
        own = np.zeros(tuple(y.shape))
        own[:, k] = host(backend64, dk) / 4
        np.testing.assert_allclose(
            host(backend64, backward(own)[1])["3"]["weight"][k], grads[k], atol=1e-14
        )


def test_it_goes_into_a_file_with_its_loss():
    loss = EachMember(losses.SoftmaxCrossEntropy(label_smoothing=0.1))
    description = nnb.registry.describe(loss)
    assert nnb.registry.rebuild(description) == loss


def test_what_does_not_fit_is_refused(backend):
    with pytest.raises(TypeError, match="compares one array with one array"):
        EachMember(losses.PerOutput({"a": "mse"}))
    net = nnb.Network([nnb.Dense(3)], backend=backend)
    with pytest.raises(
        ValueError, match=r"\(members, outputs, \.\.\.\); this network gives \(3,\)"
    ):
        net.fit(X, X[:, 0], loss=EachMember("mse"), verbose=0)
    net = members("classes", backend)
    with pytest.raises(ValueError, match="labels outside"):
        net.fit(X, CLASSES + 5, loss=EachMember("softmax_cross_entropy"), verbose=0)
    with pytest.raises(ValueError, match="as many rows"):
        EachMember("mse")(np.ones((4, 2, 1)), np.ones((3, 1)))
