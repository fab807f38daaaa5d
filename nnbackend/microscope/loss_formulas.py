"""The formulas of the loss and of the output error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nnbackend import losses
from nnbackend.microscope.dense_formulas import MOST_TERMS, MOST_UNITS
from nnbackend.microscope.formulas import Formula, Number, Part, busiest
from nnbackend.microscope.snapshot import Snapshot

__all__ = ["has_output_units", "is_difference", "loss_formulas", "loss_text", "output_units"]


def loss_text(loss: Any) -> str:
    """Return the name of a loss, with its label smoothing."""
    name = losses.LOSSES.name_of(loss) or getattr(loss, "__name__", type(loss).__name__)
    smoothing = getattr(loss, "label_smoothing", 0.0)
    return f"{name} with label smoothing {smoothing:g}" if smoothing else str(name)


def is_difference(loss: Any) -> bool:
    """Return whether the error of the sums is output minus target, where the loss has the activation."""
    return _kind(loss) in ("bce", "ce") or type(loss) in (losses.KLDivergence, losses.Poisson)


def has_output_units(snapshot: Snapshot) -> bool:
    """Return whether the output of a row is a vector, with a target for each number."""
    return all(snapshot.arrays[name].ndim == 2 for name in ("output", "prediction", "target"))


def output_units(snapshot: Snapshot) -> list[int]:
    """Return the outputs that are shown: all, or those with the largest derivatives."""
    gradient = abs(snapshot.arrays["output:gradient"]).max(axis=0)
    return busiest(gradient, MOST_UNITS if len(gradient) <= MOST_UNITS else MOST_UNITS // 2)


def loss_formulas(loss: Any, snapshot: Snapshot, column: int, rows: int) -> Iterator[Formula]:
    """Yield the formulas of the loss and, where a row has a vector of outputs, of their errors.

    Args:
        loss: the loss.
        snapshot: the arrays of the step.
        column: the number of the output layer, the inputs being 0.
        rows: the number of rows.
    """
    if not has_output_units(snapshot):
        symbols, parts = f"loss = {loss_text(loss)}(output, target)", (Number("loss"),)
        yield Formula("loss", "loss", None, symbols, parts)
        return
    width = snapshot.arrays["output"].shape[1]
    kind = _kind(loss)
    yield from _predictions(kind, snapshot, column, rows)
    yield _value(loss, kind, snapshot, rows, width)
    for unit in output_units(snapshot):
        for row in range(rows):
            yield _error(loss, kind, column, unit, row, rows * width if kind != "ce" else rows)


def _kind(loss: Any) -> str:
    """Return how a loss is written; "" for by its name alone."""
    if type(loss) is losses.MeanSquaredError:
        return "mse"
    if type(loss) is losses.MeanAbsoluteError:
        return "mae"
    plain = getattr(loss, "label_smoothing", 0.0) == 0.0
    if type(loss) is losses.BinaryCrossEntropy and plain:
        return "bce"
    return "ce" if type(loss) is losses.SoftmaxCrossEntropy and plain else ""


def _predictions(kind: str, snapshot: Snapshot, column: int, rows: int) -> Iterator[Formula]:
    """Yield what the activation that the loss contains makes of the outputs."""
    if kind not in ("bce", "ce"):
        return
    width = snapshot.arrays["output"].shape[1]
    for unit in output_units(snapshot):
        for row in range(rows):
            z, p = Number("output", (row, unit)), Number("activated", (row, unit))
            item = f"neuron:{column}:{unit}"
            if kind == "bce":
                symbols, parts = "p = sigmoid(z) = 1 / (1 + exp(-z))", ("sigmoid(", z, ") = ", p)
                yield Formula("loss", item, row, symbols, parts)
                continue
            exps: list[Part] = []
            shown = min(width, MOST_TERMS)
            for k in range(shown):
                exps += [" + " if k else "", "exp(", Number("output", (row, k)), ")"]
            tail = f" + \u2026 ({width - shown:,} more)" if width > shown else ""
            symbols = "p = softmax(z) = exp(z) / sum of exp(z) over the outputs"
            yield Formula("loss", item, row, symbols, ("exp(", z, ") / (", *exps, f"{tail}) = ", p))


def _value(loss: Any, kind: str, snapshot: Snapshot, rows: int, width: int) -> Formula:
    """Return the formula of the loss."""
    value, n = Number("loss"), rows * width
    places = [(row, k) for row in range(rows) for k in range(width)]
    parts: list[Part] = []
    symbols = f"loss = {loss_text(loss)}(output, target)"
    if kind in ("mse", "mae") and n <= 8:
        symbols = (
            "loss = mean of (output - target)\u00b2"
            if kind == "mse"
            else "loss = mean of |output - target|"
        )
        opening, closing = ("(", ")\u00b2") if kind == "mse" else ("|", "|")
        for i, place in enumerate(places):
            o, t = Number("output", place), Number("target", place)
            parts += [" + " if i else "", opening, o, " - ", t, closing]
        parts = ["(", *parts, f") / {n}", " = "] if n > 1 else [*parts, " = "]
    elif kind == "ce" and rows <= 8 and _is_one_hot(snapshot):
        symbols = "loss = mean of -log(p of the right class)"
        for row in range(rows):
            right = int(snapshot.arrays["target"][row].argmax())
            parts += [" - " if row else "-", "log(", Number("activated", (row, right)), ")"]
        parts = ["(", *parts, f") / {rows}", " = "] if rows > 1 else [*parts, " = "]
    elif kind == "bce" and n == 1:
        symbols = "loss = -t \u00b7 log(p) - (1 - t) \u00b7 log(1 - p)"
        t, p = Number("target", (0, 0)), Number("activated", (0, 0))
        parts = ["-", t, " \u00b7 log(", p, ") - (1 - ", t, ") \u00b7 log(1 - ", p, ") = "]
    return Formula("loss", "loss", None, symbols, (*parts, value))


def _is_one_hot(snapshot: Snapshot) -> bool:
    """Return whether each row's target is one class."""
    target = snapshot.arrays["target"]
    return bool(((target == 0) | (target == 1)).all() and (target.sum(axis=1) == 1).all())


def _error(loss: Any, kind: str, column: int, unit: int, row: int, n: int) -> Formula:
    """Return the formula of the derivative of the loss with respect to an output."""
    place = (row, unit)
    o, p, t = Number("output", place), Number("activated", place), Number("target", place)
    error = Number("output:gradient", place)
    over = f" / {n}" if n > 1 else ""
    by = " / n" if n > 1 else ""
    item, step = f"neuron:{column}:{unit}", f"error:{column - 1}"
    if kind == "mse":
        symbols = f"error = 2 \u00b7 (output - target){by}"
        return Formula(step, item, row, symbols, ("2 \u00b7 (", o, " - ", t, f"){over} = ", error))
    if kind in ("bce", "ce"):
        symbols = f"error = (p - target){by}" if over else "error = p - target"
        opening, closing = ("(", ")") if over else ("", "")
        return Formula(
            step, item, row, symbols, (opening, p, " - ", t, f"{closing}{over} = ", error)
        )
    if kind == "mae":
        symbols = f"error = sign of (output - target){by}"
        return Formula(step, item, row, symbols, ("sign of (", o, " - ", t, f"){over} = ", error))
    symbols = f"error = derivative of {loss_text(loss)} by the output"
    return Formula(step, item, row, symbols, (error,))
