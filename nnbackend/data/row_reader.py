"""RowReader: the way of rows to the backend for a prediction: at once, in batches, or read ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.core.shapes import row_shapes
from nnbackend.core.tree import arrays_in, count_rows, map_arrays, slice_rows
from nnbackend.core.types import Arrays
from nnbackend.data.host_data import fits_in_memory, host_backend, read_batches
from nnbackend.data.input_spec import InputSpec, arrange, is_tree
from nnbackend.data.validate import check_row_shapes, inputs

__all__ = ["RowReader"]


class RowReader:
    """Brings the rows of a prediction to a backend, checked.

    Rows that do not fit on the device, and memory maps whose outputs leave it, are read ahead in a
    thread. Numbers in NumPy arrays are converted and checked a batch at a time, just before they are
    used, while they are in the cache; other data come at once.

    Attributes:
        x: the rows, of which parts are brought by ``bring``.
        shapes: the shape of a row, or a tree of shapes.
        bring: a function from rows of ``x`` and the number of the first to rows on the backend; None:
            they are there.
        reads_ahead: whether :meth:`batches` read ahead.

    Raises:
        TypeError, ValueError: they do not fit; see :func:`nnbackend.data.validate.inputs`.
    """

    def __init__(
        self, x: Any, spec: InputSpec, backend: Backend, batch_size: int, on_host: bool
    ) -> None:
        self._spec, self._backend = spec, backend
        self.bring: Callable[[Any, int], Arrays] | None = None
        self.reads_ahead = _stays_on_host(x, backend, batch_size) or (
            on_host and isinstance(x, np.memmap)
        )
        if self.reads_ahead:
            self.shapes = check_row_shapes(x, spec)
            self.x = arrange(x, spec.shape)
        elif not on_host and self._comes_in_batches(x, batch_size):
            self.shapes, self.x, self.bring = check_row_shapes(x, spec), x, self._bring
        else:
            self.x = inputs(x, backend, spec)
            self.shapes = row_shapes(self.x)

    def batches(self, size: int) -> Iterator[Arrays]:
        """Return the rows on the backend, ``size`` at a time."""
        if self.reads_ahead:
            return read_batches(self.x, size, self._backend, self._check)
        rows = count_rows(self.x)
        return (slice_rows(self.x, i, min(i + size, rows)) for i in range(0, rows, size))

    def _comes_in_batches(self, x: Any, batch_size: int) -> bool:
        """Return whether rows are brought as they are needed, of a built network, and not at once."""
        spec = self._spec
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "biuf" or spec.shape is None:
            return False
        if isinstance(x, np.ma.MaskedArray) or spec.takes != "numbers":
            return False  # what a mask hides is to be found, and indices are checked on their own
        mapped = isinstance(x, np.memmap) and x.ndim > 0 and len(x) > batch_size
        return mapped or self._backend.name == "numpy"

    def _bring(self, part: np.ndarray[Any, Any], first: int) -> Arrays:
        """Return some rows on the backend.

        Raises:
            ValueError: a number is not finite; the message counts those of all rows, or of a memory map
                those of the part.
        """
        if isinstance(part, np.memmap):
            return inputs(np.array(part), self._backend, self._spec, first=first)
        rows = self._backend.asarray(part)
        if not np.isfinite(rows).all():  # on one core: threads would wait for each other once more
            inputs(self.x, self._backend, self._spec)  # which counts all that are not
        return rows

    def _check(self, rows: Arrays, first: int) -> Arrays:
        """Return rows on the host, checked; ``first`` is the number of the first."""
        # Rows that were read of a file can no longer change or fail.
        rows = map_arrays(lambda a: np.array(a) if isinstance(a, np.memmap) else a, rows)
        return inputs(rows, host_backend(self._backend), self._spec, first=first)


def _stays_on_host(x: Any, backend: Backend, batch_size: int) -> bool:
    """Return whether rows are to come to the device in batches, for it has no room for all of them."""
    arrays = arrays_in(x) if is_tree(x) else [x]
    if not all(isinstance(a, np.ndarray) and a.ndim > 0 and len(a) > batch_size for a in arrays):
        return False
    if any(isinstance(a, np.memmap) for a in arrays):
        return len(arrays) > 1
    return not fits_in_memory(backend, (x,))
