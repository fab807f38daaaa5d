"""What ``nnbackend train`` can be told, checked before any data is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import nnbackend as nnb
from nnbackend import losses, optimizers
from nnbackend.callbacks import Callback, ReduceOnPlateau
from nnbackend.cli import schedule
from nnbackend.core.types import Layer
from nnbackend.errors import UnknownNameError, unknown_name
from nnbackend.losses import Loss
from nnbackend.optimizers import Optimizer
from nnbackend.tables.encoding import SCALES, Classes, Scale, TableEncoder
from nnbackend.tables.reading import Kind

__all__ = [
    "LOSSES",
    "Settings",
    "build_loss",
    "of_two_classes",
    "output_activation",
    "output_width",
    "task_of",
]

# The losses of each task, the default first.
LOSSES = {
    "regression": ("mse", "mae", "huber", "log_cosh"),
    "classification": (
        "softmax_cross_entropy",
        "binary_cross_entropy",
        "softmax_focal",
        "binary_focal",
        "categorical_hinge",
        "hinge",
        "squared_hinge",
    ),
}


def output_activation(loss: str) -> str | None:
    """Return the activation that turns outputs, trained with a loss, into probabilities, if any."""
    return losses.absorbed_activation(losses.get(loss))


def of_two_classes(loss: str) -> bool:
    """Return whether a loss of classes takes one output that says yes or no."""
    return losses.trait(losses.get(loss), "targets") in ("fractions", "signs")


def build_loss(loss: str, label_smoothing: float) -> Loss:
    """Return the loss.

    Raises:
        ValueError: it has no label smoothing, or the amount is out of range.
    """
    if label_smoothing == 0.0:
        return losses.get(loss)
    try:
        smoothed: Loss = losses.LOSSES.create(loss, label_smoothing=label_smoothing)
    except UnknownNameError:
        raise ValueError(
            f"the loss {loss} has no label smoothing; cross-entropies have it: "
            "softmax_cross_entropy, binary_cross_entropy"
        ) from None
    return smoothed


@dataclass(frozen=True)
class Settings:
    """The choices of a training run; the options of the command explain them.

    Raises:
        UnknownNameError: a name is not known; the nearest are offered.
        ValueError: a number is out of range.
    """

    features: Sequence[str] | None
    task: str
    hidden: Sequence[int]
    activation: str
    output_activation: str | None
    bias: bool
    init: str | None
    dropout: float
    loss: str | None
    optimizer: str
    learning_rate: float | None
    momentum: float | None
    weight_decay: float | None
    l1: float
    l2: float
    clip_norm: float | None
    ema: float | None
    accumulate: int
    schedule: str | None
    warmup: float | None
    epochs: int
    batch_size: int | None
    validation: float
    scale: Scale
    seed: int
    label_smoothing: float = 0.0
    class_weight: str | None = None

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
        schedule.check(self.schedule, self.warmup)
        # The rest is checked by what it is for.
        self._check_full_batch(self.build_optimizer())
        self.build_layers(1)

    @property
    def target_kind(self) -> Kind | None:
        """What the target column has to hold, or None to go by what it does hold."""
        if self.task == "auto" and self.loss not in LOSSES["classification"]:
            return None
        return "number" if self.task == "regression" else "text"

    def build_optimizer(self, rows: int | None = None) -> Optimizer:
        """Return the optimizer, with clipping and averaging around it where they are asked for.

        Args:
            rows: see :meth:`build_rule`.
        """
        optimizer = self.build_rule(rows)
        if self.clip_norm is not None:
            optimizer = optimizers.Clipped(optimizer, norm=self.clip_norm)
        return optimizer if self.ema is None else optimizers.EMA(optimizer, decay=self.ema)

    def build_rule(self, rows: int | None = None) -> Optimizer:
        """Return the optimizer itself, with its own defaults for what was not set.

        Args:
            rows: how many train, for a schedule over the whole run; None: without the schedule.
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
        over_run = schedule.over_run(self.schedule, self.warmup, optimizer.rate(1), steps)
        return replace(optimizer, learning_rate=over_run)

    def callbacks(self, validates: bool) -> list[Callback]:
        """Return the callbacks that the settings need."""
        if self.schedule != schedule.PLATEAU:
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

    def resolved(self, encoder: TableEncoder, rows: int) -> Settings:
        """Return the settings with what depends on the data filled in.

        Args:
            encoder: of the table.
            rows: how many rows train.

        Raises:
            ValueError: the loss or the output activation does not suit the target.
        """
        task = task_of(encoder)
        loss = self.loss or LOSSES[task][0]
        if loss not in LOSSES[task]:
            raise ValueError(
                f"the loss {loss} does not suit a {task}; choose from {', '.join(LOSSES[task])}"
            )
        if task == "classification" and of_two_classes(loss) and len(_classes(encoder)) != 2:
            raise ValueError(
                f"{loss} is for two classes, and {encoder.target.name!r} has "
                f"{len(_classes(encoder))}; softmax_cross_entropy takes any number"
            )
        if task == "regression" and self.class_weight is not None:
            raise ValueError("--class-weight needs classes, and the target holds numbers")
        build_loss(loss, self.label_smoothing)
        _check_output_activation(self.output_activation, loss)
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


def task_of(encoder: TableEncoder) -> str:
    """Return ``classification`` for a target of texts, ``regression`` for one of numbers."""
    return "classification" if _classes(encoder) else "regression"


def output_width(encoder: TableEncoder, loss: str) -> int:
    """Return the number of outputs that a network needs for a target and a loss."""
    return 1 if not _classes(encoder) or of_two_classes(loss) else len(_classes(encoder))


def _classes(encoder: TableEncoder) -> Sequence[str]:
    return encoder.target.classes if isinstance(encoder.target, Classes) else ()


def _check_output_activation(activation: str | None, loss: str) -> None:
    if loss in LOSSES["classification"]:
        suits = output_activation(loss)
        if activation not in (None, "identity", suits):
            wanted = f"{suits} or none" if suits else "none"
            raise ValueError(f"with {loss} the output activation is {wanted}, not {activation}")
    elif activation == "softmax":
        raise ValueError("the softmax of a single output is always 1; it cannot predict numbers")


def _default_batch_size(rows: int) -> int:
    """Return about a hundredth of the rows, as a power of two from 32 to 1024."""
    return 1 << min(max((rows // 100).bit_length(), 5), 10)
