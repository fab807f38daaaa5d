"""The estimators beside scikit-learn's own, with the same call on the same data."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers import numpy_by_hand
from benchmarks.peers.products import Products
from benchmarks.timing import Contestant, Options, race, table
from benchmarks.work import Task, images, initial

Tables = list[dict[str, Any]]
Data = tuple[np.ndarray, np.ndarray]

SKLEARN, OURS = "scikit-learn", "nnbackend"
SINGLE = "nnbackend, precision='float32'"
BY_HAND, PRODUCTS = "NumPy by hand", "matrix products, numpy"
_HIDDEN, _BATCH = 100, 200  # the default network and batch


def estimators(options: Options) -> Tables:
    """Return the time of ``fit`` and ``predict`` with default arguments, in float64 as users have it."""
    try:
        classes = _classes(options)
    except ImportError as error:
        options.left_out["estimators"] = f"not installed ({error.name})"
        return []
    quick = options.quick
    work: dict[str, tuple[Callable[[], Data], int]] = {
        "digits": (_digits, 20 if quick else 200),
        "20000 x 100": (partial(_images, 2_000 if quick else 20_000, 100), 2 if quick else 20),
        "60000 x 784": (partial(_images, 6_000 if quick else 60_000, 784), 1 if quick else 4),
    }
    tables = []
    for name, (make, epochs) in work.items():
        data = make()
        makers: dict[str, Callable[[], Contestant]] = {
            n: partial(Fit, cls, data, epochs) for n, cls in classes.items()
        }
        done = _epochs(classes[SKLEARN], data, epochs)
        makers |= _floors(data, done)
        rows = race(makers, options, rounds=min(options.rounds, 5))
        title = f"MLPClassifier().fit, {name}, {done} epoch{'s' if done > 1 else ''}"
        tables.append(table(f"estimators/fit/{name.replace(' ', '')}", title, "fit", rows))
    x, y = _images(10_000 if options.quick else 100_000, 784)
    fitted = _fitted(classes[OURS], (x, y))
    sizes, weights = (784, _HIDDEN, 10), list(zip(fitted.coefs_, fitted.intercepts_, strict=True))
    for method, by_hand in (
        ("predict", numpy_by_hand.Classify),
        ("predict_proba", numpy_by_hand.Predict),
    ):
        for what, rows_, calls in (("many", len(x), 1), ("one", 1, 50 if options.quick else 500)):
            makers = {
                n: partial(Predict, cls, method, (x, y), rows_, calls) for n, cls in classes.items()
            }
            task = Task(sizes, rows_, x[:rows_], y, weights, calls=calls)
            makers[BY_HAND] = partial(by_hand, task)
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


def _epochs(make: Callable[..., Any], data: Data, most: int) -> int:
    """Return after how many epochs a fit ends, by scikit-learn's rules."""
    fit = Fit(make, data, most)
    fit.run()
    return int(fit.model.n_iter_)


def _floors(data: Data, epochs: int) -> dict[str, Callable[[], Contestant]]:
    """Return what the time is made of: the same steps by hand, and their matrix products alone."""
    task = _task(data, epochs)
    return {
        BY_HAND: partial(numpy_by_hand.Fit, task),
        PRODUCTS: partial(Products, task, "numpy"),
    }


def _task(data: Data, epochs: int) -> Task:
    """Return the default network and batches in float64; the last batch is made up of first rows."""
    x, y = (np.concatenate([a, a[: -len(a) % _BATCH]]) for a in data)
    sizes = (x.shape[1], _HIDDEN, int(y.max()) + 1)
    weights = [(w.astype(np.float64), b.astype(np.float64)) for w, b in initial(sizes)]
    return Task(sizes, _BATCH, x, y, weights, epochs, precision="float64")


def _digits() -> Data:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x, y


def _images(rows: int, features: int) -> Data:
    x, y = images(rows, features, 10)
    return x.astype(np.float64), y


def _fitted(make: Callable[..., Any], data: Data) -> Any:
    """Return an estimator that went once through some of the rows."""
    x, y = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged yet
        return make(max_iter=1, random_state=0).fit(x[:2000], y[:2000])


class Fit:
    """``fit`` with default arguments, for a number of epochs."""

    def __init__(self, make: Callable[..., Any], data: Data, epochs: int) -> None:
        self.make, self.data, self.epochs = make, data, epochs

    def reset(self) -> None:
        """Nothing is kept from one run to the next."""

    def run(self) -> float:
        """Train."""
        self.model = self.make(max_iter=self.epochs, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has not converged yet
            self.model.fit(*self.data)
        return float(self.model.loss_)


class Predict:
    """A method of a fitted estimator, called again and again."""

    def __init__(
        self, make: Callable[..., Any], method: str, data: Data, rows: int, calls: int
    ) -> None:
        self.method, self.x, self.calls = (
            getattr(_fitted(make, data), method),
            data[0][:rows],
            calls,
        )

    def reset(self) -> None:
        """Nothing changes."""

    def run(self) -> float:
        """Predict."""
        for _ in range(self.calls):
            found = self.method(self.x)
        return float(np.mean(found, axis=0).ravel()[0])
