"""A network together with the encoding of the table, or the array, it was trained on."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import nnbackend as nnb
from nnbackend import losses, metrics
from nnbackend.backends.base import Backend
from nnbackend.core.functional import sigmoid, softmax
from nnbackend.core.tree import count_rows
from nnbackend.errors import ModelFileError
from nnbackend.layers import MemberMean, Parallel
from nnbackend.saving.schema import items, number
from nnbackend.tables.array_encoding import ArrayEncoder
from nnbackend.tables.columns import table_of
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.drift import warn_changes
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.frames import as_polars, frame_like, series_like
from nnbackend.tables.intervals import symmetric_pairs
from nnbackend.tables.losses import LOSSES, build_loss, has_one_output, output_activation_of
from nnbackend.tables.moments import Moment
from nnbackend.tables.numbers import Number
from nnbackend.tables.table import in_digits
from nnbackend.tabular import Recipe
from nnbackend.tabular.prediction import with_ending

__all__ = [
    "LOSSES",
    "MODELS",
    "ArrayModel",
    "Model",
    "TableModel",
    "build_loss",
    "describe_model",
    "has_one_output",
    "load",
    "model_of",
    "output_activation_of",
]


@dataclass(frozen=True)
class Model:
    """A network that predicts a target in its own units: the base of those of tables and of arrays.

    Attributes:
        network: the network.
        encoder: between the data and the network's arrays.
        loss: the name of the loss.
        output_activation: the name of the output activation, or None.
        label_smoothing: the label smoothing of the loss.
    """

    network: nnb.Network
    encoder: TableEncoder | ArrayEncoder
    loss: str
    output_activation: str | None = None
    label_smoothing: float = 0.0

    kind: ClassVar[str]
    """The entry of the file's metadata that describes the encoder."""

    def check_probabilities(self) -> None:
        """Refuse to give probabilities where there are none."""
        if not self.classes:
            raise ValueError("only classes have probabilities, and this model predicts numbers")
        if output_activation_of(self.loss) is None:
            raise ValueError(f"a model trained with the loss {self.loss} gives no probabilities")

    def metadata(self) -> dict[str, Any]:
        """Return the metadata that the model's file holds besides the network."""
        ending, smoothing = self.output_activation, self.label_smoothing
        return describe_model(self.encoder, self.loss, ending, smoothing)

    @property
    def loss_function(self) -> losses.Loss:
        """The loss it is trained with."""
        if self.quantiles:
            return losses.Quantile(self.quantiles)
        return build_loss(self.loss, self.label_smoothing)

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The quantiles of the target that the outputs are, rising; none if there is one output."""
        return tuple(self.network.metadata.get("quantiles", ()))

    @property
    def widening(self) -> list[float] | None:
        """By how much each interval between quantiles is to be widened; None: it is not known."""
        found: list[float] | None = self.network.metadata.get("widening")
        return found

    @property
    def meaning(self) -> str | None:
        """How metrics of classes read the outputs."""
        return metrics.outputs_of(self.loss_function, self.output_activation)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes; none for a regression."""
        return self.encoder.classes

    @property
    def task(self) -> str:
        """``regression`` or ``classification``."""
        return self.encoder.task

    @property
    def output_width(self) -> int:
        """The number of outputs that the network needs."""
        if self.quantiles:
            return len(self.quantiles)
        return 1 if has_one_output(self.loss) else len(self.classes)

    def outputs(self, x: Any) -> NDArray[Any]:
        """Return the outputs of the network for encoded features, an array or a dictionary of arrays.

        Those for numbers are float64, whatever the network computes in: the table's numbers have digits
        that float32 does not have.
        """
        if not count_rows(x):
            return np.empty((0, self.output_width))
        outputs = self.network.to_numpy(self.network.predict(x))
        return outputs if self.classes else outputs.astype(np.float64)

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability of each class, shape (rows, classes); each row sums to 1."""
        p = outputs.astype(np.float64)
        if self.output_activation != output_activation_of(self.loss):
            p = (sigmoid if self.output_width == 1 else softmax)(p, np)
        if self.output_width == 1:
            return np.concatenate([1 - p, p], axis=1)
        shares: NDArray[np.float64] = p / p.sum(axis=1, keepdims=True)
        return shares

    def answers(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the predicted values of the target column; of several quantiles the median."""
        if self.quantiles:
            return self.answers_by_quantile(outputs)[:, self.quantiles.index(0.5)]
        if not self.classes:
            return self.encoder.target.decode(outputs)
        threshold = metrics.OUTPUTS[self.meaning or "softmax"]
        chosen = outputs.argmax(axis=1) if threshold is None else outputs[:, 0] > threshold
        return self.encoder.target.decode(chosen.astype(np.int64))

    def answers_by_quantile(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the quantiles of the target, shape (rows, quantiles), rising in each row.

        Where the network's cross, they are sorted (Chernozhukov, Fernández-Val, Galichon 2010).
        """
        columns = [
            self.encoder.target.decode(outputs[:, k : k + 1]) for k in range(outputs.shape[1])
        ]
        return np.sort(np.stack(columns, axis=1), axis=1)

    def _for_outputs(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the targets for the loss: the number of a row for each of several quantiles."""
        return np.repeat(y, len(self.quantiles), axis=1) if self.quantiles else y

    def evaluate(self, x: Any, y: NDArray[Any]) -> dict[str, float]:
        """Return the loss, and accuracy or rmse and r2, for encoded features and targets."""
        outputs = self.outputs(x)
        if self.averages:
            return self.evaluate_outputs(outputs, y)
        # The network has the penalties, and the numbers before a softmax.
        loss = float(
            self.network.evaluate(x, self._for_outputs(y), loss=self.loss_function)["loss"]
        )
        return {"loss": loss, **self._quality(outputs, y)}

    def evaluate_outputs(self, outputs: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
        """Return the same for outputs, such as those of networks that did not see the rows."""
        scores = outputs
        if self.output_activation is not None:  # the logarithms of probabilities are logits
            least = float(np.finfo(np.float64).tiny)
            scores = np.log(np.maximum(self.probabilities(outputs), least))
        loss, _ = self.loss_function(scores, self._for_outputs(y))
        return {"loss": float(loss), **self._quality(outputs, y)}

    @property
    def averages(self) -> bool:
        """Whether the outputs are means over several networks."""
        return isinstance(self.network.layers.layers[-1], MemberMean | Parallel)

    def evaluate_baseline(
        self, training: NDArray[Any], y: NDArray[Any]
    ) -> tuple[dict[str, float], str]:
        """Return the metrics of always giving the same answer, and that answer in words.

        The answer is learned from the encoded targets ``training``, and compared with ``y``.
        """
        outputs = np.tile(self._constant(training), (len(y), 1))
        target = (
            self._for_outputs(y)
            if self.output_width > 1
            else y.reshape(outputs.shape).astype(float)
        )
        if losses.trait(self.loss_function, "targets") == "signs":
            target = 2.0 * target - 1.0
        loss, _ = self.loss_function(outputs, target)
        logits = replace(self, output_activation=None)
        answer = logits.answers(outputs[:1])[0]
        if not self.classes:
            spread = float(self.encoder.target.decode(training).std())
            middle = "median" if self.quantiles else "mean"
            answer = f"the {middle}, {in_digits(answer, spread)}"
        return {"loss": float(loss), **logits._quality(outputs, y)}, f"always {answer}"

    def _constant(self, training: NDArray[Any]) -> NDArray[Any]:
        """Return the constant outputs that fit the training targets best."""
        if self.quantiles:
            return np.asarray(np.quantile(training[:, 0], self.quantiles))
        if not self.classes:
            mean: NDArray[Any] = training.mean(axis=0)
            if isinstance(self.encoder.target, Number):
                return mean
            # The mean of logarithms is not the logarithm of the mean.
            values = self.encoder.target.decode(training)
            mean = self.encoder.target.encode(np.mean(values, keepdims=True))[0]
            return mean
        shares = np.bincount(training, minlength=len(self.classes)) / len(training)
        # A hinge loss wants the most frequent class to lead by 1.
        leading = np.eye(len(shares))[shares.argmax()]
        suits = output_activation_of(self.loss) is not None
        scores: NDArray[Any] = np.log(shares) if suits else leading
        return scores if self.output_width > 1 else scores[1:] - scores[:1]

    def _quality(self, outputs: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
        answers, truth = self.answers(outputs), self.encoder.target.decode(y)
        if self.classes:
            return {"accuracy": float(np.mean(answers == truth))}
        return {name: float(metrics.get(name)(answers, truth)) for name in ("rmse", "r2")}


@dataclass(frozen=True)
class TableModel(Model):
    """A network that predicts a column of a table from others, in the column's own units.

    Attributes: see :class:`nnbackend.tables.model.Model`.
    """

    encoder: TableEncoder
    kind: ClassVar[str] = "table"

    def predict(self, frame: Any) -> Any:
        """Return the predicted target of each row of a table.

        Args:
            frame: a DataFrame of pandas or polars, an Arrow table, or a dictionary of columns, with the
                columns that the model was trained on, as they were then: texts, numbers, gaps. Others
                are ignored.

        Returns:
            the numbers (float64), in the units of the target, or the names of classes, of shape
            (rows,), as a Series of the frame's library, for pandas with its index, else a NumPy array.

        Raises:
            TypeError: it is no table.
            UnknownNameError: the table lacks columns; all of them are named.
            ValueError: a column of numbers holds texts.
        """
        answers = self.answers(self.outputs(self.encode(frame)))
        return series_like(frame, self.encoder.target.name, answers)

    def predict_proba(self, frame: Any) -> Any:
        """Return the probability of each class for each row of a table.

        Args:
            frame: as for :meth:`predict`.

        Returns:
            float64 in a column for each class, named like it, as a DataFrame of the frame's
            library, else a dictionary of NumPy arrays.

        Raises:
            ValueError: the target holds numbers, the loss (a hinge loss) gives no probabilities, or see
                :meth:`predict`.
        """
        self.check_probabilities()
        p = self.probabilities(self.outputs(self.encode(frame)))
        return frame_like(frame, dict(zip(self.classes, p.T, strict=True)))

    def with_dates(self, *, day_first: bool) -> TableModel:
        """Return the model reading dates such as 1/2/2020 with the day, or with the month, first.

        It is for tables that write dates in a form of which training had none, or in another order.

        Args:
            day_first: whether that is the first of February rather than the second of January.
        """
        features = tuple(
            replace(feature, day_first=day_first) if isinstance(feature, Moment) else feature
            for feature in self.encoder.features
        )
        return replace(self, encoder=replace(self.encoder, features=features))

    @property
    def dialect(self) -> Dialect:
        """How numbers and missing values were written in the table that it learned from."""
        saved = self.network.metadata.get("dialect")
        return Dialect() if saved is None else Dialect.from_dict(saved)

    def encode(self, frame: Any, dialect: Dialect | None = None) -> Any:
        """Return the network's input for the rows of a table; None: in the dialect of training."""
        kinds, dialect = self.encoder.feature_kinds, dialect or self.dialect
        table = table_of(as_polars(frame, kinds), kinds, kinds, dialect)
        warn_changes(self.encoder.inputs.find_changes(table))
        return self.encoder.encode_features(table)


@dataclass(frozen=True)
class ArrayModel(Model):
    """A network that predicts a class or a number from an image, a signal or another array.

    Attributes: see :class:`nnbackend.tables.model.Model`.
    """

    encoder: ArrayEncoder
    kind: ClassVar[str] = "array"

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return the predicted target of each row.

        Args:
            rows: an array of shape (rows, ...) whose rows have the shape, the layout and the units of
                those that the model was trained on.

        Returns:
            the numbers (float64), in the units of the target, or the classes (int64 if they were whole
            numbers in training, else their names), shape (rows,).

        Raises:
            ValueError: rows of another shape, no numbers, NaN or infinity.
        """
        answers = self.answers(self.outputs(self.encode(rows)))
        return answers.astype(np.int64) if self.encoder.integer_classes else answers

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """Return the probability of each class for each row, shape (rows, classes).

        Args:
            rows: as for :meth:`predict`.

        Raises:
            ValueError: the target holds numbers, the loss (a hinge loss) gives no probabilities, or see
                :meth:`predict`.
        """
        self.check_probabilities()
        return self.probabilities(self.outputs(self.encode(rows)))

    def encode(self, rows: Any) -> NDArray[Any]:
        """Return the network's input for an array of rows."""
        return self.encoder.encode_features(np.asarray(rows), self.network.backend.dtype_name)


def describe_model(
    encoder: TableEncoder | ArrayEncoder,
    loss: str,
    output_activation: str | None = None,
    label_smoothing: float = 0.0,
) -> dict[str, Any]:
    """Return the metadata of a network by which :func:`load` makes a model of it; see :class:`Model`."""
    return {
        MODELS[type(encoder)].kind: encoder.to_dict(),
        "task": encoder.task,
        "loss": loss,
        "output_activation": output_activation,
        "label_smoothing": label_smoothing,
    }


MODELS: dict[Any, type[Model]] = {TableEncoder: TableModel, ArrayEncoder: ArrayModel}
"""The model that each encoder belongs to."""


def load(
    path: str | os.PathLike[str],
    *,
    backend: str | Backend | ModuleType = "numpy",
    device: Any = None,
    precision: str | None = None,
) -> TableModel | ArrayModel:
    """Read a model that ``nnbackend train`` wrote, to predict from tables or arrays in Python.

    ``nnb.load`` reads the network alone, whose inputs and outputs are scaled numbers.

    Args:
        path: the file, or a checkpoint of a run.
        backend: as for ``nnb.load``.
        device: as for ``nnb.load``.
        precision: as for ``nnb.load``.

    Raises:
        ModelFileError: the file is no model, or its network was trained neither on a table nor on an
            array by the command.
        FileNotFoundError, BackendUnavailableError: see ``nnb.load``.
    """
    return model_of(nnb.load(path, backend=backend, device=device, precision=precision), path)


def model_of(network: nnb.Network, path: str | os.PathLike[str]) -> TableModel | ArrayModel:
    """Return the model that the metadata of a network from a file describe; see :func:`load`."""
    saved = network.metadata
    encoder_type = next((kind for kind in MODELS if MODELS[kind].kind in saved), None)
    if encoder_type is None:
        raise ModelFileError(
            f"{path} does not describe a table or an array: it was not written by 'nnbackend train'"
        )
    model_type: Any = MODELS[encoder_type]
    encoder: TableEncoder | ArrayEncoder = encoder_type.from_dict(saved[model_type.kind])
    if saved.get("dialect") is not None:
        Dialect.from_dict(saved["dialect"])  # refuses one that is damaged
    loss, ending = str(saved.get("loss")), saved.get("output_activation")
    model: TableModel | ArrayModel
    model = model_type(network, encoder, loss, ending, saved.get("label_smoothing", 0.0))
    if "quantiles" in saved:
        try:
            Recipe(quantiles=tuple(saved["quantiles"]))
        except (TypeError, ValueError) as error:
            raise ModelFileError(f"{path} has quantiles that cannot be: {error}") from error
        if loss != "quantile" or encoder.classes:
            raise ModelFileError(f"{path} has quantiles, which do not belong to it")
        if saved.get("widening") is not None:
            pairs = len(symmetric_pairs(model.quantiles))
            items(number(), pairs, pairs)(saved["widening"], f"{path}: its widening")
    elif loss not in LOSSES[encoder.task]:
        raise ModelFileError(f"{path} names a loss that does not belong to {encoder.task}")
    try:
        build_loss(loss, model.label_smoothing)
    except ValueError as error:
        raise ModelFileError(f"{path} describes a loss that cannot be: {error}") from error
    shape = network.output_shape
    if isinstance(shape, tuple) and len(shape) == 2 and shape[1:] == (model.output_width,):
        # A checkpoint of members that train together, whose mean is taken after the training.
        network = with_ending(network, [MemberMean()])
        model = replace(model, network=network)
    expected = encoder.input_shape, (model.output_width,)
    if (network.input_shape, network.output_shape) != expected:
        what = "a table" if isinstance(encoder, TableEncoder) else "an array"
        raise ModelFileError(f"{path} holds a network and {what} that do not belong together")
    return model
