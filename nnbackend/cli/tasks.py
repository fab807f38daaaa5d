"""What a table's target calls for: losses, outputs, and the activation of the output."""

from __future__ import annotations

from collections.abc import Sequence

from nnbackend import losses
from nnbackend.errors import UnknownNameError
from nnbackend.losses import Loss
from nnbackend.tables.encoding import Classes, TableEncoder

__all__ = [
    "LOSSES",
    "build_loss",
    "check_output_activation",
    "classes_of",
    "has_one_output_for_two_classes",
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


def build_loss(loss: str, label_smoothing: float) -> Loss:
    """Return the loss of a name.

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


def classes_of(encoder: TableEncoder) -> Sequence[str]:
    """Return the classes of the target; none if it holds numbers."""
    return encoder.target.classes if isinstance(encoder.target, Classes) else ()


def task_of(encoder: TableEncoder) -> str:
    """Return ``classification`` for a target of texts, ``regression`` for one of numbers."""
    return "classification" if classes_of(encoder) else "regression"


def has_one_output_for_two_classes(loss: str) -> bool:
    """Return whether a loss of classes takes a single output, for the second of two classes."""
    return losses.trait(losses.get(loss), "targets") in ("fractions", "signs")


def output_width(encoder: TableEncoder, loss: str) -> int:
    """Return the number of outputs that a network needs for a target and a loss."""
    classes = classes_of(encoder)
    return 1 if not classes or has_one_output_for_two_classes(loss) else len(classes)


def output_activation(loss: str) -> str | None:
    """Return the activation that turns outputs, trained with a loss, into probabilities, if any."""
    return losses.absorbed_activation(losses.get(loss))


def check_output_activation(activation: str | None, loss: str) -> None:
    """Refuse an output activation that a loss does not suit, and say which one does."""
    if loss in LOSSES["classification"]:
        suits = output_activation(loss)
        if activation not in (None, "identity", suits):
            wanted = f"{suits} or none" if suits else "none"
            raise ValueError(f"with {loss} the output activation is {wanted}, not {activation}")
    elif activation == "softmax":
        raise ValueError("the softmax of a single output is always 1; it cannot predict numbers")
