"""The record of a training run."""

from __future__ import annotations

import math
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any

from nnbackend.errors import counted, unknown_name

__all__ = ["History"]


class History:
    """The record of each epoch, by name: ``history["loss"]`` is a list with a number per epoch.

    Names: ``epoch`` (from 1), ``loss``, the metrics, ``validation_loss`` and the metrics on the
    validation data, ``learning_rate`` (of the epoch's last step) and ``seconds`` (of the epoch); for
    data that stream, ``waiting``: how many of the seconds passed waiting for data.

    It is read like a dictionary, ``dict(history)`` included, but ``len(history)`` counts the epochs.

    Attributes:
        stopped: why training ended before the last epoch, or None.
        profile: the time taken by each layer, with ``fit(profile=True)``; else None.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {"epoch": []}
        self.stopped: str | None = None
        self.profile: Any = None

    def extend(self, columns: Mapping[str, list[float]]) -> None:
        """Add epochs: a list of values for each name, equally long. A name that is missing gets NaN."""
        before, count = len(self), len(columns["loss"])
        self._columns["epoch"].extend(range(before + 1, before + count + 1))
        for name, values in columns.items():
            self._columns.setdefault(name, [math.nan] * before).extend(values)
        for values in self._columns.values():
            values.extend([math.nan] * (before + count - len(values)))

    def __getitem__(self, name: str) -> list[float]:
        try:
            return self._columns[name]
        except KeyError:
            raise KeyError(str(unknown_name("metric", name, self._columns))) from None

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns["epoch"])

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self._columns.keys()

    def values(self) -> ValuesView[list[float]]:
        """Return the columns."""
        return self._columns.values()

    def items(self) -> ItemsView[str, list[float]]:
        """Return the names with their columns."""
        return self._columns.items()

    @property
    def last(self) -> dict[str, float]:
        """The values of the last epoch by name."""
        return {name: values[-1] for name, values in self._columns.items() if values}

    def to_dict(self) -> dict[str, list[float]]:
        """Return the columns as plain lists."""
        return {name: list(values) for name, values in self._columns.items()}

    def rows(self, first: int = 0) -> list[dict[str, float]]:
        """Return the values of each epoch by name, without the first ``first`` epochs."""
        return [
            {name: values[i] for name, values in self._columns.items()}
            for i in range(first, len(self))
        ]

    def plot(self, names: str | Iterable[str] | None = None, ax: Any = None) -> Any:
        """Draw training and validation curves; return the axes of matplotlib.

        ``nnbackend.plots.curves`` does the same for several runs.

        Args:
            names: what is drawn by epoch, such as ``"accuracy"`` or ``["loss", "mae"]``, each with its
                curve on the validation data where there is one; default None: ``"loss"``.
            ax: the axes to draw in; default None: those of a new figure.

        Raises:
            ValueError: there are no epochs, or a name is unknown.
            ModuleNotFoundError: matplotlib is not installed; it comes with the extra ``plot``.
        """
        from nnbackend.core.learning_curves import curves  # few runs are drawn

        return curves(self, names, ax)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:.4g}" for name, value in self.last.items())
        return (
            f"History({counted(len(self), 'epoch')}; last: {values})"
            if len(self)
            else "History(empty)"
        )
