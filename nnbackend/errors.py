"""The library's errors, and the message for a name that does not exist."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnbackend.core.history import History

__all__ = [
    "WEIGHTS_KEPT",
    "BackendUnavailableError",
    "DataError",
    "DivergenceError",
    "GradientError",
    "ModelFileError",
    "OutOfMemoryError",
    "PrecisionError",
    "ResumeError",
    "UnknownNameError",
    "counted",
    "few",
    "given",
    "listed",
    "nearest",
    "unknown_name",
]

_MOST_NAMES = 20  # in a message: more would hide what it says
_MOST_DIGITS = 20


class BackendUnavailableError(RuntimeError):
    """A backend cannot be used here; the message says why, and which ones can."""


class PrecisionError(BackendUnavailableError, ValueError):
    """A backend, or its device, does not have a precision; the message says why."""


class DataError(ValueError):
    """Data cannot be read, or do not fit, while they stream; the message says which and where.

    The network keeps the weights of the last whole epoch.
    """


WEIGHTS_KEPT = "the network keeps its last finite weights"
"""What a :class:`DivergenceError` says of a network that is still there."""


class DivergenceError(FloatingPointError):
    """The loss became NaN or infinite; the network holds its last finite weights.

    Attributes:
        history: the epochs that were completed before.
    """

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


class GradientError(AssertionError):
    """A backward pass disagrees with finite differences; the message names the layer."""


class ModelFileError(ValueError):
    """A model file is truncated, foreign or describes something this library does not build."""


class OutOfMemoryError(MemoryError):
    """A device has too little memory; the message says how much was requested and free, and what to try.

    The network keeps its weights; of a fit, those of the last whole epoch.

    Attributes:
        batch_size: the batch size to try next, half of what did not fit; None where a smaller batch is
            no help or its size is unknown.
    """

    def __init__(self, message: str, batch_size: int | None = None) -> None:
        super().__init__(message)
        self.batch_size = batch_size


class ResumeError(ValueError):
    """A checkpoint is of another run; the message lists the differences."""


class UnknownNameError(ValueError):
    """A name (of a layer, loss, column ...) that does not exist; the message offers the nearest."""


def given(value: object) -> str:
    """Return a short description of a wrong argument for a message.

    A class was usually meant to be called.
    """
    if isinstance(value, type):
        return f"the class {value.__name__}; write {value.__name__}(...)"
    if isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS:
        return f"a whole number of about {int(math.log10(abs(value))) + 1} digits"
    shape = getattr(value, "shape", ())
    if shape and hasattr(value, "dtype"):
        return f"an array of shape {tuple(shape)} and dtype {value.dtype}"
    from reprlib import Repr  # only errors need it

    short = Repr()
    short.maxstring = short.maxother = short.maxlong = 80
    return short.repr(value)


def counted(count: int, noun: str) -> str:
    """Return a number of things in words.

    >>> counted(1, "row"), counted(0, "row"), counted(2, "class")
    ('1 row', '0 rows', '2 classes')
    """
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count} {noun}{ending}"


def listed(names: Iterable[object]) -> str:
    """Return names for a message: the first of them, and how many more there are.

    >>> listed(range(1000))
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 980 more'
    """
    texts = [str(name) for name in names]
    return few(texts, _MOST_NAMES if len(texts) > _MOST_NAMES + 1 else len(texts))


def few(texts: Sequence[str], most: int = 5) -> str:
    """Return texts for a message, at most so many."""
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more} more" if more > 0 else "")


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return the known names that look most like ``name``, at most ``count``, best first."""
    from difflib import get_close_matches  # only errors need it, and every import would wait for it

    by_folded = {candidate.casefold(): candidate for candidate in known}
    return [by_folded[m] for m in get_close_matches(name.casefold(), by_folded, count, 0.5)]


# What others call what this library has, without case, separators and the ending "loss".
_USUAL_NAMES = {
    "acc": ["accuracy"],
    "amsgrad": ["adam"],
    "auc": ["roc_auc"],
    "auroc": ["roc_auc"],
    "bce": ["binary_cross_entropy"],
    "bcewithlogits": ["binary_cross_entropy"],
    "categoricalcrossentropy": ["softmax_cross_entropy"],
    "crossentropy": ["softmax_cross_entropy", "binary_cross_entropy", "log_loss"],
    "absoluteerror": ["mae"],
    "exp": ["exponential"],
    "expit": ["sigmoid"],
    "focal": ["softmax_focal", "binary_focal"],
    "gaussian": ["normal"],
    "glorot": ["glorot_uniform", "glorot_normal"],
    "gradientdescent": ["sgd"],
    "hardsilu": ["hardswish"],
    "he": ["he_uniform", "he_normal"],
    "kaiming": ["he_uniform", "he_normal"],
    "kaimingnormal": ["he_normal"],
    "kaiminguniform": ["he_uniform"],
    "kldiv": ["kl_divergence"],
    "kullbackleiblerdivergence": ["kl_divergence"],
    "l1": ["mae"],
    "l2": ["mse"],
    "lecun": ["lecun_uniform", "lecun_normal"],
    "linear": ["identity"],
    "log": ["softmax_cross_entropy", "binary_cross_entropy", "log_loss"],
    "logistic": ["sigmoid", "binary_cross_entropy"],
    "meanabsoluteerror": ["mae"],
    "meanabsolutepercentageerror": ["mape"],
    "meansquarederror": ["mse"],
    "momentum": ["sgd"],
    "multimargin": ["categorical_hinge"],
    "negativeloglikelihood": ["softmax_cross_entropy", "log_loss"],
    "nesterov": ["sgd"],
    "nll": ["softmax_cross_entropy", "log_loss"],
    "none": ["identity"],
    "pinball": ["quantile"],
    "prauc": ["average_precision"],
    "rootmeansquarederror": ["rmse", "mse"],
    "rsquared": ["r2"],
    "sensitivity": ["recall"],
    "smoothl1": ["huber"],
    "sparsecategoricalcrossentropy": ["softmax_cross_entropy"],
    "squarederror": ["mse"],
    "stochasticgradientdescent": ["sgd"],
    "swish": ["silu"],
    "xent": ["softmax_cross_entropy", "binary_cross_entropy"],
    "xavier": ["glorot_uniform", "glorot_normal"],
    "xaviernormal": ["glorot_normal"],
    "xavieruniform": ["glorot_uniform"],
}


def _usual(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names of what is usually called so."""
    plain = "".join(c for c in name.casefold() if c.isalnum())
    meant = _USUAL_NAMES.get(plain) or _USUAL_NAMES.get(plain.removesuffix("loss")) or []
    return [candidate for candidate in meant if candidate in known]


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Return the error for an unknown ``name``, of a kind (``"layer"``), with the nearest known ones."""
    known = sorted(known)
    close = (_usual(name, known) or nearest(name, known)) if isinstance(name, str) else []
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {listed(known)}"
    return UnknownNameError(f"unknown {kind} {given(name)}; {hint}")
