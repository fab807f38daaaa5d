"""Checks of networks, and of layers and losses that you write: gradients, agreement between backends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from nnbackend import losses, regularizers
from nnbackend.backends.base import Backend
from nnbackend.backends.choose import available_backends, get_backend
from nnbackend.backends.host import host_numbers
from nnbackend.core.checks import check_network, check_number, named
from nnbackend.core.random import Generator, forward_key
from nnbackend.core.tree import arrays_in, count_rows, flatten, map_arrays, unflatten
from nnbackend.core.types import Array, Arrays, Context, Layer, Namespace, Params
from nnbackend.data import validate
from nnbackend.data.input_spec import arrange, name_arrays
from nnbackend.errors import GradientError, listed
from nnbackend.inspection.observe import run_observed
from nnbackend.losses import Loss
from nnbackend.network import Network

__all__ = ["Comparison", "check_gradients", "check_loss", "compare_backends"]

# The best of them counts, as there may be a kink within a step.
_RELATIVE_STEPS = (1e-5, 1e-6, 1e-7)
_SMALL_SHARE = 1e-5  # of a value: a slope below it is compared with this, for values are rounded


def check_gradients(
    network: Network | Layer, x: Any, *, tolerance: float = 1e-5, seed: int = 0
) -> float:
    """Check a network's backward pass against central differences, in float64.

    For the input and for each parameter a random direction ``v`` is drawn, and ``<gradient, v>`` is
    compared with ``(L(p + h v) - L(p - h v)) / 2h``, where ``L = <output, dy>`` with a random ``dy``,
    plus the penalties of the layers' regularizers; then once more with the signs of ``v`` turned to the
    gradient's. If they do not agree, each layer is checked alone to find the wrong one.

    Args:
        network: a network, or a layer that takes ``x``.
        x: array-like of shape ``(batch, *input_shape)``, a few rows, away from kinks such as ReLU's 0.
        tolerance: the largest relative error allowed; default 1e-5.
        seed: the random seed of the directions; default 0.

    Returns:
        the largest relative error.

    Raises:
        GradientError: it exceeds ``tolerance``; the message names layer and parameter.
        BackendUnavailableError: the network's backend has no float64.
    """
    with named("network"):
        net = network if isinstance(network, Network) else Network([network], dtype="float64")
    tolerance = check_number("tolerance", tolerance, 0.0)
    net = net.to(dtype="float64")
    net.predict(x)  # builds it, and checks x
    with net.backend.scope():
        rows, ctx = net._rows(x), _training_context(net)
        errors = _relative_errors(net.layers, net.params, rows, ctx, seed)
        worst = _worst(errors)
        if errors[worst] <= tolerance:
            return errors[worst]
        culprit = _find_wrong_layer(net, rows, tolerance, seed)
    where, what, error = culprit or ("the network", worst, errors[worst])
    raise GradientError(
        f"{where}: the gradient of {what} differs from central differences by {error:.2g} "
        f"(relative; allowed: {tolerance:.2g})"
    )


def check_loss(
    loss: str | Loss,
    prediction: Any,
    target: Any,
    sample_weight: Any = None,
    *,
    backend: str | Backend = "numpy",
    tolerance: float = 1e-5,
    seed: int = 0,
) -> float:
    """Check the gradient that a loss gives against central differences of its value, in float64.

    Args:
        loss: a name or a function, for instance one that you wrote.
        prediction: array-like of shape (batch, outputs), a few rows, away from kinks; or a tuple or
            dictionary of these for a loss of several outputs.
        target: array-like, as the loss takes it, nested as ``prediction`` is; integers stay integers.
        sample_weight: how much each row counts; default None: all count 1.
        backend: the backend that computes; default ``"numpy"``.
        tolerance: the largest relative error allowed; default 1e-5.
        seed: the random seed of the directions; default 0.

    Returns:
        the largest relative error.

    Raises:
        GradientError: it exceeds ``tolerance``, or the gradient has another shape.
        BackendUnavailableError: the backend has no float64.
    """
    function, chosen = losses.get(loss), get_backend(backend, dtype="float64")
    tolerance = check_number("tolerance", tolerance, 0.0)
    with chosen.scope():
        given = arrange(prediction, name="prediction")
        if not arrays_in(given):
            raise ValueError("prediction must hold an array, got none")
        names = name_arrays(given, "prediction")
        at = map_arrays(lambda a, name: validate.to_backend(a, chosen, name), given, names)
        with named("target"):
            target = map_arrays(partial(_as_target, chosen), at, arrange(target, name="target"))
        rows = count_rows(at) if arrays_in(at)[0].shape else 0
        weight = validate.weights(sample_weight, chosen, rows)
        extra = () if weight is None else (weight,)
        _, dy = function(at, target, *extra)

        def value(name: str, moved: Array) -> float:
            moved = _with_inputs(at, _named(at) | {name: moved})
            return float(function(moved, target, *extra)[0])

        rng, gradients = Generator.of(seed, "check_loss"), _gradients_like(at, dy)
        errors = {
            name: _relative_error(partial(value, name), array, gradients[name], chosen, rng)
            for name, array in _named(at).items()
        }
        error = errors[_worst(errors)]
    if error > tolerance:
        name = losses.LOSSES.name_of(function) or getattr(function, "__name__", repr(function))
        raise GradientError(
            f"the loss {name}: its gradient differs from central differences by {error:.2g} (relative; "
            f"allowed: {tolerance:.2g})"
        )
    return error


def _as_target(backend: Backend, prediction: Array, target: Any) -> Array:
    """Return a target on the backend, class numbers as integers."""
    numbers = host_numbers(target)
    labels = numbers.dtype.kind in "iu" and numbers.ndim == len(prediction.shape) - 1
    return backend.asarray(numbers, backend.xp.int32 if labels else None)


def _training_context(net: Network) -> Context:
    """Return the context of the first training pass of a network."""
    return Context(net.backend, True, forward_key(net.seed), 0, net.state)


def _relative_errors(
    layer: Layer, params: Params, x: Arrays, ctx: Context, seed: int
) -> dict[str, float]:
    """Return the relative error of the gradient of each input (``x``) and of each parameter."""
    backend = ctx.backend
    rng = Generator.of(seed, "check_gradients")
    ctx.restart()
    y, backward = layer.forward(params, x, ctx)
    dy = map_arrays(lambda output: backend.asarray(rng.normal(tuple(output.shape))), y)
    dx, grads = backward(dy)
    terms = regularizers.terms(layer)
    if flatten(grads).keys() == flatten(params).keys():
        _, grads = regularizers.penalized(terms, params, 0.0, grads)
    own, given = flatten(params), flatten(grads)
    if own.keys() != given.keys():
        names = listed(sorted(own.keys() ^ given.keys()))
        raise GradientError(f"parameters and gradients have different names: {names}")
    arguments, gradients = _named(x) | own, _gradients_like(x, dx) | given

    def value(name: str, moved: Array) -> float:
        """Return L with one argument moved."""
        now = arguments | {name: moved}
        moved_params = unflatten(now, params)
        ctx.restart()
        output, _ = layer.forward(moved_params, _with_inputs(x, now), ctx)
        pairs = zip(arrays_in(output), arrays_in(dy), strict=True)
        penalty = regularizers.penalty(terms, moved_params)
        return float(sum(backend.xp.sum(o * d) for o, d in pairs) + penalty)

    xp, pairs = backend.xp, zip(arrays_in(y), arrays_in(dy), strict=True)
    size = float(sum(xp.sum(xp.abs(o * d)) for o, d in pairs))
    return {"x": 0.0} | {
        name: _relative_error(
            partial(value, name), at, gradients[name], backend, rng.child(name), size
        )
        for name, at in arguments.items()
        if not backend.xp.isdtype(at.dtype, ("integral", "bool"))  # these have no gradients
    }


def _worst(errors: dict[str, float]) -> str:
    """Return the name of the largest error; NaN is the largest."""
    return max(errors, key=lambda name: math.inf if math.isnan(errors[name]) else errors[name])


def _named(x: Arrays) -> dict[str, Array]:
    """Return inputs by name: ``x``, or ``x[0]``, ``x[1]`` ... of several."""
    if not isinstance(x, tuple | dict):
        return {"x": x}
    return {f"x[{i}]": array for i, array in enumerate(arrays_in(x))}


def _gradients_like(x: Arrays, dx: Arrays) -> dict[str, Array | None]:
    """Return the gradients of inputs by the inputs' names; none where they are not nested as these."""
    found: list[Array | None] = []
    try:
        map_arrays(lambda _, gradient: found.append(gradient), x, dx)
    except (TypeError, ValueError, KeyError, IndexError):
        return dict.fromkeys(_named(x))
    return dict(zip(_named(x), found, strict=True))


def _with_inputs(x: Arrays, inputs: dict[str, Array]) -> Arrays:
    """Return inputs by name, nested as ``x`` is."""
    values = iter([inputs[name] for name in _named(x)])
    return map_arrays(lambda _: next(values), x)


def _relative_error(
    value: Callable[[Array], float],
    at: Array,
    gradient: Array | None,
    backend: Backend,
    rng: Generator,
    size: float = 0.0,
) -> float:
    """Return the relative error of a gradient, the larger of those along two directions.

    ``size`` is that of the terms of the value, whose rounding is no error: the gradient of a bias before
    a batch normalization is 0.
    """
    if gradient is None or tuple(gradient.shape) != tuple(at.shape):
        return math.inf
    v = backend.asarray(rng.normal(tuple(at.shape)))
    xp = backend.xp
    # Along a random direction the terms may cancel and hide a small error: not so along this one.
    uphill = xp.where(gradient < 0.0, -xp.abs(v), xp.abs(v))
    smallest = max(1e-8, _SMALL_SHARE * size)
    return max(_error_along(d, value, at, gradient, smallest, xp) for d in (v, uphill))


def _error_along(
    v: Array,
    value: Callable[[Array], float],
    at: Array,
    gradient: Array,
    smallest: float,
    xp: Namespace,
) -> float:
    """Return the error of a gradient along the direction ``v``, relative to ``smallest`` or more."""
    analytic = float(xp.sum(gradient * v))
    # Rounding in a sum that cancels is no error: compare with the size of its terms.
    size = float(xp.sqrt(xp.sum((gradient * v) ** 2)))
    errors = []
    for step in _RELATIVE_STEPS:
        numeric = (value(at + step * v) - value(at - step * v)) / (2.0 * step)
        scale = max(abs(analytic), abs(numeric), size, smallest)
        errors.append(abs(analytic - numeric) / scale)
    return min(errors)


def _find_wrong_layer(
    net: Network, x: Arrays, tolerance: float, seed: int
) -> tuple[str, str, float] | None:
    """Return place, parameter and error of the first layer that is wrong on its own."""
    passages, *_ = run_observed(net.layers, net.params, x, _training_context(net))
    # Innermost layers come first: an error inside a composite makes the composite wrong, too.
    for passage in passages:
        layer = passage.layer
        errors = _relative_errors(layer, passage.params, passage.x, passage.ctx, seed)
        worst = _worst(errors)
        if errors[worst] > tolerance:
            name = f"layer {passage.path} ({type(layer).__name__})"
            return name, "its input" if worst == "x" else worst, errors[worst]
    return None


@dataclass(frozen=True)
class Comparison:
    """How far two backends differ, layer by layer.

    Attributes:
        backends: the two names.
        rows: for each layer, in the order of the forward pass, its path and class, and the largest
            differences of its output, of the gradient at its output and of its parameters'
            gradients, each relative to the largest value.
        tolerance: the difference above which two backends are said to part.
    """

    backends: tuple[str, str]
    rows: tuple[tuple[str, float, float, float], ...]
    tolerance: float

    @property
    def largest(self) -> float:
        """The largest difference of all."""
        return max((max(row[1:]) for row in self.rows), default=0.0)

    @property
    def first_difference(self) -> str | None:
        """The layer at which the two part, or None.

        It is the first in the forward pass whose output differs; where all outputs agree, the first
        in the backward pass whose gradients do.
        """
        for row in self.rows:
            if not row[1] <= self.tolerance:
                return row[0]
        for row in reversed(self.rows):
            if not max(row[2:]) <= self.tolerance:
                return row[0]
        return None

    def __str__(self) -> str:
        width = max([len(row[0]) for row in self.rows] + [5])
        lines = [f"{'layer':<{width}}  {'output':>8}  {'dy':>8}  {'gradients':>9}"]
        lines += [f"{n:<{width}}  {y:8.1e}  {dy:8.1e}  {g:9.1e}" for n, y, dy, g in self.rows]
        first = self.first_difference
        verdict = "agree" if first is None else f"part at layer {first}"
        lines.append(
            f"{self.backends[0]} and {self.backends[1]} {verdict} (tolerance {self.tolerance:.0e})"
        )
        return "\n".join(lines)


def compare_backends(
    network: Network,
    x: Any,
    *backends: str | Backend | ModuleType,
    tolerance: float | None = None,
    seed: int = 0,
) -> Comparison:
    """Run one training pass on two backends and compare them layer by layer.

    Both start from the same parameters and draw the same dropout masks; the gradient at the output is
    random.

    Args:
        network: the network, which stays as it is.
        x: array-like of shape ``(batch, *input_shape)``.
        backends: two, or one to compare with the network's own. Without any, its own is compared with
            NumPy, or if it is NumPy, with the first other one that is usable here.
        tolerance: the relative difference above which backends are said to part; None: 1e-10 in
            float64, 1e-4 in float32.
        seed: the random seed of the gradient at the output; default 0.

    Returns:
        the comparison; print it for a table, see ``first_difference`` for the verdict.

    Raises:
        BackendUnavailableError: a backend cannot be used here.
        ValueError: there is no second backend, or more than two are given.
    """
    if len(backends) > 2:
        raise ValueError(f"give at most two backends, got {len(backends)}")
    check_network(network)
    specs: list[Any] = list(backends) if backends else [_other_backend(network.backend)]
    if len(specs) == 1:
        specs.insert(0, network.backend)
    network.predict(x)  # builds it, and checks x
    nets = [network.to(spec, dtype=network.backend.dtype_name) for spec in specs]
    if tolerance is not None:
        tolerance = check_number("tolerance", tolerance, 0.0)
    else:
        tolerance = 1e-10 if nets[0].backend.dtype_name == "float64" else 1e-4
    first, second = (_results_by_layer(net, x, seed) for net in nets)
    rows = []
    for (layer, *a), (_, *b) in zip(first, second, strict=True):
        y, dy, grads = map(_largest_difference, a, b)
        rows.append((layer, y, dy, grads))
    names = (nets[0].backend.name, nets[1].backend.name)
    return Comparison(names, tuple(rows), tolerance)


def _other_backend(backend: Backend) -> str:
    if backend.name != "numpy":
        return "numpy"
    for status in available_backends():
        if status.usable and status.name != "numpy":
            return status.name
    raise ValueError("NumPy is the only backend that is usable here; there is nothing to compare")


def _results_by_layer(net: Network, x: Any, seed: int) -> list[tuple[str, Any, Any, Any]]:
    """Return each layer of a training pass with its output, gradient and parameters' gradients."""
    backend = net.backend

    def on_host(arrays: Iterable[Array]) -> Any:
        return np.concatenate([np.zeros(0), *(np.ravel(backend.to_numpy(a)) for a in arrays)])

    with backend.scope():
        ctx = _training_context(net)
        passages, y, backward = run_observed(net.layers, net.params, net._rows(x), ctx)
        rng = Generator.of(seed, "compare_backends")
        backward(map_arrays(lambda a: backend.asarray(rng.normal(tuple(a.shape))), y))
        return [
            (
                f"{p.path} ({type(p.layer).__name__})",
                on_host(arrays_in(p.y)),
                on_host(arrays_in(p.dy)),
                on_host(flatten(p.grads or {}).values()),
            )
            for p in passages
        ]


def _largest_difference(a: Any, b: Any) -> float:
    """Return the largest difference, relative to the largest value; infinite for other shapes."""
    if a.shape != b.shape:
        return math.inf
    if a.size == 0:
        return 0.0
    scale = float(np.max(np.abs(a))) or 1.0
    return float(np.max(np.abs(a.astype(np.float64) - b.astype(np.float64)))) / scale
