"""How far each precision is from float64: ``python -m benchmarks.precision --backend torch``.

A network of digits (scikit-learn's, or made-up rows without it) is trained with the same seed in every
precision that the backend has, and compared with float64 on NumPy: the loss after so many steps, the
outputs, and the gradients of the first step. It measures errors, not time.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

import nnbackend as nnb
from nnbackend.core.precision import PRECISIONS
from nnbackend.core.tree import flatten
from nnbackend.errors import BackendUnavailableError

BATCH = 64


@dataclass(frozen=True)
class Result:
    """What came of a training run, on the host."""

    loss: float
    accuracy: float
    outputs: np.ndarray[Any, Any]
    gradients: np.ndarray[Any, Any]


def rows() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], str]:
    """Return inputs, classes, and what they are."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        rng = np.random.default_rng(0)
        labels = np.arange(1797) % 10
        return (
            0.5 * rng.normal(size=(10, 64))[labels] + rng.normal(size=(1797, 64)),
            labels,
            "blobs",
        )
    x, y = load_digits(return_X_y=True)
    return x / 16.0, y, "digits"


def trained(backend: nnb.Backend, x: Any, y: Any, steps: int) -> Result:
    """Train for so many steps and measure on all rows."""
    layers = [nnb.Dense(128, "relu"), nnb.Dense(128, "gelu"), nnb.Dense(10, "softmax")]
    net = nnb.Network(layers, backend=backend, seed=0, input_shape=x.shape[1])
    z, backward = net.forward(x[:BATCH])
    with backend.scope():
        _, grads = backward(z - backend.asarray(np.eye(10)[y[:BATCH]]), input_grad=False)
        gradients = [backend.to_numpy(g).ravel() for g in flatten(grads).values()]
    take = np.resize(np.arange(len(x)), steps * BATCH)  # an epoch of so many steps
    net.fit(x[take], y[take], loss="softmax_cross_entropy", optimizer=nnb.AdamW(1e-3),
            batch_size=BATCH, verbose=0)  # fmt: skip
    found = net.evaluate(x, y, metrics=["accuracy"], loss="softmax_cross_entropy")
    outputs = net.to_numpy(net.predict(x))
    return Result(found["loss"], found["accuracy"], outputs, np.concatenate(gradients))


def main() -> None:
    """Print a table for one backend."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--device")
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    x, y, name = rows()
    exact = trained(nnb.get_backend("numpy", dtype="float64"), x, y, arguments.steps)
    print(f"{name}, {arguments.steps} steps; float64: loss {exact.loss:.6f}")
    print(
        "| precision | loss | loss, apart | outputs, largest | outputs, mean | gradients | accuracy |"
    )
    print("|---|---|---|---|---|---|---|")
    for precision in PRECISIONS:
        try:
            backend = nnb.get_backend(arguments.backend, arguments.device, precision=precision)
        except BackendUnavailableError as error:
            print(f"| {precision} | {error} |")
            continue
        found = trained(backend, x, y, arguments.steps)
        apart = np.abs(found.outputs - exact.outputs)
        gradients = np.linalg.norm(found.gradients - exact.gradients)
        figures = (
            f"{found.loss:.6f}",
            f"{abs(found.loss - exact.loss):.1e}",
            f"{apart.max():.1e}",
            f"{apart.mean():.1e}",
            f"{gradients / np.linalg.norm(exact.gradients):.1e}",
            f"{found.accuracy:.4f}",
        )
        print(f"| {precision} | {' | '.join(figures)} |")
    print(f"on {nnb.get_backend(arguments.backend, arguments.device).description}")


if __name__ == "__main__":
    main()
