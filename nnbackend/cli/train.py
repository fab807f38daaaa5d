"""``nnbackend train``: from a table, or an array of images or signals, to a model file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any

import typer

import nnbackend as nnb
from nnbackend.backends.base import Backend
from nnbackend.backends.device import in_words
from nnbackend.callbacks import Callback
from nnbackend.cli.arguments import choose_backend, wrong_call
from nnbackend.cli.array_rows import read_array_rows, takes_arrays
from nnbackend.cli.call import Call
from nnbackend.cli.comparison import warn_if_worse
from nnbackend.cli.html_report import write_training_report
from nnbackend.cli.model_choice import (
    TABLE_OPTIONS,
    check_model_options,
    choose_model,
    is_for_tables,
)
from nnbackend.cli.options import build_from_options, takes_options
from nnbackend.cli.outcome import Outcome, check_epochs
from nnbackend.cli.printing import print_facts, print_json, print_metrics, say
from nnbackend.cli.processes import (
    choose_device,
    choose_reading,
    describe_processes,
    describe_reading,
    join_processes,
    note_together,
)
from nnbackend.cli.report import build_report, print_report
from nnbackend.cli.reporting import reporting
from nnbackend.cli.rows import Rows, read_rows
from nnbackend.cli.settings import Settings
from nnbackend.cli.tabular import train_tabular
from nnbackend.cli.threads import thread_limit
from nnbackend.core.history import History
from nnbackend.errors import WEIGHTS_KEPT, DivergenceError, counted, few
from nnbackend.parallel import MPI
from nnbackend.tables.model import MODELS, Model, has_one_output

__all__ = ["train"]


@takes_options(Call, Settings)
def train(context: typer.Context, **options: Any) -> None:
    """Train a network to predict one column of a table from the others, or a class from an image.

    For instance: nnbackend train examples/data/penguins.csv --target species

    A table trains RealMLP, of few rows its simple variant, or with --model another network; options of
    the plain network, such as --activation, take that: --model mlp. Images and signals are arrays in
    .npz files: nnbackend train digits.npz --target y
    """
    quiet = options["quiet"] or options["as_json"]
    given = {name for name in options if _is_given(context, name)}
    with reporting(options["debug"], quiet) as (notes, interruption):
        # Errors in the call come first, before any reading and training.
        with wrong_call():
            call = build_from_options(Call, options)
            settings = build_from_options(Settings, options)
            settings.check_target(call.target)
            if call.reads is not None and not settings.stream:
                raise ValueError("--reads is for rows that stream: give --stream as well")
            check_model_options(settings, given)
        parallel = join_processes(call.parallel)
        device = call.device
        if parallel is not None:
            device = choose_device(call.backend, call.device, parallel)
            with wrong_call():
                if settings.optimizer == "lbfgs":
                    raise ValueError(
                        "lbfgs is for one process: leave it out, or say --parallel none"
                    )
            if call.prints:
                say(describe_processes(parallel, settings.stream))
        backend = choose_backend(call.backend, device, call.dtype, call.precision)
        try:
            facts = _train(call, settings, given, backend, notes, parallel)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(*_advice(call, settings)) from None
        except DivergenceError as error:
            message = str(error).replace(WEIGHTS_KEPT, "no model was written")
            raise ValueError(". ".join([message, *_advice(call, settings)])) from error
        if parallel is not None:
            note_together(parallel, notes)
        if call.as_json:
            print_json(facts | {"notes": notes})
        elif not call.quiet:
            _print_facts(facts)
        interrupted = interruption.number is not None
        if interrupted or (facts["stopped"] and call.prints):
            for advice in _advice(call, settings):
                say(advice, error=not call.prints)
        if interrupted:
            raise typer.Exit(interruption.exit_code)


def _is_given(context: typer.Context, option: str) -> bool:
    """Return whether an option was given, rather than left at its default."""
    source = context.get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"


def _train(
    call: Call,
    settings: Settings,
    given: Collection[str],
    backend: Backend,
    notes: list[str],
    parallel: MPI | None,
) -> dict[str, Any]:
    """Train a model and write it; return all there is to know about the training."""
    arrays = takes_arrays(call.data, settings)
    if not arrays:
        settings = choose_model(settings, given)
    with ExitStack() as stack:
        if arrays or not is_for_tables(settings):
            outcome = _train_plain(call, settings, backend, arrays, stack, parallel)
        else:
            outcome = train_tabular(call, settings, backend, stack, parallel)
        writes = parallel is None or parallel.rank == 0
        if writes:
            warn_if_worse(outcome)
        report = {}
        if call.in_full:
            report["report"] = build_report(outcome.model, outcome.x, outcome.y, outcome.outputs)
    model = outcome.model
    facts = {"settings": outcome.settings, "epochs": outcome.epochs, **outcome.metrics}
    model.network.metadata |= {"training": {"precision": backend.precision, **facts}}
    if writes:
        model.network.save(call.output)
    facts |= {
        "task": model.task,
        "target": model.encoder.target.name,
        "classes": model.classes or None,
        "backend": backend.name,
        "device": backend.device_name(),
        "peak_memory": _peak_memory(backend),
        "dtype": backend.dtype_name,
        "precision": backend.precision,
        "rows": outcome.row_count,
        "validation_rows": outcome.counts[1],
        "seconds": outcome.seconds,
        "stopped": outcome.stopped,
        "baseline_answer": outcome.baseline_answer,
        "model": str(call.output),
    }
    if len(outcome.histories) == 1:
        facts["history"] = outcome.histories[0].to_dict()
    if outcome.histories[0].profile is not None:
        facts["profile"] = outcome.histories[0].profile.to_dict()
    if call.html is not None:
        if writes:
            write_training_report(call.html, outcome, notes, call.output)
        facts["html"] = str(call.html)
    return facts | outcome.more | report


def _train_plain(
    call: Call,
    settings: Settings,
    backend: Backend,
    arrays: bool,
    stack: ExitStack,
    parallel: MPI | None,
) -> Outcome:
    """Train a plain network for a table, or one for arrays; see :func:`train_tabular`."""
    kept = call.html is not None or not settings.stream
    keep = partial(read_rows, keep_table=kept, parallel=parallel)
    read = partial(read_array_rows, dtype=backend.dtype_name) if arrays else keep
    rows = read(call.data, call.target, settings)
    with wrong_call():
        settings = settings.resolve(rows.encoder, rows.training_count)
        callbacks = call.build_callbacks(rows.validation is not None)
    model = _build_model(rows, settings, backend)
    # A checkpoint can predict, too.
    model.network.metadata |= model.metadata()
    if rows.dialect is not None:
        model.network.metadata["dialect"] = rows.dialect.to_dict()
    plan = _plan(model, rows, settings)
    if parallel is not None and rows.stream is not None:
        parallel = choose_reading(parallel, call.reads, rows.stream, settings)
        plan |= describe_reading(parallel)
    if call.prints:
        print_facts(plan)
    stack.enter_context(thread_limit(call.threads, model.network, settings.batch_size or 1))
    history = _fit(model, rows, settings, call, callbacks, parallel)
    check_epochs(history, call.max_time)
    metrics, answer = _evaluate(model, rows)
    own = {name: value for name, value in asdict(settings).items() if name not in TABLE_OPTIONS}
    counts = rows.training_count, rows.validation_count
    training, holdout = rows.parts or (None, None)
    parts = training, holdout if rows.validation else training
    reported = rows.validation or (rows.x, rows.y)
    return Outcome(model, own, [history], counts, *reported, metrics, answer, plan, parts)


def _build_model(rows: Rows, settings: Settings, backend: Backend) -> Model:
    """Return a model with a new network."""
    loss, encoder = settings.loss or "", rows.encoder
    outputs = 1 if has_one_output(loss) else len(encoder.classes)
    network = nnb.Network(
        settings.build_layers(outputs, encoder.input_shape),
        backend=backend,
        seed=settings.seed,
        input_shape=encoder.input_shape,
    )
    return MODELS[type(encoder)](
        network, encoder, loss, settings.output_activation, settings.label_smoothing or 0.0
    )


def _fit(
    model: Model,
    rows: Rows,
    settings: Settings,
    call: Call,
    callbacks: list[Callback],
    parallel: MPI | None,
) -> History:
    """Train the network of a model; see ``Network.fit``."""
    data = (rows.x, rows.y) if rows.stream is None else (rows.stream,)
    return model.network.fit(
        *data,
        loss=model.loss_function,
        class_weight=settings.class_weight,
        augment=settings.build_augmentations(),
        optimizer=settings.build_optimizer(rows.training_count),
        epochs=settings.epochs or 1,
        batch_size=settings.batch_size,
        accumulate=settings.accumulate,
        validation_data=rows.validation,
        metrics=["accuracy"] if model.classes else [],
        callbacks=settings.build_callbacks(rows.validation is not None) + callbacks,
        resume=call.resume,
        verbose=None if call.prints else 0,
        profile=call.profile,
        parallel=parallel,
    )


def _evaluate(model: Model, rows: Rows) -> tuple[dict[str, Any], str]:
    """Return the metrics on both parts of the rows and those of a baseline, and its answer.

    The baseline is compared with the validation rows, or the training rows where there are none. For
    rows that stream the metrics are those of the sample.
    """
    validation = model.evaluate(*rows.validation) if rows.validation else None
    compared = rows.validation[1] if rows.validation else rows.y
    baseline, answer = model.evaluate_baseline(rows.y, compared)
    train = model.evaluate(rows.x, rows.y)
    return {"train": train, "validation": validation, "baseline": baseline}, answer


def _peak_memory(backend: Backend) -> int | None:
    """Return the peak memory in bytes: of the device, or on the CPU of this process; None: unknown."""
    memory = backend.memory()
    if memory is not None:
        return memory.peak
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _plan(model: Model, rows: Rows, settings: Settings) -> dict[str, str]:
    """Announce the training: network, data and backend."""
    network, encoder = model.network, model.encoder
    target = f"{model.task} of {encoder.target.name!r}"
    training, validation = rows.training_count, rows.validation_count
    layers = [row for row in network.summary_rows() if not row.is_inside]
    parameters = sum(row.parameters for row in layers)
    return {
        "task": f"{target}: {few(model.classes, 10)}" if model.classes else target,
        "rows": f"{training + validation}: {training} train, {validation} validate"
        + (f"; {len(rows.y)} of those that train are the sample" if rows.stream else ""),
        "features": encoder.summary,
        "network": f"{settings.model}: {', '.join(row.layer for row in layers)}; "
        f"{parameters:,} parameters",
        "training": f"{counted(settings.epochs or 1, 'epoch')} in batches of {settings.batch_size}, "
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


def _print_facts(facts: dict[str, Any]) -> None:
    """Print what came of a training, for people."""
    say()
    metrics = {name: facts[name] for name in ("train", "validation", "baseline")}
    several = len(facts.get("networks", ())) > 1
    compared = "validation rows" if facts["validation"] else "training rows"
    remarks = {"baseline": f"({facts['baseline_answer']}, on {compared})"}
    if several:
        remarks["validation"] = "(each row by the networks that it was held out of)"
    scaled = facts["task"] == "regression" and facts["settings"].get("scale") != "none"
    print_metrics(metrics, remarks, scaled)
    say()
    if facts["stopped"] and not facts["stopped"].startswith("interrupted"):  # that was said at once
        say(f"Stopped early: {facts['stopped']}")
    for line in _describe_networks(facts):
        say(line)
    peak = "" if facts["peak_memory"] is None else f", peak memory {in_words(facts['peak_memory'])}"
    of_each = " of each network" if several else ""
    epochs = f"{counted(facts['epochs'], 'epoch')}{of_each}"
    say(f"{epochs} in {facts['seconds']:.1f} s on {facts['device']}{peak}")
    say(f"Model written to {facts['model']}")
    if "html" in facts:
        say(f"Report written to {facts['html']}")
    say(f"Predict with it: nnbackend predict {shlex.quote(facts['model'])} DATA")
    if "report" in facts:
        print_report(facts["report"], compared)


def _describe_networks(facts: dict[str, Any]) -> Iterator[str]:
    """Say which epochs' weights the networks for a table have, and how they were calibrated."""
    networks = facts.get("networks", [])
    if networks and facts["validation"]:
        yield f"Best epoch: {few([str(one['best_epoch']) for one in networks], 10)}"
    temperatures = [one["temperature"] for one in networks if one["temperature"] is not None]
    if temperatures:
        shown = few([f"{temperature:.3g}" for temperature in temperatures], 10)
        yield f"Temperature by which logits are divided: {shown}"
    if facts.get("target_scale") == "log":
        yield "The target's logarithm was learned"


def _advice(call: Call, settings: Settings) -> list[str]:
    """Return how to go on from the checkpoints of a run that stopped, if there are any and it can."""
    if call.checkpoint is None or not nnb.checkpoints.files(call.checkpoint):
        return []
    if settings.optimizer == "lbfgs":  # SciPy keeps its memory to itself
        return []
    return [f"Go on with the same command and --resume {shlex.quote(str(call.checkpoint))}"]
