"""Train a network for a table: its columns encoded, some rows held out, the best epoch kept."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnbackend.callbacks import Callback
from nnbackend.core.checks import check_number
from nnbackend.data import folds
from nnbackend.errors import counted, few, unknown_name
from nnbackend.parallel import MPI
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.digits import LARGEST_EXACT
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.features import MAX_ONE_HOT
from nnbackend.tables.intervals import widen_intervals
from nnbackend.tables.kinds import LEFT_OUT, ColumnKind, find_leaks
from nnbackend.tables.model import TableModel, describe_model
from nnbackend.tables.selection import split_rows, warn_rare_classes
from nnbackend.tables.table import (
    Table,
    TableWarning,
    in_digits,
    is_number,
    missing,
    row_count,
    take_rows,
    warn,
)
from nnbackend.tables.targets import TargetScale, check_spread, describe_target
from nnbackend.tabular import Part, Recipe, Trained, choose_recipe, fit_folds, fit_network
from nnbackend.tabular.training import raise_interruption

__all__ = ["FittedTable", "Rows", "choose_target_scale", "encode_rows", "fit_table"]

Division: TypeAlias = tuple[NDArray[Any], NDArray[Any]]  # numbers of rows: training, held out
HeldOut: TypeAlias = tuple[NDArray[Any], NDArray[Any]]  # numbers of rows, and their outputs

FEWEST_ROWS_TO_SPLIT = 10  # with fewer none is held out: so few would say nothing
_TRIAL_EPOCHS = 64  # of the networks that decide how a target is scaled


@dataclass(frozen=True)
class Rows:
    """The rows of a table as arrays, and how they are divided.

    Attributes:
        encoder: learned from the rows that train; of several networks, from all.
        part: all rows.
        training: the numbers of the rows that train.
        held_out: the numbers of those that do not.
        recipe: of the networks.
    """

    encoder: TableEncoder
    part: Part
    training: NDArray[Any]
    held_out: NDArray[Any]
    recipe: Recipe

    @property
    def validation(self) -> Part | None:
        """The rows that do not train; None: there are none."""
        return self.part.take(self.held_out) if len(self.held_out) else None


@dataclass
class FittedTable:
    """A model of a table, and how it was trained.

    Attributes:
        model: predicts the target in its own units.
        trained: the histories of the networks.
        rows: what they were trained on.
        held_out: the numbers of rows that were held out, of several networks all rows, with the outputs
            of networks that did not see them; None: no row was held out.
        divisions: of each network the numbers of the rows that trained it, and of those held out.
    """

    model: TableModel
    trained: Trained
    rows: Rows
    held_out: HeldOut | None
    divisions: Sequence[Division] = ()

    @property
    def widening(self) -> list[float] | None:
        """By how much intervals between quantiles are widened; None: there are none, or no such rows.

        See :func:`nnbackend.tables.intervals.widen_intervals`.
        """
        if self.held_out is None or not self.model.quantiles:
            return None
        numbers, outputs = self.held_out
        truth = self.model.encoder.target.decode(self.rows.part.y[numbers])
        return widen_intervals(self.model.answers_by_quantile(outputs), truth, self.model.quantiles)


def fit_table(
    table: Table,
    target: str,
    kinds: Mapping[str, ColumnKind],
    *,
    model: str | None = None,
    preset: str = "default",
    validation: float = 0.2,
    target_scale: TargetScale | None = None,
    weight: NDArray[Any] | None = None,
    seed: int = 0,
    backend: Any = "numpy",
    class_weight: Any = None,
    callbacks: Iterable[Callback] = (),
    day_first: bool | None = None,
    dialect: Dialect | None = None,
    recipe: Mapping[str, Any] | None = None,
    max_time: float | None = None,
    n_jobs: int | None = None,
    announce: Callable[[Rows], None] | None = None,
    **more: Any,
) -> FittedTable:
    """Train a network to predict a column of a table from others; warn of those that give it away.

    Args:
        table: the columns by name; no value of the target is missing.
        target: the name of the column to predict: texts are classes.
        kinds: what the other columns hold, see :func:`nnbackend.tables.choose_kinds`.
        model: ``"realmlp"``, ``"realmlp-simple"`` or ``"tabm"``; None (the default): by the
            preset and the number of rows.
        preset: ``"fast"``, ``"default"`` or ``"best"``, see
            :func:`nnbackend.tabular.choose_recipe`.
        validation: the share of rows held out, by which the best epoch is chosen; default 0.2. With
            several folds it is not used. 0: the last epoch counts.
        target_scale: of a target of numbers, see
            :func:`nnbackend.tables.targets.learn_target_number`; None (the default): standardized, or
            its logarithm where it has a heavy tail and held-out rows are predicted better so.
        weight: how much each row counts in the loss, in the choice of the epoch and for the temperature,
            but not for how columns are scaled; default None: all count 1.
        seed: of the network and of the division of rows; default 0.
        backend: a name or a backend; default ``"numpy"``.
        class_weight: how much the rows of each class count, by its text, 1 for those left out; or
            ``"balanced"``: all classes count the same. It multiplies ``weight``. Default None.
        callbacks: of the training; default: none.
        day_first: whether in dates such as 1/2/2020 the day comes first; None (the default): the dates
            of each column tell.
        dialect: how numbers were written in the table, kept with the model; default None.
        recipe: fields of :class:`nnbackend.tabular.Recipe` that are not to be chosen; default: none.
        max_time: the seconds that all training may take together, see
            :func:`nnbackend.tabular.fit_network`; default None.
        n_jobs: how many folds are trained at the same time, see
            :func:`nnbackend.tabular.fit_folds`; default None.
        announce: called with the encoded rows before the training; default: nothing is.
        more: further arguments of :meth:`nnbackend.Network.fit`.

    Raises:
        ValueError: a target of one class or one value, or with missing values; no column is left; no
            model or preset has that name, or a number is out of range.
    """
    _check_target(table, target)
    find_leaks(table, table[target], [n for n, kind in kinds.items() if kind not in LEFT_OUT])
    task = "regression" if is_number(table[target]) else "classification"
    chosen = choose_recipe(row_count(table), task, model=model, preset=preset, **(recipe or {}))
    if chosen.quantiles is not None and not is_number(table[target]):
        raise ValueError("quantiles are of numbers, and the target holds classes")
    share = check_number("validation", validation, 0.0, 1.0)
    end = None if max_time is None else time.monotonic() + check_number("max_time", max_time, 0.0)
    if class_weight is not None:
        weight = _weigh_by_class(table[target], class_weight, weight)
    fixed: dict[str, Any] = {"validation": share, "seed": seed, "weight": weight}
    fixed["day_first"] = day_first
    if target_scale is None:
        target_scale = choose_target_scale(
            table,
            target,
            kinds,
            chosen,
            backend=backend,
            max_time=max_time,
            parallel=more.get("parallel"),
            **fixed,
        )
    rows = encode_rows(table, target, kinds, chosen, target_scale=target_scale, **fixed)
    if announce is not None:
        announce(rows)
    encoder = rows.encoder
    loss, ending, metadata = _describe(encoder, chosen, dialect)
    settings: dict[str, Any] = {
        "outputs": len(encoder.classes) or len(chosen.quantiles or (0.5,)),
        "recipe": chosen,
        "task": encoder.task,
        "backend": backend,
        "seed": seed,
        "callbacks": list(callbacks),
        "metadata": metadata,
        "max_time": None if end is None else max(end - time.monotonic(), 0.0),
        **more,
    }
    trained, parts, held_out = _fit_rows(rows, seed, n_jobs, settings)
    if max_time is not None:
        _warn_of_time(trained, chosen, max_time)
    model_of_table = TableModel(trained.network, encoder, loss, ending)
    divisions = parts[: len(trained.histories)]
    fitted = FittedTable(model_of_table, trained, rows, held_out, divisions)
    if fitted.widening is not None:
        trained.network.metadata["widening"] = fitted.widening
    return fitted


def _describe(
    encoder: TableEncoder, recipe: Recipe, dialect: Dialect | None
) -> tuple[str, str | None, dict[str, Any]]:
    """Return the loss, the last activation, and what a model's file says of its encoding."""
    loss, ending = ("softmax_cross_entropy", "softmax") if encoder.classes else ("mse", None)
    if recipe.quantiles is not None:
        loss = "quantile"
    metadata = describe_model(encoder, loss, ending)
    if recipe.quantiles is not None:
        metadata["quantiles"] = list(recipe.quantiles)
    if dialect is not None:
        metadata["dialect"] = dialect.to_dict()
    return loss, ending, metadata


def _fit_rows(
    rows: Rows, seed: int, n_jobs: int | None, settings: dict[str, Any]
) -> tuple[Trained, list[Division], HeldOut | None]:
    """Train one network, or one for each fold; return the rows of each, and what held-out rows got."""
    encoder, part, folds = rows.encoder, rows.part, rows.recipe.folds
    columns = encoder.inputs.network_columns
    if folds > 1:
        parts = _divide(part.y if encoder.classes else None, len(part), folds, seed)
        trained, numbers, outputs = fit_folds(part, parts, columns, n_jobs=n_jobs, **settings)
        trained.network.metadata |= settings["metadata"]
        return trained, parts, (numbers, outputs)
    trained = fit_network(part.take(rows.training), rows.validation, columns, **settings)
    network, validation = trained.network, rows.validation
    held_out = None
    if validation is not None:
        held_out = rows.held_out, network.to_numpy(network.predict(validation.x))
    return trained, [(rows.training, rows.held_out)], held_out


def _warn_of_time(trained: Trained, recipe: Recipe, seconds: float) -> None:
    """Say how much of the training there was no time for."""
    planned, done = min(trained.planned_epochs), min(map(len, trained.histories))
    if not done:
        warn(
            f"the time of {seconds:g} s was up before the first epoch ended: the model is hardly trained"
        )
    elif planned < recipe.epochs:
        warn(f"in {seconds:g} s there is time for {planned} of {counted(recipe.epochs, 'epoch')}")


def encode_rows(
    table: Table,
    target: str,
    kinds: Mapping[str, ColumnKind],
    recipe: Recipe,
    *,
    validation: float,
    seed: int,
    target_scale: TargetScale = "standard",
    weight: NDArray[Any] | None = None,
    day_first: bool | None = None,
) -> Rows:
    """Divide the rows of a table, and encode them as those that train teach; see :func:`fit_table`."""
    count, column = row_count(table), table[target]
    if recipe.folds > 1:
        if count < recipe.folds:
            raise ValueError(f"{recipe.folds} folds need as many rows, and there are {count}")
        training, held_out = np.arange(count), np.arange(0)
    else:
        if validation and count < FEWEST_ROWS_TO_SPLIT:
            warn(f"{count} rows are too few to hold some out: all of them train")
            validation = 0.0
        classes = None if is_number(column) else np.unique(column, return_inverse=True)[1]
        training, held_out = split_rows(count, validation, seed, classes)
    if not is_number(column):
        warn_rare_classes(column, held_out, recipe.folds)
    learned = take_rows(table, training)
    limit = MAX_ONE_HOT if recipe.embeds else None
    more: dict[str, Any] = {"target_scale": target_scale, "max_one_hot": limit}
    more["day_first"] = day_first
    encoder = TableEncoder.learn(learned, target, kinds, "robust", **more)
    if not encoder.width:  # a network needs a number: the only columns have many categories
        more["max_one_hot"] = None
        encoder = TableEncoder.learn(learned, target, kinds, "robust", **more)
    x, y = encoder.encode_features(table), encoder.encode_target(table)
    return Rows(encoder, Part(x, y, weight), training, held_out, recipe)


def choose_target_scale(
    table: Table,
    target: str,
    kinds: Mapping[str, ColumnKind],
    recipe: Recipe,
    *,
    backend: Any = "numpy",
    max_time: float | None = None,
    parallel: MPI | None = None,
    **settings: Any,
) -> TargetScale:
    """Return how a target is scaled: ``"log"`` where it has a heavy tail and is predicted better so.

    A small network for each way is trained and predicts held-out rows, in the units of the target.

    Args:
        table: the columns by name.
        target: the name of the target.
        kinds: what the other columns hold.
        recipe: of the network that is to be trained.
        backend: a name or a backend; default ``"numpy"``.
        max_time: the seconds that all training may take, of which this takes a quarter at most; default
            None.
        parallel: the processes that train together; default None.
        settings: ``validation``, ``seed``, ``weight`` and ``day_first``, see :func:`encode_rows`.
    """
    column = table[target]
    usable = settings["validation"] and row_count(table) >= FEWEST_ROWS_TO_SPLIT
    if not is_number(column) or not describe_target(column).heavy_tailed or not usable:
        return "standard"
    trial = replace(recipe, model="realmlp-simple", epochs=_TRIAL_EPOCHS, folds=1, members=None)
    trial = replace(trial, learning_rate=None, patience=None, quantiles=None)
    errors: dict[TargetScale, float] = {}
    scales: tuple[TargetScale, ...] = ("standard", "log")
    for scale in scales:
        with (
            warnings.catch_warnings()
        ):  # what is done to the columns is said when the rows are encoded
            warnings.simplefilter("ignore", TableWarning)
            rows = encode_rows(table, target, kinds, trial, target_scale=scale, **settings)
        encoder, others = rows.encoder, rows.validation
        assert others is not None
        trained = fit_network(
            rows.part.take(rows.training),
            others,
            encoder.inputs.network_columns,
            outputs=1,
            recipe=trial,
            task="regression",
            backend=backend,
            seed=settings["seed"],
            max_time=None if max_time is None else max_time / 8.0,
            verbose=0,
            parallel=parallel,
        )
        raise_interruption(trained)
        found = trained.network.to_numpy(trained.network.predict(others.x))
        answers: Any = encoder.target.decode(found)
        squares = (answers - column[rows.held_out]) ** 2
        errors[scale] = float(np.sqrt(np.average(squares, weights=others.weight)))
    if errors["log"] >= errors["standard"]:
        return "standard"
    spread = float(np.std(column))
    warn(
        f"the target {target!r} has a heavy tail: its logarithm is learned, which predicts held-out "
        f"rows better (root mean square error {in_digits(errors['log'], spread)} instead of "
        f"{in_digits(errors['standard'], spread)})"
    )
    return "log"


def _divide(
    classes: NDArray[Any] | None, count: int, parts: int, seed: int
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return folds of rows, with each class in proportion that has a row for every fold."""
    if classes is not None:
        counts = np.bincount(classes)
        classes = np.where(counts[classes] < parts, counts.argmax(), classes)
        if counts.max() < parts:
            classes = None
    return folds(count, parts, seed, classes=classes)


def _check_target(table: Table, target: str) -> None:
    """Refuse a target that nothing can be learned of."""
    column = table[target]
    if missing(column).any():
        raise ValueError(
            f"the target {target!r} has no value in {counted(int(missing(column).sum()), 'row')}: leave "
            "them out"
        )
    values = np.unique(column)
    if len(values) < 2:
        what = "value" if is_number(column) else "class"
        digits = is_number(column) and abs(values[0]) > LARGEST_EXACT
        lost = ", with the 15 digits that float64 has" if digits else ""
        raise ValueError(
            f"the target {target!r} has one {what} only{lost}, so there is nothing to learn"
        )
    check_spread(target, column)
    if not is_number(column) and len(values) > max(2, len(column) // 2):
        raise ValueError(
            f"the target {target!r} has {len(values)} classes in {counted(len(column), 'row')}: too few "
            "rows of each to learn from; is it a column of numbers, or an identifier?"
        )


def _weigh_by_class(
    column: NDArray[Any], class_weight: Any, weight: NDArray[Any] | None
) -> NDArray[np.float64]:
    """Return the weight of each row times that of its class."""
    if is_number(column):
        raise ValueError("class_weight is for classes, and the target holds numbers")
    classes, codes = np.unique(column, return_inverse=True)
    each = np.ones(len(column)) if weight is None else weight.astype(np.float64)
    if isinstance(class_weight, Mapping):
        unknown = [name for name in class_weight if name not in classes]
        if unknown:
            raise ValueError(
                f"class_weight names {unknown[0]!r}, and the classes are {few(classes.tolist())}"
            )
        given = [class_weight.get(name, 1.0) for name in classes]
        names = [f"class_weight[{name!r}]" for name in classes]
        factors = np.array([check_number(n, v, 0.0) for n, v in zip(names, given, strict=True)])
    elif class_weight == "balanced":
        counts = np.bincount(codes, each, len(classes))
        factors = counts.sum() / (len(classes) * np.maximum(counts, np.finfo(np.float64).tiny))
    else:
        raise unknown_name("class_weight", class_weight, ["balanced"])
    weights: NDArray[np.float64] = each * factors[codes]
    return weights
