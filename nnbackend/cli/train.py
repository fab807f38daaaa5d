"""``nnbackend train``: from a table to a model file."""

from __future__ import annotations

import shlex
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from nnbackend.activations import ACTIVATIONS
from nnbackend.backends.base import Backend
from nnbackend.backends.choose import get_backend
from nnbackend.backends.memory import in_words
from nnbackend.cli.common import (
    BackendName,
    DataFile,
    Debug,
    DeviceName,
    Dtype,
    Json,
    PrecisionName,
    Reported,
    check_output,
    peak_memory,
    print_facts,
    print_figures,
    print_json,
    reporting,
    say,
    thread_limit,
    wrong_call,
)
from nnbackend.cli.model import TableModel
from nnbackend.cli.report import print_report, report
from nnbackend.cli.running import Running, seconds
from nnbackend.cli.schedule import NAMES as SCHEDULES
from nnbackend.cli.settings import LOSSES, Settings
from nnbackend.cli.training import Figures, Rows, build_model, final_figures, fit, read_rows
from nnbackend.core.history import History
from nnbackend.initializers import INITIALIZERS
from nnbackend.optimizers import OPTIMIZERS
from nnbackend.tables.reading import few

__all__ = ["train"]


def with_field(name: str) -> str:
    """Return the names of the optimizers that have a hyperparameter."""
    return ", ".join(o for o in OPTIMIZERS if name in {f.name for f in fields(OPTIMIZERS[o])})


# The help lists the options in groups.
data_option = partial(typer.Option, rich_help_panel="The data")
network_option = partial(typer.Option, rich_help_panel="The network")
training_option = partial(typer.Option, rich_help_panel="The training")
where_option = partial(typer.Option, rich_help_panel="Where it runs")
run_option = partial(typer.Option, rich_help_panel="The run")
result_option = partial(typer.Option, rich_help_panel="The result")

Target = Annotated[
    str, data_option(help="The column to predict.", metavar="COLUMN", show_default=False)
]
Features = Annotated[
    str | None,
    data_option(help="The columns to predict from.", metavar="A,B,C", show_default="all others"),
]
Task = Annotated[
    str, data_option(help="regression, classification or auto: numbers mean regression.")
]
Scaling = Annotated[str, data_option(help="Of numbers: standard, max or none.")]
Validation = Annotated[float, data_option(help="Share of the rows that validates.")]
Stream = Annotated[
    bool,
    data_option(
        "--stream",
        help="For tables larger than memory: read them anew in each epoch, a part at a time. Scales, "
        "categories and the validation rows come from a sample of 100,000 rows.",
    ),
]
Hidden = Annotated[
    str, network_option(help="Widths of the hidden layers, 64,32; none: a linear model.")
]
Activation = Annotated[str, network_option(help=f"Of hidden layers: {', '.join(ACTIVATIONS)}.")]
OutputActivation = Annotated[
    str | None, network_option(help="The same for the output.", show_default="none")
]
Bias = Annotated[bool, network_option("--bias/--no-bias", help="Whether layers have a bias.")]
Init = Annotated[
    str | None,
    network_option(
        help=f"First weights: {', '.join(INITIALIZERS)}.", show_default="he or glorot uniform"
    ),
]
DropoutRate = Annotated[float, network_option(help="Share dropped after each hidden layer.")]
LossName = Annotated[
    str | None,
    training_option(
        help="; ".join(", ".join(names) for names in LOSSES.values()) + ".",
        show_default="the first that suits",
    ),
]
LabelSmoothing = Annotated[
    float, training_option(help="Share of a target spread over all classes, for cross-entropies.")
]
ClassWeight = Annotated[
    str | None,
    training_option(
        metavar="balanced",
        help="Let rare classes count as much as frequent ones.",
        show_default="none",
    ),
]
OptimizerName = Annotated[str, training_option(help=f"{', '.join(OPTIMIZERS)}.")]
LearningRate = Annotated[
    float | None, training_option(help="Size of a step.", show_default="the optimizer's")
]
Momentum = Annotated[
    float | None,
    training_option(help=f"For {with_field('momentum')}.", show_default="the optimizer's"),
]
WeightDecay = Annotated[
    float | None,
    training_option(help="Pull toward zero; not for lbfgs.", show_default="the optimizer's"),
]
Schedule = Annotated[
    str | None,
    training_option(
        help=f"How the learning rate changes over the run: {', '.join(SCHEDULES)}.",
        metavar="NAME",
        show_default="constant",
    ),
]
Warmup = Annotated[
    float | None,
    training_option(
        help="Share of the run in which the learning rate goes up at the start.",
        metavar="SHARE",
        show_default="none; 0.3 of one-cycle",
    ),
]
L1 = Annotated[
    float, training_option("--l1", help="Penalty on the sum of |weight|, part of the loss.")
]
L2 = Annotated[
    float, training_option("--l2", help="Penalty on the sum of weight**2, part of the loss.")
]
ClipNorm = Annotated[
    float | None,
    training_option(help="Largest norm of a batch's gradient.", show_default="no limit"),
]
EMADecay = Annotated[
    float | None,
    training_option("--ema", help="Average weights over steps, 0.999.", show_default="no average"),
]
Accumulate = Annotated[
    int, training_option(min=1, help="Parts in which a batch is computed, to save memory.")
]
Epochs = Annotated[int, training_option(min=1, help="How often to go through the rows.")]
BatchSize = Annotated[
    int | None, training_option(min=1, help="Rows of a step.", show_default="32 to 1024, by rows")
]
Seed = Annotated[int, training_option(min=0, help="Fixes all that is random.")]
CheckpointFolder = Annotated[
    Path | None,
    run_option(
        help="A folder for checkpoints: one after each epoch, the newest three are kept.",
        metavar="DIR",
        show_default="none are written",
    ),
]
Resume = Annotated[
    Path | None,
    run_option(
        help="A checkpoint, or a folder of them, to go on from exactly; repeat the other options.",
        metavar="PATH",
        show_default="a new run",
    ),
]
Patience = Annotated[
    int | None,
    run_option(
        min=1,
        help="Stop when the validation loss has not improved for so many epochs; keep the best "
        "weights.",
        show_default="all epochs",
    ),
]
LogFile = Annotated[
    Path | None,
    run_option(
        help="Write the figures of each epoch to a .jsonl or .csv file.",
        metavar="FILE",
        show_default="none",
    ),
]
MaxTime = Annotated[
    str | None,
    run_option(
        help="Stop after a time: 90 (seconds), 15m, 2h.", metavar="TIME", show_default="all epochs"
    ),
]
Threads = Annotated[
    int | None,
    where_option(
        min=1, help="How many threads BLAS may use.", show_default="what the library chooses"
    ),
]
Profiled = Annotated[
    bool, result_option("--profile", help="Show where the time goes, layer by layer.")
]
OutputFile = Annotated[Path, result_option("--output", "-o", help="The model file to write.")]
Quiet = Annotated[bool, result_option("--quiet", "-q", help="Print nothing but errors.")]


def train(
    data: DataFile,
    target: Target,
    features: Features = None,
    task: Task = "auto",
    scale: Scaling = "standard",
    validation: Validation = 0.2,
    stream: Stream = False,
    hidden: Hidden = "64",
    activation: Activation = "relu",
    output_activation: OutputActivation = None,
    bias: Bias = True,
    init: Init = None,
    dropout: DropoutRate = 0.0,
    loss: LossName = None,
    label_smoothing: LabelSmoothing = 0.0,
    class_weight: ClassWeight = None,
    optimizer: OptimizerName = "adamw",
    learning_rate: LearningRate = None,
    momentum: Momentum = None,
    weight_decay: WeightDecay = None,
    l1: L1 = 0.0,
    l2: L2 = 0.0,
    clip_norm: ClipNorm = None,
    ema: EMADecay = None,
    accumulate: Accumulate = 1,
    schedule: Schedule = None,
    warmup: Warmup = None,
    epochs: Epochs = 100,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    checkpoint: CheckpointFolder = None,
    resume: Resume = None,
    patience: Patience = None,
    log: LogFile = None,
    max_time: MaxTime = None,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    dtype: Dtype = None,
    precision: PrecisionName = None,
    threads: Threads = None,
    output: OutputFile = Path("model.safetensors"),
    profile: Profiled = False,
    in_full: Reported = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a network to predict one column of a table from the others.

    For instance: nnbackend train examples/data/penguins.csv --target species
    """
    quiet = quiet or as_json
    with reporting(debug, quiet) as notes:
        # What can be wrong with the call comes first: it costs no reading and no training.
        check_output(output, data)
        with wrong_call():
            if stream and class_weight is not None:
                raise ValueError(
                    "--class-weight counts all rows first, and --stream does not see them"
                )
            settings = Settings(
                features=None if features is None else _names(features, target),
                task=task,
                hidden=_widths(hidden),
                activation=activation,
                output_activation=output_activation,
                bias=bias,
                init=init,
                dropout=dropout,
                loss=loss,
                label_smoothing=label_smoothing,
                class_weight=class_weight,
                optimizer=optimizer,
                learning_rate=learning_rate,
                momentum=momentum,
                weight_decay=weight_decay,
                l1=l1,
                l2=l2,
                clip_norm=clip_norm,
                ema=ema,
                accumulate=accumulate,
                schedule=schedule,
                warmup=warmup,
                epochs=epochs,
                batch_size=batch_size,
                validation=validation,
                scale=scale,  # type: ignore[arg-type]  # checked there
                seed=seed,
            )
            limit = None if max_time is None else seconds(max_time)
            running = Running(checkpoint, resume, patience, log, limit, data)
            engine = get_backend(backend, device, dtype, precision)
        rows = read_rows(data, target, settings, stream)
        with wrong_call():
            settings = settings.resolved(rows.encoder, rows.trained)
            running.callbacks(rows.validation is not None)
        model = build_model(rows.encoder, settings, engine)
        model.network.metadata |= model.metadata()  # a checkpoint can predict, too
        if not quiet:
            print_facts(_plan(model, rows, settings))
        with thread_limit(threads):
            history = fit(model, rows, settings, running, quiet, profile)
        interrupted = (history.stopped or "").startswith("interrupted")
        if not len(history):
            if interrupted:
                raise KeyboardInterrupt
            raise ValueError(f"no model was written: no epoch was done, {history.stopped}")
        figures, baseline = final_figures(model, rows)
        training = {"settings": asdict(settings), "epochs": len(history), **figures}
        model.network.metadata |= {"training": {"precision": engine.precision, **training}}
        model.network.save(output)
        full = report(model, *(rows.validation or (rows.x, rows.y))) if in_full else None
        if as_json:
            extra = {"notes": notes} if full is None else {"report": full.to_dict(), "notes": notes}
            print_json(_result(model, rows, settings, history, figures, output) | extra)
        elif not quiet:
            _report(figures, baseline, history, output, engine)
            if full is not None:
                print_report(full, "rows that validate" if rows.validation else "rows that trained")
            if history.stopped and checkpoint is not None:
                say(f"Go on with the same command and --resume {shlex.quote(str(checkpoint))}")
        if interrupted:
            raise typer.Exit(1)


def _names(features: str, target: str) -> list[str]:
    """Return the column names that ``a,b,c`` stands for."""
    names = [name.strip() for name in features.split(",") if name.strip()]
    if not names:
        raise ValueError(f"--features takes names of columns like a,b,c; got {features!r}")
    if target in names:
        raise ValueError(f"column {target!r} is the target and cannot be a feature as well")
    return names


def _widths(hidden: str) -> list[int]:
    """Return the widths that ``64,64`` stands for."""
    if hidden.strip().lower() in ("", "none"):
        return []
    widths = [int(width) if width.strip().isdecimal() else 0 for width in hidden.split(",")]
    if min(widths) < 1:
        raise ValueError(f"--hidden takes widths like 64,64, or none; got {hidden!r}")
    return widths


def _plan(model: TableModel, rows: Rows, settings: Settings) -> dict[str, str]:
    """Say what is about to be trained, on what and how."""
    network, encoder = model.network, model.encoder
    target = f"{model.task} of {encoder.target.name!r}"
    held_out = rows.validated
    layers = network.summary_rows()
    parameters = sum(count for *_, count in layers)
    return {
        "task": f"{target}: {few(model.classes, 10)}" if model.classes else target,
        "rows": f"{rows.trained + held_out}: {rows.trained} train, {held_out} validate"
        + (f"; {len(rows.y)} of those that train are the sample" if rows.stream else ""),
        "features": f"{few(settings.features or [], 10)} ({encoder.width} inputs)",
        "network": f"{', '.join(layer for _, layer, _, _ in layers)}; {parameters:,} parameters",
        "training": f"{settings.epochs} epochs in batches of {settings.batch_size}, "
        f"{settings.loss}, {settings.optimizer}{_rates(settings)}",
        "backend": f"{network.backend.name} on {network.backend.device_name()}, "
        f"{network.backend.precision_label}, seed {settings.seed}",
    }


def _rates(settings: Settings) -> str:
    """Say what the learning rate is and becomes."""
    if settings.learning_rate is None:
        return ""
    text = f" with learning rate {settings.learning_rate:g}"
    if settings.schedule is not None:
        text += f", {settings.schedule}"
    if settings.warmup is not None:
        text += f", warm-up in {settings.warmup:.0%} of the steps"
    return text


def _result(
    model: TableModel,
    rows: Rows,
    settings: Settings,
    history: History,
    figures: Figures,
    output: Path,
) -> dict[str, Any]:
    """Return all there is to know about a run, for programs."""
    backend, held_out = model.network.backend, rows.validated
    return {
        "task": model.task,
        "target": model.encoder.target.name,
        "classes": model.classes,
        "backend": backend.name,
        "device": backend.device_name(),
        "peak_memory": peak_memory(backend),
        "dtype": backend.dtype_name,
        "precision": backend.precision,
        "rows": rows.trained + held_out,
        "validation_rows": held_out,
        "epochs": len(history),
        "seconds": sum(history["seconds"]),
        "stopped": history.stopped,
        **figures,
        "model": str(output),
        "settings": asdict(settings),
        "history": history.to_dict(),
    } | ({} if history.profile is None else {"profile": history.profile.to_dict()})


def _report(
    figures: Figures, baseline: str, history: History, output: Path, backend: Backend
) -> None:
    """Print what came of the training."""
    say()
    print_figures(figures, {"baseline": f"({baseline})"})
    say()
    if history.stopped:
        say(f"Stopped early: {history.stopped}")
    peak = peak_memory(backend)
    where = backend.device_name() + ("" if peak is None else f", peak memory {in_words(peak)}")
    say(f"{len(history)} epochs in {sum(history['seconds']):.1f} s on {where}")
    say(f"Model written to {output}")
    say(f"Predict with it: nnbackend predict {shlex.quote(str(output))} DATA")
