"""Networks to explain, for tests: the exam scores, classes, and small images."""

from __future__ import annotations

import numpy as np

import nnbackend as nnb

HOURS = np.array([[2.0, 9.0], [1.0, 5.0], [3.0, 6.0]])
SCORES = np.array([[0.92], [0.86], [0.89]])
X = HOURS / HOURS.max(axis=0)
INPUTS, OUTPUTS = ["hours studied", "hours slept"], ["score"]


def exam(backend="numpy", dtype=None):
    dtype = dtype or ("float64" if backend == "numpy" else None)
    layers = [nnb.Dense(3, "sigmoid", bias=False), nnb.Dense(1, "sigmoid", bias=False)]
    return nnb.Network(layers, backend=backend, dtype=dtype, seed=1, input_shape=2)


def trained_exam(epochs=40, **options):
    """Return the trained network and its record."""
    net, record = exam(), nnb.callbacks.Record(**options)
    net.fit(X, SCORES, optimizer=nnb.SGD(1.0), epochs=epochs, batch_size=None, callbacks=[record])
    return net, record


def explain_exam(rows=1, epochs=40):
    net, record = trained_exam(epochs)
    names = {"input_names": INPUTS, "output_names": OUTPUTS}
    return nnb.explain(net, X[:rows], SCORES[:rows], "mse", nnb.SGD(1.0), record=record, **names)


def classifier(**options):
    layers = [nnb.Dense(4, "relu"), nnb.Dropout(0.5), nnb.Dense(3), nnb.Activation("softmax")]
    return nnb.Network(layers, input_shape=4, seed=2, **options)


def images():
    layers = [
        nnb.Conv2D(7, 3, padding="same", stride=2, activation="relu"),
        nnb.MaxPool2D(2),
        nnb.Conv2D(3, (2, 1), activation="tanh"),
        nnb.Flatten(),
        nnb.Dense(20, "relu"),
        nnb.Dense(10, "softmax"),
    ]
    return nnb.Network(layers, input_shape=(8, 8, 1), seed=3)


def image():
    return np.abs(np.sin(np.arange(64.0))).reshape(8, 8, 1)
