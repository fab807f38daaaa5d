"""The losses that a model of a table or an array may have, by task."""

from __future__ import annotations

from nnbackend import losses
from nnbackend.errors import UnknownNameError
from nnbackend.losses import Loss

__all__ = ["LOSSES", "build_loss", "has_one_output", "output_activation_of"]

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


def build_loss(name: str, label_smoothing: float) -> Loss:
    """Return the loss of a name.

    Raises:
        ValueError: it has no label smoothing, or the amount is out of range.
    """
    if label_smoothing == 0.0:
        return losses.get(name)
    try:
        smoothed: Loss = losses.LOSSES.create(name, label_smoothing=label_smoothing)
    except UnknownNameError:
        raise ValueError(
            f"the loss {name} has no label smoothing; cross-entropies have it: "
            "softmax_cross_entropy, binary_cross_entropy"
        ) from None
    return smoothed


def has_one_output(loss: str) -> bool:
    """Return whether a loss takes a single output: a number, or one for the second of two classes."""
    targets = losses.trait(losses.get(loss), "targets")
    return loss in LOSSES["regression"] or targets in ("fractions", "signs")


def output_activation_of(loss: str) -> str | None:
    """Return the activation that turns outputs, trained with a loss, into probabilities, if any."""
    return losses.absorbed_activation(losses.get(loss))
