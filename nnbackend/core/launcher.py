"""Whether a launcher of MPI started this process, as its environment variables say."""

from __future__ import annotations

import os
import time

__all__ = ["is_launched", "launched_rank", "launched_size", "let_first_speak", "local_rank"]

# MPICH, Intel MPI and Slurm's PMI-2; Open MPI; MVAPICH; a step of Slurm with PMIx.
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "PMIX_RANK")
_SIZE_WITH_PMIX = "SLURM_STEP_NUM_TASKS"
_LOCAL_RANKS = (
    "MPI_LOCALRANKID",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "SLURM_LOCALID",
)
_SPEAKING = 3.0  # seconds


def launched_size() -> int:
    """Return how many processes a launcher of MPI started together; 1: none did, as far as is known."""
    names = (*_SIZES, _SIZE_WITH_PMIX) if "PMIX_RANK" in os.environ else _SIZES
    return max([_number(name) or 1 for name in names])


def is_launched() -> bool:
    """Return whether a launcher of MPI started several processes, of which this is one.

    Nothing is imported for it: the variables of MPICH, Open MPI, MVAPICH and Slurm are looked at.
    """
    return launched_size() > 1


def launched_rank() -> int:
    """Return the number of this process among those that a launcher started; 0: it is alone."""
    return next((n for n in map(_number, _RANKS) if n is not None), 0)


def let_first_speak() -> bool:
    """Return whether this is the first process; in others wait for what that one has to say.

    Open MPI ends all as soon as one ends with a code other than 0.
    """
    if launched_rank() > 0:
        time.sleep(_SPEAKING)
    return launched_rank() == 0


def local_rank() -> int | None:
    """Return the number of this process among those on its machine; None: the launcher does not say."""
    return next((n for n in map(_number, _LOCAL_RANKS) if n is not None), None)


def _number(name: str) -> int | None:
    """Return the whole number in an environment variable; None: there is none."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() and text.isascii() else None
