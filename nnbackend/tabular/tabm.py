"""TabM: an ensemble of multilayer perceptrons that share most of their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnbackend.core.checks import check_choice, check_items, check_number, check_size
from nnbackend.core.types import Layer
from nnbackend.initializers import Uniform
from nnbackend.layers import Activation, Dropout, MemberDense, RankOneDense, Replicate
from nnbackend.optimizers import AdamW, Optimizer

__all__ = ["build_tabm", "build_tabm_optimizer"]


def build_tabm(
    features: int,
    *,
    outputs: int,
    task: str = "classification",
    members: int = 32,
    hidden: Sequence[int] = (512, 512, 512),
    dropout: float = 0.1,
) -> list[Layer]:
    """Return the layers of TabM: one perceptron for all members, with scales of each of them.

    The members get the same row, differ by random signs of the first layer's inputs, and each has a last
    layer of its own. They are trained by :class:`~nnbackend.losses.EachMember`; outputs have the shape
    (members, outputs), and the prediction is their mean, for classes that of the probabilities:
    ``net.predict(x).mean(axis=1)``, or a :class:`~nnbackend.layers.MemberMean` at the end.

    Args:
        features: the number of columns: numbers scaled to about unit size, and one-hot columns.
        outputs: the number of classes, 2 or more, or of targets.
        task: ``"classification"`` (the default), which ends in a softmax, or ``"regression"``.
        members: the number of members; default 32.
        hidden: the number of outputs of each hidden layer; default three times 512.
        dropout: the rate of dropout behind each hidden layer; default 0.1.

    Raises:
        ValueError: a number is out of range.

    Source: Gorishniy, Kotelnikov, Babenko (2025), TabM, arXiv:2410.24210; constants as in the authors'
    package tabm 0.0.3.
    """
    inputs, members = check_size("features", features), check_size("members", members)
    classes = check_choice("task", task, ("classification", "regression")) == "classification"
    outputs = check_size("outputs", outputs, 2 if classes else 1)
    widths = [check_size("hidden", width) for width in check_items("hidden", hidden, "widths")]
    dropout = check_number("dropout", dropout, 0.0, 1.0)
    layers: list[Layer] = [Replicate(members)]
    for i, width in enumerate(widths):
        uniform, signs = _uniform(inputs), "ones" if i else "random_signs"
        dense = RankOneDense(width, members, True, uniform, uniform, input_initializer=signs)
        layers += [dense, Activation("relu"), Dropout(dropout)]
        inputs = width
    layers.append(MemberDense(outputs, members, True, _uniform(inputs), _uniform(inputs)))
    return [*layers, *([Activation("softmax")] if classes else [])]


def _uniform(inputs: int) -> Uniform:
    """Return the initializer of a layer with so many inputs."""
    limit = 1.0 / math.sqrt(inputs)
    return Uniform(-limit, limit)


def build_tabm_optimizer(learning_rate: float = 0.002, weight_decay: float = 0.0003) -> Optimizer:
    """Return the optimizer that TabM's authors begin with: AdamW.

    Args:
        learning_rate: the learning rate; default 0.002.
        weight_decay: the weight decay; default 0.0003.

    Raises:
        ValueError: a number is negative.
    """
    return AdamW(learning_rate, weight_decay=weight_decay)
