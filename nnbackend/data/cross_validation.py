"""Cross-validation: a network fitted and tested on each fold of the data."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nnbackend.core.checks import check_flag, check_network
from nnbackend.core.history import History
from nnbackend.core.tree import map_arrays
from nnbackend.data.input_spec import InputSpec, arrange, check_same_rows, is_tree, name_arrays
from nnbackend.data.samples import Samples
from nnbackend.data.splits import folds as parts_of
from nnbackend.data.validate import inputs, to_backend, to_host
from nnbackend.errors import given

if TYPE_CHECKING:
    from nnbackend.network import Network

__all__ = ["CrossValidation", "cross_validate"]


@dataclass(frozen=True)
class CrossValidation:
    """What came of a cross-validation.

    Attributes:
        folds: the loss and the metrics on the test rows of each fold.
        histories: the histories of the fits.
        parts: the numbers of the training rows and of the test rows of each fold.
    """

    folds: Sequence[dict[str, float]]
    histories: Sequence[History]
    parts: Sequence[tuple[NDArray[Any], NDArray[Any]]]

    @property
    def mean(self) -> dict[str, float]:
        """The mean of each column over the folds."""
        return {name: statistics.fmean(f[name] for f in self.folds) for name in self.folds[0]}

    @property
    def std(self) -> dict[str, float]:
        """The standard deviation of each column over the folds, with ``n`` below the sum."""
        return {name: statistics.pstdev(f[name] for f in self.folds) for name in self.folds[0]}

    def __str__(self) -> str:
        mean, std = self.mean, self.std
        columns = ", ".join(f"{name} {mean[name]:.4g} +- {std[name]:.2g}" for name in mean)
        return f"{len(self.folds)} folds: {columns}"


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
        x: array-like of shape ``(rows, *input_shape)``.
        y: array-like, see ``Network.fit``.
        folds: the number of folds, at least 2.
        stratified: whether every fold gets its share of each class of ``y``.
        groups: the group of each row; the rows of a group are tested together.
        sample_weight: how much each row counts, in training and in testing.
        seed: fixes the folds; None: the network's.
        **fit: arguments of ``Network.fit``: loss, optimizer, epochs, metrics ...

    Raises:
        ValueError: there are too few rows, rows of a class or groups; or see ``Network.fit``.
    """
    check_network(network)
    check_flag("stratified", stratified)
    backend = network.backend
    with backend.scope():
        spec = InputSpec.of(network.layers, network.input_shape, backend)
        if y is None:
            raise TypeError("y is None: cross-validation needs targets, and takes no streams")
        if is_tree(sample_weight):
            raise TypeError(f"sample_weight must be one array, got {given(sample_weight)}")
        rows = arrange(y, name="y"), sample_weight
        names = name_arrays(rows[0], "y"), None if sample_weight is None else "sample_weight"
        brought = map_arrays(lambda a, name: to_backend(a, backend, name), rows, names)
        samples = Samples(inputs(x, backend, spec), *brought)
        check_same_rows(samples.arrays[:3], (name_arrays(samples.x, "X"), *names))
        parts = parts_of(
            len(samples),
            folds,
            network.seed if seed is None else seed,
            classes=to_host(y) if stratified else None,
            groups=groups,
        )
    results, histories = [], []
    for kept, tested in parts:
        fold = network.to()
        with backend.scope():
            train, test = samples.take(kept, backend), samples.take(tested, backend)
        histories.append(fold.fit(train.x, train.y, sample_weight=train.weight, **fit))
        results.append(fold.evaluate(test.x, test.y, sample_weight=test.weight))
    return CrossValidation(results, histories, parts)
