"""What the programs that tests start in several processes have in common."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

import nnbackend as nnb

BACKENDS = ["numpy", "array-api-strict", *["torch"] * (find_spec("torch") is not None)]
ROWS, COLUMNS, CLASSES = 61, 5, 3


def data(rows: int = ROWS, columns: int = COLUMNS) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(rows, columns)), rng.integers(0, CLASSES, rows)


def network(*layers: Any, seed: int = 1, **settings: Any) -> nnb.Network:
    layers = layers or (nnb.Dense(6, "tanh"), nnb.Dropout(0.3))
    return nnb.Network(
        [*layers, nnb.Dense(CLASSES, "softmax")],
        **{"dtype": "float64", "seed": seed, "input_shape": (COLUMNS,), **settings},
    )


def fit(net: nnb.Network, x: Any = None, y: Any = None, **settings: Any) -> nnb.History:
    if x is None:
        x, y = data()
    own = {"loss": "softmax_cross_entropy", "batch_size": 16, "verbose": 0, "epochs": 3}
    return net.fit(x, y, **(own | settings))


def vector(net: nnb.Network) -> np.ndarray:
    return np.concatenate([np.ravel(net.to_numpy(a)) for a in net.state_dict().values()])
