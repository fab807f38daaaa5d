"""Optimizers that wrap another one: what they share.

A wrapper is an optimizer itself, so it goes wherever one goes: ``fit``, ``partial_fit``, a loop of
one's own, a compiled step. Wrappers nest: ``EMA(Clipped(Adam(1e-3), norm=1.0), decay=0.999)``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from nnbackend.core.registry import Registry
from nnbackend.core.types import Array, Namespace, Params
from nnbackend.errors import nearest
from nnbackend.optimizers.base import Optimizer, Slots, get
from nnbackend.optimizers.lbfgs import LBFGS
from nnbackend.schedules import Scheduled

__all__ = ["WRAPPERS", "Wrapper", "matching"]

WRAPPERS = Registry("optimizer wrapper")


@dataclass(frozen=True)
class Wrapper(Optimizer):
    """Does what the optimizer in it does; a subclass overrides what it adds.

    Args:
        optimizer: the one that is wrapped, an object or a name.

    Raises:
        UnknownNameError, TypeError: it is no optimizer.
        ValueError: this wrapper has to be inside that one, not around it.
    """

    outermost: ClassVar[bool] = False
    """Whether no other wrapper may be around it."""

    learning_rate: Scheduled = field(init=False, repr=False, compare=False, default=0.0)
    optimizer: str | Optimizer

    def __post_init__(self) -> None:
        inner = get(self.optimizer)
        if isinstance(inner, LBFGS):
            raise ValueError(
                f"{type(self).__name__} changes single steps, and L-BFGS has none; take another "
                "optimizer, or do without it (without frozen parameters, without constraints)"
            )
        if isinstance(inner, Wrapper) and inner.outermost:
            outer, name = type(self).__name__, type(inner).__name__
            raise ValueError(f"{name} goes around {outer}, not into it: {name}({outer}(...), ...)")
        object.__setattr__(self, "optimizer", inner)
        object.__setattr__(self, "learning_rate", inner.learning_rate)

    @property
    def inner(self) -> Optimizer:
        """The optimizer that is wrapped."""
        assert isinstance(self.optimizer, Optimizer)
        return self.optimizer

    @property
    def wrapped(self) -> Sequence[Optimizer]:
        """The optimizer that is wrapped."""
        return (self.inner,)

    @property
    def slots(self) -> int:  # type: ignore[override]
        """Those of the optimizer inside."""
        return self.inner.slots

    @property
    def elementwise(self) -> bool:  # type: ignore[override]
        """Whether the rule inside is."""
        return self.inner.elementwise

    @property
    def averages(self) -> bool:  # type: ignore[override]
        """Whether the optimizer inside keeps an average."""
        return self.inner.averages

    def rate(self, step: int) -> float:
        """Return the learning rate of the optimizer inside."""
        return self.inner.rate(step)

    def scaled(self, factor: float) -> Optimizer:
        """Return the wrapper with the learning rate inside times a factor."""
        return dataclasses.replace(self, optimizer=self.inner.scaled(factor))

    def in_program(self) -> Optimizer:
        """Return the wrapper around the optimizer inside as a program knows it."""
        return dataclasses.replace(self, optimizer=self.inner.in_program())

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return those of the optimizer inside."""
        return self.inner.scalars(step)

    def scalars_of(self, steps: range) -> Any:
        """Return those of the optimizer inside."""
        as_here = type(self).scalars is Wrapper.scalars
        return self.inner.scalars_of(steps) if as_here else super().scalars_of(steps)

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """Apply the rule inside."""
        return self.inner.rule(p, g, slots, scalars, xp)

    def init(self, params: Params) -> Params:
        """Return the state of the optimizer inside."""
        return self.prepared(params).inner.init(params)  # type: ignore[attr-defined,no-any-return]

    def update(self, params: Params, grads: Params, state: Params) -> tuple[Params, Params]:
        """Return the parameters after one step, and the state; see :class:`Optimizer`."""
        ready = self.prepared(params)
        return (
            super().update(params, grads, state)
            if ready is self
            else ready.update(params, grads, state)
        )

    def apply(
        self, params: Params, grads: Params, slots: Params, scalars: tuple[Any, ...]
    ) -> tuple[Params, Params]:
        """Apply the optimizer inside."""
        return self.inner.apply(params, grads, slots, scalars)

    def gradients(self, grads: Params) -> Params:
        """Return those that the rule inside is given."""
        return self.inner.gradients(grads)

    def averaged(self, params: Params, state: Params) -> Params:
        """Return the average that the optimizer inside keeps, if it keeps one."""
        ready = self.prepared(params)
        return (self.inner if ready is self else ready).averaged(params, state)

    def prepared(
        self, params: Params, steps_per_epoch: int | None = None, frozen: Collection[str] = ()
    ) -> Optimizer:
        """Return the wrapper with the optimizer inside prepared."""
        ready = self.inner.prepared(params, steps_per_epoch, frozen)
        return self if ready is self.inner else dataclasses.replace(self, optimizer=ready)

    def around(self, wrap: Callable[[Optimizer], Optimizer]) -> Optimizer:
        """Return the wrapper with the update inside wrapped."""
        return dataclasses.replace(self, optimizer=self.inner.around(wrap))


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that a pattern matches: ``*`` stands for any text, ``?`` for one character.

    >>> matching("0.*", ["0.weight", "0.bias", "1.0.bias"])
    ['0.weight', '0.bias']

    Raises:
        TypeError: the pattern is not a text.
        ValueError: it matches none; the message lists the names.
    """
    if not isinstance(pattern, str):
        raise TypeError(f"a pattern is a text such as '*.bias', got {pattern!r}")
    names = list(names)
    found = [name for name in names if name == pattern or fnmatchcase(name, pattern)]
    if not found:
        close = nearest(pattern, names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"the pattern {pattern!r} matches none of the parameters {', '.join(names)}{hint}"
        )
    return found
