"""Dynamic loss scaling: how small gradients get through float16.

The smallest number of float16 is 6e-8, and gradients are often smaller. So the gradient of the loss is
multiplied by a scale on its way through the layers, and what comes out is divided by it, in float32
(:mod:`nnbackend.layers.mixed_precision`). How large a scale is possible is found by trying: where a
gradient is infinite or not a number, the step is left out and the scale halved; after 2000 steps in a
row without that, it is doubled.

All of it happens on the device: a step neither branches on a value nor waits for one. The scale is part
of what training carries, and of the optimizer's arrays in a checkpoint (``loss_scale.scale``,
``loss_scale.steps``).

Source: Micikevicius et al. (2018), Mixed Precision Training, arXiv:1710.03740, section 3.2; numbers and
rules are those of ``torch.amp.GradScaler``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnbackend.backends.base import Backend, namespace
from nnbackend.core.tree import leaves, tree_map
from nnbackend.core.types import Array, Namespace, Params
from nnbackend.optimizers.base import Slots
from nnbackend.optimizers.wrapper import Wrapper

if TYPE_CHECKING:
    from nnbackend.training.layout import Layout

__all__ = ["LossScaled", "SkipNonFinite"]

INITIAL = 2.0**16
INTERVAL = 2000
"""After how many finite steps in a row the scale is doubled."""
_LARGEST, _SMALLEST = 2.0**127, 2.0**-24
_NAME = "loss_scale"


class LossScaled:
    """A layout whose updates are left out where a gradient is not finite.

    The carry is that of the layout inside, and the state of the scale: the scale itself, and how many
    finite steps there were since it changed.

    Args:
        inner: a layout for an optimizer that is ``SkipNonFinite``.
        backend: of the arrays.
    """

    def __init__(self, inner: Layout, backend: Backend) -> None:
        self._inner, self._backend, self._xp = inner, backend, backend.xp

    def scale(self, carry: Any) -> Array:
        """Return what the gradient at the output is to be multiplied by."""
        return carry[1]["scale"]

    def init(self, params: Params) -> Any:
        """Return the carry."""
        xp, device = self._xp, self._backend.device
        state = {
            "scale": xp.full((), INITIAL, dtype=self._backend.dtype, device=device),
            "steps": xp.zeros((), dtype=xp.int32, device=device),
        }
        return self._inner.init(params), state

    def update(self, carry: Any, grads: Params, scalars: tuple[Any, ...]) -> Any:
        """Return the carry after a step, or as it was, with the scale moved in either case."""
        finite = _finite(grads, self._xp)
        inner, state = carry
        new = _moved(state, finite, self._xp)
        updated = self._inner.update(inner, grads, (*scalars, finite))
        if self._inner.see is None:
            return updated, new
        for name, array in new.items():  # in place, as the layout inside does it
            state[name][...] = array
        return carry if updated is inner else (updated, state)

    def params(self, carry: Any) -> Params:
        """Return the named parameters."""
        return self._inner.params(carry[0])

    def result(self, carry: Any) -> Params:
        """Return the named parameters to evaluate with."""
        return self._inner.result(carry[0])

    def snapshot(self, carry: Any, old: Any = None) -> Any:
        """Return a copy of the parameters; the scale stays what it is when they go back."""
        return self._inner.snapshot(carry[0], old)

    def restored(self, carry: Any, snapshot: Any) -> Any:
        """Return the carry with the parameters of a snapshot."""
        return self._inner.restored(carry[0], snapshot), carry[1]

    def with_params(self, carry: Any, params: Params) -> Any:
        """Return the carry with copies of other parameters."""
        return self._inner.with_params(carry[0], params), carry[1]

    def finite(self, carry: Any) -> bool:
        """Return whether all parameters are finite, and the gradients of late were."""
        return self._inner.finite(carry[0]) and float(carry[1]["scale"]) > _SMALLEST

    def copy(self, carry: Any) -> Any:
        """Return a copy of a carry."""
        return self._inner.copy(carry[0]), self._backend.copy_tree(carry[1])

    def slots(self, carry: Any) -> Params:
        """Return the optimizer's arrays, and the state of the scale."""
        return self._inner.slots(carry[0]) | {_NAME: carry[1]}

    def with_slots(self, carry: Any, slots: Params) -> Any:
        """Return the carry with copies of other arrays of the optimizer, and of another scale."""
        own = {name: tree for name, tree in slots.items() if name != _NAME}
        return self._inner.with_slots(carry[0], own), self._backend.copy_tree(slots[_NAME])

    @property
    def see(self) -> Callable[[Any, Callable[[Array], Array]], Any] | None:
        """``see(carry, function)``, if the layout inside has it."""
        inner = self._inner.see
        if inner is None:
            return None
        return lambda carry, function: (inner(carry[0], function), tree_map(function, carry[1]))


@dataclass(frozen=True)
class SkipNonFinite(Wrapper):
    """Leave out the steps of which the last of the scalars says so: parameters and state stay.

    It goes around all else, so that a step that is left out moves no average either. What counts steps
    on the host (schedules, bias corrections) counts it.
    """

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """Apply the rule inside to copies, and keep what came of it or what was there."""
        *own, finite = scalars
        copies = tuple(xp.asarray(slot, copy=True) for slot in slots)
        new, new_slots = self.inner.rule(xp.asarray(p, copy=True), g, copies, tuple(own), xp)
        kept = [xp.where(finite, a, b) for a, b in zip(new_slots, slots, strict=True)]
        return xp.where(finite, new, p), tuple(kept)

    def apply(
        self, params: Params, grads: Params, slots: Params, scalars: tuple[Any, ...]
    ) -> tuple[Params, Params]:
        """Apply the optimizer inside to copies, and keep what came of it or what was there."""
        *own, finite = scalars
        xp = namespace(leaves(params)[0])

        def copied(tree: Params) -> Params:
            return tree_map(lambda array: xp.asarray(array, copy=True), tree)

        def chosen(new: Params, old: Params) -> Params:
            return tree_map(lambda a, b: xp.where(finite, a, b), new, old)

        news = self.inner.apply(copied(params), grads, copied(slots), tuple(own))
        return chosen(news[0], params), chosen(news[1], slots)


def _finite(grads: Params, xp: Namespace) -> Array:
    """Return whether all numbers are finite, as an array of no axes."""
    each = [xp.all(xp.isfinite(leaf)) for leaf in leaves(grads)]
    finite = each[0]
    for one in each[1:]:
        finite = xp.logical_and(finite, one)
    return finite


def _moved(state: Params, finite: Array, xp: Namespace) -> Params:
    """Return the state of the scale after a step."""
    scale, steps = state["scale"], state["steps"] + 1
    grows = steps >= INTERVAL
    larger = xp.where(grows, xp.minimum(scale * 2.0, _LARGEST), scale)
    zero = xp.zeros_like(steps)
    return {
        "scale": xp.where(finite, larger, scale * 0.5),
        "steps": xp.where(xp.logical_and(finite, xp.logical_not(grows)), steps, zero),
    }
