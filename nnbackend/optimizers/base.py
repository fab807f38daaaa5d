"""What all optimizers share: how a rule is applied to parameters, and how a name becomes one.

``state = optimizer.init(params)`` and ``params, state = optimizer.update(params, grads, state)``.
``update`` may consume what it is given: on a library with mutable arrays it changes the arrays of
``params`` and ``state`` in place and returns them.

In the formulas ``p`` is a parameter, ``g`` its gradient, ``t = 1, 2, ...`` the step. Every function
of ``t`` alone is computed once per step as a Python float (``scalars``), everything else is the
elementwise ``rule``, which works on one array as well as on all parameters in one vector.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

from nnbackend.backends.base import Backend, namespace
from nnbackend.core.checks import check_number, set_number
from nnbackend.core.registry import Registry
from nnbackend.core.tree import at, paths, tree_map, unflatten
from nnbackend.core.types import Array, Namespace, Params
from nnbackend.errors import given
from nnbackend.schedules import Constant, Scaled, Scheduled, is_schedule

__all__ = [
    "OPTIMIZERS",
    "Bounds",
    "Optimizer",
    "Slots",
    "decayed",
    "get",
    "in_program",
    "is_own",
    "norm",
]

Slots: TypeAlias = tuple[Array, ...]
Bounds: TypeAlias = Mapping[str, tuple[float, float]]

OPTIMIZERS = Registry("optimizer")


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


def in_program(optimizer: Optimizer, backend: Backend) -> Optimizer:
    """Return the optimizer as steps on a backend know it: see :meth:`Optimizer.in_program`.

    What users wrote may look at its learning rate in any of its methods, and stays as it is.
    """
    return optimizer.in_program() if backend.static_shapes and is_own(optimizer) else optimizer


@dataclass(frozen=True)
class Optimizer(ABC):
    """What all optimizers share. A new one gives ``slots``, ``bounds`` and ``rule``.

    The numbers of a rule are computed on the host in float64, by ``varying`` (those that change from
    step to step) and ``fixed`` (the others). What varies reaches a compiled step as data, and where
    a hyperparameter is a schedule all of them do: so no rule computes with numbers alone.

    Args:
        learning_rate: a number, or a schedule: a function of the step, which counts from 0. So may
            every hyperparameter be that stands in ``bounds``.

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

    bounds: ClassVar[Bounds] = {"learning_rate": (0.0, math.inf)}
    """The range of each hyperparameter, from the lower bound to below the upper one."""

    _scheduled: ClassVar[tuple[str, ...]] = ()
    _fixed: ClassVar[tuple[float, ...]] = ()

    learning_rate: Scheduled = 1e-3

    def __post_init__(self) -> None:
        for name, (low, high) in self.bounds.items():
            if isinstance(getattr(self, name), str):
                raise ValueError(
                    f"{name} must be a number, or a schedule such as nnbackend.schedules.Cosine(...); "
                    f"got {getattr(self, name)!r}"
                )
            if not is_schedule(getattr(self, name)):
                set_number(self, name, low, high)
        scheduled = tuple(name for name in self.bounds if is_schedule(getattr(self, name)))
        object.__setattr__(self, "_scheduled", scheduled)
        object.__setattr__(self, "_fixed", () if scheduled else self.fixed())

    def at(self, step: int) -> Any:
        """Return the optimizer with the values that its schedules have at a step, counted from 1.

        Raises:
            ValueError: a schedule gives NaN, infinity or a value out of range.
        """
        if not self._scheduled:
            return self
        return self._with({name: self._value(name, step) for name in self._scheduled})

    def _with(self, values: Mapping[str, Any]) -> Any:
        """Return the optimizer with other values, unchecked."""
        other = object.__new__(type(self))  # as copy.copy does it, in a tenth of the time
        vars(other).update(vars(self), **values)
        return other

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
        except (TypeError, ValueError) as error:
            raise ValueError(f"the schedule {value!r} at step {step - 1}: {error}") from None

    def scaled(self, factor: float) -> Optimizer:
        """Return the optimizer with its learning rate times a factor."""
        rate = self.learning_rate
        return replace(
            self, learning_rate=Scaled(rate, factor) if callable(rate) else rate * factor
        )

    def in_program(self) -> Optimizer:
        """Return the optimizer as a compiled step knows it, without the numbers that reach it as data.

        That is the learning rate, and whatever a schedule moves. Optimizers that differ in nothing else
        have the same program.
        """
        scheduled = {name: Constant(self.bounds[name][0]) for name in self._scheduled}
        return self._with({"learning_rate": 1.0, **scheduled})  # type: ignore[no-any-return]

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return the numbers that ``rule`` is given at a step, which counts from 1."""
        if not self._scheduled:
            return self.varying(step)
        now = self.at(step)
        return (*now.varying(step), *self.moved(step, now))

    def scalars_of(self, steps: range) -> Any:
        """Return the scalars of successive steps: a row for each, or a NumPy array of such rows."""
        kind = type(self)
        as_here = kind.scalars is Optimizer.scalars and kind.varying is Optimizer.varying
        if as_here and not self._scheduled:  # they are the same at every step
            return [self.scalars(1)] * len(steps)
        return [self.scalars(step) for step in steps]

    def varying(self, step: int) -> tuple[Any, ...]:
        """Return the numbers that depend on the step or the learning rate; no schedule is left here."""
        return (self.learning_rate,)

    def fixed(self) -> tuple[Any, ...]:
        """Return the numbers that depend on other hyperparameters alone; no schedule is left here."""
        return ()

    def moved(self, step: int, now: Any) -> tuple[Any, ...]:
        """Return those of ``fixed`` where schedules move them; ``now`` is the optimizer at the step."""
        return now.fixed()  # type: ignore[no-any-return]

    def constants(self, scalars: Any, varying: int) -> Any:
        """Return the numbers of ``fixed``, for ``rule``: constants, or what comes after the varying."""
        return scalars[varying:] if self._scheduled else self._fixed

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

    # What optimizers that wrap another one do differently; see ``wrapper.py``.

    @property
    def wrapped(self) -> Sequence[Optimizer]:
        """The optimizers inside this one."""
        return ()

    def gradients(self, grads: Params) -> Params:
        """Return the gradients that ``rule`` is given, all together. ``grads`` is not consumed."""
        return grads

    def averaged(self, params: Params, state: Params) -> Params:
        """Return the parameters to evaluate with, given the state: an average, if one is kept."""
        return params

    def prepared(
        self, params: Params, steps_per_epoch: int | None = None, frozen: Collection[str] = ()
    ) -> Optimizer:
        """Return the optimizer for these parameters, and for epochs of that many steps if known.

        Args:
            params: those that it will update.
            steps_per_epoch: for what counts epochs.
            frozen: names of others, which patterns may match in vain.

        Raises:
            ValueError: a pattern of names matches no parameter.
        """
        return self

    def around(self, wrap: Callable[[Optimizer], Optimizer]) -> Optimizer:
        """Return the optimizer with the update itself wrapped in another one."""
        return wrap(self)


def decayed(g: Array, p: Array, weight_decay: Any) -> Array:
    """Return the gradient with that of ``weight_decay / 2 * p**2`` added, as a new array."""
    return g + weight_decay * p


def norm(x: Array, xp: Namespace) -> Array:
    """Return the root of the sum of squares, a single number on the device."""
    return xp.sqrt(xp.sum(x * x))


def _zeros_like(p: Array) -> Array:
    return namespace(p).zeros_like(p)
