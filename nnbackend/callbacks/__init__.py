"""Callbacks: what happens besides learning while a network is trained.

A callback overrides any of five methods of :class:`Callback`; each is given the :class:`Run` and may
end it with ``run.stop(reason)``. A plain function of the run will do too: it is called at the end of
each epoch.
"""

from nnbackend.callbacks.base import Callback
from nnbackend.callbacks.progress import Progress
from nnbackend.callbacks.run import Run, resolve

__all__ = ["Callback", "Progress", "Run", "resolve"]
