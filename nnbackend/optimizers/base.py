"""What all optimisers share: how a rule is applied to parameters, and how a name becomes one.

``state = optimizer.init(params)`` and ``params, state = optimizer.update(params, grads, state)``.
``update`` may consume what it is given: on a library with mutable arrays it changes the arrays of
``params`` and ``state`` in place and returns them.

In the formulas ``p`` is a parameter, ``g`` its gradient, ``t = 1, 2, ...`` the step. Every function
of ``t`` alone is computed once per step as a Python float (``scalars``), everything else is the
elementwise ``rule``, which works on one array as well as on all parameters in one vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from nnbackend.backend import namespace
from nnbackend.checks import set_number
from nnbackend.registry import Registry
from nnbackend.tree import at, paths, tree_map, unflatten
from nnbackend.types import Array, Namespace, Params

__all__ = ["OPTIMIZERS", "LearningRate", "Optimizer", "Slots", "decayed", "get"]

LearningRate: TypeAlias = float | Callable[[int], float]
Slots: TypeAlias = tuple[Array, ...]

OPTIMIZERS = Registry("optimizer")


def get(spec: str | Optimizer, **hyperparameters: Any) -> Optimizer:
    """Return the optimiser that ``spec`` names, with the given hyperparameters.

    Raises:
        UnknownNameError: no optimiser has that name, or it has no such hyperparameter.
        TypeError: ``spec`` is neither a name nor an optimiser.
        ValueError: a hyperparameter is out of range.
    """
    if isinstance(spec, str):
        optimizer: Optimizer = OPTIMIZERS.create(spec, **hyperparameters)
        return optimizer
    if not isinstance(spec, Optimizer):
        raise TypeError(f"an optimizer is a name or an optimizer object, got {spec!r}")
    return spec


@dataclass(frozen=True)
class Optimizer(ABC):
    """What all optimisers share. A new one gives ``slots``, ``scalars`` and ``rule``.

    Args:
        learning_rate: a number, or a schedule: a function of the step, which counts from 0.

    Raises:
        ValueError: a hyperparameter is out of range.
    """

    slots: ClassVar[int] = 0
    """How many arrays of state the rule keeps for each parameter."""

    elementwise: ClassVar[bool] = True
    """Whether the rule treats each number by itself. One that does not (a norm, a matrix product)
    is given each parameter as a whole, in its shape."""

    averages: ClassVar[bool] = False
    """Whether the last slot holds an average of the parameters, to evaluate with and to keep."""

    learning_rate: LearningRate = 1e-3

    def __post_init__(self) -> None:
        if not callable(self.learning_rate):
            set_number(self, "learning_rate", 0.0)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, which counts from 1."""
        rate = self.learning_rate
        return float(rate(step - 1) if callable(rate) else rate)

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return the numbers of ``rule`` that depend on the step alone."""
        return (self.rate(step),)

    @abstractmethod
    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """Return the new parameter and its new state. ``p`` and ``slots`` are consumed, ``g`` is not."""

    def init(self, params: Params) -> Params:
        """Return the state for ``params``: zeros, and a count of steps."""
        zeros = [tree_map(_zeros_like, params) for _ in range(self.slots)]
        return {"step": 0, "slots": {str(i): tree for i, tree in enumerate(zeros)}}

    def update(self, params: Params, grads: Params, state: Params) -> tuple[Params, Params]:
        """Return the parameters after one step, and the state. Both may be changed in place.

        Args:
            params: nested dictionaries of arrays.
            grads: of the loss with respect to them, nested alike.
            state: from ``init`` or the last ``update``.
        """
        step = state["step"] + 1
        params, slots = self.apply(params, grads, state["slots"], self.scalars(step))
        return params, {"step": step, "slots": slots}

    def apply(
        self, params: Params, grads: Params, slots: Params, scalars: tuple[Any, ...]
    ) -> tuple[Params, Params]:
        """Return the parameters and their slots with ``rule`` applied to each."""
        new_params: dict[str, Array] = {}
        new_slots: list[dict[str, Array]] = [{} for _ in slots]
        for path in paths(params):
            name, p = ".".join(path), at(params, path)
            own = tuple(at(slots[str(i)], path) for i in range(len(slots)))
            new_params[name], own = self.rule(p, at(grads, path), own, scalars, namespace(p))
            for flat, slot in zip(new_slots, own, strict=True):
                flat[name] = slot
        nested = {str(i): unflatten(flat, params) for i, flat in enumerate(new_slots)}
        return unflatten(new_params, params), nested

    # What optimisers that wrap another one do differently; see ``wrapper.py``.

    def gradients(self, grads: Params) -> Params:
        """Return the gradients that ``rule`` is given, all together. ``grads`` is not consumed."""
        return grads

    def averaged(self, params: Params, state: Params) -> Params:
        """Return the parameters to evaluate with, given the state: an average, if one is kept."""
        return params

    def prepared(
        self, params: Params, steps_per_epoch: int | None = None, frozen: Collection[str] = ()
    ) -> Optimizer:
        """Return the optimiser for these parameters, and for epochs of that many steps if known.

        Args:
            params: those that it will update.
            steps_per_epoch: for what counts epochs.
            frozen: names of others, which patterns may match in vain.

        Raises:
            ValueError: a pattern of names matches no parameter.
        """
        return self

    def around(self, wrap: Callable[[Optimizer], Optimizer]) -> Optimizer:
        """Return the optimiser with the update itself wrapped in another one."""
        return wrap(self)


def decayed(g: Array, p: Array, weight_decay: float) -> Array:
    """Return the gradient with that of ``weight_decay / 2 * p**2`` added, as a new array."""
    return g + weight_decay * p if weight_decay else g


def _zeros_like(p: Array) -> Array:
    return namespace(p).zeros_like(p)
