"""Observe a pass through a network, layer by layer: inputs, outputs and gradients.

Layers are wrapped for the pass, so they cost nothing otherwise. Arrays that a layer shows by
``ctx.note(name, array)`` are kept, too.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from nnbackend.core.checks import check_network, check_size
from nnbackend.core.layer_tree import map_layers
from nnbackend.core.layer_wrapper import LayerWrapper
from nnbackend.core.random import forward_key
from nnbackend.core.tree import map_arrays
from nnbackend.core.types import Array, Arrays, Backward, Context, Layer, Params, State
from nnbackend.inspection.layer_text import describe_layer
from nnbackend.layers.mixed_precision import MixedPrecision, with_precision

if TYPE_CHECKING:
    from nnbackend.losses import Loss, PerOutputSpec
    from nnbackend.network import Network
    from nnbackend.training.objective import Objective

__all__ = ["Observed", "ObservedStep", "Passage", "observe", "observe_step", "run_observed"]


@dataclass(eq=False)
class Passage:
    """The arrays that went through a layer in one pass: the backend's, which must not be changed.

    Attributes:
        path: the place of the layer, a dotted name: ``"1.0"`` for the first layer inside the second.
        layer: the layer.
        params: its parameters.
        x: its input, of shape ``(batch, *input_shape)``, or a tree of such arrays.
        ctx: the context it ran in.
        y: its output, of shape ``(batch, *output_shape)``, or a tree of such arrays.
        dy: the gradient of the loss with respect to ``y``; None before a backward pass.
        dx: the gradient of the loss with respect to ``x``; None where none is computed.
        grads: the gradients of the loss with respect to ``params``, nested as they are, without the
            penalties of regularizers; None before a backward pass.
        notes: the arrays that the layer noted, by name: a Dense or ScaledDense layer ``"z"``, its
            output before the activation, and ``"dz"``, the gradient with respect to that.
        forward_seconds: the seconds that the forward pass took, with all layers inside.
        backward_seconds: the seconds that the backward pass took.
    """

    path: str
    layer: Layer
    params: Params
    x: Arrays
    ctx: Context
    y: Arrays = None
    dy: Arrays = None
    dx: Arrays = None
    grads: Params | None = None
    notes: dict[str, Array] = field(default_factory=dict)
    forward_seconds: float = 0.0
    backward_seconds: float = 0.0

    @property
    def state(self) -> State:
        """The state of the layer as the pass left it; ``{}`` for a layer without state."""
        return self.ctx.state

    def __repr__(self) -> str:
        shapes = (f"{name}={_shapes(getattr(self, name))}" for name in ("x", "y", "dy", "dx"))
        return f"Passage({self.path!r}, {describe_layer(self.layer)}, {', '.join(shapes)})"


def observe(
    network: Network,
    x: Any,
    y: Any = None,
    loss: str | Loss | PerOutputSpec | None = None,
    *,
    step: int = 0,
) -> list[Passage]:
    """List the arrays that go through each layer of a network, in the order of the forward pass.

    With targets that is a training pass and its backward pass; the network stays as it is. A loss that
    contains the output activation, such as a cross-entropy, takes the network's outputs before it, as
    in :meth:`nnbackend.Network.fit`: the last layer is shown without the activation. Without
    targets it is a pass as in ``predict``. A layer with layers inside comes after them. A pass in
    mixed precision shows 16 bits, and gradients without the scale that training gives them.

    Args:
        network: the network; one that is not built is built for ``x``.
        x: array-like of shape ``(batch, *input_shape)``, a few rows.
        y: the targets of the rows; None: there is no backward pass.
        loss: a name or a function of :mod:`nnbackend.losses`, or one for each of several outputs, see
            :meth:`nnbackend.Network.fit`; None: the loss of the last fit.
        step: the number of the training step, which fixes dropout masks; default 0.

    Returns:
        the passages; ``passage.notes["z"]`` is what a Dense layer gives its activation.

    Raises:
        ValueError: data do not fit, there is a loss and no targets, or no loss and no last fit.
    """
    check_network(network)
    check_size("step", step, least=0)
    if y is not None:
        return observe_step(network, x, y, loss, step=step).passages
    if loss is not None:
        raise ValueError("a loss compares outputs with targets: give y")
    backend = network.backend
    with backend.scope():
        rows = network._rows(x)
        ctx = Context(backend, False, forward_key(network.seed), step, network.state)
        layers = with_precision(network.layers, backend)
        return run_observed(layers, network.params, rows, ctx)[0]


@dataclass(eq=False)
class ObservedStep:
    """What a training step computes before the optimizer's turn; see :func:`observe_step`.

    Attributes:
        passages: the passages of the layers, as of :func:`observe`.
        objective: the loss, and the layers without the activation that it contains.
        output: what the loss is given: the outputs, of shape ``(batch, *output_shape)``.
        target: the targets as the loss takes them.
        loss: the value of the loss, without the penalties of regularizers, an array without axes.
        dy: the gradient of the loss with respect to ``output``.
        grads: the gradients of the loss with respect to the parameters, nested as they are.
    """

    passages: list[Passage]
    objective: Objective
    output: Arrays
    target: Arrays
    loss: Array
    dy: Arrays
    grads: Params


def observe_step(
    network: Network,
    x: Any,
    y: Any,
    loss: str | Loss | PerOutputSpec | None = None,
    *,
    step: int = 0,
) -> ObservedStep:
    """Return what a training step computes for rows, and the passages of the layers.

    The arguments, and the errors, are those of :func:`observe`; here ``y`` is needed.
    """
    backend = network.backend
    with backend.scope():
        rows = network._rows(x)
        ctx = Context(backend, True, forward_key(network.seed), step, network.state)
        if loss is None:
            if network._last is None:
                raise ValueError("the network was not fitted here: say which loss, loss=...")
            loss = network._last.loss
        objective = network._objective(network._chosen_loss(loss, None, rows), None)
        samples = network._data_adapter(objective.loss).samples(x, y)
        layers = with_precision(objective.layers, backend)
        passages, output, backward = run_observed(layers, network.params, samples.x, ctx)
        value, dy = objective.loss(output, samples.y)
        grads = backward(dy)[1]
        return ObservedStep(passages, objective, output, samples.y, value, dy, grads)


def run_observed(
    layers: Layer, params: Params, x: Arrays, ctx: Context
) -> tuple[list[Passage], Arrays, Backward]:
    """Run a forward pass; return the passage of each layer, the output and the backward pass.

    The backward pass fills in the gradients.
    """
    passages: list[Passage] = []

    def keep(passage: Passage) -> None:
        if passage.grads is None:
            passages.append(passage)

    y, backward = _observed_inside(layers, keep).forward(params, x, ctx)
    return passages, y, backward


def _observed_inside(layer: Layer, see: Callable[[Passage], None], prefix: str = "") -> Layer:
    """Return a layer in which all layers, at any depth, are observed."""
    if isinstance(layer, MixedPrecision):
        return dataclasses.replace(layer, layers=_observed_inside(layer.layers, see))

    def observed(name: str, child: Layer) -> Layer:
        path = prefix + name
        return Observed(_observed_inside(child, see, f"{path}."), path, see, child)

    return map_layers(observed, layer)


@dataclass(frozen=True, eq=False)
class Observed(LayerWrapper):
    """A layer that shows what passes through it.

    Args:
        layer: the layer that computes.
        path: the place of the layer, a dotted name.
        see: takes a :class:`Passage` after the forward pass, and again after the backward pass.
        original: the layer that the passage names; None: ``layer``.
    """

    pure: ClassVar[bool] = False  # a recording would not call ``see``
    path: str
    see: Callable[[Passage], None]
    original: Layer | None = None

    def forward(self, params: Params, x: Arrays, ctx: Context) -> tuple[Arrays, Backward]:
        """Run the layer, and show the passage."""
        passage = Passage(self.path, self.original or self.layer, params, x, ctx)
        passage.y, layer_backward = _run(
            passage, "forward_seconds", lambda: self.layer.forward(params, x, ctx)
        )
        self.see(passage)

        def backward(dy: Arrays, input_grad: bool = True) -> tuple[Arrays, Params]:
            passage.dy = dy
            passage.dx, passage.grads = _run(
                passage, "backward_seconds", lambda: layer_backward(dy, input_grad=input_grad)
            )
            self.see(passage)
            return passage.dx, passage.grads

        return passage.y, backward


def _run(passage: Passage, seconds: str, function: Callable[[], tuple[Any, Any]]) -> Any:
    """Run a pass of a layer; keep its notes and the seconds it takes."""
    ctx = passage.ctx
    depth = len(ctx.path)

    def keep(path: tuple[str, ...], name: str, value: Array) -> None:
        passage.notes[".".join((*path[depth:], name))] = value

    outer = ctx.set_observer(keep)
    started = time.perf_counter()
    try:
        result = function()
        ctx.backend.synchronize()
    finally:
        ctx.set_observer(outer)
    setattr(passage, seconds, time.perf_counter() - started)
    return result


def _shapes(arrays: Arrays) -> Any:
    return map_arrays(lambda array: tuple(array.shape), arrays)
