"""What all optimizers share: their numbers, the rule that uses them, ``init`` and ``update``.

``state = optimizer.init(params)`` and ``params, state = optimizer.update(params, grads, state)``.
``update`` may consume what it is given: on a library with mutable arrays it changes the arrays of
``params`` and ``state`` in place and returns them.

In the formulas ``p`` is a parameter, ``g`` its gradient, ``t = 1, 2, ...`` the step. Every number of a
rule is computed once per step on the host (``numbers``); all else is the ``rule``, which works on one
array as well as on all parameters in one vector.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

from nnbackend.core.checks import check_number, check_takes, set_number
from nnbackend.core.registry import Registry
from nnbackend.core.tree import flatten
from nnbackend.core.types import Array, Namespace, Params
from nnbackend.errors import given
from nnbackend.optimizers.numbers import Number, Numbers
from nnbackend.optimizers.prepared import Group, Known, Prepared
from nnbackend.schedules import Scaled, Schedule, Scheduled, is_schedule

__all__ = [
    "OPTIMIZERS",
    "Bounds",
    "Optimizer",
    "Slots",
    "Updated",
    "decayed",
    "get",
    "is_own",
    "non_negative",
    "norm",
]

Slots: TypeAlias = tuple[Array, ...]
Updated: TypeAlias = tuple[Array, Slots]
"""A parameter and its state after a step."""

Bounds: TypeAlias = Mapping[str, tuple[float, float]]

OPTIMIZERS = Registry("optimizer")

_latest: tuple[Prepared, list[Any]] | None = None
"""The optimizer that was prepared last, and for which names and shapes."""

_FORMER_METHODS = ("varying", "fixed", "moved", "scalars", "gradients")


def get(spec: str | Optimizer, **hyperparameters: Any) -> Optimizer:
    """Return the optimizer that ``spec`` names, with the given hyperparameters.

    Raises:
        UnknownNameError: no optimizer has that name, or it has no such hyperparameter.
        TypeError: ``spec`` is neither a name nor an optimizer.
        ValueError: a hyperparameter is out of range.
    """
    if isinstance(spec, str):
        optimizer: Optimizer = OPTIMIZERS.create(spec, **hyperparameters)
        return optimizer
    if not isinstance(spec, Optimizer):
        raise TypeError(f"an optimizer is a name or an optimizer object, got {given(spec)}")
    return spec


def is_own(optimizer: Optimizer) -> bool:
    """Return whether an optimizer, and all that it wraps, is this library's."""
    own = type(optimizer).__module__.startswith("nnbackend.")
    return own and all(map(is_own, optimizer.wrapped))


@dataclass(frozen=True)
class Optimizer(ABC):
    """What all optimizers share. A new one gives ``slots``, ``bounds`` and ``rule``.

    ``numbers(step)`` returns the numbers of the rule at a step; it gives the hyperparameters in
    ``bounds`` unless it is overridden. ``rule(p, g, slots, h, xp)`` gets them by name, as
    ``h.learning_rate``. They reach a compiled step as data, so a number that changes compiles nothing,
    and a rule combines them with arrays only: arithmetic of numbers alone belongs in ``numbers``.

    Args:
        learning_rate: the factor of a step, default 0.001. Like every hyperparameter in ``bounds`` it is
            a number or a schedule: a function of the step, which counts from 0.

    Raises:
        ValueError: a hyperparameter is out of range.
    """

    slots: ClassVar[int] = 0
    """The number of state arrays that the rule keeps for each parameter."""

    elementwise: ClassVar[bool] = True
    """Whether the rule treats each number by itself. One that does not (a norm, a matrix product)
    is given each parameter as a whole, in its shape."""

    averages: ClassVar[bool] = False
    """Whether the last slot holds an average of the parameters, to evaluate with and to keep."""

    by_rows: ClassVar[bool] = False
    """Whether the rule updates the rows of a table that a batch looked up, and no others."""

    bounds: ClassVar[Bounds] = {"learning_rate": (0.0, math.inf)}
    """The range of each hyperparameter, from the lower bound to below the upper one."""

    numbers_at_once: ClassVar[bool] = True
    """Whether ``numbers`` of an optimizer of this library takes an array of steps, too."""

    data: ClassVar[tuple[str, ...]] = ()
    """Further fields that reach the rule by ``numbers`` alone."""

    scheduled: ClassVar[tuple[str, ...]] = ()
    """The hyperparameters that are schedules."""

    learning_rate: Scheduled = 1e-3

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for name in _FORMER_METHODS:
            if name in vars(cls):
                raise TypeError(
                    f"{cls.__name__}.{name}: an optimizer gives the numbers of its rule by name, in "
                    "numbers(step) -> {name: float}, and changes gradients in "
                    "transform_gradients(grads, h)"
                )

    def __post_init__(self) -> None:
        for name, (low, high) in self.bounds.items():
            if isinstance(getattr(self, name), str):
                raise ValueError(
                    f"{name} must be a number, or a schedule such as nnbackend.schedules.Cosine(...); "
                    f"got {given(getattr(self, name))}"
                )
            if not is_schedule(getattr(self, name)):
                set_number(self, name, low, high)
            elif not isinstance(getattr(self, name), Schedule):
                check_takes(name, getattr(self, name), "step")
        scheduled = tuple(name for name in self.bounds if is_schedule(getattr(self, name)))
        object.__setattr__(self, "scheduled", scheduled)

    def numbers(self, step: Any) -> dict[str, Number]:
        """Return the numbers of the rule by name at a step, which counts from 1.

        The library's own also take an array of steps; see :mod:`nnbackend.optimizers.numbers`.

        Raises:
            ValueError: a schedule gives NaN, infinity or a value out of range.
        """
        if not self.scheduled:
            return {name: getattr(self, name) for name in self.bounds}
        return {name: self._value(name, step) for name in self.bounds}

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, which counts from 1."""
        return self._value("learning_rate", step)

    def _value(self, name: str, step: int) -> float:
        """Return a hyperparameter at a step, which counts from 1."""
        value = getattr(self, name)
        if not callable(value):
            return value  # type: ignore[no-any-return]
        given, (low, high) = value(step - 1), self.bounds[name]
        try:
            number = float(given)
            # One that is in range is no NaN either.
            return number if low <= number < high else check_number(name, number, low, high)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"the schedule {value!r} at step {step - 1}: {error}") from None

    @abstractmethod
    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        """Return the new parameter and its new state. ``p`` and ``slots`` are consumed, ``g`` is not.

        Args:
            p: the parameter, or with an elementwise rule all or some of them in one vector.
            g: its gradient.
            slots: the arrays of its state.
            h: the numbers of the step by name.
            xp: the array namespace.
        """

    def init(self, params: Params) -> Params:
        """Return the state for ``params``: zeros, and a count of steps."""
        return {"step": 0, "slots": self.prepared(params).init(params)}

    def update(self, params: Params, grads: Params, state: Params) -> tuple[Params, Params]:
        """Return the parameters after one step, and the state. Both may be changed in place.

        Args:
            params: nested dictionaries of arrays.
            grads: the gradients of the loss with respect to them, nested as they are.
            state: the state from ``init`` or the last ``update``.
        """
        step, flat = state["step"] + 1, flatten(params)
        ready = self._prepared_again(flat)
        h = ready.numbers(step)
        gradients = ready.transform_gradients(flatten(grads), h)
        params, slots = ready.apply_rules(params, gradients, state["slots"], h, flat)
        return params, {"step": step, "slots": slots}

    def averaged(self, params: Params, state: Params) -> Params:
        """Return the parameters to evaluate with, given the state: an average, if one is kept."""
        return self.prepared(params).averaged(params, state["slots"])

    def prepared(self, params: Params, steps_per_epoch: int | None = None) -> Prepared:
        """Return the optimizer prepared for these parameters: a rule for each of them.

        Args:
            params: the parameters that it will update.
            steps_per_epoch: the number of steps in an epoch; None (the default): unknown.

        Raises:
            ValueError: a pattern of names matches no parameter.
        """
        return Prepared(self, self.partition(flatten(params), Known(steps_per_epoch)))

    def _prepared_again(self, flat: dict[str, Array]) -> Prepared:
        """Return the optimizer prepared, as in the last call if that was for the same parameters."""
        global _latest
        shapes = [(name, p.shape) for name, p in flat.items()]
        latest = _latest  # read once: other threads may set it
        if latest is None or latest[0].optimizer is not self or latest[1] != shapes:
            latest = _latest = self.prepared(flat), shapes
        return latest[0]

    def structure(self) -> Optimizer:
        """Return the optimizer with every number replaced by one of two: 0 or not.

        A compiled step knows no more of the numbers. Optimizers of the same structure have the
        same program. A user's rule may use its fields anywhere, and stays unchanged.
        """
        if not is_own(self):
            return self
        values = {name: getattr(self, name) for name in (*self.bounds, *self.data)}
        other = object.__new__(type(self))  # unchecked
        zero_or_not = {k: v if v is None else 0.5 * (v != 0) for k, v in values.items()}
        vars(other).update(vars(self), **zero_or_not, scheduled=())
        return other

    # Overridden by optimizers that wrap another one; see ``wrapper.py``.

    @property
    def wrapped(self) -> Sequence[Optimizer]:
        """The optimizers inside this one."""
        return ()

    def transform_gradients(self, grads: dict[str, Array], h: Numbers) -> dict[str, Array]:
        """Return the gradients that ``rule`` is given, all by dotted name. ``grads`` is not consumed."""
        return grads

    def partition(self, params: Mapping[str, Array], known: Known) -> tuple[Group, ...]:
        """Return the groups of parameters, each with its rule."""
        return (Group(self, tuple(params), tuple(map(str, range(self.slots))), self.slots),)

    def scaled(self, factor: float) -> Optimizer:
        """Return the optimizer with its learning rate times a factor."""
        rate = self.learning_rate
        rate = Scaled(rate, factor) if callable(rate) else rate * factor
        return replace(self, learning_rate=rate)

    def map_innermost(self, wrap: Callable[[Optimizer], Optimizer]) -> Optimizer:
        """Return the optimizer with the update itself wrapped in another one."""
        return wrap(self)


def non_negative(*names: str, **below: float) -> Bounds:
    """Return the ranges of hyperparameters from 0 on, without an upper bound or to below one."""
    return dict.fromkeys(names, (0.0, math.inf)) | {k: (0.0, v) for k, v in below.items()}


def decayed(optimizer: Any, g: Array, p: Array, h: Numbers) -> Array:
    """Return the gradient with that of ``weight_decay / 2 * p**2`` added, in a new array."""
    return g + h.weight_decay * p if optimizer.weight_decay else g


def norm(x: Array, xp: Namespace) -> Array:
    """Return the root of the sum of squares, an array of no axes."""
    return xp.sqrt(xp.sum(x * x))
