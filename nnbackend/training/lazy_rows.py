"""What lazy updates of rows do not go with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnbackend.optimizers.base import is_own
from nnbackend.optimizers.prepared import Prepared

if TYPE_CHECKING:
    from nnbackend.backends.base import Backend
    from nnbackend.training.objective import Objective

__all__ = ["check_lazy"]


def check_lazy(
    optimizer: Prepared, objective: Objective, backend: Backend, accumulate: int, communicator: Any
) -> None:
    """Check that the steps of a training go with an optimizer that updates single rows of tables.

    Raises:
        ValueError: something in them needs, or makes, the gradient of the whole table.
    """
    names = optimizer.by_rows
    if not names:
        return
    if not is_own(optimizer.optimizer):
        raise ValueError("Lazy goes with the optimizers and wrappers of this library only")
    for name, penalty in objective.penalties:
        if name in names:
            raise ValueError(
                f"the regularizer {penalty!r} of {name} has a gradient for all its rows, and Lazy "
                "updates only those that a batch looks up: take one of the two"
            )
    for reason, holds in (
        ("a penalty per row of the batch (L2 of all weights)", objective.row_penalty is not None),
        (f"accumulate={accumulate}", accumulate > 1),
        (f"mixed precision ({backend.precision})", backend.mixed),
        ("several processes", communicator is not None),
    ):
        if holds:
            raise ValueError(
                f"Lazy does not go with {reason}, which takes the gradients of whole tables: "
                f"{', '.join(names)}. Do without one of the two"
            )
