"""The objective of training: the loss to minimize and the metrics to watch, for one network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nnbackend import activations, losses, metrics, regularizers
from nnbackend.activations import Identity
from nnbackend.core.checks import check_takes, named
from nnbackend.core.layer_tree import weights_with
from nnbackend.core.shapes import Shapes, is_shape
from nnbackend.core.tree import flatten
from nnbackend.core.types import Array, Context, Layer, Params, Shape
from nnbackend.errors import listed, unknown_name
from nnbackend.layers.output import (
    is_removable,
    output_activation,
    output_activations,
    split_output_activations,
)
from nnbackend.losses import EachMember, Loss, PerOutput
from nnbackend.losses.each_member import shape_of_a_member
from nnbackend.metrics import Metric
from nnbackend.metrics.per_output import OneOutput
from nnbackend.transforms import Augmentation

__all__ = ["Objective", "loss_for", "names_of_outputs", "objective_for"]


@dataclass(frozen=True)
class Objective:
    """The loss to minimize and the metrics to watch.

    Attributes:
        layers: the layers of training, without the output activation that the loss contains.
        loss: takes the output of ``layers``.
        output: the output activation, from the output of ``layers`` to that of the network.
        metrics: the metrics by name; they take the output of the network.
        penalties: the layers' regularizers, added to the loss.
        constraints: the layers' constraints, by the dotted name of the weight.
        row_penalty: a penalty that is divided by the rows of each batch, or None.
        mean_by_rows: whether the mean loss of an epoch counts a batch by its rows, also where they have
            weights; if not, by the sum of their weights.
        augmentation: what the batches of training go through before the layers, or None.
    """

    layers: Layer
    loss: Loss
    output: Callable[[Array, Context], tuple[Array, Any]]
    metrics: Mapping[str, Metric]
    penalties: regularizers.Terms = ()
    constraints: tuple[tuple[str, Any], ...] = ()
    row_penalty: regularizers.PerRowL2 | None = None
    mean_by_rows: bool = False
    augmentation: Augmentation | None = None


def objective_for(
    layers: Layer,
    body: Layer,
    last: Any,
    params: Params,
    output_shape: Shapes,
    loss: Loss,
    watched: Iterable[str | Metric] | Mapping[str, Any] | None,
) -> Objective:
    """Return the objective of a network; a loss that contains the output activation gets it taken off.

    ``body`` are the layers without their output activation ``last``; ``watched`` are metrics, as names,
    functions or functions by name, or by output; None: none, nor the losses of several outputs.

    Raises:
        ValueError: the loss does not go with the output activation or the number of outputs, or a layer
            has a regularizer or a constraint and no weight.
    """
    if losses.LOSSES.name_of(loss) is None:
        check_takes("loss", loss, "prediction", "target")
    terms = (
        _for_weights("regularizer", layers, params),
        _for_weights("constraint", layers, params),
    )
    if not is_shape(output_shape):
        trained, output, found = _of_several(layers, output_shape, loss, watched)
        return Objective(trained, loss, output, found, *terms)
    absorbed = losses.absorbed_activation(loss)
    ends_in = activations.name_of(last)
    with_members = isinstance(loss, EachMember)
    if with_members:
        output_shape = shape_of_a_member(output_shape)
    _check_ending(loss, ends_in, output_shape)
    _check_hidden_activation(loss, *output_activation(layers))
    if absorbed is not None and ends_in == absorbed:
        trained, output = body, last
    else:
        trained, output = layers, Identity()
    if with_members:
        output = MeanOfMembers(output)
    meaning = metrics.outputs_of(loss, ends_in)
    return Objective(
        trained,
        loss,
        output,
        metrics.resolve(watched, meaning, output_shape),
        *terms,
    )


@dataclass(frozen=True)
class MeanOfMembers:
    """An output activation, and then the mean over members: what metrics compare with targets.

    Args:
        activation: the output activation of each member.
    """

    activation: Callable[[Array, Context], tuple[Array, Any]]

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        """Return the mean of outputs of shape (rows, members, ...), and no backward pass."""
        return ctx.xp.mean(self.activation(x, ctx)[0], axis=1), None


def _of_several(
    layers: Layer, shapes: Shapes, loss: Loss, watched: Any
) -> tuple[Layer, Any, dict[str, Metric]]:
    """Return the layers to train, the activations taken off, and the metrics of several outputs."""
    names = names_of_outputs(layers, shapes)
    if not names:  # outputs within outputs: they have no names
        return layers, Identity(), metrics.resolve(watched, None, shapes)
    ends, outputs, taken = output_activations(layers), {}, []
    own = loss.by_name if isinstance(loss, PerOutput) else {}
    places = shapes if isinstance(shapes, dict) else range(len(shapes))
    for place, name in zip(places, names, strict=True):
        end, shape, part = ends.get(name, (Identity(), None)), shapes[place], own.get(name)
        ends_in = activations.name_of(end[0]) if end[1] is None else None
        meaning = metrics.outputs_of(loss if part is None else part, ends_in)
        outputs[name] = OneOutput(place, shape, meaning, part)
        if part is None:
            continue
        if losses.LOSSES.name_of(part) is None:
            check_takes(f"the loss of the output {name!r}", part, "prediction", "target")
        with named(f"the output {name!r}"):
            _check_ending(part, ends_in, shape)
            _check_hidden_activation(part, *end)
        if is_removable(end) and losses.absorbed_activation(part) == ends_in:
            taken.append(name)
    trained, output = split_output_activations(layers, taken)
    return trained, output, metrics.resolve_by_output(watched, outputs)


def loss_for(layers: Layer, shapes: Shapes, loss: Any, weights: Any) -> Loss:
    """Return the loss of a network, as ``fit`` is given it with ``loss_weights``.

    Raises:
        ValueError, UnknownNameError, TypeError: they do not go with its outputs.
    """
    names = None if is_shape(shapes) else names_of_outputs(layers, shapes)
    return losses.loss_for_outputs(loss, weights, names, isinstance(shapes, tuple))


def names_of_outputs(layers: Layer, shapes: Shapes) -> tuple[str, ...]:
    """Return the names of several outputs: keys, nodes of a graph, or numbers; () if they are nested.

    Raises:
        ValueError: a layer says the activations of other outputs than it has.
    """
    each = shapes.values() if isinstance(shapes, dict) else shapes
    if not all(map(is_shape, each)):
        return ()
    said = tuple(output_activations(layers))
    if isinstance(shapes, tuple) and len(said) == len(shapes):
        return said
    names = tuple(shapes) if isinstance(shapes, dict) else tuple(map(str, range(len(shapes))))
    for name in said:
        if name not in names:
            raise ValueError(f"output_activations: {unknown_name('output', name, names)}")
    return names


def _check_ending(loss: Loss, ends_in: str | None, output_shape: Shape) -> None:
    """Check that a loss goes with how a network ends."""
    name = losses.LOSSES.name_of(loss)
    if ends_in in losses.trait(loss, "refuses"):
        absorbed = losses.absorbed_activation(loss)
        wanted = "no output activation" + (f" or {absorbed}" if absorbed else "")
        raise ValueError(f"the loss {name} goes with {wanted}, but the network ends in {ends_in}")
    fewest = losses.trait(loss, "fewest_outputs")
    if output_shape and output_shape[-1] < fewest:
        raise ValueError(
            f"the loss {name} needs {fewest} outputs or more, and the network has "
            f"{output_shape[-1]}; for one output with two classes use binary_cross_entropy"
        )


def _check_hidden_activation(loss: Loss, activation: Any, where: str | None) -> None:
    """Check that no activation which a loss contains or refuses is where it must stay."""
    name = activations.name_of(activation)
    contained = losses.absorbed_activation(loss)
    if where is None or name is None or name not in (contained, *losses.trait(loss, "refuses")):
        return
    takes = f"the numbers before a {contained}" if contained else "scores"
    raise ValueError(
        f"the loss {losses.LOSSES.name_of(loss)} takes {takes}, but the {name} at the end of the "
        f"network is {where}, where it cannot be taken off: the loss would take its outputs for "
        f"{'logits' if contained else 'scores'}. Make the {name} the last layer, or leave it out"
    )


def _for_weights(attribute: str, layers: Layer, params: Params) -> tuple[tuple[str, Any], ...]:
    """Return the regularizers or constraints of the layers, with the weights they are for."""
    found = weights_with(attribute, layers)
    names = flatten(params) if found else {}
    for name, _ in found:
        if name not in names:
            raise ValueError(
                f"a layer has a {attribute}, which is for its weight, but there is no parameter "
                f"{name}; there are {listed(names)}. A layer with layers inside must keep their "
                "parameters under the names that nnbackend.layers.children gives"
            )
    return found
