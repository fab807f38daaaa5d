"""L-BFGS, by SciPy: for small data, where a step takes all rows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

from nnbackend.core.checks import set_number, set_size
from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.base import OPTIMIZERS, Bounds, Optimizer, Slots, Updated
from nnbackend.optimizers.numbers import Numbers
from nnbackend.schedules import Scheduled

__all__ = ["LBFGS"]


@OPTIMIZERS.register("lbfgs")
@dataclass(frozen=True)
class LBFGS(Optimizer):
    """Steps along an estimate of the inverse Hessian, made from the last steps, with a line search.

    It is for ``Network.fit`` with all rows in a step, ``batch_size=None``: each iteration is an
    epoch, and ``epochs`` is the largest number of them. Loss and gradient are computed by the
    backend in its dtype, all else by SciPy in float64 on the host; there is no learning rate. The
    loss has to be the same function in every iteration, so layers such as dropout are refused.

    It ends before the last epoch when it has converged, and ``history.stopped`` says how.

    Args:
        history: the number of steps remembered, default 10.
        tolerance: the largest number of the gradient at convergence, default 1e-5.
        loss_tolerance: the decrease of the loss in an iteration, as a share of it (of one, for a loss
            below one), at or below which it has converged as well, default 2.2e-9.
        line_search: the largest number of points tried on a line, default 20.

    Raises:
        ValueError: a value is out of range; in ``fit``: a batch is not all of the rows, or the loss
            is not the same each time.
        ModuleNotFoundError: SciPy is not installed (in ``fit``).

    Source: Byrd, Lu, Nocedal, Zhu (1995), SIAM Journal on Scientific Computing 16; defaults are
    those of SciPy's L-BFGS-B.

    >>> import numpy as np
    >>> solver, path = LBFGS(), []
    >>> solver.minimize(lambda x: (((x - 3.0) ** 2).sum(), 2.0 * (x - 3.0)), np.zeros(1), 20,
    ...                 lambda x, loss: path.append(x) is None)
    'converged (Convergence: norm of projected gradient <= pgtol)'
    >>> path[-1].round(4)
    array([3.])
    """

    bounds: ClassVar[Bounds] = {}

    learning_rate: Scheduled = field(default=1.0, init=False, repr=False)  # the line search has it
    history: int = 10
    tolerance: float = 1e-5
    loss_tolerance: float = 2.220446049250313e-09
    line_search: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        set_size(self, "history")
        set_number(self, "tolerance", 0.0)
        set_number(self, "loss_tolerance", 0.0)
        set_size(self, "line_search")

    def minimize(
        self,
        function: Callable[[Any], tuple[float, Any]],
        start: Any,
        iterations: int,
        each: Callable[[Any, float], bool],
    ) -> str:
        """Minimize a function of a NumPy vector; return in words what ended it.

        Args:
            function: returns its value and its gradient, in float64.
            start: where to start.
            iterations: the largest number of iterations.
            each: called with the point and its value after each iteration; returns whether to continue.
        """

        def after_iteration(intermediate_result: Any) -> None:
            if not each(intermediate_result.x, float(intermediate_result.fun)):
                raise StopIteration

        result = scipy_minimize()(
            function,
            start,
            jac=True,
            method="L-BFGS-B",
            callback=after_iteration,
            options={
                "maxcor": self.history,
                "gtol": self.tolerance,
                "ftol": self.loss_tolerance,
                "maxls": self.line_search,
                "maxiter": iterations,
                "maxfun": sys.maxsize,
            },
        )
        message = str(result.message).strip().rstrip(".").capitalize()
        return f"converged ({message})" if result.success else f"no lower loss found ({message})"

    def scaled(self, factor: float) -> Optimizer:
        """Return the optimizer itself: it has no learning rate."""
        return self

    def numbers(self, step: Any) -> NoReturn:
        raise TypeError(
            "L-BFGS has no single steps: it works on all rows at once, by "
            "Network.fit(optimizer=LBFGS(), batch_size=None)"
        )

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        self.numbers(0)


def scipy_minimize() -> Callable[..., Any]:
    """Return SciPy's ``minimize``, or say how to get it."""
    try:
        from scipy.optimize import minimize
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("scipy"):
            raise
        message = "L-BFGS needs SciPy: pip install 'nnbackend[scipy]'"
        raise ModuleNotFoundError(message, name=error.name) from error
    return minimize  # type: ignore[no-any-return]
