"""The benchmark's convolutional networks: every library builds the same one, and trains it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import require

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # the benchmark is no part of the package

from benchmarks import convolution  # noqa: E402
from benchmarks.peers import nnb_images, norm_relu, products_images  # noqa: E402
from benchmarks.peers.networks import NETWORKS, image_task  # noqa: E402
from benchmarks.timing import Options  # noqa: E402

LENET = NETWORKS[0]


def count(shapes) -> int:
    return sum(int(np.prod(shape)) for shape in shapes)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_torch_has_as_many_parameters(network):
    require("torch")
    from benchmarks.peers import pytorch_images

    task = image_task(network, steps=1, batch=2)
    ours = nnb_images.Steps(task, "numpy")
    twin = pytorch_images.CONVOLUTION["PyTorch, channels last"](task)
    numbers = count(p.shape for p in twin.net.parameters())
    state = count(s.shape for name, s in twin.start.items() if "running" in name)
    assert count(value.shape for value in ours.start.values()) == numbers + state
    for trial in (ours, twin):
        trial.reset()
        assert 0.5 < trial.run() < 10.0


def test_jax_has_as_many_parameters():
    require("jax")
    import jax

    from benchmarks.peers import jax_images

    for network in NETWORKS:
        params, shape = jax_images.weights(network.layers, network.shape, np.random.default_rng(0))
        assert shape == (10,)
        ours = nnb_images.Steps(image_task(network, steps=1, batch=2), "numpy")
        numbers = count(p.shape for p in jax.tree.leaves(params))
        state = [value.shape for name, value in ours.start.items() if "running" in name]
        assert count(value.shape for value in ours.start.values()) == numbers + count(state)
    trial = jax_images.Steps(image_task(LENET, steps=2, batch=2))
    trial.reset()
    assert 0.5 < trial.run() < 10.0


def test_products_are_those_of_all_layers():
    found = products_images.shapes(LENET.layers, 28, 1, 2)
    assert found == [(2 * 784, 25, 6), (2 * 100, 150, 16), (2, 400, 120), (2, 120, 84), (2, 84, 10)]
    trial = products_images.Products(image_task(LENET, steps=1, batch=2))
    trial.reset()
    assert math.isnan(trial.run())
    blocks = products_images.shapes(NETWORKS[1].layers, 32, 3, 1)
    assert blocks[:3] == [(1024, 27, 16), (1024, 144, 16), (1024, 144, 16)]
    assert blocks[3:6] == [(256, 16, 32), (256, 144, 32), (256, 288, 32)]
    assert blocks[-1] == (1, 64, 10)


def test_the_section_has_tables_of_times_of_batch_norm_and_of_memory(monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.timing.PAUSE", 0.0)
    small = [type(LENET)(LENET.name, LENET.title, LENET.shape, 2, LENET.layers)]
    monkeypatch.setattr(convolution, "NETWORKS", small)
    monkeypatch.setattr(convolution, "FACTORIES", {"products_images": ("matrix products, numpy",)})
    monkeypatch.setattr(convolution, "_peak", lambda *_: 5.0)
    monkeypatch.setattr(norm_relu, "SHAPES", {"2 x 3 x 3 x 4": (2, 3, 3, 4)})
    monkeypatch.delitem(norm_relu.MAKERS, "PyTorch, channels last")
    times, norm, memory = convolution.convolution(Options(["numpy"], quick=True, rounds=1))
    assert (times["key"], memory["key"]) == ("convolution/lenet", "convolution-memory/lenet")
    assert norm["key"] == "convolution/norm-2x3x3x4"
    assert [r["name"] for r in norm["rows"]] == ["nnbackend numpy", "reading and writing, numpy"]
    assert [r["name"] for r in times["rows"]] == ["nnbackend numpy", "matrix products, numpy"]
    assert [(r["name"], r["median"]) for r in memory["rows"]] == [("nnbackend numpy", 5.0)]
    capsys.readouterr()
    convolution.main("nnbackend numpy", "lenet", "numpy")
    assert json.loads(capsys.readouterr().out)["training"] >= 0
