"""How a network for a table is built and trained, with numbers that suit the size of the table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from nnbackend.core.checks import check_choice, check_items, check_number, check_size
from nnbackend.core.types import Layer
from nnbackend.losses import Loss, Quantile, SoftmaxCrossEntropy
from nnbackend.losses import get as get_loss
from nnbackend.losses.each_member import EachMember
from nnbackend.optimizers import Optimizer
from nnbackend.tabular.columns import Columns
from nnbackend.tabular.realmlp import build_realmlp, build_realmlp_optimizer
from nnbackend.tabular.tabm import build_tabm, build_tabm_optimizer

__all__ = ["FEW_ROWS", "MODELS", "PRESETS", "Recipe", "choose_recipe"]

MODELS = ("realmlp", "realmlp-simple", "tabm")
"""The networks by name."""

PRESETS = ("fast", "default", "best")
"""What a recipe aims at."""

_BATCHES = ((1_024, 64), (8_192, 128), (30_000, 256), (100_000, 512))
_LARGEST_BATCH = 1_024
_SIMPLE_EPOCHS, _EPOCHS = 128, 256  # fewer leave small tables half learned
_FOLDS = {"fast": 1, "default": 1, "best": 5}
_PATIENCE, _TABM_PATIENCE = 20, 16
FEW_ROWS = 2_000
"""Up to so many rows classes have the simple variant of RealMLP, and runs go through all epochs."""

_TABM_EPOCHS = {"fast": 30, "default": 60, "best": 120}
_TABM_MEMBERS = {"fast": 8, "default": 16, "best": 32}


@dataclass(frozen=True)
class Recipe:
    """A network for tables and how it is trained.

    Args:
        model: one of ``MODELS``.
        epochs: the number of epochs, over which learning rate, decay and dropout follow their schedules.
        batch_size: the number of rows of a step.
        learning_rate: the largest learning rate; None (the default): that of the model.
        label_smoothing: of classes; default 0.1 as RealMLP has it.
        hidden: the number of units of each hidden layer; None (the default): those of the model.
        members: how many networks are trained together; None (the default): one, of TabM 32.
        folds: into how many parts the rows are divided; each is held out of one network, and all of
            them predict together. Default 1: one part of the rows is held out of one network.
        patience: the run ends when so many epochs, and as many again as the best epoch's number, were
            no better; None (the default): it goes through all epochs, and the best one's weights stay.
        quantiles: of a target of numbers, rising, 0.5 among them: there is an output for each. None (the
            default): the mean is learned.

    Raises:
        ValueError, TypeError: no model has that name, or a number is out of range or none.

    Source: docs/tables.md; Holzmüller, Grinsztajn, Steinwart (2024), arXiv:2407.04491.
    """

    model: str = "realmlp"
    epochs: int = 256
    batch_size: int = 256
    learning_rate: float | None = None
    label_smoothing: float = 0.1
    hidden: tuple[int, ...] | None = None
    members: int | None = None
    folds: int = 1
    patience: int | None = None
    quantiles: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_choice("model", self.model, MODELS)
        for name in ("epochs", "batch_size", "folds"):
            check_size(name, getattr(self, name))
        for name in ("members", "patience"):
            if getattr(self, name) is not None:
                check_size(name, getattr(self, name))
        if self.learning_rate is not None:
            check_number("learning_rate", self.learning_rate, 0.0)
        check_number("label_smoothing", self.label_smoothing, 0.0, 1.0)
        if self.quantiles is not None:
            _check_quantiles(self.quantiles)
        if self.hidden is not None:
            for width in check_items("hidden", self.hidden, "widths"):
                check_size("hidden", width)

    @property
    def is_simple(self) -> bool:
        """Whether the model is the simple variant of RealMLP, which embeds nothing."""
        return self.model == "realmlp-simple"

    @property
    def embeds(self) -> bool:
        """Whether columns of many categories are indices of an embedding, rather than one-hot."""
        return self.model == "realmlp"

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of units of each hidden layer."""
        return self.hidden or 3 * ((512,) if self.model == "tabm" else (256,))

    @property
    def member_count(self) -> int | None:
        """How many networks are trained together; None: one."""
        return self.members or (32 if self.model == "tabm" else None)

    def build_layers(self, columns: Columns, outputs: int, task: str, steps: int) -> list[Layer]:
        """Return the layers of a network.

        Args:
            columns: what it takes.
            outputs: the number of classes, or of numbers.
            task: ``"classification"`` or ``"regression"``.
            steps: the number of steps of the training.
        """
        hidden: dict[str, Any] = {} if self.hidden is None else {"hidden": self.hidden}
        if self.model == "tabm":
            width, members = columns.numbers + columns.one_hot, self.member_count or 1
            return build_tabm(width, outputs=outputs, task=task, members=members, **hidden)
        return build_realmlp(
            columns.numbers,
            columns.one_hot,
            columns.categories,
            outputs=outputs,
            steps=steps,
            task=task,
            simple=self.is_simple,
            members=self.members,
            **hidden,
        )

    def build_optimizer(self, layers: list[Layer], task: str, steps: int) -> Optimizer:
        """Return the optimizer of a network; arguments as of :meth:`build_layers`."""
        if self.model == "tabm":
            return build_tabm_optimizer(
                *(() if self.learning_rate is None else (self.learning_rate,))
            )
        simple, rate = self.is_simple, self.learning_rate
        return build_realmlp_optimizer(layers, steps, task=task, simple=simple, learning_rate=rate)

    def build_loss(self, task: str) -> Loss:
        """Return the loss of a network for a task."""
        loss: Loss = get_loss("mse") if self.quantiles is None else Quantile(self.quantiles)
        if task == "classification":
            loss = SoftmaxCrossEntropy(label_smoothing=self.label_smoothing)
        return loss if self.member_count is None else EachMember(loss)


def _check_quantiles(quantiles: Any) -> None:
    """Refuse quantiles that do not rise, or lack the median."""
    found = [
        check_number("quantiles", q, 0.0, 1.0)
        for q in check_items("quantiles", quantiles, "numbers")
    ]
    rise = all(low < high for low, high in zip([0.0, *found], [*found, 1.0], strict=True))
    if not rise or 0.5 not in found:
        raise ValueError(
            "quantiles must rise, lie above 0 and below 1, and include 0.5, the median, which is what "
            f"is predicted; got {tuple(found)}"
        )


def _choose_model(rows: int, task: str, preset: str) -> str:
    """Return the variant of RealMLP: the simple one for classes of few rows, or in haste."""
    few = task == "classification" and rows <= FEW_ROWS
    simple = preset == "fast" or (preset == "default" and few)
    return "realmlp-simple" if simple else "realmlp"


def _choose_epochs(model: str, preset: str) -> int:
    """Return the number of epochs of RealMLP: half as many of the simple variant, or in haste."""
    short = preset == "fast" or (preset == "default" and model == "realmlp-simple")
    return _SIMPLE_EPOCHS if short else _EPOCHS


def _choose_patience(rows: int, model: str, preset: str) -> int | None:
    """Return after how many epochs that were no better a run ends; None: it goes through all.

    RealMLP's learning rate rises and falls in cycles, each as long as all before it: that as many epochs
    as the best one's number follow lets it come to the end of the next. Of few rows all epochs take
    seconds, and the loss on the few that are held out may well be least in the last cycle.
    """
    if model == "tabm":
        return _TABM_PATIENCE
    return _PATIENCE if rows > FEW_ROWS and preset != "best" else None


def choose_recipe(
    rows: int,
    task: str = "classification",
    *,
    model: str | None = None,
    preset: str = "default",
    **more: Any,
) -> Recipe:
    """Return a recipe for a table of so many rows.

    Args:
        rows: the number of rows that train.
        task: ``"classification"`` (the default) or ``"regression"``.
        model: one of ``MODELS``; None (the default): ``"realmlp-simple"`` with ``fast`` and, with
            ``default``, for classes of up to 2,000 rows, else ``"realmlp"``. On so few rows the simple
            variant predicted classes better and numbers worse, in a quarter of the time.
        preset: ``"fast"``, ``"default"``, or ``"best"`` for five networks, each trained on another four
            fifths of the rows.
        more: fields of the recipe that are not to be chosen; None: chosen all the same.

    Raises:
        ValueError, TypeError: no model or preset has that name, or a number is out of range or none.
    """
    preset = check_choice("preset", preset, PRESETS)
    check_choice("task", task, ("classification", "regression"))
    model = check_choice("model", model or _choose_model(rows, task, preset), MODELS)
    epochs = _TABM_EPOCHS[preset] if model == "tabm" else _choose_epochs(model, preset)
    chosen = Recipe(
        model,
        epochs=epochs,
        batch_size=next((size for most, size in _BATCHES if rows <= most), _LARGEST_BATCH),
        members=_TABM_MEMBERS[preset] if model == "tabm" else None,
        folds=_FOLDS[preset],
        patience=_choose_patience(rows, model, preset),
    )
    return replace(chosen, **{name: value for name, value in more.items() if value is not None})
