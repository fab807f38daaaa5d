"""The encoding between the columns of a table and the arrays of a network.

:class:`TableEncoder` learns it from the training rows only, so that the validation rows stay
unseen, and is stored with the model, so that prediction repeats exactly what training did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nnbackend.errors import ModelFileError, counted, few
from nnbackend.tables.categories import Categories, Classes
from nnbackend.tables.describe import ColumnDescription, describe_columns
from nnbackend.tables.description import check_table, column_from_dict, column_to_dict
from nnbackend.tables.encodings import Feature, Target
from nnbackend.tables.features import Encoded, FeatureEncoder, column_of
from nnbackend.tables.kinds import ColumnKind
from nnbackend.tables.numbers import SCALES, Number, Scale
from nnbackend.tables.summary import ColumnSummary
from nnbackend.tables.table import Table, WantedKind, is_number
from nnbackend.tables.targets import TargetScale, learn_target_number

__all__ = ["SCALES", "Categories", "Classes", "Encoder", "Number", "Scale", "TableEncoder"]


class Encoder:
    """What the encoders of tables and of arrays have in common: the target.

    Attributes:
        target: the encoding of the target.
    """

    target: Target

    @staticmethod
    def learn_target(table: Table, name: str, scale: TargetScale) -> Target:
        """Return the encoding of a target, learned from the training rows."""
        values = column_of(table, name)
        if is_number(values):
            return learn_target_number(name, values, scale)
        return Classes.learn(name, values)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the target; none if it holds numbers."""
        return self.target.classes if isinstance(self.target, Classes) else ()

    @property
    def task(self) -> str:
        """``classification`` for a target of texts, ``regression`` for one of numbers."""
        return "classification" if self.classes else "regression"

    @property
    def scales_target(self) -> bool:
        """Whether the target is a column of numbers that are scaled."""
        target = self.target
        if isinstance(target, Number):
            return (target.shift, target.scale) != (0.0, 1.0)
        return not isinstance(target, Classes)

    @property
    def target_kinds(self) -> dict[str, WantedKind]:
        """What the target is read as in other data."""
        return {self.target.name: "number" if self.target.kind == "number" else "known"}

    def encode_target(self, table: Table) -> NDArray[Any]:
        """Return scaled numbers of shape (rows, 1), or class numbers of shape (rows,)."""
        return self.target.encode(column_of(table, self.target.name))


@dataclass(frozen=True)
class TableEncoder(Encoder):
    """How the columns of a table become the input of a network, and its output the target.

    Attributes:
        features: the encoding of each feature column, in the order of the network's inputs.
        target: the encoding of the target column.
        columns: what the training rows held in each column; empty for a model of an earlier version.
    """

    features: tuple[Feature, ...]
    target: Target
    columns: tuple[ColumnSummary, ...] = ()

    @classmethod
    def learn(
        cls,
        table: Table,
        target: str,
        features: Mapping[str, ColumnKind] | Iterable[str],
        scale: Scale = "standard",
        *,
        target_scale: TargetScale | None = None,
        max_one_hot: int | None = None,
        indicators: bool = False,
        day_first: bool | None = None,
    ) -> TableEncoder:
        """Return the encoding learned from a table of training rows.

        Numbers are scaled, and missing ones are replaced by the column's median; dates become numbers;
        texts become one column of zeros and ones per category. A target of numbers is scaled as well, a
        target of texts becomes classes.

        Args:
            table: the training rows.
            target: the name of the target column, in which no value is missing.
            features: the names of the feature columns, or what each of them holds; see
                :meth:`nnbackend.tables.features.FeatureEncoder.learn`, also for the rest.
            scale: ``standard`` for mean 0 and standard deviation 1, ``max`` for division by the
                largest absolute value, ``none``, or ``robust``.
            target_scale: of a target of numbers, see
                :func:`nnbackend.tables.targets.learn_target_number`; None: that of the features.
            max_one_hot: more categories, missing counted as one, become indices; None: no limit.
            indicators: whether missing numbers and dates have inputs that say so.
            day_first: whether in dates such as 1/2/2020 the day comes first; None: each column tells.

        Raises:
            UnknownNameError: no such column or scale.
            ValueError: numbers so large that their statistics overflow.
        """
        kinds = features if isinstance(features, Mapping) else tuple(features)
        learned = cls.learn_target(table, target, target_scale or scale)
        inputs = FeatureEncoder.learn(
            table,
            kinds,
            scale,
            max_one_hot=max_one_hot,
            indicators=indicators,
            day_first=day_first,
        )
        return cls(inputs.features, learned, inputs.columns)

    @property
    def inputs(self) -> FeatureEncoder:
        """The encoder of the features alone."""
        return FeatureEncoder(self.features, self.columns)

    @property
    def width(self) -> int:
        """The number of inputs of the network."""
        return self.inputs.width

    @property
    def input_shape(self) -> Any:
        """The shape of a row of the network's input, or the shapes of two."""
        return self.inputs.network_columns.shape

    @property
    def feature_names(self) -> list[str]:
        """The names of the feature columns."""
        return [feature.name for feature in self.features]

    @property
    def summary(self) -> str:
        """The features in a few words."""
        return f"{few(self.feature_names, 10)} ({counted(self.width, 'input')})"

    @property
    def feature_kinds(self) -> dict[str, WantedKind]:
        """What each feature column is read as in another table."""
        return self.inputs.kinds

    @property
    def kinds(self) -> dict[str, WantedKind]:
        """What each feature column and the target are read as."""
        return self.feature_kinds | self.target_kinds

    def encode(self, table: Table) -> Encoded:
        """Return the network's inputs, and warn of filled gaps and unseen categories."""
        return self.inputs.encode(table)

    def encode_features(self, table: Table) -> Any:
        """Return what the network takes, numbers or a dictionary; see :meth:`encode`."""
        return self.inputs.encode(table).inputs

    def describe(self) -> list[ColumnDescription]:
        """Return what is done to each column, the target last."""
        return describe_columns(self.features, self.columns, self.target)

    def to_dict(self) -> dict[str, Any]:
        """Return a description that JSON can hold."""
        described = self.inputs.to_dict()
        return {
            "features": described.pop("features"),
            "target": column_to_dict(self.target),
            **described,
        }

    @classmethod
    def from_dict(cls, description: object) -> TableEncoder:
        """Return the encoder that :meth:`to_dict` described.

        Raises:
            ModelFileError: the description is not one; nothing in it is trusted.
        """
        data: Any = description
        try:
            check_table(data, "it")
        except ModelFileError as error:
            message = f"the model's description of its table is damaged: {error}"
            raise ModelFileError(message) from error
        inputs = FeatureEncoder.from_dict({n: part for n, part in data.items() if n != "target"})
        return cls(inputs.features, column_from_dict(data["target"]), inputs.columns)
