"""Data: every way of giving them to a network, and of splitting them.

``Network.fit`` takes arrays. Data that do not fit in memory stream through it, as batches from an
iterable or a callable, from memory-mapped arrays or from the files of a dataset; see
:class:`Batches`, :class:`MemoryMap` and :class:`Dataset`.
"""

from typing import TYPE_CHECKING

from nnbackend.core.lazy import lazily
from nnbackend.data.host_data import placement
from nnbackend.data.input_spec import InputSpec, arrange
from nnbackend.data.sources import Batches, Chunk, MemoryMap, Source, source_of
from nnbackend.data.stream import BatchStream
from nnbackend.data.validate import inputs, to_backend

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
    "Source",
    "arrange",
    "cross_validate",
    "folds",
    "inputs",
    "placement",
    "source_of",
    "split",
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
