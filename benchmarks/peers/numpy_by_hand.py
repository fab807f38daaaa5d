"""NumPy without a library on top: the tutorial's script, a training step, a forward pass."""

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


_BETA1, _BETA2, _EPSILON, _RATE = 0.9, 0.999, 1e-8, 1e-3
_CHUNK = 1 << 16


class Steps:
    """The training step written out for this one kind of network, as fast as NumPy goes.

    There are no functions to call and nothing is allocated: every result goes into an array that is
    there, all parameters lie in one vector, and Adam's constants are gathered. What a library takes
    beyond this is the price of layers that can be put together.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.vector = np.concatenate([a.ravel() for pair in task.weights for a in pair])
        self.start = self.vector.copy()
        self.gradient, self.m, self.v = (np.zeros_like(self.vector) for _ in range(3))
        sizes, rows, dtype = task.sizes, task.batch, self.vector.dtype
        self.params, self.grads = self._views(self.vector), self._views(self.gradient)
        self.outputs = [np.empty((rows, n), dtype) for n in sizes[1:]]
        self.deltas = [np.empty((rows, n), dtype) for n in sizes[1:]]
        self.scratch = np.empty((2, min(_CHUNK, len(self.vector))), dtype)
        self.rows = np.arange(rows)

    def _views(self, vector: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        views, start = [], 0
        for weight, bias in self.task.weights:
            middle, stop = start + weight.size, start + weight.size + bias.size
            views.append((vector[start:middle].reshape(weight.shape), vector[middle:stop]))
            start = stop
        return views

    def reset(self) -> None:
        """Take the initial weights."""
        self.vector[:] = self.start
        self.m[:] = 0.0
        self.v[:] = 0.0

    def run(self) -> float:
        """Train for an epoch; return the mean loss."""
        task, batch, losses = self.task, self.task.batch, 0.0
        for step in range(task.steps):
            rows = slice(step * batch, (step + 1) * batch)
            losses += self._gradient(task.x[rows], task.y[rows])
            self._adam(step + 1)
        return losses / task.steps

    def _gradient(self, x: np.ndarray, y: np.ndarray) -> float:
        """Fill the gradient; return the loss."""
        inputs, last = x, len(self.params) - 1
        for i, (weight, bias) in enumerate(self.params):
            z = self.outputs[i]
            np.matmul(inputs, weight, out=z)
            z += bias
            if i < last:
                np.maximum(z, 0.0, out=z)
            inputs = z
        z, dz = self.outputs[last], self.deltas[last]
        z -= np.maximum.reduce(z, axis=1, keepdims=True)
        np.exp(z, out=dz)
        total = np.add.reduce(dz, axis=1, keepdims=True)
        loss = (np.add.reduce(np.log(total[:, 0])) - np.add.reduce(z[self.rows, y])) / len(y)
        dz /= total
        dz[self.rows, y] -= 1.0
        dz *= 1.0 / len(y)
        for i in range(last, -1, -1):
            dweight, dbias = self.grads[i]
            np.matmul((self.outputs[i - 1] if i else x).T, dz, out=dweight)
            np.add.reduce(dz, axis=0, out=dbias)
            if i:
                dx = self.deltas[i - 1]
                np.matmul(dz, self.params[i][0].T, out=dx)
                dx *= self.outputs[i - 1] > 0.0
                dz = dx
        return float(loss)

    def _adam(self, step: int) -> None:
        """Update the vector, in pieces that stay in the cache."""
        correction = ((1.0 - _BETA2**step) / (1.0 - _BETA2)) ** 0.5
        factor = _RATE * correction * (1.0 - _BETA1) / (1.0 - _BETA1**step)
        for start in range(0, len(self.vector), _CHUNK):
            part = slice(start, start + _CHUNK)
            p, g, m, v = self.vector[part], self.gradient[part], self.m[part], self.v[part]
            square, d = self.scratch[:, : len(p)]
            m *= _BETA1
            m += g
            np.multiply(g, g, out=square)
            v *= _BETA2
            v += square
            np.sqrt(v, out=d)
            d += _EPSILON * correction
            np.divide(m, d, out=d)
            d *= factor
            p -= d


class Fit(Steps):
    """The same for some epochs, each with the rows in an order of its own."""

    def run(self) -> float:
        """Train; return the mean loss of the last epoch."""
        task, batch, losses = self.task, self.task.batch, 0.0
        x, rng = np.empty((batch, task.sizes[0]), task.x.dtype), np.random.default_rng(0)
        for epoch in range(task.epochs):
            order, losses = rng.permutation(len(task.x)), 0.0
            for step in range(task.steps):
                rows = order[step * batch : (step + 1) * batch]
                np.take(task.x, rows, axis=0, out=x, mode="clip")
                losses += self._gradient(x, task.y[rows])
                self._adam(epoch * task.steps + step + 1)
        return losses / task.steps


class Predict:
    """The forward pass in the fewest lines."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def reset(self) -> None:
        """Nothing changes."""

    def scores(self) -> np.ndarray:
        """Return the numbers before the softmax."""
        *hidden, (weight, bias) = self.task.weights
        x = self.task.x
        for w, b in hidden:
            x = np.maximum(x @ w + b, 0.0)
        return x @ weight + bias

    def run(self) -> float:
        """Predict probabilities."""
        for _ in range(self.task.calls):
            z = self.scores()
            e = np.exp(z - z.max(axis=1, keepdims=True))
            probabilities = e / e.sum(axis=1, keepdims=True)
        return float(probabilities[:, 0].mean())


class Classify(Predict):
    """The forward pass and the class with the highest score."""

    def run(self) -> float:
        """Predict classes."""
        for _ in range(self.task.calls):
            classes = self.scores().argmax(axis=1)
        return float(classes.mean())


STEPS = {"NumPy by hand": Steps}
PREDICT = {"NumPy by hand": Predict}
