"""The layers, the loss and the optimizer that the book's readers write train alike on every backend."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import nnbackend as nnb

FOLDER = Path(__file__).parents[2] / "docs" / "book"
CELL = re.compile(r"^```\{code-cell\}\n(?:---\n.*?\n---\n)?(.*?)^```$", re.DOTALL | re.MULTILINE)
PARTS = re.compile(
    r"^(?:class|def) (?:Attention|Swish|AdaMax|gaussian|pseudo_huber)\b", re.MULTILINE
)
ROWS = np.random.default_rng(0).normal(size=(48, 5, 4))
TARGETS = np.sin(ROWS[:, :1, 0]) * ROWS[:, 1:2, 1]


@pytest.fixture(scope="module")
def parts() -> dict:
    """What the chapters on words and on parts of one's own define."""
    scope = {"np": np, "nnb": nnb, "some": ROWS[:3], "__name__": "__main__"}
    for page in ("11-words.md", "13-your-own.md"):
        for cell in CELL.findall((FOLDER / page).read_text(encoding="utf-8")):
            if PARTS.search(cell):
                exec(compile(cell, page, "exec", dont_inherit=True), scope)
    return scope


def train(parts, backend):
    """Return the losses of some epochs, with weights of rows, and the network."""
    layers = [
        parts["Attention"](6), parts["Swish"](), nnb.Flatten(), nnb.Dense(8),
        nnb.Lambda(parts["gaussian"]), nnb.Dense(1),
    ]  # fmt: skip
    net = nnb.Network(layers, input_shape=(5, 4), backend=backend, seed=0)
    history = net.fit(
        ROWS, TARGETS, loss=parts["pseudo_huber"], optimizer=parts["AdaMax"](0.02),
        epochs=8, batch_size=16, sample_weight=np.linspace(0.5, 2.0, 48), verbose=0,
    )  # fmt: skip
    return history["loss"], net


def test_parts_train_as_on_numpy(parts, backend):
    expected, _ = train(parts, nnb.get_backend("numpy", dtype="float64"))
    found, net = train(parts, backend)
    assert found == pytest.approx(expected, rel=1e-3)
    assert expected[-1] < 0.8 * expected[0]
    assert np.isfinite(net.to_numpy(net.predict(ROWS))).all()


def test_gradients_of_the_parts_are_right(parts, backend64):
    layers = [parts["Attention"](6), parts["Swish"](0.7), nnb.Lambda(parts["gaussian"])]
    net = nnb.Network(layers, backend=backend64, seed=0)
    assert nnb.testing.check_gradients(net, ROWS[:3]) < 1e-6
