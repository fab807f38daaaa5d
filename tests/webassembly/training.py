"""Train small networks of several kinds; print what came out as JSON, to be compared between Pythons.

It runs in CPython and in Pyodide, and needs NumPy and array-api-compat beside the package.
"""

from __future__ import annotations

import json

import numpy as np

import nnbackend as nnb


def exam_scores():
    """The tutorial's network."""
    x = np.array([[2.0, 9.0], [1.0, 5.0], [3.0, 6.0]]) / [3.0, 9.0]
    y = np.array([[92.0], [86.0], [89.0]]) / 100.0
    layers = [nnb.Dense(n, activation="sigmoid", bias=False) for n in (3, 1)]
    net = nnb.Network(layers, dtype="float64", seed=0)
    history = net.fit(x, y, loss="mse", optimizer=nnb.SGD(1.0), batch_size=None, epochs=300)
    return [*history["loss"][::100], *net.predict(x)[:, 0]]


def classes():
    """Dropout, batch statistics, Adam, a validation split, early stopping: what most fits use."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6))
    labels = (x[:, :3] ** 2).argmax(axis=1)
    layers = [nnb.Dense(16, activation="relu"), nnb.BatchNorm(), nnb.Dropout(0.2), nnb.Dense(3)]
    net = nnb.Network(layers, dtype="float64", seed=1)
    stop = nnb.callbacks.EarlyStopping(patience=3, restore_best=True)
    history = net.fit(
        x, labels, loss="softmax_cross_entropy", optimizer="adam", epochs=8, batch_size=16,
        validation_split=0.2, metrics=["accuracy"], callbacks=[stop],
    )  # fmt: skip
    return [*history["loss"], *history["validation_loss"], *history["accuracy"]]


def images():
    """Convolutions, pooling and an embedding."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 8, 8, 1)), rng.integers(0, 2, size=20)
    layers = [nnb.Conv2D(3, 3, activation="relu"), nnb.MaxPool2D(2), nnb.Flatten(), nnb.Dense(2)]
    net = nnb.Network(layers, dtype="float64", seed=2)
    convolved = net.fit(x, y, loss="softmax_cross_entropy", epochs=3, batch_size=5)["loss"]
    layers = [nnb.Embedding(5, 3), nnb.Flatten(), nnb.Dense(1)]
    words = nnb.Network(layers, dtype="float64", seed=3)
    numbers = rng.integers(0, 5, size=(12, 2))
    return [*convolved, *words.fit(numbers, numbers.sum(axis=1), epochs=3)["loss"]]


def stream():
    """Batches that are read ahead in a thread, where there are threads."""

    def batches():
        rng = np.random.default_rng(2)
        for _ in range(4):
            x = rng.normal(size=(8, 3))
            yield x, x.sum(axis=1)

    net = nnb.Network([nnb.Dense(1)], dtype="float64", seed=5)
    return net.fit(batches, epochs=3, optimizer="sgd")["loss"]


def inspection():
    """Gradients checked, a pass observed, a network drawn and summed up."""
    net = nnb.Network([nnb.Dense(3, activation="tanh"), nnb.Dense(1)], dtype="float64", seed=4)
    row = np.array([[0.5, -1.0]])
    net.predict(row)
    assert nnb.testing.check_gradients(net, row) < 1e-6
    assert nnb.draw(net, row[0])._repr_svg_().startswith("<svg")
    assert "Dense" in net.summary()
    passages = nnb.observe(net, row, [[1.0]], "mse")
    return [float(p.y[0, 0]) for p in passages] + [float(p.dx[0, 0]) for p in passages[:1]]


if __name__ == "__main__":
    parts = (exam_scores, classes, images, stream, inspection)
    print(json.dumps({part.__name__: [float(v) for v in part()] for part in parts}))
