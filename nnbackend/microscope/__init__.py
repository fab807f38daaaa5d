"""A microscope of one training step: every sum, error, gradient and update of a few rows."""

from nnbackend.microscope.explain import explain
from nnbackend.microscope.explanation import Explanation, LayerSummary, Moment
from nnbackend.microscope.formulas import Formula, Number
from nnbackend.microscope.items import Image, Item
from nnbackend.microscope.steps import Step

__all__ = [
    "Explanation",
    "Formula",
    "Image",
    "Item",
    "LayerSummary",
    "Moment",
    "Number",
    "Step",
    "explain",
]
