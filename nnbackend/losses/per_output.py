"""The loss of a network with several outputs: the weighted sum of a loss for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from nnbackend.core.checks import check_number, check_text, named
from nnbackend.core.frozen_mapping import FrozenMapping
from nnbackend.core.types import Array, Arrays
from nnbackend.errors import UnknownNameError, given, listed, unknown_name
from nnbackend.losses.base import LOSSES, CombinedLoss, Loss, LossFunction, get

__all__ = ["PerOutput", "PerOutputSpec", "loss_for_outputs"]

PerOutputSpec: TypeAlias = Mapping[str, Any] | Sequence[Any]
"""Something for each of several outputs: by their names, or in their order."""


@LOSSES.register("per_output")
@dataclass(frozen=True)
class PerOutput(CombinedLoss):
    """The weighted sum of a loss for each of several outputs: ``sum(weight * loss(output, target))``.

    Outputs and targets are dictionaries by the names of ``losses``, or tuples in their order. Each loss
    is a mean over rows, all with the same ``sample_weight``. ``dy`` is nested as the outputs are.

    Args:
        losses: a name or a function for each output: a mapping by the names of outputs, or a sequence,
            whose names are ``"0"``, ``"1"``, ...
        weights: how much a loss counts, 0 or more: a mapping by the names of outputs, where one that is
            left out has 1, or a sequence; None (the default): all have 1.

    Raises:
        UnknownNameError: no loss has that name, or a weight is for an output without a loss.
        ValueError: there is no loss, or a weight is negative or no number.
        TypeError: something is neither a name nor a function.

    >>> both = PerOutput({"price": "mse", "size": "mae"}, weights={"size": 0.5})
    >>> outputs = {"price": np.array([[3.0]]), "size": np.array([[1.0]])}
    >>> targets = {"price": np.array([[1.0]]), "size": np.array([[2.0]])}
    >>> value, dy = both(outputs, targets)
    >>> float(value), dy["price"].tolist(), dy["size"].tolist()
    (4.5, [[4.0]], [[-0.5]])
    """

    losses: Mapping[str, str | Loss] | Sequence[str | Loss]
    weights: Mapping[str, float] | Sequence[float] | None = None

    def __post_init__(self) -> None:
        each: dict[str, Loss] = {}
        for name, spec in _by_name("losses", self.losses).items():
            with named(f"losses[{name!r}]"):
                each[name] = get(spec)
            if isinstance(each[name], PerOutput):
                raise TypeError(
                    f"losses[{name!r}] must be the loss of one output, got {each[name]}"
                )
        weights = dict.fromkeys(each, 1.0)
        if self.weights is not None:
            for name, weight in _by_name("weights", self.weights).items():
                if name not in each:
                    raise UnknownNameError(f"weights: {unknown_name('output', name, each)}")
                weights[name] = check_number(f"weights[{name!r}]", weight, 0.0)
        object.__setattr__(self, "losses", FrozenMapping.of(each))
        object.__setattr__(self, "weights", FrozenMapping.of(weights))

    @property
    def by_name(self) -> Mapping[str, Loss]:
        """The loss of each output by its name."""
        return self.losses  # type: ignore[return-value]

    @property
    def parts(self) -> tuple[Loss, ...]:
        """The losses of the outputs."""
        return tuple(self.by_name.values())

    def __call__(
        self, prediction: Arrays, target: Arrays, sample_weight: Array | None = None
    ) -> tuple[Array, Arrays]:
        """Return the weighted sum and its gradient with respect to each output.

        Raises:
            TypeError, ValueError: outputs or targets are not those of the losses, or what one of the
                losses does not take.
        """
        names, weights = tuple(self.by_name), self.weights
        _check_places("prediction", prediction, names)
        _check_places("target", target, names)
        total: Any = 0.0
        gradients = []
        for i, (name, loss) in enumerate(self.by_name.items()):
            output = prediction[name if isinstance(prediction, dict) else i]
            wanted = target[name if isinstance(target, dict) else i]
            with named(f"the loss of the output {name!r}"):
                value, dy = _value_and_gradient(loss, output, wanted, sample_weight)
            factor = weights[name]  # type: ignore[call-overload,index]
            total = total + (value if factor == 1.0 else factor * value)
            gradients.append(dy if factor == 1.0 else factor * dy)
        if isinstance(prediction, dict):
            place = dict(zip(names, gradients, strict=True))
            return total, {name: place[name] for name in prediction}
        return total, tuple(gradients)


def loss_for_outputs(
    loss: Any, weights: Any, names: Sequence[str] | None, in_order: bool = False
) -> Loss:
    """Return the loss of a network, as ``fit`` is given it.

    Args:
        loss: a name or a function; for several outputs also a mapping or a sequence of these. One loss
            of the library for several outputs is the loss of each.
        weights: the weights of the losses, see :class:`PerOutput`.
        names: the names of the outputs; None: there is one; (): they are nested.
        in_order: whether they are a tuple, so that losses may be given in their order.

    Raises:
        ValueError: an output has no loss, or there is a loss or a weight for none.
        UnknownNameError: no output or no loss has that name.
    """
    several = isinstance(loss, Mapping | list | tuple | PerOutput)
    if not names:
        what = "one output" if names is None else "outputs within outputs"
        if several:
            raise ValueError(
                f"loss must be one loss, for the network has {what}; got {given(loss)}"
            )
        if weights is not None:
            raise ValueError(
                f"loss_weights is for networks with several outputs; this one has {what}"
            )
        return get(loss)
    if isinstance(loss, PerOutput):
        if weights is not None:
            raise ValueError("loss_weights is given, and the loss PerOutput has its own weights")
        loss, weights = loss.losses, loss.weights
    elif not several:
        with named("loss"):
            found = get(loss)
        if LOSSES.name_of(found) is None and not isinstance(found, LossFunction):
            if weights is not None:
                raise ValueError(
                    "loss_weights is for a loss by output, and the loss is one function of all "
                    "outputs, which weighs them itself"
                )
            return found
        loss = dict.fromkeys(names, found)
    losses = _for_names("loss", loss, names, in_order)
    missing = [name for name in names if name not in losses]
    if missing:
        raise ValueError(
            f"loss: the output {missing[0]!r} is an output without a loss; the outputs are "
            f"{listed(map(repr, names))}, and one with loss_weights 0 is not learned"
        )
    factors = None if weights is None else _for_names("loss_weights", weights, names, in_order)
    with named("loss"):
        return PerOutput({name: losses[name] for name in names}, factors)


def _for_names(argument: str, value: Any, names: Sequence[str], in_order: bool) -> dict[str, Any]:
    """Return what is given for outputs by their names."""
    by_number = not isinstance(value, Mapping)
    found = _by_name(argument, value)
    if in_order and (by_number or set(found) == set(map(str, range(len(names))))):
        if len(found) != len(names):
            raise ValueError(
                f"{argument} has {len(found)} entries, and the network {len(names)} outputs: "
                f"{listed(map(repr, names))}"
            )
        return {name: found[str(i)] for i, name in enumerate(names)}
    if by_number:
        raise ValueError(
            f"{argument} must be a mapping by the names of the outputs, which are a dictionary: "
            f"{listed(map(repr, names))}; got {given(value)}"
        )
    for name in found:
        if name not in names:
            raise UnknownNameError(f"{argument}: {unknown_name('output', name, names)}")
    return found


def _by_name(argument: str, value: Any) -> dict[str, Any]:
    """Return a mapping, or a sequence by the numbers of its items, as a dictionary."""
    if isinstance(value, Mapping):
        found = {check_text(f"a name in {argument}", name): item for name, item in value.items()}
    elif isinstance(value, list | tuple):
        found = {str(i): item for i, item in enumerate(value)}
    else:
        raise TypeError(
            f"{argument} must be a mapping by output, or a sequence in their order; got {given(value)}"
        )
    if not found:
        raise ValueError(f"{argument} must not be empty")
    return found


def _check_places(what: str, arrays: Arrays, names: Sequence[str]) -> None:
    """Check that there is an array for each loss."""
    if isinstance(arrays, dict):
        if set(arrays) != set(names):
            raise ValueError(
                f"{what} has the outputs {listed(map(repr, arrays))}, and there are losses for "
                f"{listed(map(repr, names))}"
            )
    elif not isinstance(arrays, tuple) or len(arrays) != len(names):
        raise ValueError(
            f"{what} must be a dictionary or a tuple with an array for each of "
            f"{listed(map(repr, names))}, got {given(arrays)}"
        )


def _value_and_gradient(
    loss: Loss, output: Array, target: Array, weight: Array | None
) -> tuple[Array, Array]:
    """Return value and gradient of the loss of one output.

    Raises:
        TypeError: a loss that a user wrote returned something else.
    """
    found: Any = loss(output, target) if weight is None else loss(output, target, weight)
    try:
        value, dy = found
    except (TypeError, ValueError):
        raise TypeError(
            "a loss returns its value and the gradient at the prediction, (value, dy); it returned "
            f"{given(found)}"
        ) from None
    if getattr(value, "shape", ()) != ():
        raise TypeError(f"the value of a loss is a number; it returned {given(value)}")
    return value, dy
