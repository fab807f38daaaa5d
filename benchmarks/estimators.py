"""The estimators beside scikit-learn's own, with the same call on the same data."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.timing import Options, race, table
from benchmarks.work import images

Tables = list[dict[str, Any]]
Data = tuple[np.ndarray, np.ndarray]

SKLEARN, OURS = "scikit-learn", "nnbackend"
SINGLE = "nnbackend, precision='float32'"


def estimators(options: Options) -> Tables:
    """Return the time of ``fit`` and ``predict`` with default arguments, in float64 as users have it."""
    try:
        classes = _classes(options)
    except ImportError as error:
        options.left_out["estimators"] = f"not installed ({error.name})"
        return []
    few = 3 if options.quick else 20
    work: dict[str, tuple[Callable[[], Data], int]] = {
        "digits": (_digits, few),
        "20000 x 100": (partial(_images, 2_000 if options.quick else 20_000, 100), few // 2),
        "60000 x 784": (partial(_images, 6_000 if options.quick else 60_000, 784), few // 5 or 1),
    }
    tables = []
    for name, (make, epochs) in work.items():
        data = make()
        makers = {n: partial(Fit, cls, data, epochs) for n, cls in classes.items()}
        rows = race(makers, options, rounds=min(options.rounds, 5))
        title = f"MLPClassifier().fit, {name}, {epochs} epoch{'s' if epochs > 1 else ''}"
        tables.append(table(f"estimators/fit/{name.replace(' ', '')}", title, "fit", rows))
    x, y = _images(10_000 if options.quick else 100_000, 784)
    for method in ("predict", "predict_proba"):
        for what, rows_, calls in (("many", len(x), 1), ("one", 1, 50 if options.quick else 500)):
            makers = {
                n: partial(Predict, cls, method, (x, y), rows_, calls) for n, cls in classes.items()
            }
            title = f"MLPClassifier.{method}, {rows_} row{'s' if rows_ > 1 else ''} of 784"
            found = race(makers, options, calls)
            tables.append(table(f"estimators/{method}/{what}", title, "call", found))
    return tables


def _classes(options: Options) -> dict[str, Callable[..., Any]]:
    from sklearn.neural_network import MLPClassifier as Theirs

    from nnbackend.estimators import MLPClassifier

    found: dict[str, Callable[..., Any]] = {
        OURS: MLPClassifier,
        SINGLE: partial(MLPClassifier, precision="float32"),
    }
    for backend in options.backends:
        if backend != "numpy":
            name = f"nnbackend {backend}, float32"
            found[name] = partial(MLPClassifier, backend=backend, precision="float32")
    return found | {SKLEARN: Theirs}


def _digits() -> Data:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x, y


def _images(rows: int, features: int) -> Data:
    x, y = images(rows, features, 10)
    return x.astype(np.float64), y


class Fit:
    """``fit`` with default arguments, for a number of epochs."""

    def __init__(self, make: Callable[..., Any], data: Data, epochs: int) -> None:
        self.make, self.data, self.epochs = make, data, epochs

    def reset(self) -> None:
        """Nothing is kept from one run to the next."""

    def run(self) -> float:
        """Train."""
        model = self.make(max_iter=self.epochs, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has not converged yet
            model.fit(*self.data)
        return float(model.loss_)


class Predict:
    """A method of a fitted estimator, called again and again."""

    def __init__(
        self, make: Callable[..., Any], method: str, data: Data, rows: int, calls: int
    ) -> None:
        x, y = data
        model = make(max_iter=1, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has not converged yet
            model.fit(x[:2000], y[:2000])
        self.method, self.x, self.calls = getattr(model, method), x[:rows], calls

    def reset(self) -> None:
        """Nothing changes."""

    def run(self) -> float:
        """Predict."""
        for _ in range(self.calls):
            found = self.method(self.x)
        return float(np.mean(found, axis=0).ravel()[0])
