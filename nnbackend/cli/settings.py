"""The settings of ``nnbackend train``: its options on data, network and training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import nnbackend as nnb
from nnbackend import optimizers
from nnbackend.activations import ACTIVATIONS
from nnbackend.callbacks import Callback, ReduceOnPlateau
from nnbackend.cli.dialect import DialectOptions, names_option
from nnbackend.cli.list_options import (
    AUGMENTATIONS,
    read_augmentations,
    read_quantiles,
    read_widths,
)
from nnbackend.cli.networks import MODELS, build_layers, default_model, default_widths
from nnbackend.cli.options import data_option, network_option, training_option
from nnbackend.cli.schedule import PLATEAU, SCHEDULES, rates_over_run
from nnbackend.core.checks import check_number
from nnbackend.core.random import seed_key
from nnbackend.core.types import Layer
from nnbackend.errors import unknown_name
from nnbackend.initializers import INITIALIZERS
from nnbackend.optimizers import OPTIMIZERS, Optimizer
from nnbackend.tables.array_encoding import ARRAY_SCALES, CHANNELS, ArrayEncoder
from nnbackend.tables.encoding import SCALES, TableEncoder
from nnbackend.tables.model import LOSSES, build_loss, has_one_output, output_activation_of
from nnbackend.tables.selection import MAX_CATEGORIES, MAX_EMBEDDED
from nnbackend.tables.table import WantedKind
from nnbackend.tabular.recipe import FEW_ROWS, PRESETS
from nnbackend.tabular.recipe import MODELS as TABLE_MODELS
from nnbackend.transforms import Transform

__all__ = ["Settings"]


def optimizers_with(hyperparameter: str) -> str:
    """Return the names of the optimizers that have a hyperparameter."""
    having = [o for o in OPTIMIZERS if hyperparameter in {f.name for f in fields(OPTIMIZERS[o])}]
    return ", ".join(having)


@dataclass(frozen=True)
class Settings(DialectOptions):
    """The choices of a training run; the options of the command explain them.

    Raises:
        UnknownNameError: a name is not known; the nearest are offered.
        ValueError: a number is out of range.
    """

    features: Sequence[str] | None = names_option(
        "--features", "The columns, or the one array, to predict from.", show_default="all others"
    )
    exclude: Sequence[str] | None = names_option("--exclude", "Columns not to read.")
    text: Sequence[str] | None = names_option(
        "--text",
        "Columns that hold texts, whatever they look like: codes, dates, class numbers.",
        show_default="found out",
    )
    task: str = data_option(
        "auto",
        "regression, classification or auto: numbers mean regression, 0 and 1 two classes; for arrays "
        "whole numbers that repeat are classes.",
    )
    max_categories: int | None = data_option(
        None,
        "Different texts of a column that are categories; a column of more is left out.",
        min=1,
        show_default=f"{MAX_CATEGORIES}; of realmlp {MAX_EMBEDDED:,}",
    )
    scale: str = data_option(
        "standard", "Of numbers, for an mlp or cnn: standard, max, robust or none."
    )
    validation: float = data_option(0.2, "Share of the rows that validates.")
    stream: bool = data_option(
        False,
        "For tables larger than memory: train a plain network (--model mlp), reading them again in each "
        "epoch, a part at a time. "
        "Scales, categories and the validation rows come from a sample of 100,000 rows.",
        "--stream",
    )
    channels: str | None = data_option(
        None,
        "Which axis of images or signals has the channels: last, first or none.",
        metavar="AXIS",
        show_default="found out",
    )

    model: str | None = network_option(
        None,
        "For tables realmlp, realmlp-simple, tabm, or mlp, a plain network, to which most of "
        "these options belong; for arrays cnn, a convolutional network, or mlp.",
        metavar="NAME",
        show_default=f"realmlp, realmlp-simple for classes of up to {FEW_ROWS:,} rows; by shape",
    )
    preset: str = network_option(
        "default",
        "Of networks for tables: fast, for realmlp-simple whatever the rows; default; best, for 5 folds "
        "of realmlp.",
        metavar="NAME",
    )
    folds: int | None = network_option(
        None,
        "Of networks for tables: train so many, each with another part of the rows held out; together "
        "they predict.",
        min=1,
        max=1000,
        show_default="1; of --preset best 5",
    )
    members: int | None = network_option(
        None,
        "Of networks for tables: how many are trained together as one; their mean predicts.",
        min=1,
        max=1000,
        show_default="1; of tabm 16, by preset",
    )
    hidden: Sequence[int] | None = network_option(
        None,
        "Widths of the hidden layers, 64,32; none: a linear model. Of a cnn the channels of its "
        "convolutions.",
        show_default="the model's: 256,256,256 of realmlp, 512,512,512 of tabm, 64 of mlp",
        read=read_widths,
    )
    activation: str = network_option("relu", f"Of hidden layers: {', '.join(ACTIVATIONS)}.")
    output_activation: str | None = network_option(
        None, "The same for the output.", show_default="none"
    )
    bias: bool = network_option(True, "Whether layers have a bias.", "--bias/--no-bias")
    init: str | None = network_option(
        None, f"First weights: {', '.join(INITIALIZERS)}.", show_default="he or glorot uniform"
    )
    dropout: float | None = network_option(
        None,
        "Share dropped after each hidden layer; of a cnn before the last layer.",
        show_default="0; of a cnn 0.25",
    )

    loss: str | None = training_option(
        None,
        "; ".join(", ".join(names) for names in LOSSES.values()) + ".",
        show_default="the first that suits",
    )
    quantiles: Sequence[float] | None = training_option(
        None,
        "Quantiles of numbers to learn instead of the mean, 0.5 among them: 0.1,0.5,0.9. For networks "
        "for tables.",
        metavar="NUMBERS",
        show_default="none",
        read=read_quantiles,
    )
    label_smoothing: float | None = training_option(
        None,
        "Share of a target spread over all classes, for cross-entropies.",
        show_default="0.1; of an mlp or cnn 0",
    )
    class_weight: str | None = training_option(
        None,
        "Let rare classes count as much as frequent ones.",
        metavar="balanced",
        show_default="none",
    )
    augment: Sequence[str] | None = training_option(
        None,
        f"Random changes of images in training: {', '.join(AUGMENTATIONS)}; some of them: shift,mixup.",
        metavar="NAMES",
        show_default="none",
        read=read_augmentations,
    )
    optimizer: str = training_option("adamw", f"{', '.join(OPTIMIZERS)}.")
    learning_rate: float | None = training_option(
        None, "Size of a step.", show_default="the model's or the optimizer's"
    )
    momentum: float | None = training_option(
        None, f"For {optimizers_with('momentum')}.", show_default="the optimizer's"
    )
    weight_decay: float | None = training_option(
        None, "Pull toward zero; not for lbfgs.", show_default="the optimizer's"
    )
    l1: float = training_option(0.0, "Penalty on the sum of |weight|, part of the loss.", "--l1")
    l2: float = training_option(0.0, "Penalty on the sum of weight**2, part of the loss.", "--l2")
    clip_norm: float | None = training_option(
        None, "Largest norm of a batch's gradient.", show_default="no limit"
    )
    ema: float | None = training_option(
        None, "Average weights over steps, 0.999.", "--ema", show_default="no average"
    )
    accumulate: int = training_option(
        1, "Parts in which a batch is computed, to save memory.", min=1, max=2**31 - 1
    )
    schedule: str | None = training_option(
        None,
        f"How the learning rate changes over the run: {', '.join(SCHEDULES)}.",
        metavar="NAME",
        show_default="constant",
    )
    warmup: float | None = training_option(
        None,
        "Share of the run in which the learning rate goes up at the start.",
        metavar="SHARE",
        show_default="none; 0.3 of one-cycle",
    )
    epochs: int | None = training_option(
        None,
        "How often to go through the rows.",
        min=1,
        max=2**31 - 1,
        show_default="256; of realmlp-simple 128, tabm 60, an mlp 100, a cnn 20",
    )
    batch_size: int | None = training_option(None, "Rows of a step.", min=1, show_default="by rows")
    seed: int = training_option(0, "Fixes all that is random.", min=0)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("task", self.task, ("auto", *LOSSES)),
            ("loss", self.loss, [loss for group in LOSSES.values() for loss in group]),
            ("class weight", self.class_weight, ["balanced"]),
            ("scale", self.scale, SCALES),
            ("channels", self.channels, CHANNELS),
            ("model", self.model, (*TABLE_MODELS, *MODELS)),
            ("preset", self.preset, PRESETS),
            ("schedule", self.schedule, SCHEDULES),
        ):
            if value is not None and value not in known:
                raise unknown_name(name, value, known)
        build_loss(self.loss or LOSSES["classification"][0], self.label_smoothing or 0.0)
        seed_key(self.seed)
        if self.warmup is not None:
            check_number("warmup", self.warmup, 0.0, 1.0)
        for name in ("validation", "dropout"):
            if not 0 <= (getattr(self, name) or 0.0) < 1:
                raise ValueError(f"--{name} must be from 0 to below 1, got {getattr(self, name)}")
        if self.quantiles is not None and (self.loss or self.task == "classification"):
            other = f"--loss {self.loss}" if self.loss else "--task classification"
            raise ValueError(
                f"--quantiles have a loss of their own, for numbers: leave out {other}"
            )
        if self.stream and self.class_weight is not None:
            raise ValueError("--class-weight counts all rows first, and --stream does not see them")
        # The rest is checked by what it is for.
        self.dialect()
        self.build_optimizer()
        self._check_full_batch()
        if self.model not in TABLE_MODELS:
            build_layers(self, 1, (1, 1) if self.model == "cnn" else (1,))

    def check_target(self, target: str) -> None:
        """Refuse a target that is one of the features, or that is not read."""
        if target in (self.features or ()):
            raise ValueError(f"column {target!r} is the target and cannot be a feature as well")
        for name in (target, *(self.features or ())):
            if name in (self.exclude or ()):
                raise ValueError(f"column {name!r} cannot be left out by --exclude: it is needed")

    def kinds(self, target: str) -> dict[str, WantedKind]:
        """Return the kinds of values that the target, and columns of texts, must have."""
        texts: dict[str, WantedKind] = dict.fromkeys(self.text or (), "text")
        if self.task == "regression" or self.quantiles is not None:
            texts[target] = "number"
        elif self.task == "classification" or self.loss in LOSSES["classification"]:
            texts[target] = "text"
        else:
            texts.setdefault(target, "target")
        return texts

    @property
    def infers_task(self) -> bool:
        """Whether the target alone says what the task is."""
        return self.task == "auto" and self.loss is None and self.quantiles is None

    def build_optimizer(self, rows: int | None = None) -> Optimizer:
        """Return the optimizer, with its own defaults for settings not given.

        A schedule over the whole run needs to know how many rows train; None: without the schedule.
        """
        optimizer = self._build_rule()
        if rows is not None and (self.schedule is not None or self.warmup is not None):
            steps = (self.epochs or 1) * math.ceil(rows / (self.batch_size or rows))
            rates = rates_over_run(self.schedule, self.warmup, optimizer.rate(1), steps)
            optimizer = replace(optimizer, learning_rate=rates)
        if self.clip_norm is not None:
            optimizer = optimizers.Clipped(optimizer, norm=self.clip_norm)
        return optimizer if self.ema is None else optimizers.EMA(optimizer, decay=self.ema)

    def _build_rule(self) -> Optimizer:
        rates = {
            name: getattr(self, name) for name in ("learning_rate", "momentum", "weight_decay")
        }
        given = {name: rate for name, rate in rates.items() if rate is not None}
        return optimizers.get(self.optimizer, **given)

    def build_augmentations(self) -> list[Transform]:
        """Return the random changes of the batches."""
        return [AUGMENTATIONS[name] for name in self.augment or ()]

    def build_callbacks(self, validates: bool) -> list[Callback]:
        """Return the callbacks that the settings need."""
        if self.schedule != PLATEAU:
            return []
        return [ReduceOnPlateau("validation_loss" if validates else "loss")]

    def _check_full_batch(self) -> None:
        """Refuse what L-BFGS cannot do."""
        if not isinstance(self._build_rule(), nnb.LBFGS):
            return
        if self.schedule is not None or self.warmup is not None:
            raise ValueError("lbfgs has no learning rate: it goes without --schedule and --warmup")
        if self.accumulate > 1:
            raise ValueError("lbfgs takes all rows at once: it goes without --accumulate")
        if self.dropout:
            raise ValueError("lbfgs needs the same loss each time: it goes without --dropout")

    def check_for_arrays(self, what: str) -> None:
        """Refuse the options that are for tables alone; ``what`` names the data."""
        tables = (
            "exclude",
            "text",
            "max_categories",
            "stream",
            "preset",
            "folds",
            "members",
            "quantiles",
        )
        names = (*tables, *vars(DialectOptions()))
        given = [name for name in names if getattr(self, name) != getattr(Settings, name)]
        if self.model in TABLE_MODELS:
            given.append(f"model {self.model}")
        if self.scale not in ARRAY_SCALES:
            given.append(f"scale {self.scale}")
        if given:
            option = f"--{given[0].replace('_', '-')}"
            raise ValueError(
                f"{option} is for tables, and {what} holds arrays of images or signals"
            )

    def check_for_tables(self, what: str) -> None:
        """Refuse the options that are for arrays alone; ``what`` names the data."""
        given = {
            "--model cnn": self.model == "cnn",
            "--channels": self.channels,
            "--augment": self.augment,
        }
        option = next((option for option, is_given in given.items() if is_given), None)
        if option:
            raise ValueError(
                f"{option} is for arrays of images or signals in an .npz file, and {what} is a table"
            )

    def build_layers(self, outputs: int, input_shape: tuple[int, ...]) -> list[Layer]:
        """Return the layers of a network with that many outputs, for rows of a shape."""
        return build_layers(self, outputs, input_shape)

    def choose_loss(self, encoder: TableEncoder | ArrayEncoder) -> str:
        """Return the name of the loss for a target.

        Raises:
            ValueError: the loss, its label smoothing or the weights of classes do not suit the target.
        """
        task = encoder.task
        if self.quantiles is not None:
            return "quantile"
        loss = self.loss or LOSSES[task][0]
        if loss not in LOSSES[task]:
            raise ValueError(
                f"the loss {loss} does not suit a {task}; choose from {', '.join(LOSSES[task])}"
            )
        if task == "regression":
            if self.class_weight is not None:
                raise ValueError("--class-weight needs classes, and the target holds numbers")
        elif len(encoder.classes) != 2 and has_one_output(loss):
            raise ValueError(
                f"{loss} is for two classes, and {encoder.target.name!r} has "
                f"{len(encoder.classes)}; softmax_cross_entropy takes any number"
            )
        build_loss(loss, self.label_smoothing or 0.0)
        return loss

    def resolve(self, encoder: TableEncoder | ArrayEncoder, rows: int) -> Settings:
        """Return the settings with what depends on the data, and on how many rows train, filled in.

        Raises:
            ValueError: the loss or the output activation does not suit the target, or the network not
                the shape of the rows.
        """
        task, loss = encoder.task, self.choose_loss(encoder)
        self._check_output_activation(loss)
        rule = self._build_rule()
        full_batch = isinstance(rule, nnb.LBFGS)
        batch_size = self.batch_size or (rows if full_batch else _default_batch_size(rows))
        if full_batch and batch_size < rows:
            raise ValueError(f"lbfgs takes all {rows} rows in each step: leave out --batch-size")
        settings = self._resolve_network(encoder.input_shape, full_batch)
        return replace(
            settings,
            features=encoder.feature_names,
            channels=encoder.channels if isinstance(encoder, ArrayEncoder) else None,
            task=task,
            loss=loss,
            label_smoothing=self.label_smoothing or 0.0,
            max_categories=self.max_categories or MAX_CATEGORIES,
            batch_size=min(batch_size, rows),
            learning_rate=None if full_batch else rule.rate(1),
            momentum=getattr(rule, "momentum", None),
            weight_decay=getattr(rule, "weight_decay", None),
        )

    def _resolve_network(self, input_shape: tuple[int, ...], full_batch: bool) -> Settings:
        """Return the settings with what depends on the network filled in."""
        model = self.model or default_model(input_shape)
        convolutional = model == "cnn"
        if convolutional and full_batch:
            raise ValueError(
                "lbfgs needs the same loss each time, and the batch normalization of a cnn changes it: "
                "choose another --optimizer, or --model mlp"
            )
        settings = replace(
            self,
            model=model,
            hidden=default_widths(model, input_shape) if self.hidden is None else self.hidden,
            dropout=(0.25 if convolutional else 0.0) if self.dropout is None else self.dropout,
            epochs=self.epochs or (20 if convolutional else 100),
        )
        settings.build_layers(1, input_shape)
        return settings

    def _check_output_activation(self, loss: str) -> None:
        """Refuse an output activation that a loss does not suit, and say which one does."""
        given, suits = self.output_activation, output_activation_of(loss)
        if loss in LOSSES["regression"]:
            if given in ("softmax", "log_softmax", "sparsemax"):
                always = 0 if given == "log_softmax" else 1
                raise ValueError(
                    f"the {given} of a single output is always {always}; it cannot predict numbers"
                )
        elif given not in (None, "identity", suits):
            wanted = f"{suits} or none" if suits else "none"
            raise ValueError(f"with {loss} the output activation is {wanted}, not {given}")


def _default_batch_size(rows: int) -> int:
    """Return about a hundredth of the rows, as a power of two from 32 to 1024."""
    return 1 << min(max((rows // 100).bit_length(), 5), 10)
