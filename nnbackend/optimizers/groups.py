"""Groups of parameters with their own hyperparameters, and frozen parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from nnbackend.core.checks import check_choice, check_items, check_number
from nnbackend.core.types import Array
from nnbackend.errors import given, unknown_name
from nnbackend.optimizers.base import Optimizer
from nnbackend.optimizers.prepared import Group, Known
from nnbackend.optimizers.wrapper import WRAPPERS, Wrapper, check_patterns, matching
from nnbackend.schedules import Scaled, Scheduled

__all__ = ["Frozen", "Grouped"]

_FACTORS = {
    "learning_rate_factor": "learning_rate",
    "weight_decay_factor": "weight_decay",
}
"""The hyperparameter that each factor multiplies."""


@WRAPPERS.register("grouped")
@dataclass(frozen=True)
class Grouped(Wrapper):
    """Give groups of parameters, by name, their own hyperparameters.

    ``Grouped(AdamW(1e-3), {"0.*": {"learning_rate_factor": 0.1}, "*.bias": {"weight_decay": 0.0}})``.
    A pattern is compared with dotted names such as ``0.weight``; ``*`` stands for any text, dots
    included. A parameter that several patterns match takes what each of them says: where two give a
    hyperparameter another value, the later counts, and factors are multiplied. One that no pattern
    matches is updated by the optimizer as it is.

    Args:
        optimizer: the optimizer that makes the update, an object or a name.
        groups: for each pattern (default: none), hyperparameters of the optimizer by name, and
            ``learning_rate_factor`` and ``weight_decay_factor``, which multiply the learning rate and
            the weight decay, schedules too. Or another optimizer, which takes the place of the first
            for these parameters. AdamW multiplies the weight decay by the learning rate, so that there
            both factors count: ``p *= 1 - rate * rate_factor * decay * decay_factor``.
        decay: ``"all"``, or ``"weights"`` to leave out of weight decay, unless a pattern says
            otherwise, those with fewer than two axes: biases, and the scales and shifts of norms.

    Raises:
        UnknownNameError: the optimizer has no such hyperparameter.
        ValueError: a value is out of range; on the first use, if a pattern matches no parameter.

    >>> import numpy as np
    >>> from nnbackend.optimizers import SGD
    >>> optimizer = Grouped(SGD(0.1), {"*.bias": {"learning_rate_factor": 0.5}})
    >>> params = {"0": {"weight": np.zeros(1), "bias": np.zeros(1)}}
    >>> grads = {"0": {"weight": np.ones(1), "bias": np.ones(1)}}
    >>> optimizer.update(params, grads, optimizer.init(params))[0]["0"]
    {'weight': array([-0.1]), 'bias': array([-0.05])}
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
        items = self.groups.items() if isinstance(self.groups, Mapping) else self.groups
        pairs = check_items("groups", items, "{pattern: {hyperparameter: value}}")
        object.__setattr__(self, "groups", tuple(map(_group, pairs)))
        check_choice("decay", self.decay, ("all", "weights"))
        for _, change in self.groups:  # wrong names and values show here
            self._changed(self.inner, change)
        if self.decay == "weights":
            self._changed(self.inner, (("weight_decay", 0.0),))

    def partition(self, params: Mapping[str, Array], known: Known) -> tuple[Group, ...]:
        chosen = dict.fromkeys(params, self.inner)
        if self.decay == "weights":
            for name in (name for name, p in params.items() if p.ndim < 2):
                chosen[name] = self._changed(chosen[name], (("weight_decay", 0.0),))
        for pattern, change in self.groups:
            for name in matching(pattern, (*params, *known.frozen)):
                if name in params:
                    chosen[name] = self._changed(chosen[name], change)
        sets: dict[Optimizer, list[str]] = {}
        for name, optimizer in chosen.items():
            sets.setdefault(optimizer, []).append(name)
        return tuple(
            Group(
                rule,
                tuple(names),
                tuple(f"{i}.{slot}" for slot in range(rule.slots)),
                len(sets),
                rule if isinstance(rule, Wrapper) else None,
                tuple(names),
            )
            for i, (rule, names) in enumerate(sets.items())
        )

    def structure(self) -> Optimizer:
        """Return the optimizer inside: its groups know the rest."""
        return self.inner.structure()

    def scaled(self, factor: float) -> Optimizer:
        groups = tuple((pattern, _scaled(change, factor)) for pattern, change in self.groups)
        return replace(self, optimizer=self.inner.scaled(factor), groups=groups)

    def map_innermost(self, wrap: Callable[[Optimizer], Optimizer]) -> Optimizer:
        """Return the update of all groups wrapped."""
        return wrap(self)

    def _changed(self, optimizer: Optimizer, change: Any) -> Optimizer:
        """Return the optimizer with other hyperparameters, or the one in its place."""
        if isinstance(change, Optimizer):
            return change
        known = [field.name for field in fields(optimizer) if field.init]
        known += [factor for factor, name in _FACTORS.items() if name in known]
        values = dict(change)
        for name in values:
            if name not in known:
                kind = f"hyperparameter of {type(optimizer).__name__}:"
                raise unknown_name(kind, name, known)
        rate_factor, decay_factor = (
            check_number(name, values.pop(name, 1.0), 0.0) for name in _FACTORS
        )
        changed = replace(optimizer, **values)
        if decay_factor != 1.0:
            decay: Any = {"weight_decay": _times(changed.weight_decay, decay_factor)}  # type: ignore[attr-defined]
            changed = replace(changed, **decay)
        return changed if rate_factor == 1.0 else changed.scaled(rate_factor)


@WRAPPERS.register("frozen")
@dataclass(frozen=True)
class Frozen(Wrapper):
    """Keep some parameters unchanged, to the last bit: no update, no decay, no state.

    Their gradients do not count in the norm by which others are clipped. ``Network.freeze`` puts this
    around the optimizer of ``fit``; it is here for a loop that you write.

    Args:
        optimizer: the optimizer of the others, an object or a name.
        patterns: one or several patterns of names; see :class:`Grouped`.

    Raises:
        TypeError: a pattern is not a text.
        ValueError: there is none; on the first use, if one matches no parameter, or all are frozen.

    >>> import numpy as np
    >>> from nnbackend.optimizers import SGD
    >>> optimizer = Frozen(SGD(0.1), "*.bias")
    >>> params = {"0": {"weight": np.zeros(1), "bias": np.zeros(1)}}
    >>> grads = {"0": {"weight": np.ones(1), "bias": np.ones(1)}}
    >>> optimizer.update(params, grads, optimizer.init(params))[0]["0"]
    {'weight': array([-0.1]), 'bias': array([0.])}
    """

    outermost = True

    patterns: str | Iterable[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "patterns", check_patterns(self.patterns, "Frozen", "freeze"))

    def frozen(self, names: Iterable[str]) -> set[str]:
        """Return the names that are frozen."""
        names = list(names)
        return {name for pattern in self.patterns for name in matching(pattern, names)}

    def partition(self, params: Mapping[str, Array], known: Known) -> tuple[Group, ...]:
        left = self.frozen(params)
        moving = {name: p for name, p in params.items() if name not in left}
        if not moving:
            raise ValueError("all parameters are frozen: there is nothing to train")
        return tuple(
            replace(group, state=tuple(f"0.{place}" for place in group.state), entries=1)
            for group in self.inner.partition(moving, known._replace(frozen=left))
        )


def _group(pair: Any) -> tuple[str, Any]:
    """Return a pattern and what it changes, checked, in a form that is hashable."""
    try:
        pattern, change = pair
        if not isinstance(change, Optimizer):
            change = tuple((str(name), value) for name, value in dict(change).items())
    except (TypeError, ValueError):
        raise TypeError(
            "groups are {pattern: {hyperparameter: value}} or {pattern: optimizer}; "
            f"for one of them got {given(pair)}"
        ) from None
    if not isinstance(pattern, str):
        raise TypeError(f"a pattern is a text such as '*.bias', got {given(pattern)}")
    return pattern, change


def _scaled(change: Any, factor: float) -> Any:
    """Return the changes of a pattern with its learning rate, if it has one, times a factor."""
    if isinstance(change, Optimizer):
        return change.scaled(factor)
    rate = dict(change).get("learning_rate")
    if rate is None:
        return change
    return tuple((dict(change) | {"learning_rate": _times(rate, factor)}).items())


def _times(value: Scheduled, factor: float) -> Scheduled:
    """Return a number or a schedule times a factor."""
    return Scaled(value, factor) if callable(value) else value * factor
