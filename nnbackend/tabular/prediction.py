"""Make trained networks ready to predict: calibrated, bounded by the targets, several as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.activations import HardTanh
from nnbackend.core.functional import softmax
from nnbackend.core.types import Layer
from nnbackend.layers import Activation, MemberMean, Parallel, Sequential
from nnbackend.network import Network

__all__ = ["calibrate", "ending_of", "find_temperature", "join_networks", "with_ending"]

_LARGEST_LOG = math.log(10.0)  # of a temperature: beyond it too few rows decide
_FEWEST_ROWS = 20  # from which a temperature can be learned
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def find_temperature(
    logits: NDArray[Any], labels: NDArray[Any], weight: NDArray[Any] | None = None
) -> float:
    """Return the temperature by which logits are divided so that probabilities are as rows turn out.

    It has the least cross-entropy of ``mean over members of softmax(logits / temperature)``, from 0.1 to
    10, found by golden section. Of ``n`` rows a label counts as ``(n + 1) / (n + 2)``, the rest as other
    classes: however well a few rows are told apart, one more may be wrong (Platt's targets). It changes
    no answer of a network without members.

    Args:
        logits: of rows that did not train, of shape (rows, classes) or (rows, members, classes).
        labels: the class numbers of the rows, of shape (rows,).
        weight: how much each row counts, of shape (rows,); None (the default): all count 1.

    Returns:
        the temperature; 1.0 for fewer than 20 rows.

    Source: Guo, Pleiss, Sun, Weinberger (2017), On Calibration, arXiv:1706.04599; Platt (1999).
    """
    if len(labels) < _FEWEST_ROWS:
        return 1.0
    z = logits.astype(np.float64)
    z = z if z.ndim == 3 else z[:, None, :]
    rows, classes = np.arange(len(labels)), z.shape[-1]
    wrong = 1.0 / (len(labels) + 2)
    shares = np.full((len(labels), classes), wrong / (classes - 1))
    shares[rows, labels] = 1.0 - wrong

    def loss(log: float) -> float:
        p = softmax(z * math.exp(-log), np).mean(axis=1)
        losses = -np.sum(shares * np.log(np.maximum(p, 1e-300)), axis=1)
        return float(np.average(losses, weights=weight))

    low, high = -_LARGEST_LOG, _LARGEST_LOG
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-4:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    best = (low + high) / 2.0
    return math.exp(best) if loss(best) < loss(0.0) else 1.0


def calibrate(
    network: Network, x: Any, labels: NDArray[Any], weight: NDArray[Any] | None = None
) -> float:
    """Divide the logits of a network that ends in a softmax by a temperature; return that.

    The layer before the softmax has its weight and bias divided, so the network needs no other layer.

    Args:
        network: ends in a layer with weights and a softmax.
        x: rows that did not train.
        labels: their class numbers.
        weight: how much each row counts; None (the default): all count 1.
    """
    *layers, _ = network.layers.layers
    name = str(len(layers) - 1)
    logits = _restored(
        network, layers, {n: p for n, p in network.params.items() if n != str(len(layers))}
    )
    temperature = find_temperature(network.to_numpy(logits.predict(x)), labels, weight)
    with network.backend.scope():
        last = {key: value / temperature for key, value in network.params[name].items()}
    network.params = {**network.params, name: last}
    return temperature


def with_ending(network: Network, layers: Sequence[Layer]) -> Network:
    """Return a network with layers without parameters behind those of a network."""
    if not layers:
        return network
    inner = network.layers.layers
    more: dict[str, Any] = {str(len(inner) + i): {} for i in range(len(layers))}
    return _restored(network, [*inner, *layers], {**network.params, **more})


def ending_of(members: int | None, bounds: tuple[float, float] | None) -> list[Layer]:
    """Return the layers that a trained network gets for predicting.

    Args:
        members: how many networks were trained together; None: one.
        bounds: the least and the largest target of training, beyond which nothing is predicted; None for
            classes.
    """
    layers: list[Layer] = [] if members is None else [MemberMean()]
    if bounds is not None and bounds[0] < bounds[1]:
        layers.append(Activation(HardTanh(*bounds)))
    return layers


def join_networks(networks: Sequence[Network]) -> Network:
    """Return one network whose output is the mean of those of several, which take the same rows."""
    if len(networks) == 1:
        return networks[0]
    first = networks[0]
    branches = [Sequential(network.layers.layers) for network in networks]
    params = {"0": {str(i): network.params for i, network in enumerate(networks)}}
    states = {str(i): network.state for i, network in enumerate(networks) if network.state}
    joined = Network([Parallel(branches, "average")], backend=first.backend, seed=first.seed)
    return joined.restore(first.input_shape, params, {}, {"0": states} if states else {})


def _restored(network: Network, layers: Sequence[Layer], params: Any) -> Network:
    """Return a network of other layers with given parameters, and all else of a network."""
    new = Network(list(layers), backend=network.backend, seed=network.seed)
    return new.restore(network.input_shape, params, network.metadata, network.state)
