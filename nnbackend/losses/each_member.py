"""The loss of several members, networks that are trained together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.backends.base import namespace
from nnbackend.core.shapes import Shapes, is_shape
from nnbackend.core.types import Array
from nnbackend.losses.base import LOSSES, CombinedLoss, Loss, get, trait

__all__ = ["EachMember", "shape_of_a_member"]


@LOSSES.register("each_member")
@dataclass(frozen=True)
class EachMember(CombinedLoss):
    """The mean over members of their losses, each compared with the same target.

    Predictions have the shape (rows, members, ...) and targets (rows, ...), or (rows,) for class numbers
    as the loss inside takes them::

        value = mean over k of loss(prediction[:, k], target, sample_weight)
        dy[:, k] = that loss's gradient / members

    So each member learns by itself: the mean of their predictions is no part of the loss, as it would be
    behind a :class:`~nnbackend.layers.MemberMean`. In ``fit`` and ``evaluate`` metrics are those of the
    mean of the members' outputs (behind a softmax, of their probabilities), the ensemble's prediction.

    Args:
        loss: a name or a function, the loss of one member.

    Raises:
        UnknownNameError: no loss has that name.
        TypeError: it is neither a name nor a function.
        ValueError: when it is called, if predictions have no axis of members, or shapes do not fit.

    >>> z, t = np.array([[[1.0], [3.0]]]), np.array([[2.0]])  # one row, two members
    >>> value, dy = EachMember("mse")(z, t)
    >>> float(value), dy.tolist()
    (1.0, [[[-1.0], [1.0]]])

    Source: Gorishniy, Kotelnikov, Babenko (2025), TabM, arXiv:2410.24210.
    """

    loss: str | Loss

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", get(self.loss))
        if isinstance(self.loss, CombinedLoss):
            raise TypeError(
                f"the loss of a member compares one array with one array, which "
                f"{type(self.loss).__name__} does not"
            )

    @property
    def parts(self) -> tuple[Loss, ...]:
        """The loss of one member."""
        return (self.loss,)  # type: ignore[return-value]

    def __getattr__(self, name: str) -> Any:
        """Return what the loss of one member says of outputs and targets."""
        if name in ("absorbs", "refuses", "targets", "outputs", "fewest_outputs"):
            return trait(self.loss, name)  # type: ignore[arg-type]
        raise AttributeError(name)

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Array]:
        """Return the value and its gradient at the prediction."""
        shape, xp = prediction.shape, namespace(prediction)
        if len(shape) < 2 or target.shape[:1] != shape[:1]:
            raise ValueError(
                "prediction must have the shape (rows, members, ...) and target as many rows, got "
                f"{tuple(shape)} and {tuple(target.shape)}"
            )
        rows, members = shape[:2]

        def repeated(array: Array) -> Array:
            """Return an array of rows once for each member, member by member."""
            rest = array.shape[1:]
            array = xp.broadcast_to(array[None, ...], (members, rows, *rest))
            return xp.reshape(array, (members * rows, *rest))

        # Member by member, as predictions mostly lie in memory.
        first = (1, 0, *range(2, len(shape)))
        every = xp.reshape(xp.permute_dims(prediction, first), (members * rows, *shape[2:]))
        weight = () if sample_weight is None else (repeated(sample_weight),)
        value, dy = self.loss(every, repeated(target), *weight)  # type: ignore[operator]
        return value, xp.permute_dims(xp.reshape(dy, (members, rows, *shape[2:])), first)


def shape_of_a_member(output_shape: Shapes) -> Any:
    """Return the shape of a row of one member's outputs, for that of a network.

    Raises:
        ValueError: rows of outputs are not those of members.
    """
    if not is_shape(output_shape) or len(output_shape) < 2:
        raise ValueError(
            "the loss each_member compares each member with the target, and takes rows of outputs of "
            f"shape (members, outputs, ...); this network gives {output_shape}. A MemberMean at the end "
            "is left out while the members are trained"
        )
    return output_shape[1:]
