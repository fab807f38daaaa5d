"""DataAdapter: the data that ``fit`` is given, checked and brought to the network's backend."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.core.checks import named
from nnbackend.core.shapes import Shapes, is_shape
from nnbackend.data import host_data, validate
from nnbackend.data.class_weight import ClassWeight, weigh_rows_by_class
from nnbackend.data.input_spec import InputSpec, is_tree
from nnbackend.data.samples import Samples
from nnbackend.data.sources import Source, source_of
from nnbackend.data.stream import BatchStream
from nnbackend.data.targets import RowCheck
from nnbackend.inference.predictor import BATCH_ROWS
from nnbackend.losses import Loss

__all__ = ["BATCH_SIZE", "DataAdapter"]

BATCH_SIZE = 32
"""The default batch size, in rows."""
_NOT_VALIDATION = "validation_data must be (x, y) or (x, y, sample_weight)"


class DataAdapter:
    """Brings data to a network on its backend; see :class:`nnbackend.data.targets.RowCheck`."""

    def __init__(self, backend: Backend, spec: InputSpec, output_shape: Shapes, loss: Loss) -> None:
        self._backend, self._check = backend, RowCheck(spec, output_shape, loss)

    def samples(
        self, x: Any, y: Any, weight: Any = None, prefix: str = "", placement: Backend | None = None
    ) -> Samples:
        """Return checked samples on the backend, or on the host if that is their ``placement``.

        Raises:
            ValueError, TypeError: they do not fit; the message calls them ``prefix`` X and y.
        """
        backend = placement or self._backend
        kind = Samples if backend is self._backend else host_data.HostSamples
        return kind(*self._check((x, y, weight), backend, prefix))

    def stream(
        self,
        source: Source,
        batch_size: int | None = BATCH_ROWS,
        seed: int | None = None,
        epochs: int = 1,
        name: str = "",
    ) -> BatchStream:
        """Return the stream of training data from a source."""
        if source.single_use and epochs > 1:
            raise ValueError(
                f"the {name}batches come from an iterator, which can be gone through only once, and "
                f"there are {epochs} epochs: give the function that makes it, without calling it, "
                "so that each epoch starts from the beginning"
            )
        return BatchStream(source, self._backend, self._check, batch_size, seed, name)

    def training_stream(
        self, source: Source, batch_size: int | None, seed: int | None, epochs: int
    ) -> BatchStream:
        """Return the batches of a source to learn from."""
        if source.whole_batches and batch_size not in (BATCH_SIZE, None):
            raise ValueError(
                "batches are steps as they are given: leave batch_size out, or have their rows "
                "put together by nnb.data.Batches(batches, shuffle_buffer=...)"
            )
        return self.stream(source, batch_size, seed, epochs)

    def validation(self, given: Any, epochs: int, data_on: str) -> Samples | BatchStream:
        """Return the validation data, which are evaluated after each epoch."""
        with named("validation_data"):
            return self._validation(given, epochs, data_on)

    def _validation(self, given: Any, epochs: int, data_on: str) -> Samples | BatchStream:
        # A list of tuples is a list of batches; a list or tuple of two or three else is (x, y, weight).
        batches = isinstance(given, list) and all(isinstance(part, tuple) for part in given)
        if batches or not isinstance(given, tuple | list):
            given = (given,)
        elif len(given) not in (2, 3):
            raise ValueError(_NOT_VALIDATION)
        x, y, weight = (*given, None, None)[:3]
        if y is None and (hasattr(x, "shape") or isinstance(x, dict)):
            raise ValueError(_NOT_VALIDATION)
        source = source_of(x, y, weight)
        if source is not None:
            return self.stream(source, epochs=epochs, name="validation ")
        placement = host_data.placement((x, y, weight), self._backend, data_on)
        return self.samples(x, y, weight, "validation ", placement)

    def split(
        self,
        samples: Samples | BatchStream,
        y: Any,
        fraction: float,
        seed: int,
        stratify: bool,
        groups: Any,
    ) -> tuple[np.ndarray[Any, Any], Samples]:
        """Return the numbers of the rows to learn from, and the others as samples."""
        if not isinstance(samples, Samples):
            raise ValueError("a stream cannot be split; give validation_data")
        from nnbackend.data.splits import split

        if stratify and is_tree(y):
            raise ValueError("stratify is for one array of classes: give groups=, or split by hand")
        classes = validate.to_host(y) if stratify else None
        kept, held_out = split(len(samples), fraction, seed, classes=classes, groups=groups)
        if samples.weight is not None:
            placement = samples.placement(self._backend)
            for part in (kept, held_out):
                where = " of either part of the split"
                _check_positive_weight(samples.weight, part, placement, where)
        return kept, samples.take(held_out, self._backend)

    def weigh_by_class(
        self, samples: Samples | BatchStream, class_weight: ClassWeight, rows: Any
    ) -> Samples:
        """Return the samples with weights by class, of which ``rows`` are learned from."""
        if not isinstance(samples, Samples):
            raise ValueError(
                "class_weight needs all classes at hand, and a stream does not show them: "
                "give a weight for each row with the batches"
            )
        loss, shape = self._check.loss, self._check.output_shape
        if is_tree(samples.y) or not is_shape(shape):
            raise ValueError(
                "class_weight is for networks with one output; sample_weight is for all"
            )
        classes, placement = (shape or (1,))[-1], samples.placement(self._backend)
        given = {"weight": samples.weight, "rows": rows}
        by = weigh_rows_by_class(class_weight, samples.y, loss, placement, classes, **given)
        samples = dataclasses.replace(samples, class_weight=by)
        where = " that are learned from, with class_weight"
        _check_positive_weight(samples.learned().weight, rows, placement, where)
        return samples


def _check_positive_weight(weight: Any, rows: Any, placement: Backend, where: str) -> None:
    """Check that of some rows (None: all), whose weights are on ``placement``, one has a weight."""
    if rows is not None:
        weight = placement.xp.take(
            weight, placement.asarray(rows, dtype=placement.xp.int32), axis=0
        )
    validate.check_positive_weight(weight, placement, where)
