"""Names for the inputs and outputs of a network that was trained on a table or an array."""

from __future__ import annotations

from collections.abc import Iterable

from nnbackend.tables.categories import Categories, RobustCategories
from nnbackend.tables.encodings import Feature
from nnbackend.tables.model import ArrayModel, TableModel
from nnbackend.tables.moments import Moment
from nnbackend.tables.numbers import MissingIndicator

__all__ = ["input_names", "output_names"]


def input_names(features: Iterable[Feature]) -> list[str]:
    """Return a name for each number that columns are encoded as, in the order of the network's inputs.

    It is the name of the column, followed by the category, the part of a date or a number where a
    column gives several.
    """
    return [name for feature in features for name in _names(feature)]


def _names(feature: Feature) -> list[str]:
    if isinstance(feature, MissingIndicator):
        return [f"{feature.name} missing"]
    if feature.width == 1:
        return [feature.name]
    parts: Iterable[object] = range(feature.width)
    if isinstance(feature, Categories | RobustCategories):
        parts = ["(missing)" if text is None else text for text in feature.categories]
    elif isinstance(feature, Moment):
        parts = [part.name for part in feature.parts]
    return [f"{feature.name}: {part}" for part in parts]


def output_names(model: TableModel | ArrayModel) -> list[str]:
    """Return a name for each output: the target's, or those of the classes.

    A single output for two classes is the probability, or the score, of the second one.
    """
    target, classes = model.encoder.target.name, model.classes
    if not classes:
        return [target]
    return [f"{target}: {classes[-1]}"] if model.output_width == 1 else [*classes]
