"""``nnbackend train``: from a table to a model file."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from nnbackend.backends.choose import get_backend
from nnbackend.backends.device import in_words
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
    print_json,
    print_metrics,
    reporting,
    say,
    thread_limit,
    wrong_call,
)
from nnbackend.cli.model import TableModel
from nnbackend.cli.options import (
    build_from_options,
    data_option,
    result_option,
    takes_options,
    where_option,
)
from nnbackend.cli.report import Report, build_report, print_report
from nnbackend.cli.running import Running
from nnbackend.cli.settings import Settings
from nnbackend.cli.training import Metrics, Rows, build_model, evaluate_rows, fit, read_rows
from nnbackend.core.history import History
from nnbackend.tables.table import few

__all__ = ["train"]


@dataclass(frozen=True)
class Call:
    """The files, the backend, and the output of a call."""

    data: DataFile
    target: Annotated[
        str, data_option(help="The column to predict.", metavar="COLUMN", show_default=False)
    ]
    backend: BackendName = "numpy"
    device: DeviceName = None
    dtype: Dtype = None
    precision: PrecisionName = None
    threads: Annotated[
        int | None,
        where_option(
            min=1, help="How many threads BLAS may use.", show_default="what the library chooses"
        ),
    ] = None
    output: Annotated[Path, result_option("--output", "-o", help="The model file to write.")] = (
        Path("model.safetensors")
    )
    profile: Annotated[
        bool, result_option("--profile", help="Show where the time goes, layer by layer.")
    ] = False
    in_full: Reported = False
    as_json: Json = False
    quiet: Annotated[bool, result_option("--quiet", "-q", help="Print nothing but errors.")] = False
    debug: Debug = False


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Attributes:
        model: the trained model.
        rows: the rows it was trained and validated on.
        settings: the settings, with what depended on the data filled in.
        history: the epochs.
        metrics: the loss and the metrics of both parts of the rows, and of the baseline.
        baseline: the answer that the baseline always gives, in words.
        report: the report, with ``--report``; else None.
    """

    model: TableModel
    rows: Rows
    settings: Settings
    history: History
    metrics: Metrics
    baseline: str
    report: Report | None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the training."""
        return (self.history.stopped or "").startswith("interrupted")


@takes_options(Call, Settings, Running)
def train(**options: Any) -> None:
    """Train a network to predict one column of a table from the others.

    For instance: nnbackend train examples/data/penguins.csv --target species
    """
    call = build_from_options(Call, options)
    quiet = call.quiet or call.as_json
    with reporting(call.debug, quiet) as notes:
        outcome = _train(call, options, quiet)
        if call.as_json:
            print_json(_as_json(outcome, call.output) | {"notes": notes})
        elif not quiet:
            _print_outcome(outcome, call.output)
            if outcome.history.stopped and options["checkpoint"] is not None:
                folder = shlex.quote(str(options["checkpoint"]))
                say(f"Go on with the same command and --resume {folder}")
        if outcome.interrupted:
            raise typer.Exit(1)


def _train(call: Call, options: dict[str, Any], quiet: bool) -> Outcome:
    """Train a model and write it."""
    # Errors in the call come first, before any reading and training.
    check_output(call.output, call.data)
    with wrong_call():
        settings = build_from_options(Settings, options)
        settings.check_target(call.target)
        running = build_from_options(Running, options)
        running.check_files(call.data)
        backend = get_backend(call.backend, call.device, call.dtype, call.precision)
    rows = read_rows(call.data, call.target, settings)
    with wrong_call():
        settings = settings.resolve(rows.encoder, rows.training_count)
        callbacks = running.build_callbacks(rows.validation is not None)
    model = build_model(rows.encoder, settings, backend)
    model.network.metadata |= model.metadata()  # a checkpoint can predict, too
    if not quiet:
        print_facts(_plan(model, rows, settings))
    with thread_limit(call.threads):
        history = fit(
            model, rows, settings, callbacks, running.resume, 0 if quiet else None, call.profile
        )
    if not len(history):
        if (history.stopped or "").startswith("interrupted"):
            raise KeyboardInterrupt
        raise ValueError(f"no model was written: no epoch was done, {history.stopped}")
    metrics, baseline = evaluate_rows(model, rows)
    facts = {"settings": asdict(settings), "epochs": len(history), **metrics}
    model.network.metadata |= {"training": {"precision": backend.precision, **facts}}
    model.network.save(call.output)
    report = build_report(model, *(rows.validation or (rows.x, rows.y))) if call.in_full else None
    return Outcome(model, rows, settings, history, metrics, baseline, report)


def _plan(model: TableModel, rows: Rows, settings: Settings) -> dict[str, str]:
    """Announce the training: network, data and backend."""
    network, encoder = model.network, model.encoder
    target = f"{model.task} of {encoder.target.name!r}"
    training, validation = rows.training_count, rows.validation_count
    layers = network.summary_rows()
    parameters = sum(count for *_, count in layers)
    return {
        "task": f"{target}: {few(model.classes, 10)}" if model.classes else target,
        "rows": f"{training + validation}: {training} train, {validation} validate"
        + (f"; {len(rows.y)} of those that train are the sample" if rows.stream else ""),
        "features": f"{few(settings.features or [], 10)} ({encoder.width} inputs)",
        "network": f"{', '.join(layer for _, layer, _, _ in layers)}; {parameters:,} parameters",
        "training": f"{settings.epochs} epochs in batches of {settings.batch_size}, "
        f"{settings.loss}, {settings.optimizer}{_describe_rate(settings)}",
        "backend": f"{network.backend.name} on {network.backend.device_name()}, "
        f"{network.backend.precision_label}, seed {settings.seed}",
    }


def _describe_rate(settings: Settings) -> str:
    """Say what the learning rate is and becomes."""
    if settings.learning_rate is None:
        return ""
    text = f" with learning rate {settings.learning_rate:g}"
    if settings.schedule is not None:
        text += f", {settings.schedule}"
    if settings.warmup is not None:
        text += f", warm-up in {settings.warmup:.0%} of the steps"
    return text


def _as_json(outcome: Outcome, output: Path) -> dict[str, Any]:
    """Return all there is to know about a training, for programs."""
    model, history = outcome.model, outcome.history
    backend, validation = model.network.backend, outcome.rows.validation_count
    facts = {
        "task": model.task,
        "target": model.encoder.target.name,
        "classes": model.classes,
        "backend": backend.name,
        "device": backend.device_name(),
        "peak_memory": peak_memory(backend),
        "dtype": backend.dtype_name,
        "precision": backend.precision,
        "rows": outcome.rows.training_count + validation,
        "validation_rows": validation,
        "epochs": len(history),
        "seconds": sum(history["seconds"]),
        "stopped": history.stopped,
        **outcome.metrics,
        "model": str(output),
        "settings": asdict(outcome.settings),
        "history": history.to_dict(),
    }
    if history.profile is not None:
        facts["profile"] = history.profile.to_dict()
    if outcome.report is not None:
        facts["report"] = outcome.report.to_dict()
    return facts


def _print_outcome(outcome: Outcome, output: Path) -> None:
    """Print what came of a training, for people."""
    history, backend = outcome.history, outcome.model.network.backend
    say()
    print_metrics(outcome.metrics, {"baseline": f"({outcome.baseline})"})
    say()
    if history.stopped:
        say(f"Stopped early: {history.stopped}")
    peak = peak_memory(backend)
    where = backend.device_name() + ("" if peak is None else f", peak memory {in_words(peak)}")
    say(f"{len(history)} epochs in {sum(history['seconds']):.1f} s on {where}")
    say(f"Model written to {output}")
    say(f"Predict with it: nnbackend predict {shlex.quote(str(output))} DATA")
    if outcome.report is not None:
        validated = outcome.rows.validation is not None
        print_report(outcome.report, "rows that validate" if validated else "rows that trained")
