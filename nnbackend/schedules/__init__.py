"""Schedules: hyperparameters that change while a network is trained.

A schedule is a function of the step, which counts from 0: ``schedule(step) -> value``. It takes the
place of a number for any hyperparameter of any optimizer: ``Adam(Cosine(1e-3, steps=5000))`` or
``SGD(0.1, momentum=Warmup(0.95, steps=100, initial=0.5))``. Any other function of the step can be given,
too. It is called on the host, and its value is data of the training step: one that changes compiles
nothing.

These are descriptions, as layers are: they can be compared, named and written to a file. A step is an
update of the parameters: an epoch has ``ceil(rows / batch_size)`` of them.
"""

from nnbackend.schedules.base import SCHEDULES, Schedule, Scheduled, is_schedule
from nnbackend.schedules.combined import Scaled, Warmup
from nnbackend.schedules.cosines import Cosine, CosineLog, FlatCosine, OneCycle
from nnbackend.schedules.falling import (
    Constant,
    Exponential,
    InverseSquareRoot,
    MultiStep,
    Polynomial,
    Step,
)

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "CosineLog",
    "Exponential",
    "FlatCosine",
    "InverseSquareRoot",
    "MultiStep",
    "OneCycle",
    "Polynomial",
    "Scaled",
    "Schedule",
    "Scheduled",
    "Step",
    "Warmup",
    "is_schedule",
]
