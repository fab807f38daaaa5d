"""Whether a loss that a user wrote adds up over parts of a batch, as processes compute it."""

from __future__ import annotations

from nnbackend.backends.base import Backend
from nnbackend.core.tree import arrays_in, count_rows, map_arrays, slice_rows
from nnbackend.core.types import Array, Arrays, Batch
from nnbackend.losses import Loss
from nnbackend.training.accumulation import loss_and_gradient

__all__ = ["adds_up"]

_FACTOR = 3.0  # by which the weights of the second part are larger


def adds_up(loss: Loss, output: Arrays, batch: Batch, backend: Backend) -> bool:
    """Return whether the gradient of a loss is the sum of those of parts, by the weights of their rows.

    Rows with weights are given other ones here, so that a loss which ignores them is found whatever
    they are. What cannot be judged passes: a loss that gives something else each time (random numbers, a
    state), one that fails or is not finite for so few rows.

    Args:
        loss: the loss.
        output: what it is given for a batch; one row is taken twice.
        batch: the batch.
        backend: whose arrays they are.
    """
    rows, xp = count_rows(batch.x), backend.xp
    if rows == 1:
        output, batch = map_arrays(lambda a: xp.concat([a, a]), (output, batch))
        rows = 2
    cut = rows // 2
    share = cut / rows
    if batch.weight is not None:
        ones = xp.ones(rows, dtype=backend.dtype, device=backend.device)
        batch = batch._replace(weight=xp.concat([ones[:cut], _FACTOR * ones[cut:]]))
        share = cut / (cut + _FACTOR * (rows - cut))

    def gradient(start: int, stop: int) -> list[Array]:
        _, dy = loss_and_gradient(loss, *slice_rows((output, batch), start, stop))
        return arrays_in(dy)

    try:
        whole, again = gradient(0, rows), gradient(0, rows)
        parts = list(zip(gradient(0, cut), gradient(cut, rows), strict=True))
    except Exception:
        return True
    joined = [xp.concat([share * a, (1.0 - share) * b]) for a, b in parts]
    if not all(bool(xp.all(a == b)) for a, b in zip(whole, again, strict=True)):
        return True
    tolerance = float(xp.finfo(backend.dtype).eps) ** 0.5
    return not any(
        backend.all_finite(b)
        and float(xp.max(xp.abs(a - b))) > tolerance * float(xp.max(xp.abs(a)))
        for a, b in zip(whole, joined, strict=True)
    )
