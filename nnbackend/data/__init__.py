"""Data: every way of giving them to a network, and of splitting them.

``Network.fit`` takes arrays. What does not fit in memory streams through it, as batches from an
iterable or a callable, from memory-mapped arrays or from the files of a dataset; see
:class:`Batches`, :class:`MemoryMap` and :class:`Dataset`.
"""

from typing import TYPE_CHECKING

from nnbackend.data.border import (
    brought,
    check_finite,
    check_rows,
    inputs,
    targets,
)
from nnbackend.data.feed import Feed
from nnbackend.data.held import (
    fit_on,
    home,
    host_backend,
    on_device,
    outputs_of,
    staged,
)
from nnbackend.data.sources import Batches, Chunk, MemoryMap, Source, source_of
from nnbackend.lazy import lazily

if TYPE_CHECKING:
    from nnbackend.data.datasets import Dataset
    from nnbackend.data.splits import folds, split
    from nnbackend.data.validation import CrossValidation, cross_validate

__all__ = [
    "Batches",
    "Chunk",
    "CrossValidation",
    "Dataset",
    "Feed",
    "MemoryMap",
    "Source",
    "brought",
    "check_finite",
    "check_rows",
    "cross_validate",
    "fit_on",
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
        "CrossValidation": "validation",
        "cross_validate": "validation",
    },
)
