"""The steps of a pass, named: forward, loss, the five steps back, update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnbackend.microscope.views import View

__all__ = ["Step", "find_steps"]


@dataclass(frozen=True)
class Step:
    """A step of the pass.

    Attributes:
        key: its name in formulas: ``"row"``, ``"forward:0"``, ``"loss"``, ``"error:0"``, ``"delta:0"``,
            ``"adjustment"`` or ``"update"``, with the number of the view.
        title: what it is called.
        text: what happens in it.
        column: the number of the layer that it is about, the inputs being 0; None: of none.
    """

    key: str
    title: str
    text: str
    column: int | None = None


def find_steps(
    views: Sequence[View], loss: str, is_difference: bool, optimizer: str, rows: int
) -> list[Step]:
    """Return the steps of a pass in order.

    Args:
        views: the layers.
        loss: the loss as text.
        is_difference: whether the output error of an activation in the loss is output minus target.
        optimizer: the optimizer as text.
        rows: the number of rows.
    """
    last = len(views) - 1
    several = f"{rows} rows" if rows > 1 else "row"
    steps = [
        Step(
            "row", "Input", f"The {several} that the network is given, and the target to reach.", 0
        )
    ]
    for i, view in enumerate(views):
        name = "output layer" if i == last else f"layer {view.path}"
        steps.append(Step(f"forward:{i}", f"Forward: {name}", _forward_text(view), i + 1))
    steps.append(
        Step("loss", "Loss", f"How far the output is from the target, as one number: {loss}.")
    )
    steps.append(
        Step(f"error:{last}", "Output error", _error_text(views[-1], is_difference), last + 1)
    )
    if views[-1].is_dense or views[-1].is_convolution:
        text = _delta_text(views[-1], True)
        steps.append(Step(f"delta:{last}", "Delta output sum", text, last + 1))
    hidden = range(last - 1, -1, -1)
    for i in hidden:
        name = f", layer {views[i].path}" if last > 1 else ""
        steps.append(
            Step(f"error:{i}", f"Hidden error{name}", _hidden_text(views[i], views[i + 1]), i + 1)
        )
        if views[i].is_dense or views[i].is_convolution:
            text = _delta_text(views[i], False)
            steps.append(Step(f"delta:{i}", f"Hidden delta{name}", text, i + 1))
    total = " The rows are added up." if rows > 1 else ""
    steps.append(
        Step(
            "adjustment",
            "Adjustment",
            _adjustment_text(views) + total,
        )
    )
    steps.append(
        Step(
            "update",
            "Update",
            f"{optimizer} moves each weight against its gradient. Here it is the first step of a new "
            "optimizer.",
        )
    )
    return steps


def _adjustment_text(views: Sequence[View]) -> str:
    text = (
        "The gradient of each weight: what came in, times the delta of the sum that it goes into."
    )
    if any(view.is_dense and view.divisor for view in views):
        text += " Where the sum is divided by a root, so is the gradient of its weights."
    if any(view.has_feature_weights for view in views):
        text += " Of the weight of a feature: what it multiplies, times the error of the result."
    return text


def _forward_text(view: View) -> str:
    name = view.function_name
    through = f", and puts the sum z through {name}" if name else ""
    if view.is_dense:
        scaled = ", divides the sum by the root of the number of inputs" if view.divisor else ""
        return (
            "Each unit multiplies what it is given with its weights, adds the products up"
            f"{scaled}{through}: {view.text}."
        )
    if view.is_convolution:
        return (
            "Each output multiplies a window of the image with the weights of its channel, adds the "
            f"products up{through}: {view.text}."
        )
    return f"What the layer makes of what it is given: {view.text}."


def _error_text(view: View, is_difference: bool) -> str:
    if view.absorbed:
        left = ", which leaves the difference of output and target" if is_difference else ""
        together = f"{view.absorbed} and loss are derived together"
        return f"How the loss changes with each sum: {together}{left}."
    return (
        "How the loss changes with each output: the derivative of the loss, larger with the error."
    )


def _delta_text(view: View, is_output: bool) -> str:
    what = "output" if is_output else "hidden"
    if view.absorbed:
        return f"The output error is that of the sum already: {view.absorbed} is part of the loss."
    if name := view.function_name:
        return f"The {what} error times the slope of {name}: how the loss changes with the sum."
    return f"There is no activation behind the sum: the {what} error is that of the sum."


def _hidden_text(view: View, following: View) -> str:
    if following.first.dx is not view.last.dy:
        return "How the loss changes with each number that the layer gave: what is behind hands it back."
    if following.is_dense:
        scaled = ", and divided by the root of that layer's number of inputs"
        return (
            "What each unit contributed to the error: the deltas of the layer behind it, each times the "
            f"weight that leads there, added up{scaled if following.divisor else ''}."
        )
    return f"What {following.text} hands back: how the loss changes with each number it was given."
