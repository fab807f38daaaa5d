"""Convolutions and pooling with arguments drawn at random, against torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import nnbackend as nnb

torch = pytest.importorskip("torch")
F = torch.nn.functional
MODES = {"zeros": "constant", "reflect": "reflect", "edge": "replicate"}


@dataclass
class Drawn:
    """Arguments of a layer over some spatial axes, and an input."""

    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.axes = self.size(1, 3)
        self.lengths, self.kernel = self.sizes(1, 7), self.sizes(1, 4)
        self.stride, self.dilation = self.sizes(1, 3), self.sizes(1, 2)
        self.groups, self.channels = self.size(1, 3), str(self.rng.choice(["last", "first"]))
        self.mode = str(self.rng.choice([*MODES]))
        padding = self.rng.choice(["valid", "same", "pairs"])
        self.padding: Any = str(padding)
        if padding == "pairs":
            self.padding = tuple((self.size(0, 2), self.size(0, 2)) for _ in range(self.axes))

    def size(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most + 1))

    def sizes(self, least: int, most: int) -> tuple[int, ...]:
        return tuple(self.size(least, most) for _ in range(self.axes))

    def pairs(self, dilation: tuple[int, ...] | None = None) -> Any:
        """Return the padding, computed by the formula in the documentation."""
        if self.padding != "same":
            return ((0, 0),) * self.axes if self.padding == "valid" else self.padding
        found = []
        each = zip(self.lengths, self.kernel, self.stride, dilation or self.dilation, strict=True)
        for n, k, s, d in each:
            total = max((math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n, 0)
            found.append((total // 2, total - total // 2))
        return found

    def padded(self, x: Any, pairs: Any, mode: str = "constant", value: float = 0.0) -> Any:
        flat = [side for pair in reversed(pairs) for side in pair]
        fill = {"value": value} if mode == "constant" else {}
        return F.pad(x, flat, mode=mode, **fill) if any(flat) else x

    def of(self, name: str) -> Any:
        """Return the layer class, or torch's function, for this number of axes."""
        return (
            getattr(F, f"{name}{self.axes}d")
            if name.islower()
            else getattr(nnb, f"{name}{self.axes}D")
        )


Twin = Callable[[Any, dict[str, Any]], Any]


def convolution(a: Drawn) -> tuple[Any, int, Twin]:
    inputs, pairs = a.groups * a.size(1, 2), a.pairs()
    layer = a.of("Conv")(
        a.groups * a.size(1, 2), a.kernel, stride=a.stride, padding=a.padding, dilation=a.dilation,
        groups=a.groups, padding_mode=a.mode, channels=a.channels,
        activation=str(a.rng.choice(["tanh", "softmax"])),
    )  # fmt: skip

    def twin(x: Any, p: dict[str, Any]) -> Any:
        weight = p["weight"].movedim((-1, -2), (0, 1)).contiguous()
        wide = a.padded(x, pairs, MODES[a.mode])
        z = a.of("conv")(wide, weight, p["bias"], a.stride, 0, a.dilation, a.groups)
        return z.tanh() if layer.activation == nnb.activations.Tanh() else z.softmax(1)

    return layer, inputs, twin


def depthwise(a: Drawn) -> tuple[Any, int, Twin]:
    inputs, times, pairs = a.size(1, 4), a.size(1, 2), a.pairs()
    layer = a.of("DepthwiseConv")(
        a.kernel, multiplier=times, stride=a.stride, padding=a.padding, dilation=a.dilation,
        padding_mode=a.mode, channels=a.channels,
    )  # fmt: skip

    def twin(x: Any, p: dict[str, Any]) -> Any:
        weight = p["weight"].reshape(*a.kernel, inputs * times).movedim(-1, 0)[:, None].contiguous()
        wide = a.padded(x, pairs, MODES[a.mode])
        return a.of("conv")(wide, weight, p["bias"], a.stride, 0, a.dilation, inputs)

    return layer, inputs, twin


def largest(a: Drawn) -> tuple[Any, int, Twin]:
    pairs = a.pairs()
    layer = a.of("MaxPool")(a.kernel, a.stride, a.padding, a.dilation, a.channels)
    pool = a.of("max_pool")

    def twin(x: Any, p: dict[str, Any]) -> Any:
        return pool(a.padded(x, pairs, value=-math.inf), a.kernel, a.stride, 0, a.dilation)

    return layer, a.size(1, 3), twin


def mean(a: Drawn) -> tuple[Any, int, Twin]:
    pairs, counts = a.pairs((1,) * a.axes), bool(a.size(0, 1))
    layer = a.of("AveragePool")(a.kernel, a.stride, a.padding, counts, a.channels)
    pool = a.of("avg_pool")

    def twin(x: Any, p: dict[str, Any]) -> Any:
        y = pool(a.padded(x, pairs), a.kernel, a.stride)
        if counts:
            return y
        return y / pool(a.padded(torch.ones_like(x), pairs), a.kernel, a.stride)

    return layer, a.size(1, 3), twin


def norm(a: Drawn) -> tuple[Any, int, Twin]:
    pairs, power = a.pairs((1,) * a.axes), float(a.rng.choice([1.0, 2.0, 2.5, 6.0]))
    layer = a.of("LpPool")(a.kernel, a.stride, a.padding, power, a.channels)

    def twin(x: Any, p: dict[str, Any]) -> Any:
        means = a.of("avg_pool")(a.padded(x.abs() ** power, pairs), a.kernel, a.stride)
        return (means * math.prod(a.kernel)) ** (1.0 / power)

    return layer, a.size(1, 3), twin


@pytest.mark.parametrize("make", [convolution, depthwise, largest, mean, norm])
def test_outputs_and_gradients_are_torchs(make):
    compared = 0
    for seed in range(60):
        a = Drawn(np.random.default_rng(seed))
        layer, inputs, twin = make(a)
        shape = (*a.lengths, inputs) if a.channels == "last" else (inputs, *a.lengths)
        try:
            net = nnb.Network([layer], input_shape=shape, dtype="float64", seed=seed)
        except ValueError:  # a kernel that is too large, or too little to reflect
            continue
        x = a.rng.normal(size=(a.size(1, 3), *shape))
        x = np.round(x) if make is largest and seed % 3 == 0 else x  # equal numbers
        compare(net, x, twin, a)
        compared += 1
    assert compared > 20


def compare(net: nnb.Network, x: np.ndarray, twin: Twin, a: Drawn) -> None:
    last = a.channels == "last"
    own = {name: torch.tensor(array, requires_grad=True) for name, array in net.params["0"].items()}
    y, backward = net.forward(x, training=True)
    given = torch.tensor(x, requires_grad=True)
    expected = twin(given.movedim(-1, 1) if last else given, own)
    expected = expected.movedim(1, -1) if last else expected
    np.testing.assert_allclose(
        y, expected.detach(), rtol=1e-10, atol=1e-10, err_msg=str(net.layers)
    )
    dy = a.rng.normal(size=y.shape)
    dx, grads = backward(dy)
    expected.backward(torch.tensor(dy))
    for name, found in {"x": dx, **grads["0"]}.items():
        wanted = (own | {"x": given})[name].grad
        message = f"{name} of {net.layers}"
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10, err_msg=message)
