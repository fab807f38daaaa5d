"""The training step: augmentation, forward, loss, backward, all-reduce, penalties, update.

A step is a pure function of what it carries and of a batch, the same on every backend: a backend runs
it in a loop, plays a recording of it, or compiles many steps into one program (``Backend.scan``). It
neither branches on the value of an array nor waits for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from nnbackend import regularizers
from nnbackend.backends.base import Backend
from nnbackend.backends.program_cache import cached_program
from nnbackend.core import random
from nnbackend.core.registry import is_built_in
from nnbackend.core.row_gradient import RowGradient
from nnbackend.core.tree import at, count_rows, flatten, paths, tree_map
from nnbackend.core.types import (
    Array,
    Batch,
    Carry,
    Context,
    Layer,
    Namespace,
    Params,
    RunData,
    State,
    Step,
    StepResult,
)
from nnbackend.layers.mixed_precision import with_precision
from nnbackend.losses import Loss
from nnbackend.optimizers.prepared import Prepared
from nnbackend.training.accumulation import (
    Microbatches,
    accumulate_gradients,
    loss_and_gradient,
    state_after,
)
from nnbackend.training.communicator import Communicator, share_of_process, whole_output
from nnbackend.training.gradient_sums import GradientSums, announcing
from nnbackend.training.layout import layout_for
from nnbackend.training.objective import Objective
from nnbackend.transforms import Augmentation

__all__ = ["overwrite", "run_data", "scan_steps"]


def make_step(
    backend: Backend,
    layers: Layer,
    loss: Loss,
    penalties: regularizers.Terms,
    optimizer: Prepared,
    with_output: bool,
    microbatches: Microbatches | None,
    row_penalty: regularizers.PerRowL2 | None,
    mean_by_rows: bool,
    augmentation: Augmentation | None = None,
    communicator: Communicator | None = None,
) -> Step:
    """Return the training step on a backend; see :func:`scan_steps`, and :class:`Objective`."""
    layout, xp = layout_for(backend, optimizer), backend.xp
    alone = communicator is None or communicator.local_steps is not None
    sums = None if alone or communicator is None else GradientSums(communicator, xp)
    if sums is not None and microbatches is None and not backend.mixed:
        layers = announcing(layers, sums.add)  # else gradients are complete at the end only
    network: Any = with_precision(layers, backend)
    # One for all steps; of compiled ones, which threads share, each trace has its own.
    context = None if backend.static_shapes else Context(backend, training=True)
    names = [name for group in optimizer.groups for name in group.names]
    by_rows = optimizer.by_rows
    checked = False

    def step(carry: Carry, batch: Batch, scalars: Any, number: Any) -> tuple[Carry, StepResult]:
        nonlocal checked
        storage, state, data = carry
        params, scale = layout.params(storage), layout.scale(storage)
        net = network if scale is None else network.scaled(scale)
        ctx = Context(backend, training=True) if context is None else context
        ctx.ask_for_rows(by_rows)
        if augmentation is not None:  # of whole batches, before they are split in any way
            ctx.start_pass(number, {}, batch.weight, 0, data.key)
            batch = augmentation.apply(batch, ctx)
        share = share_of_process(batch, communicator, backend)
        batch = share.batch
        ctx.start_pass(number, state, batch.weight, share.first_row, data.key)
        total = None if batch.weight is None else xp.sum(batch.weight)
        if sums is not None:
            count = count_rows(batch.x) if total is None else total
            ctx.share_batch(communicator, count)
            sums.start(count)
        if microbatches is None:
            output, backward = net.forward(params, batch.x, ctx)
            value, dy = loss_and_gradient(loss, output, batch)
            _, grads = backward(dy, input_grad=False)
            new_state = state_after(ctx) if state else state
        else:
            value, output, grads, new_state = accumulate_gradients(
                microbatches, with_output, net, loss, params, batch, ctx
            )
        if not checked:  # once: a shape does not depend on the batch
            check_gradient_shapes(names, params, grads)
            check_row_gradients(by_rows, grads)
            checked = True
        if communicator is not None:
            if sums is None:
                total = xp.zeros_like(value) + (count_rows(batch.x) if total is None else total)
            else:
                total, value, grads, new_state = sums.finish(value, grads, new_state)
            if with_output:
                output = whole_output(output, share, communicator)
        if penalties:
            value, grads = regularizers.penalized(penalties, params, value, grads)
        if row_penalty is not None:
            # A batch without weight has no penalty, as it has no loss.
            rows = count_rows(batch.x) if total is None else xp.where(total > 0.0, total, xp.inf)
            value, grads = row_penalty.add_to(value, grads, params, rows, data.strength)
        storage = layout.update(storage, grads, scalars)
        if not layout.in_place:
            carry = Carry(storage, new_state, data)
        elif state:
            overwrite(state, new_state, xp)
        output = output if with_output else None
        return carry, StepResult(value, None if mean_by_rows else total, output)

    return step


def check_gradient_shapes(names: Sequence[str], params: Params, grads: Params) -> None:
    """Check that there is a gradient in the parameter's shape for each parameter that is updated.

    Raises:
        ValueError: a gradient is missing, or has another shape, which broadcasting would hide.
    """
    shapes = {name: tuple(p.shape) for name, p in flatten(params).items()}
    found = {name: tuple(getattr(g, "shape", ())) for name, g in flatten(grads).items()}
    for name in names:
        if found.get(name) != shapes[name]:
            layer, _, parameter = name.rpartition(".")
            got = f"one of shape {found[name]}" if name in found else f"{sorted(found)} only"
            raise ValueError(
                f"layer {layer}: its backward pass must return a gradient of shape {shapes[name]} for "
                f"its parameter {parameter!r}, and returned {got}"
            )


def check_row_gradients(names: Sequence[str], grads: Params) -> None:
    """Check that the gradient of each of these parameters is that of looked-up rows.

    Raises:
        ValueError: the gradient of a whole parameter was returned.
    """
    found = flatten(grads)
    for name in names:
        if not isinstance(found[name], RowGradient):
            raise ValueError(
                f"Lazy updates the rows that a batch looked up, and the layer of {name} does not say "
                "which: it is for the tables of Embedding and EmbeddingBag, with no layer around them "
                "that changes or computes again their gradient. Leave it out of the patterns of Lazy"
            )


def scan_steps(
    objective: Objective,
    layers: Layer,
    optimizer: Prepared,
    backend: Backend,
    microbatches: Microbatches | None = None,
    communicator: Communicator | None = None,
) -> Callable[..., Any]:
    """Return the function that runs training steps, as ``Backend.scan`` describes it.

    Compiled steps are cached: those of other runs with the same objective and optimizer are the same.
    The optimizer is from ``Prepared.for_program``: those that differ in numbers alone share a program.
    """
    loss, row_penalty = objective.loss, objective.row_penalty
    if row_penalty is not None:  # its strength is data of the run, so that programs are shared
        row_penalty = replace(row_penalty, strength=0.0)
    description = (
        layers,
        loss,
        objective.penalties,
        optimizer,
        bool(objective.metrics),
        microbatches,
        row_penalty,
        objective.mean_by_rows,
        objective.augmentation,
    )
    if communicator is None and backend.static_shapes:
        return _compiled_steps(backend, *description)
    # The rows that are written to depend on the data, which a recording cannot have.
    recorded = backend.slices_are_views and not optimizer.by_rows
    if communicator is not None:
        # What users wrote is tried before it is played, which others would have to take part in.
        recorded = recorded and communicator.is_recordable and is_built_in(description)
    if not recorded:
        return backend.scan(make_step(backend, *description, communicator), parts=description)

    def map_carry(carry: Carry, function: Callable[[Array], Array]) -> Carry:
        storage, state, data = carry
        return Carry(storage.mapped(function), tree_map(function, state), data)

    def step_on(backend: Backend) -> Step:
        return make_step(backend, *description, communicator)

    return backend.scan(step_on(backend), map_carry, step_on, description)


@cached_program
def _compiled_steps(backend: Backend, *description: Any) -> Callable[..., Any]:
    return backend.scan(make_step(backend, *description), parts=description)


def run_data(backend: Backend, seed: int, objective: Objective) -> RunData:
    """Return the data of a run: arrays where steps are compiled, else plain numbers."""
    strength = 0.0 if objective.row_penalty is None else objective.row_penalty.strength
    if not backend.static_shapes:
        return RunData(random.forward_key(seed), strength)
    key = backend.asarray(random.forward_key_array(seed), dtype=backend.xp.int32)
    return RunData(key, backend.asarray(strength))


def overwrite(state: State, new: State, xp: Namespace) -> None:
    """Put a new state where the old one is, so that a recording of the step finds it there."""
    places = [path for path in paths(state) if at(new, path) is not at(state, path)]
    # Copied first: a layer may have moved an array to another name.
    values = [xp.asarray(at(new, path), copy=True) for path in places]
    for path, value in zip(places, values, strict=True):
        at(state, path)[...] = value
