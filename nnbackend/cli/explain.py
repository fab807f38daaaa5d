"""``nnbackend explain``: one training step of a model on rows of data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import nnbackend as nnb
from nnbackend import optimizers
from nnbackend.cli.arguments import (
    DataFile,
    Debug,
    ModelFile,
    WrongCall,
    check_output,
    load_model,
    wrong_call,
)
from nnbackend.cli.dialect import DialectOptions
from nnbackend.cli.draw import names_of
from nnbackend.cli.model_data import as_told, read_features_and_targets
from nnbackend.cli.options import takes_options
from nnbackend.cli.printing import say
from nnbackend.cli.reporting import reporting
from nnbackend.core.tree import slice_rows
from nnbackend.losses import Loss
from nnbackend.optimizers import OPTIMIZERS, Optimizer
from nnbackend.tables.losses import build_loss
from nnbackend.tables.model import Model

__all__ = ["explain"]


@takes_options(DialectOptions)
def explain(
    model: ModelFile,
    data: DataFile,
    row: Annotated[
        int,
        typer.Option(min=1, help="Which row of the data, of those with a target, counted from 1."),
    ] = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The page to write, a file that ends in .html: the network drawn, to step through.",
            show_default="a table is printed",
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help=f"Whose update is shown: {', '.join(n for n in OPTIMIZERS if n != 'lbfgs')}.",
            show_default="that of the training, or adam",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Size of the step.", show_default="that of the training"),
    ] = None,
    debug: Debug = False,
    **options: Any,
) -> None:
    """Explain one training step on a row: forward, loss, the way back, the update of each weight."""
    with reporting(debug):
        if output is not None:
            if output.suffix.lower() not in (".html", ".htm"):
                raise WrongCall(f"--output: the page is a file that ends in .html, got '{output}'")
            check_output(output, model, data)
        loaded = load_model(model, "numpy", None, None)
        trained = as_told(loaded, options)
        x, y = read_features_and_targets(trained, data, options)
        if row > len(y):
            raise WrongCall(f"--row {row}: the data have {len(y)} row(s) with a target")
        chosen = _optimizer(trained, optimizer, learning_rate)
        inputs, outputs = names_of(loaded)
        explanation = nnb.explain(
            trained.network,
            slice_rows(x, row - 1, row),
            y[row - 1 : row],
            _loss(trained),
            chosen,
            input_names=inputs,
            output_names=outputs,
        )
        if output is None:
            for line in str(explanation).splitlines():
                say(line)
            return
        explanation.save(output)
        say(f"wrote {output}: open it in a browser")


def _settings(model: Model) -> dict[str, Any]:
    """Return the settings of the training, as far as the file has them."""
    found: dict[str, Any] = model.network.metadata.get("training", {}).get("settings", {})
    return found


def _loss(model: Model) -> Loss:
    """Return the loss of the training.

    Networks for tables are evaluated without the label smoothing that they are trained with.
    """
    if _settings(model).get("members"):
        raise ValueError(
            "a network of members, as of --model tabm, is not explained: the file holds the mean of "
            "members, each of which has a loss of its own. Train another one, as with --model mlp"
        )
    smoothing = _settings(model).get("label_smoothing") or 0.0
    if model.label_smoothing or not smoothing:
        return model.loss_function
    return build_loss(model.loss, smoothing)


def _optimizer(model: Model, name: str | None, learning_rate: float | None) -> Optimizer:
    """Return the optimizer that was asked for, or that of the training as far as the file says."""
    settings = _settings(model)
    own: dict[str, Any] = {}
    if name is None:
        name = settings.get("optimizer") or "adam"
        known = ("learning_rate", "momentum", "weight_decay")
        own = {key: settings[key] for key in known if settings.get(key)}
        if "model" in settings and "optimizer" not in settings:
            say(
                f"note: {settings['model']} is trained by AdamW with a schedule and factors for some "
                "layers; the update shown is that of plain Adam",
                error=True,
            )
    if name == "lbfgs":
        raise WrongCall("lbfgs has no single step from a gradient: give another --optimizer")
    if learning_rate is not None:
        own["learning_rate"] = learning_rate
    with wrong_call("--optimizer"):
        return optimizers.get(name, **own)
