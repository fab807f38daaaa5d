"""Networks as drawings: circles and lines, or blocks, in SVG without a layout program."""

from nnbackend.drawing.draw import draw
from nnbackend.drawing.drawing import Drawing

__all__ = ["Drawing", "draw"]
