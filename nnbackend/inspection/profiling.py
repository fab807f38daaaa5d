"""Where the time of a training run goes: by layer, forward and backward, against the floor.

The floor of a dense layer is the time of its bare matrix products, measured on the same shapes; no
library can be faster than its BLAS, so the time above the floor is the cost of the implementation.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnbackend.backends.base import Backend
from nnbackend.core.layer_tree import children, map_layers
from nnbackend.core.tree import arrays_in
from nnbackend.core.types import Array, Layer, Shape
from nnbackend.inspection.observe import Observed, Passage
from nnbackend.layers import Dense
from nnbackend.losses.base import unchecked

if TYPE_CHECKING:
    from nnbackend.training.objective import Objective

__all__ = ["Profile", "with_profile"]

_FLOOR_RUNS = 5


@dataclass
class _Times:
    """Seconds spent in a layer, and the shapes of its last pass."""

    name: str
    layer: Layer
    calls: int = 0
    forward: float = 0.0
    backward: float = 0.0
    x: Shape = ()
    input_grad: bool = True

    def add(self, passage: Passage) -> None:
        """Add the seconds of a pass of training, forward or backward."""
        if passage.grads is not None:
            self.backward += passage.backward_seconds
            self.input_grad = passage.dx is not None
        elif passage.ctx.training:
            self.calls += 1
            self.forward += passage.forward_seconds
            self.x = tuple(arrays_in(passage.x)[0].shape)


@dataclass
class Profile:
    """Seconds of a training run, by layer; print it for a table.

    Attributes:
        backend: the backend that computes.
        layers: the seconds of each layer, forward and backward.
        loss: the seconds of the loss.
        seconds: the seconds of the whole run, everything included.
        floors: the seconds of the bare matrix products of each layer's passes, by layer.
    """

    backend: Backend
    layers: list[_Times] = field(default_factory=list)
    loss: float = 0.0
    seconds: float = 0.0
    floors: dict[str, float] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """The number of steps measured."""
        return max((times.calls for times in self.layers), default=0)

    def finish(self, seconds: float) -> None:
        """Note the seconds of the whole run, and measure the floor."""
        self.seconds = seconds
        for times in self.layers:
            if isinstance(times.layer, Dense) and times.calls:
                self.floors[times.name] = times.calls * _floor(times, self.backend)

    @property
    def rest(self) -> float:
        """Seconds outside layers and loss: the optimizer, gathering rows, validation."""
        return self.seconds - self.loss - sum(t.forward + t.backward for t in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Return seconds by layer as plain data."""
        layers = {
            t.name: {
                "forward": t.forward,
                "backward": t.backward,
                "floor": self.floors.get(t.name),
            }
            for t in self.layers
        }
        return {
            "steps": self.steps,
            "seconds": self.seconds,
            "layers": layers,
            "loss": self.loss,
            "rest": self.rest,
        }

    def __str__(self) -> str:
        steps = max(self.steps, 1)
        rows = [(t.name, t.forward, t.backward, self.floors.get(t.name)) for t in self.layers]
        width = max([len(row[0]) for row in rows] + [len("optimizer, data, the rest")])
        lines = [f"{'microseconds per step':<{width}}   forward  backward     floor   share"]
        for name, forward, backward, floor in rows:
            bare = "" if floor is None else f"{1e6 * floor / steps:.1f}"
            lines.append(
                f"{name:<{width}}  {1e6 * forward / steps:8.1f}  {1e6 * backward / steps:8.1f}  "
                f"{bare:>8}  {(forward + backward) / self.seconds:6.1%}"
            )
        for name, spent in (("loss", self.loss), ("optimizer, data, the rest", self.rest)):
            lines.append(
                f"{name:<{width}}  {1e6 * spent / steps:8.1f}  {'':>8}  {'':>8}  "
                f"{spent / self.seconds:6.1%}"
            )
        total, floor = 1e6 * self.seconds / steps, 1e6 * sum(self.floors.values()) / steps
        lines.append(
            f"{'all':<{width}}  {total:8.1f}  {'':>8}  {floor:8.1f}  "
            f"{self.steps:,} steps in {self.seconds:.3g} s"
        )
        return "\n".join(lines)


def with_profile(objective: Objective, backend: Backend) -> tuple[Objective, Profile]:
    """Return the objective with every layer and the loss measured, and the profile they fill.

    Raises:
        ValueError: the backend compiles whole steps, in which layers cannot be told apart.
    """
    if backend.static_shapes:
        raise ValueError(
            f"profile=True measures layer by layer, but {backend.name} compiles whole steps into one "
            "program; use the library's own profiler"
        )
    profile = Profile(backend)
    times = {
        name: _Times(f"{name} {type(layer).__name__}", layer)
        for name, layer in children(objective.layers)
    }
    profile.layers = [*times.values()]
    timed = map_layers(lambda name, layer: Observed(layer, name, times[name].add), objective.layers)

    def loss(*arguments: Any) -> tuple[Array, Array]:
        started = time.perf_counter()
        result = unchecked(objective.loss)(*arguments)
        backend.synchronize()
        profile.loss += time.perf_counter() - started
        return result

    loss.__wrapped__ = objective.loss  # type: ignore[attr-defined]  # for checkpoints
    return dataclasses.replace(objective, layers=timed, loss=loss), profile


def _floor(times: _Times, backend: Backend) -> float:
    """Return the seconds of the bare matrix products of one forward and one backward pass."""
    xp, layer = backend.xp, times.layer
    assert isinstance(layer, Dense)
    *batch, features = times.x
    rows = math.prod(batch)
    kind = {"dtype": backend.product_dtype, "device": backend.device}
    x, w = xp.ones((rows, features), **kind), xp.ones((features, layer.out_features), **kind)
    dz = xp.ones((rows, layer.out_features), **kind)
    products: list[Callable[[], Any]] = [lambda: x @ w, lambda: x.T @ dz]
    if times.input_grad:
        products.append(lambda: dz @ w.T)
    seconds = []
    for _ in range(_FLOOR_RUNS):
        started = time.perf_counter()
        for product in products:
            product()
        backend.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
