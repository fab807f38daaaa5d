"""NumPy without a library on top: the tutorial's script, and a forward pass."""

from __future__ import annotations

import numpy as np

from benchmarks.work import Task


class NeuralNetwork:
    """The network of the tutorial: two inputs, three hidden units, one output, all sigmoid."""

    def __init__(self, w1: np.ndarray, w2: np.ndarray) -> None:
        self.w1 = w1
        self.w2 = w2

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the output."""
        self.z = np.dot(x, self.w1)
        self.z2 = self.sigmoid(self.z)
        self.z3 = np.dot(self.z2, self.w2)
        return self.sigmoid(self.z3)

    def sigmoid(self, s: np.ndarray) -> np.ndarray:
        """Return the activation."""
        return 1 / (1 + np.exp(-s))

    def sigmoid_prime(self, s: np.ndarray) -> np.ndarray:
        """Return the derivative, given the sigmoid."""
        return s * (1 - s)

    def backward(self, x: np.ndarray, y: np.ndarray, o: np.ndarray) -> None:
        """Change the weights."""
        self.o_error = y - o
        self.o_delta = self.o_error * self.sigmoid_prime(o)
        self.z2_error = self.o_delta.dot(self.w2.T)
        self.z2_delta = self.z2_error * self.sigmoid_prime(self.z2)
        self.w1 += x.T.dot(self.z2_delta)
        self.w2 += self.z2.T.dot(self.o_delta)

    def train(self, x: np.ndarray, y: np.ndarray) -> None:
        """Do one iteration."""
        o = self.forward(x)
        self.backward(x, y, o)


class Predict:
    """The forward pass in the fewest lines."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def reset(self) -> None:
        """Nothing changes."""

    def run(self) -> float:
        """Predict."""
        *hidden, (weight, bias) = self.task.weights
        for _ in range(self.task.calls):
            x = self.task.x
            for w, b in hidden:
                x = np.maximum(x @ w + b, 0.0)
            e = np.exp((z := x @ weight + bias) - z.max(axis=1, keepdims=True))
            probabilities = e / e.sum(axis=1, keepdims=True)
        return float(probabilities[:, 0].mean())


PREDICT = {"NumPy by hand": Predict}
