"""RealMLP: a multilayer perceptron for tables with tuned defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnbackend.core.checks import check_choice, check_flag, check_items, check_number, check_size
from nnbackend.core.layer_tree import children
from nnbackend.core.types import Layer
from nnbackend.layers import (
    Activation,
    Concatenate,
    Dropout,
    Embedding,
    FeatureScale,
    Graph,
    ParametricActivation,
    PeriodicEmbedding,
    Replicate,
    Reshape,
    ScaledDense,
    Sequential,
)
from nnbackend.optimizers import AdamW, Grouped, Optimizer
from nnbackend.schedules import CosineLog, FlatCosine
from nnbackend.tabular.indices import check_cardinalities

__all__ = ["build_realmlp", "build_realmlp_optimizer"]

TASKS = ("classification", "regression")
EMBEDDED = 8
"""Numbers that stand for a value of a category with many."""

_FACTORS = {
    "embedding": {"learning_rate_factor": 0.1, "weight_decay_factor": 0.1},
    "scale": {"learning_rate_factor": 6.0, "weight_decay_factor": 6.0},
    "bias": {"learning_rate_factor": 0.1, "weight_decay": 0.0},
    "activation": {"learning_rate_factor": 0.1, "weight_decay_factor": 0.1},
}
"""What groups of parameters multiply the learning rate and the weight decay by."""


def build_realmlp(
    numbers: int,
    one_hot: int = 0,
    categories: Sequence[int] = (),
    *,
    outputs: int,
    steps: int,
    task: str = "classification",
    simple: bool = False,
    hidden: Sequence[int] = (256, 256, 256),
    dropout: float = 0.15,
    members: int | None = None,
) -> list[Layer]:
    """Return the layers of RealMLP, in the variant TD or, with ``simple``, TD-S.

    TD: a periodic embedding of each number, embeddings of categories with many values, a scale of each
    feature, and hidden layers in the neural-tangent form with a parametric activation and a dropout
    that ends with the training. TD-S has neither embeddings nor dropout, and plain activations. The
    activation is SELU for classification and Mish for regression. Classification ends in a softmax, for
    two classes too.

    The network takes rows of ``numbers + one_hot`` features, in this order; with ``categories`` a
    dictionary, ``{"numbers": rows, "indices": offset_indices(codes, categories)}``. Call
    ``net.initialize_from`` with the first batch before ``fit``.

    Args:
        numbers: the number of numeric columns, scaled to about unit size.
        one_hot: the number of further columns, which are not embedded; default 0.
        categories: the number of values of each column of indices; default: there is none.
        outputs: the number of classes, 2 or more, or of targets.
        steps: the number of steps of the training, over which the rate of dropout falls.
        task: ``"classification"`` (the default) or ``"regression"``.
        simple: whether to build TD-S; default False.
        hidden: the number of outputs of each hidden layer; default three times 256.
        dropout: the rate of dropout in the first half of the training; default 0.15.
        members: the number of networks that are trained together, each with parameters of its own, by
            :class:`~nnbackend.losses.EachMember`; outputs have the shape (members, outputs) then. None
            (the default): there is one, and outputs have the shape (outputs,).

    Raises:
        ValueError: a number is out of range, there is no column, or TD-S is to have embedded categories.

    Source: Holzmüller, Grinsztajn, Steinwart (2024), Better by Default, arXiv:2407.04491; constants as
    in the authors' package pytabkit 1.8.0.
    """
    numbers, one_hot = check_size("numbers", numbers, 0), check_size("one_hot", one_hot, 0)
    categories, steps = check_cardinalities(categories), check_size("steps", steps)
    classes = check_choice("task", task, TASKS) == "classification"
    outputs = check_size("outputs", outputs, 2 if classes else 1)
    widths = [check_size("hidden", width) for width in check_items("hidden", hidden, "widths")]
    dropout = check_number("dropout", dropout, 0.0, 1.0)
    if numbers + one_hot == 0:
        raise ValueError("a network needs a numeric or a one-hot column: numbers and one_hot are 0")
    if check_flag("simple", simple) and categories:
        raise ValueError("TD-S embeds no categories: give them as one-hot columns")
    if members is not None:
        members = check_size("members", members)
    axes = 1 if members is None else 2
    function = "selu" if classes else "mish"
    layers = _first_layers(numbers, categories, simple, members)
    layers.append(FeatureScale(axes=axes))
    for width in widths:
        if simple:
            dense = ScaledDense(width, members, bias_initializer="normal", data_driven=False)
            layers += [dense, Activation(function)]
            continue
        layers += [ScaledDense(width, members), ParametricActivation(function, axes=axes)]
        if dropout:
            layers.append(Dropout(FlatCosine(dropout, steps)))
    last = ScaledDense(outputs, members)
    if simple:
        last = ScaledDense(outputs, members, initializer="zeros", data_driven=False)
    return [*layers, last, *([Activation("softmax")] if classes else [])]


def _first_layers(
    numbers: int, categories: tuple[int, ...], simple: bool, members: int | None
) -> list[Layer]:
    """Return the layers that embed numbers and categories, for each member."""
    layers: list[Layer] = [] if members is None else [Replicate(members)]
    if numbers and not simple:
        layers.append(PeriodicEmbedding(count=numbers, axes=1 if members is None else 2))
    if not categories:
        return layers
    tables, width = sum(categories) * (members or 1), len(categories) * EMBEDDED
    shape = (width,) if members is None else (members, width)
    values = Sequential([Embedding(tables, EMBEDDED), Reshape(shape)])
    nodes: dict[str, Any] = {"values": (values, "indices")}
    if layers:
        nodes["embedded"] = (Sequential(layers), "numbers")
    nodes["all"] = (Concatenate(), "embedded" if layers else "numbers", "values")
    return [Graph(("numbers", "indices"), nodes, "all")]


def build_realmlp_optimizer(
    layers: Sequence[Layer],
    steps: int,
    *,
    task: str = "classification",
    simple: bool = False,
    learning_rate: float | None = None,
    weight_decay: float = 0.02,
) -> Optimizer:
    """Return the optimizer of RealMLP: AdamW with schedules, and factors for groups of parameters.

    The learning rate goes up and down four times, ``CosineLog``, the weight decay stays for half of the
    training, ``FlatCosine``. Learning rates are multiplied by 6 for the feature scale and by 0.1 for
    biases, parametric activations and the periodic embedding; weight decay by 6, 0, 0.1 and 0.1, as
    in the package. TD-S has no decay, and factors of the learning rate for the scale and biases alone.

    Args:
        layers: the layers of :func:`build_realmlp`, with which the network begins.
        steps: the number of steps of the training: epochs times steps of an epoch.
        task: ``"classification"`` (the default) or ``"regression"``.
        simple: whether it is for TD-S; default False.
        learning_rate: the largest learning rate; None (the default): 0.04 for classification, and 0.2
            for regression or 0.07 with ``simple``.
        weight_decay: the weight decay at the beginning, without ``simple``; default 0.02.

    Raises:
        ValueError: a number is out of range.
    """
    steps = check_size("steps", steps)
    classes = check_choice("task", task, TASKS) == "classification"
    if learning_rate is None:
        learning_rate = 0.04 if classes else 0.07 if check_flag("simple", simple) else 0.2
    rate = CosineLog(check_number("learning_rate", learning_rate, 0.0), steps)
    decay = 0.0 if simple else FlatCosine(check_number("weight_decay", weight_decay, 0.0), steps)
    optimizer = AdamW(rate, beta1=0.9, beta2=0.95, weight_decay=decay)
    return Grouped(optimizer, dict(_groups(Sequential(layers), "")))


def _groups(layer: Layer, prefix: str) -> list[tuple[str, dict[str, float]]]:
    """Return a pattern of names and factors for each layer that has its own, inside a layer."""
    found: list[tuple[str, dict[str, float]]] = []
    for name, child in children(layer):
        path = f"{prefix}{name}."
        if isinstance(child, PeriodicEmbedding):
            found.append((f"{path}*", _FACTORS["embedding"]))
        elif isinstance(child, FeatureScale):
            found.append((f"{path}weight", _FACTORS["scale"]))
        elif isinstance(child, ParametricActivation):
            found.append((f"{path}weight", _FACTORS["activation"]))
        elif isinstance(child, ScaledDense) and child.bias:
            found.append((f"{path}bias", _FACTORS["bias"]))
        else:
            found += _groups(child, path)
    return found
