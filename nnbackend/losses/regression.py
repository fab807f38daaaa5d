"""Losses of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.core.checks import check_number, set_flag, set_number, set_positive
from nnbackend.core.types import Array, Namespace
from nnbackend.losses.base import LOSSES, LossFunction

__all__ = [
    "Huber",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Poisson",
    "Quantile",
    "huber",
    "log_cosh",
    "mae",
    "mse",
    "poisson",
    "quantile",
]


@LOSSES.register("mse")
@dataclass(frozen=True)
class MeanSquaredError(LossFunction):
    """Mean squared error: ``mean((prediction - target)**2)``; ``dy = 2/n * (prediction - target)``.

    ``n`` counts all the numbers in the prediction. This is the mean sum squared loss.

    >>> prediction, target = np.array([[1.0], [3.0]]), np.array([[1.5], [1.0]])
    >>> value, dy = MeanSquaredError()(prediction, target)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (2.125, [[-0.5], [2.0]])
    """

    factor = 2.0

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        error = prediction - target
        return error * error, error


@LOSSES.register("mae")
@dataclass(frozen=True)
class MeanAbsoluteError(LossFunction):
    """Mean absolute error: ``mean(|prediction - target|)``; ``dy = sign(prediction - target) / n``.

    >>> prediction, target = np.array([[1.0], [3.0]]), np.array([[1.5], [1.0]])
    >>> value, dy = MeanAbsoluteError()(prediction, target)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (1.25, [[-0.5], [0.5]])
    """

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        error = prediction - target
        return xp.abs(error), xp.sign(error)


@LOSSES.register("huber")
@dataclass(frozen=True)
class Huber(LossFunction):
    """Squared near zero, absolute further out: less drawn to outliers than the squared error.

    With the error ``e``: ``e**2 / 2`` up to ``|e| = delta``, ``delta * (|e| - delta / 2)`` beyond;
    ``dy = clip(e, -delta, delta) / n``.

    Args:
        delta: the size of the error at which the two meet, above 0; default 1.

    Raises:
        ValueError: ``delta`` is not positive.

    >>> prediction, target = np.array([[1.0], [3.0]]), np.array([[1.5], [1.0]])
    >>> value, dy = Huber(delta=1.0)(prediction, target)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (0.8125, [[-0.25], [0.5]])

    Source: Huber (1964), Annals of Mathematical Statistics 35.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        set_positive(self, "delta")

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        error = prediction - target
        clipped = xp.maximum(xp.minimum(error, self.delta), -self.delta)
        return clipped * (error - 0.5 * clipped), clipped


@LOSSES.register("log_cosh")
@dataclass(frozen=True)
class LogCosh(LossFunction):
    """A smooth absolute error: ``mean(log(cosh(e)))`` of the error ``e``; ``dy = tanh(e) / n``.

    About ``e**2 / 2`` near zero and ``|e| - log 2`` further out. It is computed as
    ``|e| + log1p(expm1(-2 |e|) / 2)``, which neither overflows nor cancels near zero.

    >>> prediction, target = np.array([[1.0], [3.0]]), np.array([[1.5], [1.0]])
    >>> value, dy = LogCosh()(prediction, target)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (0.7226, [[-0.231], [0.482]])
    """

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        error = prediction - target
        size = xp.abs(error)
        return size + xp.log1p(0.5 * xp.expm1(-2.0 * size)), xp.tanh(error)


@LOSSES.register("quantile")
@dataclass(frozen=True)
class Quantile(LossFunction):
    """The pinball loss, whose best prediction is a quantile of the target.

    ``mean(max(q * e, (q - 1) * e))`` with ``e = target - prediction``; ``dy`` is ``-q / n`` where the
    prediction is too low, ``(1 - q) / n`` where it is too high, and 0 where it is right.

    Args:
        quantile: ``q``, above 0 and below 1: 0.5 (the default) learns the median, 0.9 the value that
            nine targets of ten do not exceed. Several, ``(0.05, 0.5, 0.95)``, are for as many outputs,
            each of which is compared with its column of the target: repeat a target for all of them.

    Raises:
        ValueError: a quantile is out of range; or when it is called, if there are several, and not as
            many outputs.

    >>> prediction, target = np.array([[1.0], [3.0]]), np.array([[1.5], [1.0]])
    >>> value, dy = Quantile(0.9)(prediction, target)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (0.325, [[-0.45], [0.05]])

    Source: Koenker, Bassett (1978), Econometrica 46.
    """

    quantile: float | tuple[float, ...] = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.quantile, list | tuple) and self.quantile:
            several = enumerate(self.quantile)
            found = tuple(_quantile(f"quantile[{place}]", value) for place, value in several)
            object.__setattr__(self, "quantile", found)
        else:
            object.__setattr__(self, "quantile", _quantile("quantile", self.quantile))

    def _times(self, array: Array, xp: Namespace) -> Array:
        """Return an array times the quantile of each output."""
        if not isinstance(self.quantile, tuple):
            return self.quantile * array
        if array.shape[-1] != len(self.quantile):
            raise ValueError(
                f"the loss has {len(self.quantile)} quantiles, and there are {array.shape[-1]} outputs"
            )
        columns = [q * array[..., k : k + 1] for k, q in enumerate(self.quantile)]
        return xp.concat(columns, axis=-1)

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        error = prediction - target
        high = xp.maximum(error, 0.0)
        # One of the two parts of the error, above and below, is zero.
        sign = xp.sign(error)
        dy = 0.5 * (xp.abs(sign) + sign) - self._times(sign * sign, xp)
        return high - self._times(error, xp), dy


def _quantile(name: str, value: Any) -> float:
    """Return a quantile, checked."""
    number = check_number(name, value, 0.0, 1.0)
    if number in (0.0, 1.0):
        raise ValueError(f"{name} must be above 0 and below 1, got {number:g}")
    return number


@LOSSES.register("poisson")
@dataclass(frozen=True)
class Poisson(LossFunction):
    """The negative log-likelihood of counts under a Poisson distribution, without ``log(target!)``.

    From the logarithm ``z`` of the rate: ``mean(exp(z) - t * z)``; ``dy = (exp(z) - t) / n``. The
    targets ``t`` are 0 or more. A network ends in nothing, and predicts ``z``, or in
    ``"exponential"``, and predicts the rate; it is trained through ``z`` either way.

    Args:
        log_input: whether the prediction is the logarithm of the rate (the default). False: it is the
            rate ``r`` itself, which has to be positive (an output of softplus):
            ``mean(r - t * log(r + epsilon))``; ``dy = (1 - t / (r + epsilon)) / n``.
        epsilon: added to a rate before its logarithm is taken; default 1e-8.

    Raises:
        ValueError: ``epsilon`` is negative.

    >>> z, t = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    >>> value, dy = Poisson()(z, t)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (0.8591, [[0.0], [0.359]])
    """

    log_input: bool = True
    epsilon: float = 1e-8
    targets = "counts"

    def __post_init__(self) -> None:
        set_flag(self, "log_input")
        set_number(self, "epsilon", 0.0)

    @property
    def absorbs(self) -> str | None:  # type: ignore[override]
        """The output activation that is part of the loss."""
        return "exponential" if self.log_input else None

    @property
    def refuses(self) -> tuple[str, ...]:  # type: ignore[override]
        """The output activations that cannot give the logarithm of a rate."""
        positive = ("relu", "relu6", "softplus", "sigmoid", "hardsigmoid", "softmax", "sparsemax")
        return positive if self.log_input else ()

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        if self.log_input:
            rate = xp.exp(prediction)
            return rate - target * prediction, rate - target
        rate = prediction + self.epsilon
        return prediction - target * xp.log(rate), 1.0 - target / rate


mse = MeanSquaredError()
mae = MeanAbsoluteError()
huber = Huber()
log_cosh = LogCosh()
quantile = Quantile()
poisson = Poisson()
