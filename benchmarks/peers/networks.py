"""The convolutional networks of the benchmark, described once for all contestants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.work import Task, images

FACTORIES = {
    "pytorch_images": ("PyTorch, channels first", "PyTorch, channels last"),
    "jax_images": ("JAX, one jit per step",),
    "products_images": ("matrix products, numpy",),
}
"""The contestants besides nnbackend, by module."""

Spec = tuple[Any, ...]
"""A layer: its kind and its numbers.

``("conv", outputs, size, stride)`` and ``("depthwise", size, stride)``, padded so that stride 1 keeps
the lengths; ``("valid", outputs, size)``, not padded; ``("norm",)``, ``("relu",)``, ``("pool",)``, which
halves the lengths by maxima; ``("residual", layers, shortcut)``; ``("mean",)``, over the places;
``("flatten",)``; ``("dense", outputs)``. Convolutions have no bias before a norm.
"""


@dataclass(frozen=True)
class ImageNetwork:
    """A network of the benchmark.

    Attributes:
        name: what it is called in keys.
        title: what it is called in tables.
        shape: of an image, channels last.
        batch: rows of a step.
        layers: see :data:`Spec`.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    batch: int
    layers: tuple[Spec, ...]


def _normed(*layers: Spec) -> tuple[Spec, ...]:
    return tuple(part for layer in layers for part in (layer, ("norm",), ("relu",)))


def _block(outputs: int, stride: int) -> tuple[Spec, ...]:
    inner = (*_normed(("conv", outputs, 3, stride)), ("conv", outputs, 3, 1), ("norm",))
    shortcut = () if stride == 1 else (("conv", outputs, 1, stride), ("norm",))
    return ("residual", inner, shortcut), ("relu",)


def _separable(outputs: int, stride: int) -> tuple[Spec, ...]:
    return _normed(("depthwise", 3, stride), ("conv", outputs, 1, 1))


NETWORKS = (
    ImageNetwork(
        "lenet", "LeNet-5 on 28x28", (28, 28, 1), 64,
        (("conv", 6, 5, 1), ("relu",), ("pool",), ("valid", 16, 5), ("relu",), ("pool",), ("flatten",),
         ("dense", 120), ("relu",), ("dense", 84), ("relu",), ("dense", 10)),
    ),
    ImageNetwork(
        "resnet", "ResNet-8 (16, 32, 64 channels) on 32x32", (32, 32, 3), 32,
        (*_normed(("conv", 16, 3, 1)), *_block(16, 1), *_block(32, 2), *_block(64, 2), ("mean",),
         ("dense", 10)),
    ),
    ImageNetwork(
        "separable", "Depthwise-separable net (32, 64, 128 channels) on 32x32", (32, 32, 3), 32,
        (*_normed(("conv", 32, 3, 1)), *_separable(32, 1), *_separable(64, 2), *_separable(64, 1),
         *_separable(128, 2), *_separable(128, 1), ("mean",), ("dense", 10)),
    ),
)  # fmt: skip


@dataclass
class ImageTask(Task):
    """A task on images; ``x`` has their shape."""

    network: ImageNetwork | None = None


def image_task(network: ImageNetwork, steps: int, batch: int | None = None) -> ImageTask:
    """Return a task of so many steps on images that resemble none, and ten classes."""
    rows = steps * (batch or network.batch)
    x, y = images(rows, int(np.prod(network.shape)), 10)
    x = x.reshape((rows, *network.shape))
    return ImageTask((), batch or network.batch, x, y, [], network=network)
