"""thinc, the library under spaCy."""

from __future__ import annotations

import numpy as np
from thinc.api import Adam, CategoricalCrossentropy, Relu, Softmax, chain

from benchmarks.work import Task


class Steps:
    """``begin_update``, ``backprop``, ``finish_update``."""

    def __init__(self, task: Task) -> None:
        self.task = task
        *hidden, last = task.sizes[1:]
        self.layers = [*(Relu(n) for n in hidden), Softmax(last)]
        self.net = chain(*self.layers)
        self.net.initialize(task.x[:1], np.zeros((1, last), np.float32))
        one_hot = np.eye(last, dtype=np.float32)[task.y]
        cuts = [slice(i, i + task.batch) for i in range(0, len(task.x), task.batch)]
        self.batches = [(task.x[cut], one_hot[cut]) for cut in cuts]

    def reset(self) -> None:
        """Take the initial weights and a new optimizer."""
        for layer, (weight, bias) in zip(self.layers, self.task.weights, strict=True):
            layer.set_param("W", np.ascontiguousarray(weight.T))
            layer.set_param("b", bias.copy())
        self.optimizer = Adam(1e-3, L2=0.0, grad_clip=0.0, use_averages=False)

    def run(self) -> float:
        """Train for an epoch."""
        cross_entropy, losses = CategoricalCrossentropy(), []
        for x, y in self.batches:
            probabilities, backprop = self.net.begin_update(x)
            backprop(cross_entropy.get_grad(probabilities, y))
            self.net.finish_update(self.optimizer)
            # thinc's own loss is the sum of squares of the gradient.
            losses.append(-np.log((probabilities * y).sum(axis=1)).mean())
        return float(np.mean(losses))


class Predict(Steps):
    """``predict``."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        super().reset()

    def reset(self) -> None:
        """Nothing changes."""

    def run(self) -> float:
        """Predict."""
        for _ in range(self.task.calls):
            probabilities = self.net.predict(self.task.x)
        return float(probabilities[:, 0].mean())


STEPS = {"thinc": Steps}
PREDICT = {"thinc": Predict}
