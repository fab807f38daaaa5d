"""An optimizer prepared for the parameters of a network: groups of parameters with one rule each.

Wrappers name parameters that are frozen, grouped or constrained. The names are looked up here, once:
each :class:`Group` has the names of its parameters and one rule, wrappers included.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from nnbackend.backends.base import Backend, namespace
from nnbackend.core.tree import flatten, unflatten
from nnbackend.core.types import Array, Params
from nnbackend.errors import listed
from nnbackend.optimizers.numbers import Number, Numbers, Rows, number_rows

if TYPE_CHECKING:
    from nnbackend.optimizers.base import Optimizer

__all__ = ["Group", "Known", "Prepared", "named_slots"]


@dataclass(frozen=True)
class Group:
    """Parameters that one rule updates.

    Attributes:
        rule: the optimizer whose ``rule`` and ``numbers`` are meant, wrappers included.
        names: the dotted names of the parameters.
        state: the places of the rule's arrays in the optimizer's state: ``("0", "1")``, or with
            groups ``("2.0", "2.1")``.
        entries: the number of entries at the top of the optimizer's state.
        own: the optimizer that is this group's alone; None: all share it.
        together: the names of the parameters whose gradients ``own`` transforms together: those of this
            group and of others that were parted from it.
    """

    rule: Optimizer
    names: tuple[str, ...]
    state: tuple[str, ...]
    entries: int
    own: Optimizer | None = None
    together: tuple[str, ...] = ()


class Known(NamedTuple):
    """What an optimizer is told when its parameters are put into groups.

    Attributes:
        steps_per_epoch: the number of steps in an epoch; None (the default): unknown.
        frozen: the names of other parameters, which patterns may match, too; default none.
    """

    steps_per_epoch: int | None = None
    frozen: Collection[str] = ()


@dataclass(frozen=True)
class Prepared:
    """An optimizer with the groups of parameters that its rules update.

    Attributes:
        optimizer: the whole optimizer, which transforms gradients and has the learning rate to report.
        groups: the parameters by rule. One that is in no group stays unchanged.
    """

    optimizer: Optimizer
    groups: tuple[Group, ...]

    @property
    def averages(self) -> bool:
        """Whether an average of parameters is kept."""
        return any(group.rule.averages for group in self.groups)

    @property
    def by_rows(self) -> tuple[str, ...]:
        """The names of the parameters of which the looked-up rows alone are updated."""
        return tuple(n for group in self.groups if group.rule.by_rows for n in group.names)

    @property
    def learning_rate(self) -> Any:
        """The learning rate that is reported: a number or a schedule."""
        return self.optimizer.learning_rate

    def rate(self, step: int) -> float:
        """Return the learning rate that is reported for a step, which counts from 1."""
        return self.optimizer.rate(step)

    def scaled(self, factor: float) -> Prepared:
        """Return the same with all learning rates times a factor."""
        return self._mapped(lambda optimizer: optimizer.scaled(factor))

    def for_program(self, backend: Backend) -> Prepared:
        """Return the form that compiled programs depend on, see :meth:`Optimizer.structure`."""
        return self._mapped(lambda o: o.structure()) if backend.static_shapes else self

    def with_rules(self, wrap: Callable[[Optimizer], Optimizer]) -> Prepared:
        """Return the same with the rule of each group wrapped."""
        groups = [replace(group, rule=wrap(group.rule)) for group in self.groups]
        return Prepared(self.optimizer, tuple(groups))

    def _mapped(self, function: Callable[[Optimizer], Optimizer]) -> Prepared:
        """Return the same with a function applied to each optimizer in it."""
        groups = [
            replace(group, own=None if group.own is None else function(group.own))
            for group in self.with_rules(function).groups
        ]
        return Prepared(function(self.optimizer), tuple(groups))

    # Numbers.

    @cached_property
    def _has_own(self) -> bool:
        """Whether a group has an optimizer of its own."""
        return any(group.own is not None for group in self.groups)

    @cached_property
    def _moving(self) -> set[str]:
        """The names of the parameters of all groups."""
        return {name for group in self.groups for name in group.names}

    @cached_property
    def _rules(self) -> tuple[Optimizer, ...]:
        """The optimizers that have numbers: each group's, and the whole if a group has its own."""
        rules = tuple(group.rule for group in self.groups)
        return (*rules, self.optimizer) if self._has_own else rules

    @cached_property
    def _number_names(self) -> list[tuple[str, ...]]:
        """The names of the numbers of each, as they follow one another in a row."""
        return [tuple(rule.numbers(1)) for rule in self._rules]

    def numbers(self, step: int) -> list[Numbers]:
        """Return the numbers of each rule at a step, which counts from 1."""
        return [Numbers(**rule.numbers(step)) for rule in self._rules]

    def number_rows(self, steps: range) -> Rows:
        """Return the numbers of successive steps, for :meth:`numbers_from` to read."""
        if len(steps) == 1:  # as a stream asks, batch by batch
            return [tuple(self._row(steps[0]))]
        return number_rows(self._row, steps, all(map(_takes_arrays, self._rules)))

    def _row(self, step: Any) -> list[Number]:
        """Return the numbers of all rules at a step, or at an array of steps."""
        row: list[Number] = []
        for rule, names in zip(self._rules, self._number_names, strict=True):
            row += _in_order(rule.numbers(step), names, rule)
        return row

    def numbers_from(self, row: Any) -> list[Numbers]:
        """Return the numbers of each rule from a row of :meth:`number_rows`, or from an array of it."""
        values = iter(row)
        return [Numbers(**dict(zip(names, values, strict=False))) for names in self._number_names]

    # Arrays.

    def init(self, params: Params) -> Params:
        """Return the arrays of the state: zeros, and the parameters as the first average."""
        flat = flatten(params)

        def first_value(group: Group, name: str, number: int) -> Array:
            p = flat[name]
            if group.rule.averages and number == len(group.state) - 1:
                return namespace(p).asarray(p, copy=True)
            return namespace(p).zeros_like(p)

        return named_slots(self.groups, params, first_value)

    def transform_gradients(
        self, grads: dict[str, Array], numbers: list[Numbers]
    ) -> dict[str, Array]:
        """Return the gradients for the rules, by dotted name; parameters in no group have none."""
        if len(self._moving) < len(grads):
            grads = {name: g for name, g in grads.items() if name in self._moving}
        if not self._has_own:
            return self.optimizer.transform_gradients(grads, numbers[0])
        found = self.optimizer.transform_gradients(grads, numbers[-1])
        done: set[tuple[str, ...]] = set()
        for group, h in zip(self.groups, numbers, strict=False):
            if group.own is not None and group.together not in done:
                done.add(group.together)
                part = {name: found[name] for name in group.together if name in found}
                found = found | group.own.transform_gradients(part, h)
        return found

    def apply_rules(
        self,
        params: Params,
        grads: Mapping[str, Array],
        slots: Params,
        numbers: list[Numbers],
        flat: dict[str, Array] | None = None,
    ) -> tuple[Params, Params]:
        """Return the parameters and the state after a step, one parameter after the other.

        Args:
            params: the parameters.
            grads: the gradients as the rules are given them, by dotted name.
            slots: the arrays of the state.
            numbers: the numbers of each rule, from ``numbers`` or ``numbers_from``.
            flat: the parameters by dotted name, if that was done; they are replaced in it.
        """
        flat, flat_slots = flatten(params) if flat is None else flat, flatten(slots)
        in_place = True
        for group, h in zip(self.groups, numbers, strict=False):
            for name in group.names:
                p, keys = flat[name], [f"{place}.{name}" for place in group.state]
                own = tuple([flat_slots[key] for key in keys])
                flat[name], new = group.rule.rule(p, grads[name], own, h, namespace(p))
                flat_slots.update(zip(keys, new, strict=True))
                in_place = in_place and flat[name] is p and all(map(operator.is_, new, own))
        if in_place:  # to nest the same arrays again takes as long as the rules of small ones
            return params, slots
        return unflatten(flat, params), unflatten(flat_slots, slots)

    def averaged(self, params: Params, slots: Params) -> Params:
        """Return the averages where they are kept, and other parameters unchanged."""
        if not self.averages:
            return params
        flat, flat_slots = flatten(params), flatten(slots)
        for group in self.groups:
            if group.rule.averages:
                average = {name: flat_slots[f"{group.state[-1]}.{name}"] for name in group.names}
                flat |= average
        return unflatten(flat, params)


def _in_order(
    values: Mapping[str, Any], names: Collection[str], rule: Optimizer
) -> Collection[Any]:
    """Return the numbers of a rule in the order of their names.

    Raises:
        ValueError: they are others than at the first step.
    """
    if list(values) == list(names):
        return values.values()
    if values.keys() != set(names):
        raise ValueError(
            f"{type(rule).__name__}.numbers(step) must give the same numbers at each step: it gave "
            f"{listed(names)} at step 1, and {listed(values)} now"
        )
    return [values[name] for name in names]


def _takes_arrays(optimizer: Optimizer) -> bool:
    """Return whether ``numbers`` takes an array of steps: this library's do, a schedule may not."""
    own = type(optimizer).__module__.startswith("nnbackend.")
    here = own and optimizer.numbers_at_once and not optimizer.scheduled
    return here and all(map(_takes_arrays, optimizer.wrapped))


def named_slots(groups: Collection[Group], params: Params, array: Any) -> Params:
    """Return the arrays of the state, nested and named as in files.

    Args:
        groups: the groups.
        params: the parameters.
        array: ``array(group, name, number)`` returns one of the arrays of a parameter.
    """
    found: dict[str, dict[str, Array]] = {}
    for group in groups:
        for i, place in enumerate(group.state):
            own = found.setdefault(place, {})
            own.update({name: array(group, name, i) for name in group.names})
    everything, slots = len(flatten(params)), Params()
    for place, arrays in found.items():
        *above, last = place.split(".")
        branch = slots
        for name in above:
            branch = branch.setdefault(name, {})
        branch[last] = unflatten(arrays, params) if len(arrays) == everything else arrays
    return slots
