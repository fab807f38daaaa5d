"""Optimisers: one elementwise rule each.

``state = optimizer.init(params)`` and ``params, state = optimizer.update(params, grads, state)``.
``update`` may consume what it is given: on a library with mutable arrays it changes the arrays of
``params`` and ``state`` in place and returns them.

In the formulas ``p`` is a parameter, ``g`` its gradient, ``t = 1, 2, ...`` the step. Every function
of ``t`` alone is computed once per step as a Python float (``scalars``), everything else is the
elementwise ``rule``, which works on one array as well as on all parameters in one vector. Defaults
are PyTorch's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from nnbackend.backend import namespace
from nnbackend.checks import check_flag, set_number
from nnbackend.registry import Registry
from nnbackend.tree import at, paths, tree_map, unflatten
from nnbackend.types import Array, Namespace, Params

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "get"]

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


@OPTIMIZERS.register("sgd")
@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, with momentum if wanted.

    ``g += weight_decay * p``, then without momentum ``p -= learning_rate * g``, with it
    ``v = momentum * v + g`` and ``p -= learning_rate * v``; Nesterov's form takes
    ``g + momentum * v`` in place of ``v``.

    Source: Sutskever et al. (2013), On the importance of initialization and momentum, in PyTorch's
    parametrisation.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_number(self, "momentum", 0.0, 1.0)
        set_number(self, "weight_decay", 0.0)
        check_flag("nesterov", self.nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, for instance momentum=0.9")

    @property
    def slots(self) -> int:  # type: ignore[override]
        """One array of velocity, with momentum."""
        return 1 if self.momentum else 0

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        g = _decayed(g, p, self.weight_decay)
        if self.momentum:
            (v,) = slots
            v *= self.momentum
            v += g
            slots = (v,)
            g = g + self.momentum * v if self.nesterov else v
        p -= scalars[0] * g
        return p, slots


@OPTIMIZERS.register("rmsprop")
@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Each parameter's step divided by the root of a running mean of its squared gradient.

    ``g += weight_decay * p``; ``v = smoothing * v + (1 - smoothing) * g**2``;
    ``d = g / (sqrt(v) + epsilon)``; ``p -= learning_rate * d``, or with momentum
    ``b = momentum * b + d`` and ``p -= learning_rate * b``.

    Source: Hinton, Neural Networks for Machine Learning (2012), lecture 6e.
    """

    learning_rate: LearningRate = 1e-2
    smoothing: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_number(self, "smoothing", 0.0, 1.0)
        set_number(self, "epsilon", 0.0)
        set_number(self, "momentum", 0.0, 1.0)
        set_number(self, "weight_decay", 0.0)

    @property
    def slots(self) -> int:  # type: ignore[override]
        """The running mean and, with momentum, the velocity."""
        return 2 if self.momentum else 1

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        g = _decayed(g, p, self.weight_decay)
        v = slots[0]
        v *= self.smoothing
        v += (1.0 - self.smoothing) * g * g
        d = xp.sqrt(v)
        d += self.epsilon
        d = g / d
        if not self.momentum:
            d *= scalars[0]
            p -= d
            return p, (v,)
        b = slots[1]
        b *= self.momentum
        b += d
        p -= scalars[0] * b
        return p, (v, b)


@OPTIMIZERS.register("adam")
@dataclass(frozen=True)
class Adam(Optimizer):
    """Running means of the gradient and of its square, both corrected for their start at zero.

    ``g += weight_decay * p``; ``m = beta1 * m + (1 - beta1) * g``;
    ``v = beta2 * v + (1 - beta2) * g**2``;
    ``p -= learning_rate * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + epsilon)``.

    The arrays kept are ``m / (1 - beta1)`` and ``v / (1 - beta2)``: with the constants gathered in
    ``scalars`` that saves two passes over all parameters.

    Source: Kingma, Ba (2015), arXiv:1412.6980, algorithm 1.
    """

    slots: ClassVar[int] = 2

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_number(self, "beta1", 0.0, 1.0)
        set_number(self, "beta2", 0.0, 1.0)
        set_number(self, "epsilon", 0.0)
        set_number(self, "weight_decay", 0.0)

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return the factor and the epsilon for the arrays as they are kept."""
        rate = self.rate(step)
        correction = math.sqrt((1.0 - self.beta2**step) / (1.0 - self.beta2))
        factor = rate * correction * (1.0 - self.beta1) / (1.0 - self.beta1**step)
        return factor, self.epsilon * correction

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        return self._step(p, _decayed(g, p, self.weight_decay), slots, scalars, xp)

    def _step(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """Return the parameter and its running means after a step, without weight decay."""
        m, v = slots
        m *= self.beta1
        m += g
        v *= self.beta2
        v += g * g
        d = xp.sqrt(v)
        d += scalars[1]
        d = m / d
        d *= scalars[0]
        p -= d
        return p, (m, v)


@OPTIMIZERS.register("adamw")
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weight decay apart from the gradient: ``p *= 1 - learning_rate * weight_decay`` first.

    Source: Loshchilov, Hutter (2019), arXiv:1711.05101.
    """

    weight_decay: float = field(default=1e-2)

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return those of Adam, and what is left of a parameter after its decay."""
        return *super().scalars(step), 1.0 - self.rate(step) * self.weight_decay

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        p *= scalars[2]
        return self._step(p, g, slots, scalars, xp)


def _decayed(g: Array, p: Array, weight_decay: float) -> Array:
    """Return the gradient with that of ``weight_decay / 2 * p**2`` added, as a new array."""
    return g + weight_decay * p if weight_decay else g


def _zeros_like(p: Array) -> Array:
    return namespace(p).zeros_like(p)
