"""Lazy updates: the rows of a table that a batch did not look up stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nnbackend.core.row_gradient import SummedRows
from nnbackend.core.types import Array, Namespace
from nnbackend.errors import given
from nnbackend.optimizers.base import Optimizer, Slots, Updated, is_own
from nnbackend.optimizers.numbers import Numbers
from nnbackend.optimizers.prepared import Group, Known
from nnbackend.optimizers.wrapper import WRAPPERS, Wrapper, check_patterns, matching

__all__ = ["Lazy"]


@WRAPPERS.register("lazy")
@dataclass(frozen=True)
class Lazy(Wrapper):
    """Update only those rows of an embedding table that a batch looked up.

    ``Lazy(Adam(1e-3), "0.weight")``: the other rows, and the optimizer's arrays for them (running means,
    momentum), stay as they are and are not walked over, so that a step takes time by the size of the
    batch and not by that of the table. What counts steps (bias corrections, schedules) counts all steps.
    With :class:`Adam` it is what PyTorch's ``SparseAdam`` does, but ``epsilon`` is added to the root of
    the corrected mean, as in :class:`Adam`. It is not what :class:`Adam` alone does, where a row goes on
    moving by its running mean, and the mean fades, also without a gradient.

    A row counts as looked up if its gradient happens to be 0, but not through the padding index, or in
    samples of weight 0. The gradients of a row that a batch looks up several times are added up first;
    clipping by norm counts that sum.

    It is for the tables of ``Embedding`` and ``EmbeddingBag``, in ``fit`` and ``partial_fit``, whose
    steps know which rows were looked up. On NumPy such steps are not recorded.

    Args:
        optimizer: the optimizer that makes the update, an object or a name; one that treats each number
            by itself, without weight decay for the tables.
        patterns: one or several patterns of the tables' names; see :class:`Grouped`.

    Raises:
        TypeError: a pattern is not a text; ``update`` is called in a loop of your own.
        ValueError: there is none; on the first use, if one matches no parameter, or one that has not two
            axes, or the optimizer has weight decay, schedules of more than the learning rate, or a rule
            that is not elementwise; with a regularizer or a constraint of a table, averages of weights,
            accumulation, mixed precision, or several processes.

    Source: ``torch.optim.SparseAdam``.

    >>> import nnbackend as nnb
    >>> net = nnb.Network([nnb.Embedding(4, 2), nnb.Flatten(), nnb.Dense(1)], input_shape=2, seed=0)
    >>> before = net.params["0"]["weight"].copy()
    >>> history = net.fit(np.array([[1, 2]]), np.ones((1, 1)), optimizer=Lazy("adam", "0.weight"))
    >>> (net.params["0"]["weight"] != before).any(axis=1)
    array([False,  True,  True, False])
    """

    patterns: str | Iterable[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.inner, Lazy):
            raise ValueError("Lazy is in Lazy: give all patterns to one")
        object.__setattr__(self, "patterns", check_patterns(self.patterns, "Lazy", "update lazily"))

    def partition(self, params: Mapping[str, Array], known: Known) -> tuple[Group, ...]:
        """Return the groups of the optimizer inside, and one for each table."""
        names = [*params, *(name for name in known.frozen if name not in params)]
        lazy = {name for pattern in self.patterns for name in matching(pattern, names)}
        groups = []
        for group in self.inner.partition(params, known):
            others = tuple(name for name in group.names if name not in lazy)
            if others:
                groups.append(replace(group, names=others))
            for name in group.names:
                if name in lazy:
                    _check(name, params[name], group.rule)
                    groups.append(replace(group, names=(name,), rule=LazyRows(group.rule)))
        return tuple(groups)

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        raise TypeError("Lazy goes around Grouped, not into it: Lazy(Grouped(...), '0.weight')")


@dataclass(frozen=True)
class LazyRows(Wrapper):
    """The rule of a table: that of the optimizer inside, on the rows that were looked up."""

    by_rows = True
    elementwise = False  # a table is given as a whole, in its shape

    def rule(self, p: Array, g: Any, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        """Apply the rule inside to some rows. ``g`` is a :class:`SummedRows`."""
        if not isinstance(g, SummedRows):
            raise TypeError(
                "Lazy must know which rows a batch looked up, as fit and partial_fit do; in a loop of "
                f"your own take the optimizer inside (it was given {given(g)} as a gradient)"
            )
        return g.update(self.inner.rule, p, slots, h, xp)


def _check(name: str, p: Array, rule: Optimizer) -> None:
    """Check that a parameter can be updated row by row.

    Raises:
        ValueError: it cannot.
    """
    if len(p.shape) != 2:
        raise ValueError(
            f"Lazy updates rows of tables, which have two axes; {name} has the shape {tuple(p.shape)}"
        )
    if rule.averages or not rule.elementwise or not is_own(rule):
        what = "keeps an average of weights" if rule.averages else "looks at whole parameters"
        what = what if is_own(rule) else "is not of this library"
        raise ValueError(
            f"Lazy cannot update {name} row by row: {type(rule).__name__}, which updates it, {what}"
        )
    inner = rule
    while isinstance(inner, Wrapper):
        inner = inner.inner
    if getattr(inner, "weight_decay", 0.0):
        raise ValueError(
            f"weight decay moves all rows of {name}, and Lazy leaves most of them alone: give "
            f"weight_decay=0, or Lazy(Grouped(optimizer, {{{name!r}: {{'weight_decay': 0}}}}), ...)"
        )
    scheduled = [field for field in inner.scheduled if field != "learning_rate"]
    if scheduled:
        raise ValueError(
            f"Lazy goes with schedules of the learning rate, got one of {scheduled[0]}: what the "
            "optimizer keeps for the other rows would belong to another value of it"
        )
