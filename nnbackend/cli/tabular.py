"""``nnbackend train`` for the networks of tables: RealMLP and TabM, trained by a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import nnbackend as nnb
from nnbackend.analysis.answers import TableRows
from nnbackend.backends.base import Backend
from nnbackend.callbacks import TimeBudget
from nnbackend.cli.arguments import wrong_call
from nnbackend.cli.call import Call
from nnbackend.cli.model_choice import TABLE_SETTINGS
from nnbackend.cli.outcome import Outcome, check_epochs
from nnbackend.cli.printing import print_facts
from nnbackend.cli.rows import choose_rows, read_table
from nnbackend.cli.settings import Settings
from nnbackend.cli.threads import thread_limit
from nnbackend.errors import ResumeError, counted, few
from nnbackend.parallel import MPI
from nnbackend.schedules import CosineLog
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.selection import MAX_CATEGORIES, MAX_EMBEDDED, choose_feature_kinds
from nnbackend.tables.table import Table, is_number, row_count, take_rows
from nnbackend.tables.targets import LogNumber
from nnbackend.tables.training import FittedTable, Rows, fit_table
from nnbackend.tabular import Recipe, choose_recipe
from nnbackend.tabular.recipe import FEW_ROWS

__all__ = ["train_tabular"]

_COLUMNS_SHOWN = 10


def train_tabular(
    call: Call,
    settings: Settings,
    backend: Backend,
    stack: ExitStack,
    parallel: MPI | None = None,
) -> Outcome:
    """Train a network for a table, or one for each fold, by a recipe.

    Args:
        call: the files of the run and how it is watched.
        settings: of the data and the network.
        backend: where it computes.
        stack: takes the limit on threads, which ends with it.
        parallel: the processes that train each network together; None (the default): this one.
    """
    table, dialect = read_table(call.data, call.target, settings)
    table = choose_rows(table, call.target, settings)
    fields = _recipe_fields(call, settings)
    task = "regression" if is_number(table[call.target]) else "classification"
    chosen = fields | {"model": settings.model, "preset": settings.preset}
    recipe = choose_recipe(row_count(table), task, **chosen)
    with wrong_call():
        if settings.class_weight is not None and is_number(table[call.target]):
            raise ValueError("--class-weight needs classes, and the target holds numbers")
        call.check_folds(recipe.folds)
        callbacks = call.build_callbacks(
            settings.validation > 0 or recipe.folds > 1, by_recipe=True
        )
    limit = settings.max_categories or (MAX_EMBEDDED if recipe.embeds else MAX_CATEGORIES)
    kinds = choose_feature_kinds(table, call.target, settings.features, settings.text or (), limit)
    run = _Run(call, settings, backend, stack, limit, table)
    limits: dict[str, Any] = {"max_time": call.max_time}
    if call.max_time is not None and (call.checkpoint or call.resume):
        # The schedules of a run to go on with are those of all its epochs.
        limits = {}
        callbacks.append(TimeBudget(call.max_time))
    with _resume_advice():
        fitted = fit_table(
            table,
            call.target,
            kinds,
            model=settings.model,
            preset=settings.preset,
            validation=settings.validation,
            seed=settings.seed,
            backend=backend,
            class_weight=settings.class_weight,
            callbacks=callbacks,
            day_first=settings.day_first,
            dialect=dialect,
            recipe=fields,
            announce=run.announce,
            resume=call.resume,
            verbose=None if call.prints else 0,
            profile=call.profile,
            parallel=parallel,
            **limits,
        )
    return run.judge(fitted)


@contextmanager
def _resume_advice() -> Iterator[None]:
    """Add to the error of a checkpoint of another run which options to look at."""
    try:
        yield
    except ResumeError as error:
        raise ResumeError(
            f"{error}; or repeat the options of the run that wrote it, --epochs among them, for which "
            "its schedules are made"
        ) from error


def _recipe_fields(call: Call, settings: Settings) -> dict[str, Any]:
    """Return the fields of the recipe that options say."""
    return {
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "label_smoothing": settings.label_smoothing,
        "hidden": None if settings.hidden is None else tuple(settings.hidden),
        "folds": settings.folds,
        "members": settings.members,
        "quantiles": None if settings.quantiles is None else tuple(settings.quantiles),
        "patience": call.patience,
    }


@dataclass
class _Run:
    """A training, from its announcement to its outcome."""

    call: Call
    settings: Settings
    backend: Backend
    stack: ExitStack
    max_categories: int
    table: Table
    plan: dict[str, str] = field(default_factory=dict)

    def announce(self, rows: Rows) -> None:
        """Check the settings with the target that is known now, limit threads, and print the plan."""
        with wrong_call():
            self.settings.choose_loss(rows.encoder)
            self.call.check_patience(rows.recipe.folds > 1 or len(rows.held_out) > 0)
        network = self._build_network(rows)
        limit = thread_limit(self.call.threads, network, rows.recipe.batch_size)
        self.stack.enter_context(limit)
        self.plan = self._plan(rows, network) | _short_schema(rows.encoder)
        if self.call.prints:
            print_facts(self.plan)

    def _build_network(self, rows: Rows) -> nnb.Network:
        """Return a network as the one to be trained."""
        encoder, recipe = rows.encoder, rows.recipe
        columns = encoder.inputs.network_columns
        layers = recipe.build_layers(columns, _count_outputs(recipe, encoder), encoder.task, 1)
        return nnb.Network(layers, backend=self.backend, input_shape=columns.shape)

    def _plan(self, rows: Rows, network: nnb.Network) -> dict[str, str]:
        encoder, recipe, count = rows.encoder, rows.recipe, len(rows.part)
        target = f"{encoder.task} of {encoder.target.name!r}"
        layers = [row for row in network.summary_rows() if not row.is_inside]
        widths = ", ".join(map(str, recipe.widths))
        model = recipe.model
        if self._is_chosen_by_rows(recipe):
            model += (
                f" (for classes of up to {FEW_ROWS:,} rows; --model realmlp takes the whole recipe)"
            )
        if recipe.member_count is not None:
            model += f" of {recipe.member_count} members"
        if recipe.folds > 1:
            model = f"{recipe.folds} times {model}"
            parts = f"each network has another {count // recipe.folds} or so held out"
        else:
            parts = f"{len(rows.training)} train, {len(rows.held_out)} validate"
        embedded = len(encoder.inputs.cardinalities)
        rate, settings = _learning_rate(recipe, encoder), self.settings_of(rows)
        smoothing = settings["label_smoothing"]
        return {
            "task": f"{target}: {few(encoder.classes, 10)}" if encoder.classes else target,
            "rows": f"{count}: {parts}",
            "features": f"{counted(len(encoder.features), 'column')}, {counted(encoder.width, 'input')}"
            f"{f' and {embedded} embedded' if embedded else ''}; nnbackend inspect MODEL shows what is "
            "done to each",
            "network": f"{model} with hidden layers of {widths}; "
            f"{sum(row.parameters for row in layers):,} parameters",
            "training": f"{counted(recipe.epochs, 'epoch')} in batches of {recipe.batch_size}, "
            f"{settings['loss']}{f' with label smoothing {smoothing:g}' if smoothing else ''}, "
            f"adamw with learning rate {rate:g} at most",
            "backend": f"{self.backend.name} on {self.backend.device_name()}, "
            f"{self.backend.precision_label}, seed {self.settings.seed}",
        }

    def _is_chosen_by_rows(self, recipe: Recipe) -> bool:
        """Return whether the simple variant was taken because there are few rows."""
        settings = self.settings
        return recipe.is_simple and settings.model is None and settings.preset == "default"

    def settings_of(self, rows: Rows) -> dict[str, Any]:
        """Return the settings of the training as plain data, without those of other networks."""
        encoder, recipe, own = rows.encoder, rows.recipe, asdict(self.settings)
        known = {
            "features": encoder.feature_names,
            "task": encoder.task,
            "max_categories": self.max_categories,
            "loss": self.settings.choose_loss(encoder),
            "label_smoothing": recipe.label_smoothing if encoder.classes else 0.0,
            "learning_rate": _learning_rate(recipe, encoder),
            **{name: getattr(recipe, name) for name in ("model", "epochs", "folds")},
            "batch_size": min(recipe.batch_size, len(rows.training)),
            "hidden": list(recipe.widths),
        }
        kept = {name: own[name] for name in TABLE_SETTINGS}
        return {**kept, **known, "members": recipe.member_count, "patience": recipe.patience}

    def judge(self, fitted: FittedTable) -> Outcome:
        """Return the outcome of the training."""
        model, rows, trained = fitted.model, fitted.rows, fitted.trained
        check_epochs(trained.histories[0], self.call.max_time)
        training = rows.part.take(rows.training)
        outputs, reported, validation = None, training, None
        if fitted.held_out is not None:
            numbers, outputs = fitted.held_out
            reported = rows.part.take(numbers)
            validation = model.evaluate_outputs(outputs, reported.y)
        if rows.recipe.folds == 1:
            outputs = None
            validation = None if validation is None else model.evaluate(reported.x, reported.y)
        baseline, answer = model.evaluate_baseline(training.y, reported.y)
        metrics = {
            "train": model.evaluate(training.x, training.y),
            "validation": validation,
            "baseline": baseline,
        }
        numbers = rows.training if fitted.held_out is None else fitted.held_out[0]
        kept = [TableRows(take_rows(self.table, n)) for n in (rows.training, numbers)]
        counts = len(training), 0 if validation is None else len(reported)
        more = {
            "columns": [asdict(row) for row in rows.encoder.describe()],
            "target_scale": _target_scale(rows.encoder),
            "networks": _networks(fitted),
        }
        return Outcome(
            model,
            self.settings_of(rows),
            trained.histories,
            counts,
            reported.x,
            reported.y,
            metrics,
            answer,
            self.plan,
            (kept[0], kept[1]),
            fitted.divisions if rows.recipe.folds > 1 else (),
            outputs,
            more,
        )


def _networks(fitted: FittedTable) -> list[dict[str, Any]]:
    """Return what is known of each network that was trained, as plain data."""
    trained = fitted.trained
    temperatures: list[Any] = trained.temperatures or [None] * len(trained.histories)
    each = zip(trained.histories, trained.best_epochs, temperatures, strict=True)
    return [
        {
            "epochs": len(history),
            "best_epoch": best,
            "temperature": temperature,
            "stopped": history.stopped,
            "history": history.to_dict(),
        }
        for history, best, temperature in each
    ]


def _count_outputs(recipe: Recipe, encoder: TableEncoder) -> int:
    """Return the number of a network's outputs."""
    return len(encoder.classes) or len(recipe.quantiles or (0.5,))


def _target_scale(encoder: TableEncoder) -> str | None:
    """Return how a target of numbers is scaled; None for classes."""
    if encoder.classes:
        return None
    return "log" if isinstance(encoder.target, LogNumber) else "standard"


def _learning_rate(recipe: Recipe, encoder: TableEncoder) -> float:
    """Return the largest learning rate of a training."""
    columns, task = encoder.inputs.network_columns, encoder.task
    layers = recipe.build_layers(columns, _count_outputs(recipe, encoder), task, 1)
    optimizer: Any = recipe.build_optimizer(layers, task, 1)
    rate = getattr(optimizer, "optimizer", optimizer).learning_rate
    return float(rate.value if isinstance(rate, CosineLog) else rate)


def _short_schema(encoder: TableEncoder) -> dict[str, str]:
    """Return the columns by what they hold, and those with missing values."""
    groups: dict[str, list[str]] = {}
    for row in encoder.describe()[:-1]:
        remark = {"category": row.distinct, "left out": row.done, "text": row.done}.get(row.kind)
        groups.setdefault(row.kind, []).append(f"{row.column}{f' ({remark})' if remark else ''}")
        if row.missing:
            groups.setdefault("with gaps", []).append(f"{row.column} ({row.missing})")
    order = [name for name in groups if name not in ("left out", "with gaps")]
    order += [name for name in ("left out", "with gaps") if name in groups]
    return {name: few(groups[name], _COLUMNS_SHOWN) for name in order}
