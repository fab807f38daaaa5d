"""What losses take for targets and weights: the one place where their values are checked.

Data that ``fit``, ``evaluate``, streams and estimators are given are checked once, before any step. A
loss that is called as a function checks its own arguments, where they are numbers in the host's memory:
to look at those on a device would mean to wait for it, and in a traced function there are none yet.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nnbackend.backends.base import namespace
from nnbackend.backends.host import finite_on_host, view_on_host
from nnbackend.core.types import Array, Namespace

__all__ = [
    "TARGET_KINDS",
    "TargetKind",
    "call_unchecked",
    "check_arguments",
    "check_targets",
    "check_weights",
    "kind_of",
]


class _Now(threading.local):
    unchecked = False  # whether data were checked before


_now = _Now()
_ANY_FLOAT_HOLDS = 65504.0  # the largest float16
_SUM_TOLERANCE = 1e-3  # of a row of probabilities, which may be rounded to three digits


@dataclass(frozen=True)
class TargetKind:
    """What targets are, in the word that a loss says it with.

    Attributes:
        classes: whether they are class numbers, or rows of probabilities, which sum to 1.
        one_hot: whether such rows have to be zeros and a one.
        signs: whether they are -1 and 1.
        low: the smallest number allowed.
        high: the largest number allowed.
        complaint: the message for other targets, after their name.
    """

    classes: bool = False
    one_hot: bool = False
    signs: bool = False
    low: float = -math.inf
    high: float = math.inf
    complaint: str = ""


TARGET_KINDS = {
    "numbers": TargetKind(),
    "counts": TargetKind(
        low=0.0, complaint="must not be negative for this loss, which is for counts"
    ),
    "fractions": TargetKind(low=0.0, high=1.0, complaint="must be between 0 and 1 for this loss"),
    "signs": TargetKind(signs=True),
    "classes": TargetKind(classes=True),
    "distributions": TargetKind(classes=True),
    "one_hot": TargetKind(classes=True, one_hot=True),
}


def kind_of(word: Any) -> TargetKind:
    """Return the kind of targets that a loss names, numbers if it is none of the library's."""
    return TARGET_KINDS.get(word if isinstance(word, str) else "", TARGET_KINDS["numbers"])


def check_targets(
    kind: TargetKind, target: Array, outputs: int, numbered: bool, xp: Namespace, name: str
) -> None:
    """Check the values of finite targets.

    Args:
        kind: what the loss takes.
        target: of shape (rows, ..., outputs), or class numbers of shape (rows, ...).
        outputs: the number of outputs, or of classes.
        numbered: whether they are class numbers.
        xp: the array namespace.
        name: the name of the targets in messages.

    Raises:
        ValueError: the loss is not for such targets.
    """
    if kind.classes and numbered:
        whole = xp.isdtype(target.dtype, ("integral", "bool"))
        if not whole and not bool(xp.all(target == xp.floor(target))):
            raise ValueError(f"{name} must hold whole class numbers from 0 to {outputs - 1}")
        classes = f"0 ... {outputs - 1}, the network's {outputs} classes"
        _check_range(target, 0.0, outputs - 1.0, xp, f"{name} has labels outside {classes}")
    elif kind.classes:
        _check_range(target, 0.0, math.inf, xp, f"{name} must hold probabilities, or be one-hot")
        _check_sums(target, xp, name)
        if kind.one_hot and not bool(xp.all((target == 0.0) | (target == 1.0))):
            raise ValueError(f"{name} must be class numbers or one-hot for this loss")
    elif kind.signs:
        if not bool(xp.all((target == 1.0) | (target == -1.0))):
            raise ValueError(f"{name} must hold -1 and 1, or 0 and 1 in fit, for this loss")
    elif kind.complaint:
        _check_range(target, kind.low, kind.high, xp, f"{name} {kind.complaint}")


def _check_sums(target: Array, xp: Namespace, name: str) -> None:
    """Refuse rows that do not sum to 1: the losses of classes are made for probabilities."""
    sums = xp.sum(target, axis=-1)
    off = xp.abs(sums - 1.0)
    if float(xp.max(off)) > _SUM_TOLERANCE:
        flat = xp.reshape(sums, (-1,))
        total = float(flat[int(xp.argmax(xp.reshape(off, (-1,))))])
        raise ValueError(
            f"{name} must have rows that sum to 1 for this loss, which is for probabilities of classes "
            f"of which one is true; the rows sum to {total:g}, for instance. Where several may be "
            "true at a time take binary_cross_entropy; to weigh rows give sample_weight"
        )


def _check_range(array: Array, low: float, high: float, xp: Namespace, message: str) -> None:
    """Raise a ValueError if a number is below ``low`` or above ``high``."""
    for number in (xp.min(array), *([xp.max(array)] if high < math.inf else [])):
        if not low <= float(number) <= high:
            raise ValueError(f"{message}; got {float(number):g}")


def check_weights(weight: Array, xp: Namespace, where: str = "") -> None:
    """Check that weights are 0 or more, and that their sum is finite; messages say ``where``.

    Raises:
        ValueError: there is a NaN, an infinite or a negative one, or they are too large.
    """
    _check_range(weight, 0.0, math.inf, xp, "sample_weight must not be negative")
    most = float(xp.max(weight))
    total = most * math.prod(weight.shape)
    if total <= _ANY_FLOAT_HOLDS or not xp.isdtype(weight.dtype, "real floating"):
        return
    if total >= float(xp.finfo(weight.dtype).max):
        raise ValueError(
            f"sample_weight has a sum that {weight.dtype} may not hold, of rows{where} (the largest is "
            f"{most:g}): divide all of them by the largest"
        )


def call_unchecked(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in which losses take their arguments as they are."""
    before, _now.unchecked = _now.unchecked, True
    try:
        return function(*arguments)
    finally:
        _now.unchecked = before


def check_arguments(
    kind: TargetKind, target: Array, outputs: int, numbered: bool, weight: Array | None
) -> None:
    """Check what a loss that is called as a function is given, as far as it can be looked at.

    Rows of weight 0 may hold any numbers: they do not count.

    Raises:
        TypeError: the target does not hold numbers.
        ValueError: a target or a weight is not finite, or not what the loss takes.
    """
    if _now.unchecked:
        return
    host: Any = view_on_host(target)
    weights: Any = None if weight is None else view_on_host(weight)
    if weights is not None:
        check_weights(weights, namespace(weights))
    if host is None:
        return
    if host.dtype.kind in "OSUMmc":
        raise TypeError(f"the target must hold real numbers, got an array of dtype {host.dtype}")
    if numbered and host.dtype.kind in "iu" and host.min() >= 0 and host.max() < outputs:
        return  # the common case, in a fourth of the time
    if host.dtype.kind == "f" and not finite_on_host(host):
        raise ValueError("the target has numbers that are not finite")
    if weights is not None and weights.size != len(host):
        raise ValueError(
            f"sample_weight must have one number for each of the {len(host)} rows, got shape "
            f"{weights.shape}"
        )
    if weights is not None and not weights.all():
        host = host[weights.reshape(-1) > 0.0]
        if host.size == 0:
            return
    check_targets(kind, host, outputs, numbered, namespace(host), "the target")
