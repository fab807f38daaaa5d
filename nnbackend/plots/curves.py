"""Learning curves of one run or several; a History draws its own, so the code is below this package."""

from nnbackend.core.learning_curves import curves

__all__ = ["curves"]
