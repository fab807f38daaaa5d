"""The steps of ``nnbackend train``: rows from a table, a model from rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

import nnbackend as nnb
from nnbackend.backends.base import Backend
from nnbackend.callbacks import Callback
from nnbackend.cli.model import TableModel
from nnbackend.cli.settings import Settings
from nnbackend.cli.streaming import TableStream
from nnbackend.cli.tasks import output_width
from nnbackend.core.history import History
from nnbackend.tables.encoding import Scale, TableEncoder
from nnbackend.tables.reading import read_table
from nnbackend.tables.selection import check_target, choose_features, known_target, split_rows
from nnbackend.tables.table import Table, is_number, row_count, take_rows, warn

__all__ = ["Metrics", "Rows", "build_model", "evaluate_rows", "fit", "read_rows"]

Metrics = dict[str, dict[str, float] | None]

MIN_ROWS_TO_SPLIT = 10  # with fewer none is set aside: so small a validation would say nothing


@dataclass(frozen=True)
class Rows:
    """The rows of a table, encoded and split.

    Attributes:
        encoder: learned from the training rows.
        x: the features of the training rows.
        y: their targets.
        validation: features and targets of the validation rows, or None.
        stream: the source of the training rows, if ``x`` and ``y`` are a sample of them.
    """

    encoder: TableEncoder
    x: NDArray[Any]
    y: NDArray[Any]
    validation: tuple[NDArray[Any], NDArray[Any]] | None
    stream: TableStream | None = None

    @property
    def training_count(self) -> int:
        """How many rows train."""
        return len(self.y) if self.stream is None else self.stream.rows

    @property
    def validation_count(self) -> int:
        """How many rows validate."""
        return 0 if self.validation is None else len(self.validation[1])


def read_rows(data: Path, target: str, settings: Settings) -> Rows:
    """Read a table, choose its columns, split its rows and learn how to encode them.

    With the setting ``stream`` no more than a sample is read now, and the rest during training.
    """
    columns = None if settings.features is None else [*settings.features, target]
    kinds = {target: settings.target_kind}
    if not settings.stream:
        return _encode_rows(read_table(data, columns, kinds), target, settings)
    source = TableStream(data, columns, settings.seed)
    table = source.sample(kinds)
    rows = _encode_rows(table, target, settings)
    source.encode(rows.encoder, rows.x, rows.y, row_count(table))
    return replace(rows, stream=source)


def _encode_rows(table: Table, target: str, settings: Settings) -> Rows:
    table = known_target(table, target)
    check_target(table, target)
    features = choose_features(table, target, settings.features)
    training, others = _split(table, target, settings)
    scale = cast(Scale, settings.scale)  # checked there
    encoder = TableEncoder.learn(take_rows(table, training), target, features, scale)
    x, y = encoder.encode_features(table), encoder.encode_target(table)
    validation = (x[others], y[others]) if len(others) else None
    return Rows(encoder, x[training], y[training], validation)


def _split(table: Table, target: str, settings: Settings) -> tuple[NDArray[Any], NDArray[Any]]:
    rows, share = row_count(table), settings.validation
    if share and rows < MIN_ROWS_TO_SPLIT:
        warn(f"{rows} rows are too few to set some aside: all of them train, none validates")
        share = 0.0
    column = table[target]
    classes = None if is_number(column) else np.unique(column, return_inverse=True)[1]
    return split_rows(rows, share, settings.seed, classes)


def build_model(encoder: TableEncoder, settings: Settings, backend: Backend) -> TableModel:
    """Return a model with a new network."""
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
    callbacks: list[Callback],
    resume: Path | None = None,
    verbose: int | None = None,
    profile: bool = False,
) -> History:
    """Train the network of a model; see ``Network.fit``."""
    data = (rows.x, rows.y) if rows.stream is None else (rows.stream,)
    return model.network.fit(
        *data,
        loss=model.loss_function,
        class_weight=settings.class_weight,
        optimizer=settings.build_optimizer(rows.training_count),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        accumulate=settings.accumulate,
        validation_data=rows.validation,
        metrics=["accuracy"] if model.classes else [],
        callbacks=settings.build_callbacks(rows.validation is not None) + callbacks,
        resume=resume,
        verbose=verbose,
        profile=profile,
    )


def evaluate_rows(model: TableModel, rows: Rows) -> tuple[Metrics, str]:
    """Return the metrics on both parts of the rows and those of a baseline, and its answer.

    The baseline is compared with the validation rows, or the training rows where there are none. For
    rows that stream the metrics are those of the sample.
    """
    validation = model.evaluate(*rows.validation) if rows.validation else None
    compared = rows.validation[1] if rows.validation else rows.y
    baseline, answer = model.evaluate_baseline(rows.y, compared)
    train = model.evaluate(rows.x, rows.y)
    return {"train": train, "validation": validation, "baseline": baseline}, answer
