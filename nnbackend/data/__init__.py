"""Data: every way of giving them to a network, and of splitting them.

``Network.fit`` takes arrays. Data that do not fit in memory stream through it, as batches from an
iterable or a callable, from memory-mapped arrays or from the files of a dataset; see
:class:`Batches`, :class:`MemoryMap` and :class:`Dataset`.
"""

from typing import TYPE_CHECKING

from nnbackend.core.lazy import lazily
from nnbackend.data.host_data import (
    fits_in_memory,
    host_backend,
    is_on_device,
    placement,
    stage_ahead,
)
from nnbackend.data.input_spec import InputSpec, arrange, is_tree
from nnbackend.data.row_reader import RowReader
from nnbackend.data.sources import Batches, Chunk, MemoryMap, Source, source_of
from nnbackend.data.stream import BatchStream
from nnbackend.data.validate import check_finite, check_row_shapes, inputs, to_backend

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
    "InputSpec",
    "MemoryMap",
    "RowReader",
    "Source",
    "arrange",
    "check_finite",
    "check_row_shapes",
    "cross_validate",
    "fits_in_memory",
    "folds",
    "host_backend",
    "inputs",
    "is_on_device",
    "is_tree",
    "placement",
    "source_of",
    "split",
    "stage_ahead",
    "to_backend",
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
