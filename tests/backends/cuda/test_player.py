"""The player for a GPU, with NumPy in CuPy's place: the same bits as the step without a recording.

What runs here is the placement of memory, the translation of calls, and the machine around them. CuPy's
functions, cuBLAS's products and the graph itself need a card.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from cases import ACTIVATIONS, CONVOLUTION, LAYERS, LOSSES, OPTIMIZERS, WRAPPERS, each
from tools import Plain, fitted

import nnbackend as nnb
from nnbackend.backends.base import Backend
from nnbackend.backends.cuda.player import GraphPlayer, GraphProgram
from nnbackend.backends.cupy import _step_mode
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.backends.replay import replayed as steps
from nnbackend.backends.replay.calls import owner_of
from nnbackend.backends.replay.recorder import RecordedArray


@dataclass(frozen=True)
class MyDense(nnb.Dense):
    """A dense layer by another name."""


class HostGraph:
    """Runs the launches, as a graph does."""

    refused = ""

    def __init__(self, launches: Any) -> None:
        self.launches = launches

    def replay(self) -> None:
        for launch in self.launches:
            launch()


class HostLibrary:
    """NumPy in the place of CuPy; its memory is apart from that of the recording."""

    functions = np
    graph = staticmethod(HostGraph)

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def address(self, array: Any) -> int:
        return array.__array_interface__["data"][0]

    def whole(self, array: Any) -> Any:
        owner = owner_of(array)
        self.kept.append(owner)
        memory = (ctypes.c_char * owner.nbytes).from_address(self.address(owner))
        return np.frombuffer(memory, np.uint8)

    def view(self, base: Any, offset: int, shape: Any, strides: Any, dtype: Any) -> Any:
        if strides is None:
            strides = np.empty(shape, dtype).strides
        reach = (
            sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if 0 not in shape else 0
        )
        size = max(reach, 0) + np.dtype(dtype).itemsize
        self.kept.append(base)
        memory = (ctypes.c_char * size).from_address(self.address(base) + offset)
        return np.ndarray(shape, dtype, memory, 0, strides)

    def empty(self, size: int) -> Any:
        return np.full(size, 0x7F, np.uint8)

    def to_host(self, array: Any) -> Any:
        assert not isinstance(array, RecordedArray)
        return np.array(array)

    def from_host(self, array: Any) -> Any:
        return np.array(array, order="K")

    def product(self, a: Any, b: Any, out: Any) -> Any:
        return partial(np.matmul, a, b, out=out)

    def row_products(self, a: Any, b: Any, out: Any) -> Any:
        return partial(np.vecdot, a, b, out=out)


class Card(NumPyBackend):
    """A backend whose steps are played as a graph's are."""

    made: Any = []

    def scan(self, step: Any, map_carry: Any = None, step_on: Any = None, parts: Any = ()) -> Any:
        if map_carry is None:
            return Backend.scan(self, step)
        host = step_on(NumPyBackend(precision=self.precision))

        def new(*args: Any) -> Any:
            program = GraphProgram(
                *args, library=HostLibrary(), host_function=steps.step_function(host)
            )
            self.made.append(program)
            return program

        return Backend.scan(self, steps.replayed_step(step, map_carry, self.dtype, new))

    def gatherer(self) -> Any:
        return Backend.gatherer(self)


@pytest.fixture(autouse=True)
def made(monkeypatch) -> list[GraphProgram]:
    found: list[GraphProgram] = []
    monkeypatch.setattr(Card, "made", found)
    monkeypatch.setattr(steps, "WARMUP_STEPS", 4)
    return found


def assert_identical(layers: Any, made: Any, **task: Any) -> None:
    (plain, history, outputs), (played, history2, outputs2) = (
        fitted(backend, layers, **task) for backend in (Plain, Card)
    )
    assert isinstance(made[0].player, GraphPlayer), made[0].refused
    for name in plain:
        np.testing.assert_array_equal(played[name], plain[name])
    del history["seconds"], history2["seconds"]
    assert history2 == history
    np.testing.assert_array_equal(outputs2, outputs)


# NumPy's convolutions, and products of several matrices at once, are not played.
REFUSED = (
    "conv",
    "group_norm",
    "instance_norm",
    "adaptive_average",
    "periodic_embedding",
    "member",
)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@each(case for case in LAYERS if case not in CONVOLUTION and not any(n in case.id for n in REFUSED))
def test_layers(case, weighted, made):
    layers = [case.thing, nnb.Flatten(), nnb.Dense(2)]
    assert_identical(layers, made, shape=case.shape, indices=case.indices, weighted=weighted)


def test_steps_with_convolutions_run_as_they_are(made):
    """NumPy's convolutions have no counterpart of the same name."""
    layers = [nnb.Conv2D(2, 3, padding="same"), nnb.Flatten(), nnb.Dense(2)]
    plain, *_ = fitted(Plain, layers, shape=(4, 3, 2))
    with pytest.warns(UserWarning, match="there is no (convolve|weight_gradient)"):
        found, *_ = fitted(Card, layers, shape=(4, 3, 2))
    assert made[0].player is None
    for name in plain:
        np.testing.assert_array_equal(found[name], plain[name])


@each(ACTIVATIONS)
def test_activations(case, made):
    assert_identical([nnb.Dense(5, activation=case.thing), nnb.Dropout(0.2), nnb.Dense(2)], made)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@each(LOSSES)
def test_losses(case, weighted, made):
    layers = [nnb.Dense(6, activation="tanh"), nnb.Dense(case.shape[-1])]
    assert_identical(layers, made, loss=case.thing, shape=case.shape, target=case.target,
                     weighted=weighted)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each([*OPTIMIZERS, *WRAPPERS])
def test_optimizers(case, dtype, made):
    layers = [nnb.Dense(6, activation="silu"), nnb.Dropout(0.3), nnb.Dense(2)]
    assert_identical(layers, made, optimizer=case.thing, dtype=dtype)


def test_microbatches_metrics_and_what_users_write(made):
    layers = [MyDense(5, activation="tanh", regularizer="l2"), nnb.Dropout(0.2), nnb.Dense(2)]
    assert_identical(layers, made, accumulate=3, weighted=True, metrics=["mae"])


class Alone:
    """A layer whose call has no counterpart, or that does not run on the host."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx):
        return x + 0.0 * self.function(x), lambda dy, input_grad=True: (dy, {})


def needs_the_device(x: Any) -> Any:
    if isinstance(x, RecordedArray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return x


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: np.subtract.reduce(x, axis=0), "subtract.reduce"),
        (lambda x: (x[:, None, :] @ x[:, :, None])[..., 0], "a product of shapes"),
        (needs_the_device, "cannot be recorded: TypeError"),
        (lambda x: x if x.sum() > 0 else -x, "asks for the value"),
    ],
)
def test_what_cannot_be_played_runs_as_it_is_and_says_why(function, reason, made):
    layers = [nnb.Dense(4), Alone(function), nnb.Dense(2)]
    with pytest.warns(UserWarning, match=reason):
        played = fitted(Card, layers)
    assert made[0].player is None
    assert reason in made[0].refused
    plain = fitted(Plain, layers)
    for name in plain[0]:
        np.testing.assert_array_equal(played[0][name], plain[0][name])


def test_a_device_that_computes_something_else_is_refused(made, monkeypatch):
    """A function of the same name need not do the same."""

    class Wrong:
        def __getattr__(self, name: str) -> Any:
            function = getattr(np, name)
            return (
                (lambda x, out: np.multiply(function(x), 1.01, out=out))
                if name == "tanh"
                else function
            )

    monkeypatch.setattr(HostLibrary, "functions", Wrong())
    layers = [nnb.Dense(4, activation="tanh"), nnb.Dense(2)]
    with pytest.warns(UserWarning, match="does something else"):
        played = fitted(Card, layers)
    assert made[0].player is None
    for name, array in fitted(Plain, layers)[0].items():
        np.testing.assert_array_equal(played[0][name], array)


def test_the_way_of_a_step_is_read_from_the_environment(monkeypatch):
    monkeypatch.delenv("NNBACKEND_CUPY_STEP", raising=False)
    assert _step_mode() == "plain"
    for mode in ("plain", "graph"):
        monkeypatch.setenv("NNBACKEND_CUPY_STEP", mode)
        assert _step_mode() == mode
    monkeypatch.setenv("NNBACKEND_CUPY_STEP", "fused")
    with pytest.raises(ValueError, match="must be plain or graph, got 'fused'"):
        _step_mode()


def test_a_capture_that_is_refused_is_told(made, monkeypatch):
    monkeypatch.setattr(HostGraph, "refused", "RuntimeError: no graph")
    with pytest.warns(UserWarning, match="not captured as a graph: RuntimeError: no graph"):
        fitted(Card, [nnb.Dense(2)])
    assert isinstance(made[0].player, GraphPlayer)
