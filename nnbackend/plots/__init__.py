"""Curves and figures with matplotlib: what training did, how good the answers are, what was learned.

Each function returns the axes that it drew in, and takes ``ax=``. They take arrays of any library, and
lists. The extra is ``plot``.
"""

from nnbackend.plots.attention import attention
from nnbackend.plots.calibration import calibration
from nnbackend.plots.confusion import confusion_matrix
from nnbackend.plots.curves import curves
from nnbackend.plots.embedding import embedding
from nnbackend.plots.filters import filters
from nnbackend.plots.parameters import parameters_over_time
from nnbackend.plots.residuals import predictions, residuals
from nnbackend.plots.roc import roc

__all__ = [
    "attention",
    "calibration",
    "confusion_matrix",
    "curves",
    "embedding",
    "filters",
    "parameters_over_time",
    "predictions",
    "residuals",
    "roc",
]
