"""Training one network in several processes, which may be on several machines.

Every process runs the same program; MPI's launcher starts them::

    net.fit(x, y, parallel=nnb.parallel.MPI())

    mpiexec -n 4 python train.py
    mpiexec -n 4 nnbackend train penguins.csv --target species
"""

from nnbackend.core.launcher import is_launched
from nnbackend.parallel.local_steps import LocalSteps
from nnbackend.parallel.mpi import MPI

__all__ = ["MPI", "LocalSteps", "is_launched"]
