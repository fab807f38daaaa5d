"""How many threads BLAS uses for the products of a command."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import nnbackend as nnb

__all__ = ["PREDICTED_ROWS", "SMALL_PRODUCT", "thread_limit"]

SMALL_PRODUCT = 1 << 24
"""The multiplications of a matrix product below which one thread computes it: a third of a millisecond.

Measured with OpenBLAS on two cores: at 1024 x 128 x 128 two threads take half of the time of one while
nothing else runs, and 16 times as long while other work keeps the cores busy: one waits for the other.
"""
PREDICTED_ROWS = 1024  # about what is computed together

_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_NUM_THREADS")


def thread_limit(
    threads: int | None, network: nnb.Network, rows: int = PREDICTED_ROWS
) -> AbstractContextManager[Any]:
    """Return a context in which BLAS uses that many threads.

    None: one thread for a network whose products of ``rows`` rows are all small; for others, and where
    the environment says how many, as many as the library chooses.
    """
    if threads is None:
        # A convolution's products are of blocks, whatever the batch: its parameters say how large.
        largest = rows * max(row.parameters for row in network.summary_rows())
        if largest >= SMALL_PRODUCT or any(name in os.environ for name in _VARIABLES):
            return nullcontext()
    from threadpoolctl import threadpool_limits

    limit: AbstractContextManager[Any] = threadpool_limits(
        threads or 1, user_api=None if threads else "blas"
    )
    return limit
