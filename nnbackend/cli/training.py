"""The steps of ``nnbackend train``: rows from a table, a model from rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nnbackend as nnb
from nnbackend.backends.base import Backend
from nnbackend.cli.model import TableModel
from nnbackend.cli.running import Running
from nnbackend.cli.settings import Settings, output_width
from nnbackend.cli.streaming import TableStream
from nnbackend.core.history import History
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.reading import (
    Table,
    check_target,
    choose_features,
    is_number,
    known_target,
    read_table,
    row_count,
    split_rows,
    take_rows,
    warn,
)

__all__ = ["Figures", "Rows", "build_model", "final_figures", "fit", "read_rows"]

Figures = dict[str, dict[str, float] | None]

# With fewer rows than this none is set aside: so small a validation would say nothing.
FEWEST_ROWS_TO_SPLIT = 10


@dataclass(frozen=True)
class Rows:
    """The rows of a table, encoded and split.

    Attributes:
        encoder: learned from the training rows.
        x: the features of the training rows.
        y: their targets.
        validation: features and targets of the validation rows, or None.
        stream: where the training rows come from, if ``x`` and ``y`` are a sample of them.
    """

    encoder: TableEncoder
    x: NDArray[Any]
    y: NDArray[Any]
    validation: tuple[NDArray[Any], NDArray[Any]] | None
    stream: TableStream | None = None

    @property
    def trained(self) -> int:
        """How many rows train."""
        return len(self.y) if self.stream is None else self.stream.rows

    @property
    def validated(self) -> int:
        """How many rows validate."""
        return 0 if self.validation is None else len(self.validation[1])


def read_rows(data: Path, target: str, settings: Settings, stream: bool = False) -> Rows:
    """Read a table, choose its columns, split its rows and learn how to encode them.

    Args:
        data: the file, folder or pattern.
        target: the column to predict.
        settings: of the training.
        stream: whether to read no more than a sample now, and the rest during training.
    """
    columns = None if settings.features is None else [*settings.features, target]
    kinds = {target: settings.target_kind}
    if not stream:
        return _encoded(read_table(data, columns, kinds), target, settings)
    source = TableStream(data, columns, settings.seed)
    table = source.sample(kinds)
    rows = _encoded(table, target, settings)
    source.encode(rows.encoder, rows.x, rows.y, row_count(table))
    return replace(rows, stream=source)


def _encoded(table: Table, target: str, settings: Settings) -> Rows:
    table = known_target(table, target)
    check_target(table, target)
    features = choose_features(table, target, settings.features)
    training, others = _split(table, target, settings)
    encoder = TableEncoder.learn(take_rows(table, training), target, features, settings.scale)
    x, y = encoder.encode_features(table), encoder.encode_target(table)
    validation = (x[others], y[others]) if len(others) else None
    return Rows(encoder, x[training], y[training], validation)


def _split(table: Table, target: str, settings: Settings) -> tuple[NDArray[Any], NDArray[Any]]:
    rows, share = row_count(table), settings.validation
    if share and rows < FEWEST_ROWS_TO_SPLIT:
        warn(f"{rows} rows are too few to set some aside: all of them train, none validates")
        share = 0.0
    goal = table[target]
    classes = None if is_number(goal) else np.unique(goal, return_inverse=True)[1]
    return split_rows(rows, share, settings.seed, classes)


def build_model(encoder: TableEncoder, settings: Settings, backend: Backend) -> TableModel:
    """Return a model with a fresh network."""
    loss = settings.loss or ""
    network = nnb.Network(
        settings.build_layers(output_width(encoder, loss)),
        backend=backend,
        seed=settings.seed,
        input_shape=(encoder.width,),
    )
    return TableModel(network, encoder, loss, settings.output_activation, settings.label_smoothing)


def fit(
    model: TableModel,
    rows: Rows,
    settings: Settings,
    running: Running,
    quiet: bool,
    profile: bool = False,
) -> History:
    """Train the network of a model."""
    validates = rows.validation is not None
    given = (rows.x, rows.y) if rows.stream is None else (rows.stream,)
    return model.network.fit(
        *given,
        loss=model.loss_function,
        class_weight=settings.class_weight,
        optimizer=settings.build_optimizer(rows.trained),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        accumulate=settings.accumulate,
        validation_data=rows.validation,
        metrics=["accuracy"] if model.classes else [],
        callbacks=settings.callbacks(validates) + running.callbacks(validates),
        resume=running.resume,
        verbose=0 if quiet else None,
        profile=profile,
    )


def final_figures(model: TableModel, rows: Rows) -> tuple[Figures, str]:
    """Return the final figures on both parts of the rows, the baseline's, and its answer.

    The baseline is compared with the validation rows, or the training rows where there are none. Of
    rows that stream the figures are those of the sample.
    """
    validation = model.figures(*rows.validation) if rows.validation else None
    compared = rows.validation[1] if rows.validation else rows.y
    baseline, answer = model.baseline(rows.y, compared)
    train = model.figures(rows.x, rows.y)
    return {"train": train, "validation": validation, "baseline": baseline}, answer
