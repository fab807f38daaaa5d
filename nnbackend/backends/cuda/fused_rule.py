"""An optimizer's rule as one launch, by ``cupy.fuse``.

``cupy.fuse`` calls a function once with stand-ins for its arguments, which record the operations on
them, and makes one kernel of these. It takes elementwise functions: arithmetic, also in place, ``sqrt``,
``maximum`` and the like. A stand-in has no value and no shape: a rule that asks for one, or indexes,
fails, and is applied operation by operation. Numbers of a step are arguments, so a new learning rate
compiles nothing.

Reference: CuPy, ``cupy.fuse``, https://docs.cupy.dev/en/stable/reference/generated/cupy.fuse.html.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from nnbackend.core.types import Array, Namespace

__all__ = ["FusedRule", "Rule"]

_TRIAL_SIZE = 256  # numbers that a rule is tried on

Rule: TypeAlias = Callable[..., tuple[Array, tuple[Array, ...]]]
"""``rule(p, g, slots, h, xp) -> (p, slots)``, as of an optimizer."""


class FusedRule:
    """A rule that is one kernel, if that does the same.

    It is tried on a few numbers before its first use: one synchronization for a run.

    Args:
        cupy: the module.
        rule: the rule; it treats each number by itself, and does nothing but compute.

    Attributes:
        refused: why there is no kernel; "" if there is one; None before the first use.
    """

    def __init__(self, cupy: Any, rule: Rule) -> None:
        self.refused: str | None = None
        self._cupy, self._rule = cupy, rule
        self._kernel: Any = None

    def __call__(
        self, p: Array, g: Array, slots: tuple[Array, ...], h: Any, xp: Namespace
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return the parameters and the slots after a step, in their old memory if there is a kernel."""
        if self.refused is None:
            self._kernel = self._fused(len(slots), h, xp)
            self.refused = self._try(p, len(slots), h, xp)
        if self.refused:
            return self._rule(p, g, slots, h, xp)
        self._kernel(p, g, *slots, *vars(h).values())
        return p, slots

    def _fused(self, count: int, h: Any, xp: Namespace) -> Any:
        """Return the rule as a kernel that changes its first argument and the slots."""
        names, kind, rule = tuple(vars(h)), type(h), self._rule

        def nnbackend_rule(p: Any, g: Any, *others: Any) -> None:
            slots, numbers = others[:count], others[count:]
            new_p, new_slots = rule(p, g, slots, kind(**dict(zip(names, numbers, strict=True))), xp)
            for old, new in zip((p, *slots), (new_p, *new_slots), strict=True):
                if new is not old:
                    old[...] = new

        return self._cupy.fuse(nnbackend_rule)

    def _try(self, like: Array, count: int, h: Any, xp: Namespace) -> str:
        """Return why the kernel cannot be used, or "" if it does what the rule does."""

        def arguments() -> list[Array]:
            p = xp.linspace(-1.0, 1.0, _TRIAL_SIZE, dtype=like.dtype, device=like.device)
            return [p, 0.3 - p * p, *(p * p + 0.1 * (i + 1) for i in range(count))]

        plain, fused = arguments(), arguments()
        p, slots = self._rule(plain[0], plain[1], tuple(plain[2:]), h, xp)
        try:
            self._kernel(*fused, *vars(h).values())
        except Exception as error:  # of many classes: CuPy's, Python's, the compiler's
            return f"{type(error).__name__}: {error}"
        tolerance = float(np.finfo(str(like.dtype)).eps) ** 0.5
        for a, b in zip((p, plain[1], *slots), fused, strict=True):
            a, b = self._cupy.asnumpy(a), self._cupy.asnumpy(b)
            if not np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
                return "the kernel does something else"
        return ""
