"""Cross-validation: a network fitted and tested on each fold of the data."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.core.history import History
from nnbackend.data.splits import folds as parts_of
from nnbackend.data.validate import to_backend, to_host

if TYPE_CHECKING:
    from nnbackend.network import Network

__all__ = ["CrossValidation", "cross_validate"]


@dataclass(frozen=True)
class CrossValidation:
    """What came of a cross-validation.

    Attributes:
        folds: the loss and the metrics on the test rows of each fold.
        histories: of the fits.
        parts: the numbers of the training rows and of the test rows of each fold.
    """

    folds: Sequence[dict[str, float]]
    histories: Sequence[History]
    parts: Sequence[tuple[NDArray[Any], NDArray[Any]]]

    @property
    def mean(self) -> dict[str, float]:
        """The mean of each figure over the folds."""
        return {name: statistics.fmean(f[name] for f in self.folds) for name in self.folds[0]}

    @property
    def std(self) -> dict[str, float]:
        """The standard deviation of each figure over the folds, with ``n`` below the sum."""
        return {name: statistics.pstdev(f[name] for f in self.folds) for name in self.folds[0]}

    def __str__(self) -> str:
        mean, std = self.mean, self.std
        figures = ", ".join(f"{name} {mean[name]:.4g} +- {std[name]:.2g}" for name in mean)
        return f"{len(self.folds)} folds: {figures}"


def cross_validate(
    network: Network,
    x: Any,
    y: Any,
    *,
    folds: int = 5,
    stratified: bool = False,
    groups: Any = None,
    sample_weight: Any = None,
    seed: int | None = None,
    **fit: Any,
) -> CrossValidation:
    """Fit a copy of a network on all folds but one and test it on that one, for each fold.

    Every copy starts from the network's parameters as they are (an unbuilt one from its seed's), with
    the same seed. The network itself is not changed.

    Args:
        network: which network; it may be unbuilt.
        x: array-like of shape (rows, *input_shape).
        y: array-like, see ``Network.fit``.
        folds: how many, at least 2.
        stratified: whether every fold gets its share of each class of ``y``.
        groups: the group of each row; the rows of a group are tested together.
        sample_weight: how much each row counts, in training and in testing.
        seed: fixes the folds; None: the network's.
        **fit: arguments of ``Network.fit``: loss, optimizer, epochs, metrics ...

    Raises:
        ValueError: there are too few rows, rows of a class or groups; or see ``Network.fit``.
    """
    backend = network.backend
    with backend.scope():
        arrays = [to_backend(a, backend, n) for a, n in ((x, "X"), (y, "y"))]
        if sample_weight is not None:
            arrays.append(to_backend(sample_weight, backend, "sample_weight"))
        rows = {int(a.shape[0]) if a.shape else 0 for a in arrays}
        if len(rows) > 1:
            raise ValueError(
                f"X, y and sample_weight must have the same length, got {sorted(rows)}"
            )
        parts = parts_of(
            rows.pop(),
            folds,
            network.seed if seed is None else seed,
            classes=to_host(y) if stratified else None,
            groups=groups,
        )
    figures, histories = [], []
    for kept, tested in parts:
        fold = network.to()
        with backend.scope():
            train, test = ([_take(a, rows, backend) for a in arrays] for rows in (kept, tested))
        weight = train[2] if sample_weight is not None else None
        histories.append(fold.fit(*train[:2], sample_weight=weight, **fit))
        weight = test[2] if sample_weight is not None else None
        figures.append(fold.evaluate(*test[:2], sample_weight=weight))
    return CrossValidation(figures, histories, parts)


def _take(array: Any, rows: NDArray[Any], backend: Any) -> Any:
    xp = backend.xp
    return xp.take(array, backend.asarray(rows.astype(np.int32), dtype=xp.int32), axis=0)
