"""The base of optimizers that wrap another one.

A wrapper is an optimizer itself, so it goes wherever one goes: ``fit``, ``partial_fit``, a loop that
users write, a compiled step. Wrappers nest: ``EMA(Clipped(Adam(1e-3), norm=1.0), decay=0.999)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from nnbackend.core.checks import check_items
from nnbackend.core.registry import Registry
from nnbackend.core.types import Array, Namespace
from nnbackend.errors import given, listed, nearest
from nnbackend.optimizers.base import Optimizer, Slots, Updated, get
from nnbackend.optimizers.lbfgs import LBFGS
from nnbackend.optimizers.numbers import Number, Numbers
from nnbackend.optimizers.prepared import Group, Known
from nnbackend.schedules import Scheduled

__all__ = ["WRAPPERS", "Wrapper", "check_patterns", "matching"]

WRAPPERS = Registry("optimizer wrapper")


@dataclass(frozen=True)
class Wrapper(Optimizer):
    """The base of wrappers: it updates as the optimizer inside does.

    A subclass overrides ``rule``, to do something before or after the rule inside, ``numbers``, to give
    it more numbers, or ``transform_gradients``, to change all gradients before.

    Args:
        optimizer: the optimizer that is wrapped, an object or a name.

    Attributes:
        learning_rate: the learning rate of the optimizer inside.

    Raises:
        UnknownNameError, TypeError: ``optimizer`` is not an optimizer.
        ValueError: this wrapper cannot be around that optimizer.
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
        assert isinstance(self.optimizer, Optimizer)
        return self.optimizer

    @property
    def wrapped(self) -> Sequence[Optimizer]:
        return (self.inner,)

    @property
    def slots(self) -> int:  # type: ignore[override]
        return self.inner.slots

    @property
    def elementwise(self) -> bool:  # type: ignore[override]
        return self.inner.elementwise

    @property
    def averages(self) -> bool:  # type: ignore[override]
        return self.inner.averages

    @property
    def by_rows(self) -> bool:  # type: ignore[override]
        return self.inner.by_rows

    def rate(self, step: int) -> float:
        return self.inner.rate(step)

    def numbers(self, step: Any) -> dict[str, Number]:
        return self.inner.numbers(step)

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        return self.inner.rule(p, g, slots, h, xp)

    def transform_gradients(self, grads: dict[str, Array], h: Numbers) -> dict[str, Array]:
        return self.inner.transform_gradients(grads, h)

    def partition(self, params: Mapping[str, Array], known: Known) -> tuple[Group, ...]:
        """Return the groups of the optimizer inside, each rule wrapped."""
        groups = self.inner.partition(params, known)
        return tuple(replace(group, rule=self._around(group.rule)) for group in groups)

    def structure(self) -> Optimizer:
        """Return the wrapper of the same structure, around an optimizer of the same."""
        own = super().structure()
        return own if own is self else own._around(self.inner.structure())  # type: ignore[attr-defined]

    def scaled(self, factor: float) -> Optimizer:
        return replace(self, optimizer=self.inner.scaled(factor))

    def map_innermost(self, wrap: Callable[[Optimizer], Optimizer]) -> Optimizer:
        """Return the wrapper with the update inside wrapped."""
        return replace(self, optimizer=self.inner.map_innermost(wrap))

    def _around(self, inner: Optimizer) -> Any:
        """Return the wrapper around another optimizer, unchecked."""
        if inner is self.optimizer:
            return self
        other = object.__new__(type(self))
        rate = inner.learning_rate
        vars(other).update(vars(self), optimizer=inner, learning_rate=rate)
        return other


def check_patterns(patterns: Any, wrapper: str, to: str) -> tuple[str, ...]:
    """Return one or several patterns of names, checked.

    Raises:
        TypeError: a pattern is not a text.
        ValueError: there is none.
    """
    wanted = "patterns of names such as '0.*'"
    found = [patterns] if isinstance(patterns, str) else check_items("patterns", patterns, wanted)
    if not found:
        raise ValueError(
            f"{wrapper} needs the patterns of names to {to}: {wrapper}(optimizer, '0.*')"
        )
    for pattern in found:
        if not isinstance(pattern, str):
            raise TypeError(f"a pattern is a text such as '0.*', got {given(pattern)}")
    return tuple(found)


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that a pattern matches: ``*`` stands for any text, ``?`` for one character.

    >>> matching("0.*", ["0.weight", "0.bias", "1.0.bias"])
    ['0.weight', '0.bias']

    Raises:
        TypeError: the pattern is not a text.
        ValueError: it matches none; the message lists the names.
    """
    if not isinstance(pattern, str):
        raise TypeError(f"a pattern is a text such as '*.bias', got {given(pattern)}")
    names = list(names)
    found = [name for name in names if name == pattern or fnmatchcase(name, pattern)]
    if not found:
        close = nearest(pattern, names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"the pattern {given(pattern)} matches none of the parameters {listed(names)}{hint}"
        )
    return found
