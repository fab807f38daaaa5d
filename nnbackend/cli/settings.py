"""The settings of ``nnbackend train``: its options on data, network and training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Annotated

import nnbackend as nnb
from nnbackend import optimizers
from nnbackend.activations import ACTIVATIONS
from nnbackend.callbacks import Callback, ReduceOnPlateau
from nnbackend.cli import schedule as schedules
from nnbackend.cli.options import Text, data_option, network_option, training_option
from nnbackend.cli.tasks import (
    LOSSES,
    build_loss,
    check_output_activation,
    classes_of,
    has_one_output_for_two_classes,
    task_of,
)
from nnbackend.core.types import Layer
from nnbackend.errors import unknown_name
from nnbackend.initializers import INITIALIZERS
from nnbackend.optimizers import OPTIMIZERS, Optimizer
from nnbackend.tables.encoding import SCALES, TableEncoder
from nnbackend.tables.table import Kind

__all__ = ["Settings"]


def read_names(text: str) -> list[str]:
    """Return the column names that ``a,b,c`` stands for."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ValueError(f"--features takes names of columns like a,b,c; got {text!r}")
    return names


def read_widths(text: str) -> list[int]:
    """Return the widths that ``64,64`` stands for."""
    if text.strip().lower() in ("", "none"):
        return []
    widths = [int(width) if width.strip().isdecimal() else 0 for width in text.split(",")]
    if min(widths) < 1:
        raise ValueError(f"--hidden takes widths like 64,64, or none; got {text!r}")
    return widths


def optimizers_with(hyperparameter: str) -> str:
    """Return the names of the optimizers that have a hyperparameter."""
    having = [o for o in OPTIMIZERS if hyperparameter in {f.name for f in fields(OPTIMIZERS[o])}]
    return ", ".join(having)


@dataclass(frozen=True)
class Settings:
    """The choices of a training run; the options of the command explain them.

    Raises:
        UnknownNameError: a name is not known; the nearest are offered.
        ValueError: a number is out of range.
    """

    features: Annotated[
        Sequence[str] | None,
        data_option(
            help="The columns to predict from.", metavar="A,B,C", show_default="all others"
        ),
        Text(read_names),
    ] = None
    task: Annotated[
        str, data_option(help="regression, classification or auto: numbers mean regression.")
    ] = "auto"
    scale: Annotated[str, data_option(help="Of numbers: standard, max or none.")] = "standard"
    validation: Annotated[float, data_option(help="Share of the rows that validates.")] = 0.2
    stream: Annotated[
        bool,
        data_option(
            "--stream",
            help="For tables larger than memory: read them again in each epoch, a part at a time. "
            "Scales, categories and the validation rows come from a sample of 100,000 rows.",
        ),
    ] = False

    hidden: Annotated[
        Sequence[int],
        network_option(help="Widths of the hidden layers, 64,32; none: a linear model."),
        Text(read_widths),
    ] = (64,)
    activation: Annotated[
        str, network_option(help=f"Of hidden layers: {', '.join(ACTIVATIONS)}.")
    ] = "relu"
    output_activation: Annotated[
        str | None, network_option(help="The same for the output.", show_default="none")
    ] = None
    bias: Annotated[
        bool, network_option("--bias/--no-bias", help="Whether layers have a bias.")
    ] = True
    init: Annotated[
        str | None,
        network_option(
            help=f"First weights: {', '.join(INITIALIZERS)}.", show_default="he or glorot uniform"
        ),
    ] = None
    dropout: Annotated[float, network_option(help="Share dropped after each hidden layer.")] = 0.0

    loss: Annotated[
        str | None,
        training_option(
            help="; ".join(", ".join(names) for names in LOSSES.values()) + ".",
            show_default="the first that suits",
        ),
    ] = None
    label_smoothing: Annotated[
        float,
        training_option(help="Share of a target spread over all classes, for cross-entropies."),
    ] = 0.0
    class_weight: Annotated[
        str | None,
        training_option(
            metavar="balanced",
            help="Let rare classes count as much as frequent ones.",
            show_default="none",
        ),
    ] = None
    optimizer: Annotated[str, training_option(help=f"{', '.join(OPTIMIZERS)}.")] = "adamw"
    learning_rate: Annotated[
        float | None, training_option(help="Size of a step.", show_default="the optimizer's")
    ] = None
    momentum: Annotated[
        float | None,
        training_option(help=f"For {optimizers_with('momentum')}.", show_default="the optimizer's"),
    ] = None
    weight_decay: Annotated[
        float | None,
        training_option(help="Pull toward zero; not for lbfgs.", show_default="the optimizer's"),
    ] = None
    l1: Annotated[
        float, training_option("--l1", help="Penalty on the sum of |weight|, part of the loss.")
    ] = 0.0
    l2: Annotated[
        float, training_option("--l2", help="Penalty on the sum of weight**2, part of the loss.")
    ] = 0.0
    clip_norm: Annotated[
        float | None,
        training_option(help="Largest norm of a batch's gradient.", show_default="no limit"),
    ] = None
    ema: Annotated[
        float | None,
        training_option(
            "--ema", help="Average weights over steps, 0.999.", show_default="no average"
        ),
    ] = None
    accumulate: Annotated[
        int, training_option(min=1, help="Parts in which a batch is computed, to save memory.")
    ] = 1
    schedule: Annotated[
        str | None,
        training_option(
            help=f"How the learning rate changes over the run: {', '.join(schedules.NAMES)}.",
            metavar="NAME",
            show_default="constant",
        ),
    ] = None
    warmup: Annotated[
        float | None,
        training_option(
            help="Share of the run in which the learning rate goes up at the start.",
            metavar="SHARE",
            show_default="none; 0.3 of one-cycle",
        ),
    ] = None
    epochs: Annotated[int, training_option(min=1, help="How often to go through the rows.")] = 100
    batch_size: Annotated[
        int | None,
        training_option(min=1, help="Rows of a step.", show_default="32 to 1024, by rows"),
    ] = None
    seed: Annotated[int, training_option(min=0, help="Fixes all that is random.")] = 0

    def __post_init__(self) -> None:
        if self.task not in ("auto", *LOSSES):
            raise unknown_name("task", self.task, ["auto", *LOSSES])
        known = [loss for group in LOSSES.values() for loss in group]
        if self.loss is not None and self.loss not in known:
            raise unknown_name("loss", self.loss, known)
        if self.class_weight not in (None, "balanced"):
            raise unknown_name("class weight", self.class_weight, ["balanced"])
        build_loss(self.loss or LOSSES["classification"][0], self.label_smoothing)
        if self.scale not in SCALES:
            raise unknown_name("scale", self.scale, SCALES)
        for name in ("validation", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"--{name} must be from 0 to below 1, got {getattr(self, name)}")
        if self.stream and self.class_weight is not None:
            raise ValueError("--class-weight counts all rows first, and --stream does not see them")
        schedules.check(self.schedule, self.warmup)
        # The rest is checked by what it is for.
        self._check_full_batch(self.build_optimizer())
        self.build_layers(1)

    def check_target(self, target: str) -> None:
        """Refuse a target that is one of the features."""
        if self.features is not None and target in self.features:
            raise ValueError(f"column {target!r} is the target and cannot be a feature as well")

    @property
    def target_kind(self) -> Kind | None:
        """The kind of values that the target must have; None: that of the column."""
        if self.task == "auto" and self.loss not in LOSSES["classification"]:
            return None
        return "number" if self.task == "regression" else "text"

    def build_optimizer(self, rows: int | None = None) -> Optimizer:
        """Return the optimizer of :meth:`build_rule`, with clipping and averaging as they are set."""
        optimizer = self.build_rule(rows)
        if self.clip_norm is not None:
            optimizer = optimizers.Clipped(optimizer, norm=self.clip_norm)
        return optimizer if self.ema is None else optimizers.EMA(optimizer, decay=self.ema)

    def build_rule(self, rows: int | None = None) -> Optimizer:
        """Return the optimizer itself, with its own defaults for settings not given.

        A schedule over the whole run needs to know how many rows train; None: without the schedule.
        """
        rates = {
            "learning_rate": self.learning_rate,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
        }
        given = {name: rate for name, rate in rates.items() if rate is not None}
        optimizer = optimizers.get(self.optimizer, **given)
        if rows is None or (self.schedule is None and self.warmup is None):
            return optimizer
        steps = self.epochs * math.ceil(rows / (self.batch_size or rows))
        over_run = schedules.over_run(self.schedule, self.warmup, optimizer.rate(1), steps)
        return replace(optimizer, learning_rate=over_run)

    def build_callbacks(self, validates: bool) -> list[Callback]:
        """Return the callbacks that the settings need."""
        if self.schedule != schedules.PLATEAU:
            return []
        return [ReduceOnPlateau("validation_loss" if validates else "loss")]

    def _check_full_batch(self, optimizer: Optimizer) -> None:
        """Refuse what L-BFGS cannot do."""
        if not isinstance(optimizer, nnb.LBFGS):
            return
        if self.schedule is not None or self.warmup is not None:
            raise ValueError("lbfgs has no learning rate: it goes without --schedule and --warmup")
        if self.accumulate > 1:
            raise ValueError("lbfgs takes all rows at once: it goes without --accumulate")
        if self.dropout:
            raise ValueError("lbfgs needs the same loss each time: it goes without --dropout")

    def build_layers(self, outputs: int) -> list[Layer]:
        """Return the layers of a network with that many outputs."""
        penalty = None
        if self.l1 or self.l2:
            penalty = nnb.regularizers.ElasticNet(self.l1, self.l2)
        dense = partial(nnb.Dense, bias=self.bias, initializer=self.init, regularizer=penalty)
        layers: list[Layer] = []
        for width in self.hidden:
            layers.append(dense(width, self.activation))
            layers += [nnb.Dropout(self.dropout)] if self.dropout else []
        return [*layers, dense(outputs, self.output_activation)]

    def resolve(self, encoder: TableEncoder, rows: int) -> Settings:
        """Return the settings with what depends on the table, and on how many rows train, filled in.

        Raises:
            ValueError: the loss or the output activation does not suit the target.
        """
        task = task_of(encoder)
        loss = self.loss or LOSSES[task][0]
        if loss not in LOSSES[task]:
            raise ValueError(
                f"the loss {loss} does not suit a {task}; choose from {', '.join(LOSSES[task])}"
            )
        count = len(classes_of(encoder))
        if count not in (0, 2) and has_one_output_for_two_classes(loss):
            raise ValueError(
                f"{loss} is for two classes, and {encoder.target.name!r} has {count}; "
                "softmax_cross_entropy takes any number"
            )
        if task == "regression" and self.class_weight is not None:
            raise ValueError("--class-weight needs classes, and the target holds numbers")
        build_loss(loss, self.label_smoothing)
        check_output_activation(self.output_activation, loss)
        rule = self.build_rule()
        full_batch = isinstance(rule, nnb.LBFGS)
        batch_size = self.batch_size or (rows if full_batch else _default_batch_size(rows))
        if full_batch and batch_size < rows:
            raise ValueError(f"lbfgs takes all {rows} rows in each step: leave out --batch-size")
        return replace(
            self,
            features=[feature.name for feature in encoder.features],
            task=task,
            loss=loss,
            batch_size=min(batch_size, rows),
            learning_rate=None if full_batch else rule.rate(1),
            momentum=getattr(rule, "momentum", None),
            weight_decay=getattr(rule, "weight_decay", None),
        )


def _default_batch_size(rows: int) -> int:
    """Return about a hundredth of the rows, as a power of two from 32 to 1024."""
    return 1 << min(max((rows // 100).bit_length(), 5), 10)
