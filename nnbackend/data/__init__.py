"""Data: every way of giving them to a network, and of splitting them.

``Network.fit`` takes arrays. What does not fit in memory streams through it, as batches from an
iterable or a callable, from memory-mapped arrays or from the files of a dataset; see
:class:`Batches`, :class:`MemoryMap` and :class:`Dataset`.
"""

from typing import TYPE_CHECKING

from nnbackend.core.lazy import lazily
from nnbackend.data.host_data import (
    fits_in_memory,
    home,
    host_backend,
    on_device,
    outputs_of,
    staged,
)
from nnbackend.data.sources import Batches, Chunk, MemoryMap, Source, source_of
from nnbackend.data.stream import BatchStream
from nnbackend.data.validate import brought, check_finite, check_rows, inputs, targets

if TYPE_CHECKING:
    from nnbackend.data.cross_validation import CrossValidation, cross_validate
    from nnbackend.data.datasets import Dataset
    from nnbackend.data.splits import folds, split

__all__ = [
    "BatchStream",
    "Batches",
    "Chunk",
    "CrossValidation",
    "Dataset",
    "MemoryMap",
    "Source",
    "brought",
    "check_finite",
    "check_rows",
    "cross_validate",
    "fits_in_memory",
    "folds",
    "home",
    "host_backend",
    "inputs",
    "on_device",
    "outputs_of",
    "source_of",
    "split",
    "staged",
    "targets",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Dataset": "datasets",
        "folds": "splits",
        "split": "splits",
        "CrossValidation": "cross_validation",
        "cross_validate": "cross_validation",
    },
)
