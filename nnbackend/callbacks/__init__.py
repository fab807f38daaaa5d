"""Callbacks: what happens besides learning while a network is trained.

A callback overrides any of five methods of :class:`Callback`: ``start``, ``epoch_start``, ``batch_end``,
``epoch_end`` and ``stop``; each is given the :class:`Run` and may end it with ``run.stop(reason)``. A
plain function of the run is a callback, too: it is called at the end of each epoch. Parameters that a
callback sets as ``run.network.params`` are trained further, or kept if they are set at the end.
"""

from typing import TYPE_CHECKING

from nnbackend.core.lazy import lazily

if TYPE_CHECKING:
    from nnbackend.callbacks.base import Callback
    from nnbackend.callbacks.checkpoint import Checkpoint
    from nnbackend.callbacks.early_stopping import EarlyStopping
    from nnbackend.callbacks.endings import TerminateOnNaN, TimeBudget
    from nnbackend.callbacks.function import Lambda
    from nnbackend.callbacks.learning_rate_log import LearningRateLog
    from nnbackend.callbacks.logs import CSVLog, JSONLines
    from nnbackend.callbacks.progress import Progress
    from nnbackend.callbacks.record import Record
    from nnbackend.callbacks.reduce_on_plateau import ReduceOnPlateau
    from nnbackend.callbacks.run import Run, resolve
    from nnbackend.callbacks.tensorboard import TensorBoard

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "JSONLines",
    "Lambda",
    "LearningRateLog",
    "Progress",
    "Record",
    "ReduceOnPlateau",
    "Run",
    "TensorBoard",
    "TerminateOnNaN",
    "TimeBudget",
    "resolve",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Callback": "base",
        "Checkpoint": "checkpoint",
        "EarlyStopping": "early_stopping",
        "TerminateOnNaN": "endings",
        "TimeBudget": "endings",
        "Lambda": "function",
        "LearningRateLog": "learning_rate_log",
        "CSVLog": "logs",
        "JSONLines": "logs",
        "Progress": "progress",
        "Record": "record",
        "ReduceOnPlateau": "reduce_on_plateau",
        "Run": "run",
        "resolve": "run",
        "TensorBoard": "tensorboard",
    },
)
