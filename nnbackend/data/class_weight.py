"""Weights by class: how much the rows of each class count in the loss of training."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.core.checks import check_number
from nnbackend.core.types import Array
from nnbackend.errors import given, unknown_name
from nnbackend.losses import LOSSES, Loss, trait

__all__ = ["ClassWeight", "weigh_rows_by_class"]

ClassWeight = Mapping[int, float] | str
"""``{class: weight}``, with 1 for classes left out, or ``"balanced"``."""


def weigh_rows_by_class(
    spec: ClassWeight,
    y: Array,
    loss: Loss,
    backend: Backend,
    classes: int,
    *,
    weight: Array | None = None,
    rows: np.ndarray[Any, Any] | None = None,
) -> Array:
    """Return the weight of each row by its class, for targets as the loss takes them.

    ``"balanced"`` gives a class ``sum(w) / (classes * sum(w of the class))``, as in scikit-learn, with
    the weights ``w`` of the training ``rows`` (1 without) and the number of classes that occur.

    Raises:
        ValueError: the target is not one class for each row, a class is unknown, or a weight is
            negative or no number.
        UnknownNameError: a word other than ``"balanced"``.
        TypeError: neither a mapping nor a word.
    """
    labels, names = _labels(backend.to_numpy(y), loss, classes)
    factors = np.ones(len(names))
    if isinstance(spec, str):
        if spec != "balanced":
            raise unknown_name("class_weight", spec, ["balanced"])
        trained = slice(None) if rows is None else rows
        each = None if weight is None else backend.to_numpy(weight)[trained]
        counts = np.bincount(labels[trained], each, len(names))
        occurs = counts > 0
        factors[occurs] = counts.sum() / (occurs.sum() * counts[occurs])
    elif isinstance(spec, Mapping):
        for key, value in spec.items():
            factor = check_number(f"class_weight[{key!r}]", value, 0.0)
            if factor > float(np.finfo(backend.dtype_name).max):
                raise ValueError(
                    f"class_weight[{key!r}] is {factor:g}, more than {backend.dtype_name} holds; only "
                    "the ratios of the weights count: divide all of them"
                )
            factors[_place(key, names)] = factor
    else:
        raise TypeError(f"class_weight is {{class: weight}} or 'balanced', got {given(spec)}")
    return backend.asarray(factors[labels])


def _labels(
    y: np.ndarray[Any, Any], loss: Loss, classes: int
) -> tuple[np.ndarray[Any, Any], list[tuple[int, ...]]]:
    """Return the place of each row's class, and the numbers by which each class may be called."""
    kind = trait(loss, "targets")
    if kind in ("numbers", "counts"):
        name = LOSSES.name_of(loss) or repr(loss)
        raise ValueError(
            f"class_weight is for classes, and the loss {name} is for "
            "numbers; sample_weight takes a weight for each row"
        )
    if kind in ("fractions", "signs"):
        if y.size != len(y):
            raise ValueError(
                "class_weight needs one class for each row, not several outputs that each say yes or "
                "no; sample_weight takes a weight for each row"
            )
        no = -1.0 if kind == "signs" else 0.0
        _check_hard(np.isin(y, (no, 1.0)).all())
        return (y.reshape(-1) > 0.5).astype(np.int64), [(0, -1) if kind == "signs" else (0,), (1,)]
    if y.ndim == 1:  # very many classes stay numbers
        return y, [(i,) for i in range(classes)]
    if y.ndim != 2:
        raise ValueError(
            "class_weight needs one class for each row, not one for each of its places"
        )
    _check_hard(((y == 0.0) | (y == 1.0)).all() and (y.sum(axis=1) == 1.0).all())
    return y.argmax(axis=1), [(i,) for i in range(classes)]


def _check_hard(hard: Any) -> None:
    if not hard:
        raise ValueError("class_weight needs one class for each row, and y holds probabilities")


def _place(key: Any, names: list[tuple[int, ...]]) -> int:
    """Return the class that a key of the mapping names."""
    if isinstance(key, Real):
        for place, numbers in enumerate(names):
            if key in numbers:
                return place
    known = f"0 to {len(names) - 1}" if len(names) > 2 else "0 and 1"
    raise ValueError(
        f"class_weight names a class {key!r}, and the classes are the numbers {known}"
        + ("; number them as y does" if isinstance(key, str) else "")
    )
