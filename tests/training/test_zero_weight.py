"""Batches whose rows all have weight zero, and rows of padding: they teach and spoil nothing."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import assert_close, host

import nnbackend as nnb
from nnbackend.core.types import StepResult
from nnbackend.data.samples import Samples
from nnbackend.errors import DataError
from nnbackend.inference.evaluate import evaluate
from nnbackend.inference.predictor import Predictor
from nnbackend.regularizers import PerRowL2
from nnbackend.training.epoch_log import EpochLog

X, Y = rows((10, 3)), rows((10, 2), 1)
LAST_EMPTY = np.r_[np.ones(8), 0.0, 0.0]  # of batches of 4 the last has no weight


def careless(prediction, target, weight=None):
    """Return a weighted mean as users write it, which of no weight is NaN."""
    share = np.ones(len(target)) if weight is None else weight
    share = (share / share.sum() / target.shape[1])[:, None]
    error = prediction - target
    return (share * error**2).sum(), 2.0 * share * error


def ignorant(prediction, target, weight=None):
    """Return a mean of all rows, whatever they weigh."""
    return nnb.losses.mse(prediction, target)


def unweighted(prediction, target):
    """Return a mean of all rows; weights it cannot be given."""
    return nnb.losses.mse(prediction, target)


def network(backend="numpy"):
    return nnb.Network(
        [nnb.Dense(4, activation="tanh"), nnb.Dense(2)], backend=backend, input_shape=3
    )


def weights(net):
    return host(net.backend, net.state_dict())


def batches():
    return ((X[i : i + 4], Y[i : i + 4], LAST_EMPTY[i : i + 4]) for i in (0, 4, 8))


@pytest.mark.parametrize("loss", ["mse", careless], ids=["own", "users"])
@pytest.mark.parametrize("way", ["fit", "stream", "accumulate", "partial_fit", "validation"])
@pytest.mark.filterwarnings("error")
def test_a_batch_without_weight_changes_nothing(way, loss):
    found, expected = network(), network()
    given = {"loss": loss, "optimizer": nnb.SGD(0.1)}
    in_order = {"batch_size": 4, "shuffle": False, "verbose": 0}
    expected.fit(X[:8], Y[:8], **given, **in_order)
    if way == "partial_fit":
        found.partial_fit(X, Y, **given, batch_size=4, sample_weight=LAST_EMPTY)
    elif way == "stream":
        found.fit(batches, **given)
    elif way == "validation":
        history = found.fit(X[:8], Y[:8], **given, **in_order, validation_data=batches)
        alone = found.evaluate(X[:8], Y[:8], loss=loss)["loss"]
        assert history["validation_loss"][-1] == pytest.approx(alone, rel=1e-6)
    else:
        in_order["accumulate"] = 4 if way == "accumulate" else 1
        found.fit(X, Y, **given, **in_order, sample_weight=LAST_EMPTY)
    assert_close(weights(found), weights(expected), 1e-6)


def test_rows_without_any_weight_have_no_mean_loss():
    """Weights on a device are not looked at as they come; here they show."""
    net, none = network(), Samples(X, Y, np.zeros(10))
    log = EpochLog(net.backend)
    log.append(none, 10, StepResult(np.zeros(1), np.zeros(1), None))
    with pytest.raises(DataError, match="no row has a weight"):
        log.mean()
    objective = net._objective(net._chosen_loss("mse", None, X), ())
    with pytest.raises(DataError, match="no row has a weight"):
        evaluate(objective, Predictor(net.layers, net.backend), net.params, {}, [none, none])


def test_a_penalty_by_rows_of_no_rows_is_none():
    penalty = PerRowL2(0.5, (("weight",),))
    value, grads = penalty.add_to(
        np.float32(0.0), {"weight": np.zeros(2)}, {"weight": np.ones(2)}, np.asarray(0.0)
    )
    assert float(value) == 0.0
    assert grads["weight"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("loss", [ignorant, unweighted])
def test_padding_does_not_count_in_a_loss_that_ignores_weights(loss, backend64):
    found, expected = network(backend64), network(nnb.get_backend("numpy", dtype="float64"))
    for net in (found, expected):
        given = {"loss": loss, "optimizer": nnb.SGD(0.1), "epochs": 2, "verbose": 0}
        net.fit(X, Y, **given, batch_size=4, metrics=["mae"])
        net.fit(lambda: ((X[:n], Y[:n]) for n in (4, 3)), **given)
    assert_close(weights(found), weights(expected), 1e-9)
