"""Dynamic loss scaling: how small gradients get through float16.

The smallest number of float16 is 6e-8, and gradients are often smaller. So the gradient of the loss is
multiplied by a scale on its way through the layers, and the result is divided by it, in float32
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

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

from nnbackend.backends.base import Backend
from nnbackend.core.types import Array, Namespace, Params
from nnbackend.optimizers.base import Slots, Updated
from nnbackend.optimizers.numbers import Numbers
from nnbackend.optimizers.wrapper import Wrapper

__all__ = ["SkipNonFinite", "after_step", "init", "is_possible"]

INITIAL = 2.0**16
STEPS_UNTIL_GROWTH = 2000
"""After how many finite steps in a row the scale is doubled."""
_LARGEST, _SMALLEST = 2.0**127, 2.0**-24


def init(backend: Backend) -> Params:
    """Return the state to start from: the scale, and the finite steps since it changed."""
    xp, device = backend.xp, backend.device
    return {
        "scale": xp.full((), INITIAL, dtype=backend.dtype, device=device),
        "steps": xp.zeros((), dtype=xp.int32, device=device),
    }


def after_step(state: Params, grads: Mapping[str, Array], xp: Namespace) -> tuple[Array, Params]:
    """Return whether all gradients of a step are finite, and the state after it."""
    finite = reduce(xp.logical_and, [xp.all(xp.isfinite(g)) for g in grads.values()])
    scale, steps = state["scale"], state["steps"] + 1
    grows = steps >= STEPS_UNTIL_GROWTH
    larger = xp.where(grows, xp.minimum(scale * 2.0, _LARGEST), scale)
    zero = xp.zeros_like(steps)
    return finite, {
        "scale": xp.where(finite, larger, scale * 0.5),
        "steps": xp.where(xp.logical_and(finite, xp.logical_not(grows)), steps, zero),
    }


def is_possible(scale: Array) -> bool:
    """Return whether the scale is one that gradients can be finite with."""
    return float(scale) > _SMALLEST


@dataclass(frozen=True)
class SkipNonFinite(Wrapper):
    """Leave out the steps whose gradients are not finite, ``h.finite``: parameters and state stay.

    It goes around all else, so that a step that is left out moves no average either. What counts steps
    on the host (schedules, bias corrections) counts it.
    """

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        """Apply the rule inside to copies, and keep the results or the former arrays."""
        copies = tuple(xp.asarray(slot, copy=True) for slot in slots)
        new, new_slots = self.inner.rule(xp.asarray(p, copy=True), g, copies, h, xp)
        kept = [xp.where(h.finite, a, b) for a, b in zip(new_slots, slots, strict=True)]
        return xp.where(h.finite, new, p), tuple(kept)
