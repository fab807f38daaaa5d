"""scikit-learn's multilayer perceptron."""

from __future__ import annotations

import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.work import Task


def classifier(task: Task, **settings: object) -> MLPClassifier:
    """Return the task's network, without the penalty that is scikit-learn's default."""
    return MLPClassifier(
        task.sizes[1:-1],
        alpha=0.0,
        batch_size=task.batch,
        learning_rate_init=1e-3,
        **settings,
    )


class Steps:
    """``partial_fit``, which goes through the rows once."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.net = classifier(task, shuffle=False)
        first = slice(0, task.batch)
        self.net.partial_fit(task.x[first], task.y[first], classes=range(task.sizes[-1]))

    def reset(self) -> None:
        """Take the initial weights and a new optimizer."""
        if hasattr(self.net, "_optimizer"):
            del self.net._optimizer
        for w, b, (weight, bias) in zip(
            self.net.coefs_, self.net.intercepts_, self.task.weights, strict=True
        ):
            w[...], b[...] = weight, bias

    def run(self) -> float:
        """Train for an epoch."""
        self.net.partial_fit(self.task.x, self.task.y)
        return float(self.net.loss_)


class Fit:
    """``fit``; its early stopping is what holds out a tenth of the rows and scores them."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.notes: dict[str, float] = {}

    def reset(self) -> None:
        """Nothing is kept from one run to the next."""

    def run(self) -> float:
        """Train."""
        net = classifier(
            self.task,
            max_iter=self.task.epochs,
            early_stopping=True,
            n_iter_no_change=self.task.epochs + 1,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            net.fit(self.task.x, self.task.y)
        self.notes["validation_accuracy"] = float(net.validation_scores_[-1])
        return float(net.loss_)


class Predict(Steps):
    """``predict_proba``."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.net = classifier(task, shuffle=False)
        rows = task.x.repeat(max(1, task.batch // len(task.x)), axis=0)[: task.batch]
        classes = range(task.sizes[-1])
        self.net.partial_fit(rows, [0] * len(rows), classes=classes)
        super().reset()

    def reset(self) -> None:
        """Nothing changes."""

    def run(self) -> float:
        """Predict."""
        for _ in range(self.task.calls):
            probabilities = self.net.predict_proba(self.task.x)
        return float(probabilities[:, 0].mean())


STEPS = {"scikit-learn": Steps}
FIT = {"scikit-learn": Fit}
PREDICT = {"scikit-learn": Predict}
