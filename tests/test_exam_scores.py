"""The tutorial this library grew from: hours slept and studied, and the score of an exam.

Its network has two inputs, three hidden values and one output, sigmoids and no biases.
"""

from __future__ import annotations

import numpy as np
import pytest
from tools import assert_close, host

import nnbackend as nnb

HOURS = np.array([[2.0, 9.0], [1.0, 5.0], [3.0, 6.0]])
SCORES = np.array([[92.0], [86.0], [89.0]])
QUESTION = np.array([[4.0, 8.0]])

LARGEST = np.concatenate([HOURS, QUESTION]).max(axis=0)
X, Y = HOURS / LARGEST, SCORES / 100


def network(backend="numpy", **given):
    layers = [
        nnb.Dense(size, activation="sigmoid", bias=False, initializer="normal") for size in (3, 1)
    ]
    return nnb.Network(layers, backend=backend, input_shape=2, **given)


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def sigmoidPrime(s):  # the tutorial's name; it takes the sigmoid's value
    return s * (1 - s)


def by_hand(w1, w2):
    """Return the updates of the tutorial's five backward steps, under its own names."""
    z2 = sigmoid(X @ w1)
    o = sigmoid(z2 @ w2)
    o_error = Y - o
    o_delta = o_error * sigmoidPrime(o)
    z2_error = o_delta @ w2.T
    z2_delta = z2_error * sigmoidPrime(z2)
    return X.T @ z2_delta, z2.T @ o_delta


def test_the_forward_pass_gives_the_tutorials_numbers(backend):
    net = network(backend)
    net.load_state_dict({"0.weight": [[0.2, 0.6, 0.1], [0.8, 0.3, 0.7]],
                         "1.weight": [[0.4], [0.5], [0.9]]})  # fmt: skip
    first = nnb.Network(net.layers.layers[:1], backend=backend, input_shape=2)
    first.load_state_dict({"0.weight": net.state_dict()["0.weight"]})
    hidden = host(backend, first.predict([[2, 9]]))
    np.testing.assert_array_equal(np.round(hidden, 4), np.float32([[0.9995, 0.9802, 0.9985]]))
    assert round(float(host(backend, net.predict([[2, 9]]))[0, 0]), 3) == 0.857


@pytest.mark.parametrize("seed", range(5))
def test_the_gradients_are_the_tutorials_updates_times_minus_two_over_n(seed, backend64):
    """The tutorial steps along the negative gradient of half the summed square, the loss is the mean."""
    net = network(backend64, seed=seed)
    w1, w2 = host(backend64, net.state_dict()).values()
    y, backward = net.forward(X, training=True)
    _, dy = nnb.losses.mse(y, backend64.asarray(Y))
    _, grads = backward(dy)
    for found, update in zip(grads.values(), by_hand(w1, w2), strict=True):
        assert_close(host(backend64, found["weight"]), -2 / len(Y) * update, 1e-12)


def test_a_thousand_iterations_are_the_tutorials(backend64):
    """With a learning rate of N / 2 a step of fit adds the tutorial's updates, no more and no less."""
    net = network(backend64)
    w1, w2 = host(backend64, net.state_dict()).values()
    losses = []
    for _ in range(1000):
        losses.append(np.mean((Y - sigmoid(sigmoid(X @ w1) @ w2)) ** 2))
        update1, update2 = by_hand(w1, w2)
        w1, w2 = w1 + update1, w2 + update2
    history = net.fit(X, Y, optimizer=nnb.SGD(len(Y) / 2), epochs=1000, batch_size=None)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-9)
    found1, found2 = host(backend64, net.state_dict()).values()
    assert_close(found1, w1, 1e-9)
    assert_close(found2, w2, 1e-9)


def test_the_loss_falls_and_the_question_gets_an_answer(backend):
    net = network(backend)
    history = net.fit(X, Y, optimizer=nnb.SGD(len(Y) / 2), epochs=1500, batch_size=None)
    assert history["loss"][-1] < 0.001 < history["loss"][0]
    assert (np.diff(history["loss"][::100]) < 0).all()
    answer = 100 * float(host(backend, net.predict(QUESTION / LARGEST))[0, 0])
    assert 80 < answer < 100
