"""Models whose answers are known in closed form."""

from __future__ import annotations

import numpy as np

import nnbackend as nnb
from nnbackend.analysis import TableRows
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.model import TableModel


def linear_model(weights, bias=0.0, *, rows=200, noise=0.0):
    """Return y = weights x + bias as a model of the columns a, b, c ..., and rows of it."""
    random = np.random.default_rng(0)
    names = [chr(ord("a") + i) for i in range(len(weights))]
    table = {name: random.normal(size=rows) for name in names}
    y = sum(w * table[n] for w, n in zip(weights, names, strict=True)) + bias
    table["y"] = y + noise * random.normal(size=rows)
    encoder = TableEncoder.learn(table, "y", names, "none")
    net = network([nnb.layers.Dense(1)], len(names))
    net.load_state_dict({"0.weight": np.array(weights, float)[:, None], "0.bias": [bias]})
    return TableModel(net, encoder, "mse"), TableRows(table)


def mixed_model(classes=("no", "yes"), *, rows=60, seed=1):
    """Return an untrained network for classes, of numbers with gaps, texts, dates; and rows."""
    random = np.random.default_rng(seed)
    size = random.normal(size=rows)
    size[::7] = np.nan
    table = {
        "size": size,
        "color": random.choice(np.array(["red", "green", None], object), rows),
        "day": np.array([f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(rows)], object),
        "y": random.choice(np.array(classes, object), rows),
    }
    encoder = TableEncoder.learn(table, "y", ["size", "color", "day"], indicators=True)
    layers = [
        nnb.layers.Dense(8),
        nnb.layers.Activation("tanh"),
        nnb.layers.Dense(len(classes), initializer="he_normal"),
    ]
    net = network(layers, encoder.width)
    return TableModel(net, encoder, "softmax_cross_entropy"), TableRows(table)


def network(layers, width):
    return nnb.Network(
        layers, backend=nnb.get_backend("numpy", dtype="float64"), seed=1, input_shape=(width,)
    )
