"""How deep a batch goes, from ``fit`` to the ``forward`` of a layer: as a reader follows it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import rows
from conftest import require

import nnbackend as nnb

PACKAGE = str(Path(nnb.__file__).parent)
MAX_FRAMES = 10


SEEN: list[list[str]] = []


@dataclass(frozen=True)
class Deep:
    """A layer that notes the frames of this package through which its pass was reached."""

    def init(self, input_shape: Any, rng: Any) -> Any:
        return {"weight": np.ones(input_shape)}, input_shape

    def forward(self, params: Any, x: Any, ctx: Any) -> Any:
        if ctx.training:
            SEEN.append([*reversed([*frames()])])
        return x * params["weight"], lambda dy, input_grad=True: (dy, {"weight": (dy * x).sum(0)})


def frames() -> Iterator[str]:
    """Yield the package's frames on the stack, as module and function, the innermost first."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(PACKAGE):
            module = file.removeprefix(PACKAGE).strip("/").removesuffix(".py")
            yield f"{module}:{frame.f_code.co_name}"
        frame = frame.f_back


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_a_batch_goes_one_way_from_fit_to_a_layer(name):
    if name != "numpy":
        require(name)
    SEEN.clear()
    net = nnb.Network([nnb.Flatten(), Deep()], backend=name)
    net.fit(rows((12, 3)), rows((12, 3), 1), batch_size=4, epochs=2)
    path = SEEN[0]
    # A module may call a function of its own; none is entered again once it was left.
    modules = [module for module, _ in groupby(frame.partition(":")[0] for frame in path)]
    assert modules[:4] == ["network/network", "training/fit", "training/loop", "training/trainer"]
    assert modules[-2:] == ["training/step", "layers/sequential"]
    assert all(module.startswith("backends") for module in modules[4:-2])
    assert len(path) < MAX_FRAMES, path  # that of the layer is one more
