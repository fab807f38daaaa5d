"""Parameters that are treated differently: groups with hyperparameters of their own, frozen ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nnbackend.core.checks import check_number
from nnbackend.core.tree import flatten, unflatten
from nnbackend.core.types import Array, Namespace, Params
from nnbackend.errors import unknown_name
from nnbackend.optimizers.base import Optimizer, Slots
from nnbackend.optimizers.wrapper import WRAPPERS, Wrapper, matching
from nnbackend.schedules import Scaled, Scheduled

__all__ = ["Frozen", "Grouped", "Partition"]

_FACTOR = "learning_rate_factor"


@WRAPPERS.register("grouped")
@dataclass(frozen=True)
class Grouped(Wrapper):
    """Give some parameters hyperparameters of their own, by name.

    ``Grouped(AdamW(1e-3), {"0.*": {"learning_rate_factor": 0.1}, "*.bias": {"weight_decay": 0.0}})``.
    A pattern is compared with dotted names such as ``0.weight``; ``*`` stands for any text, dots
    included. A parameter that several patterns match takes what each of them says, and where two
    disagree, the later; one that no pattern matches is updated by the optimizer as it is.

    Args:
        optimizer: what makes the update, an object or a name.
        groups: for each pattern, hyperparameters of the optimizer by name, and
            ``learning_rate_factor``, which multiplies the learning rate, a schedule's too. Or another
            optimizer, which takes the place of the first for these parameters.
        decay: ``"all"``, or ``"weights"`` to leave out of weight decay, unless a pattern says
            otherwise, what has fewer than two axes: biases, and the scales and shifts of norms.

    Raises:
        UnknownNameError: the optimizer has no such hyperparameter.
        ValueError: a value is out of range; on the first use, if a pattern matches no parameter.
    """

    groups: Any = ()
    decay: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.inner, Wrapper):
            raise ValueError(
                f"Grouped changes hyperparameters of the optimizer itself; put "
                f"{type(self.inner).__name__} around it"
            )
        pairs = self.groups.items() if isinstance(self.groups, Mapping) else self.groups
        object.__setattr__(self, "groups", tuple(map(_group, pairs)))
        if self.decay not in ("all", "weights"):
            raise ValueError(f"decay must be 'all' or 'weights', got {self.decay!r}")
        for _, change in self.groups:  # wrong names and values show here
            self._changed(self.inner, change)
        if self.decay == "weights":
            self._changed(self.inner, (("weight_decay", 0.0),))

    def prepared(
        self, params: Params, steps_per_epoch: int | None = None, frozen: Collection[str] = ()
    ) -> Optimizer:
        """Return an optimizer for each set of parameters that are treated alike."""
        flat = flatten(params)
        chosen = dict.fromkeys(flat, self.inner)
        if self.decay == "weights":
            for name in (name for name, p in flat.items() if p.ndim < 2):
                chosen[name] = self._changed(chosen[name], (("weight_decay", 0.0),))
        for pattern, change in self.groups:
            for name in matching(pattern, (*flat, *frozen)):
                if name in flat:
                    chosen[name] = self._changed(chosen[name], change)
        sets: dict[Optimizer, list[str]] = {}
        for name, optimizer in chosen.items():
            sets.setdefault(optimizer, []).append(name)
        members = tuple((optimizer, tuple(names)) for optimizer, names in sets.items())
        return Partition(self.inner, members)

    def init(self, params: Params) -> Params:
        """Return the state: the groups', one after the other."""
        return self.prepared(params).init(params)

    def scaled(self, factor: float) -> Optimizer:
        """Return the same with the learning rate of each group times a factor."""
        groups = tuple((pattern, _scaled(change, factor)) for pattern, change in self.groups)
        return dataclasses.replace(self, optimizer=self.inner.scaled(factor), groups=groups)

    def around(self, wrap: Callable[[Optimizer], Optimizer]) -> Optimizer:
        """Return the update of all groups wrapped."""
        return wrap(self)

    def _changed(self, optimizer: Optimizer, change: Any) -> Optimizer:
        """Return the optimizer with other hyperparameters, or the one in its place."""
        if isinstance(change, Optimizer):
            return change
        known = [f.name for f in dataclasses.fields(optimizer) if f.init]
        fields = dict(change)
        for name in fields:
            if name not in (*known, _FACTOR):
                kind = f"hyperparameter of {type(optimizer).__name__}:"
                raise unknown_name(kind, name, [*known, _FACTOR])
        factor = check_number(_FACTOR, fields.pop(_FACTOR, 1.0), 0.0)
        changed = dataclasses.replace(optimizer, **fields)
        return changed if factor == 1.0 else changed.scaled(factor)


@WRAPPERS.register("frozen")
@dataclass(frozen=True)
class Frozen(Wrapper):
    """Leave some parameters as they are, to the last bit: no update, no decay, no state.

    Their gradients do not count in the norm by which others are clipped. ``Network.freeze`` puts this
    around the optimizer of ``fit``; it is here for a loop of one's own.

    Args:
        optimizer: what makes the update of the others, an object or a name.
        patterns: of the names, one or several; see :class:`Grouped`.

    Raises:
        TypeError: a pattern is not a text.
        ValueError: there is none; on the first use, if one matches no parameter, or all are frozen.
    """

    outermost: ClassVar[bool] = True

    patterns: str | Iterable[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        given = (self.patterns,) if isinstance(self.patterns, str) else tuple(self.patterns)
        if not given:
            raise ValueError(
                "Frozen needs the patterns of names to freeze: Frozen(optimizer, '0.*')"
            )
        for pattern in given:
            if not isinstance(pattern, str):
                raise TypeError(f"a pattern is a text such as '0.*', got {pattern!r}")
        object.__setattr__(self, "patterns", given)

    def frozen(self, names: Iterable[str]) -> set[str]:
        """Return which of the names are frozen."""
        names = list(names)
        return {name for pattern in self.patterns for name in matching(pattern, names)}

    def prepared(
        self, params: Params, steps_per_epoch: int | None = None, frozen: Collection[str] = ()
    ) -> Optimizer:
        """Return an optimizer for the other parameters alone."""
        flat = flatten(params)
        left = self.frozen(flat)
        moving = {name: p for name, p in flat.items() if name not in left}
        if not moving:
            raise ValueError("all parameters are frozen: there is nothing to train")
        ready = self.inner.prepared(moving, steps_per_epoch, left)
        return Partition(ready, ((ready, tuple(moving)),))

    def init(self, params: Params) -> Params:
        """Return the state of the parameters that move."""
        return self.prepared(params).init(params)


@dataclass(frozen=True)
class Partition(Optimizer):
    """Optimizers with the names of the parameters each of them updates; others stay as they are.

    Args:
        main: the one whose learning rate is reported.
        members: the optimizers and the names.
    """

    elementwise: ClassVar[bool] = False

    learning_rate: Scheduled = field(init=False, repr=False, compare=False, default=0.0)
    main: Optimizer
    members: tuple[tuple[Optimizer, tuple[str, ...]], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", self.main.learning_rate)
        counts = [len(member.scalars(1)) for member, _ in self.members]
        object.__setattr__(self, "_counts", counts)  # of the scalars of each

    @property
    def wrapped(self) -> Sequence[Optimizer]:
        """The optimizers of all groups."""
        return tuple(member for member, _ in self.members)

    @property
    def slots(self) -> int:  # type: ignore[override]
        """How many states there are: one for each."""
        return len(self.members)

    @property
    def averages(self) -> bool:  # type: ignore[override]
        """Whether one of them does."""
        return any(member.averages for member, _ in self.members)

    def rate(self, step: int) -> float:
        """Return the learning rate of the main one."""
        return self.main.rate(step)

    def scaled(self, factor: float) -> Optimizer:
        """Return the same with the learning rate of each times a factor."""
        members = tuple((member.scaled(factor), names) for member, names in self.members)
        return Partition(self.main.scaled(factor), members)

    def in_program(self) -> Optimizer:
        """Return the same of each as a program knows it."""
        members = tuple((member.in_program(), names) for member, names in self.members)
        return Partition(self.main.in_program(), members)

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return those of each, one after the other."""
        return tuple(s for member, _ in self.members for s in member.scalars(step))

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """Raise: a rule needs to know the parameter's name."""
        raise TypeError("groups are updated by name: call update or apply")

    def init(self, params: Params) -> Params:
        """Return the state of each, by its number."""
        flat = flatten(params)
        slots = {
            str(i): member.init(_part(flat, names))["slots"]
            for i, (member, names) in enumerate(self.members)
        }
        return {"step": 0, "slots": slots}

    def apply(
        self, params: Params, grads: Params, slots: Params, scalars: tuple[Any, ...]
    ) -> tuple[Params, Params]:
        """Apply each to its own parameters."""
        flat, flat_grads, new_slots, start = flatten(params), flatten(grads), {}, 0
        counts: list[int] = self._counts  # type: ignore[attr-defined]
        for i, (member, names) in enumerate(self.members):
            stop = start + counts[i]
            part, new_slots[str(i)] = member.apply(
                _part(flat, names), _part(flat_grads, names), slots[str(i)], scalars[start:stop]
            )
            flat, start = flat | part, stop
        return unflatten(flat, params), new_slots

    def averaged(self, params: Params, state: Params) -> Params:
        """Return the averages of those that keep one, and the parameters as they are of others."""
        flat = flatten(params)
        for i, (member, names) in enumerate(self.members):
            own = {"slots": state["slots"][str(i)]}
            flat = flat | flatten(member.averaged(_part(flat, names), own))
        return unflatten(flat, params)


def _group(pair: Any) -> tuple[str, Any]:
    """Return a pattern and what it changes, checked, in a form that is hashable."""
    try:
        pattern, change = pair
        if not isinstance(change, Optimizer):
            change = tuple((str(name), value) for name, value in dict(change).items())
    except (TypeError, ValueError):
        raise TypeError(
            "groups are {pattern: {hyperparameter: value}} or {pattern: optimizer}; "
            f"for one of them got {pair!r}"
        ) from None
    if not isinstance(pattern, str):
        raise TypeError(f"a pattern is a text such as '*.bias', got {pattern!r}")
    return pattern, change


def _part(flat: Mapping[str, Array], names: Iterable[str]) -> Params:
    return {name: flat[name] for name in names}


def _scaled(change: Any, factor: float) -> Any:
    """Return what a pattern changes with its learning rate, if it has one, times a factor."""
    if isinstance(change, Optimizer):
        return change.scaled(factor)
    rate = dict(change).get("learning_rate")
    if rate is None:
        return change
    rate = Scaled(rate, factor) if callable(rate) else rate * factor
    return tuple((dict(change) | {"learning_rate": rate}).items())
