"""Read a network from a file."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

from nnbackend.backends.base import Backend
from nnbackend.backends.choose import get_backend
from nnbackend.network.network import Network
from nnbackend.saving import model_file

__all__ = ["load"]


def load(
    path: str | os.PathLike[str],
    *,
    backend: str | Backend | ModuleType = "numpy",
    device: Any = None,
    dtype: str | None = None,
    precision: str | None = None,
) -> Network:
    """Read a network that :meth:`nnbackend.Network.save` wrote, whatever backend it was trained on.

    A checkpoint of a training run is read as well: the network as it was at that moment. Of a model of
    the command line it is the network alone: ``nnb.tables.load`` reads it with its encoding.

    Args:
        path: the file.
        backend: the backend, see :class:`Network`.
        device: the device, see :class:`Network`; None (the default): the backend's default device.
        dtype: ``"float32"`` or ``"float64"``; None: that of the precision given, or as saved.
        precision: see :class:`Network`; None: that of the dtype given, or as saved where the backend
            has that, and where it does not, that of the dtype.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: it is not a network's file, is damaged, or its description cannot be built. The
            class of a custom layer must be registered first: see ``register_layer``.
        BackendUnavailableError: the backend cannot be used here.
    """
    saved = model_file.read_network(path)
    if dtype is None and precision is None:
        chosen = get_backend(backend, device, saved.precision.dtype)
        chosen = chosen.with_precision_if_supported(saved.precision.name)
    else:
        chosen = get_backend(backend, device, dtype, precision)
    network = Network(saved.layers, backend=chosen, seed=saved.seed)
    network.restore(saved.input_shape, saved.params, saved.metadata, saved.state)
    network.trained = saved.trained
    network._frozen = tuple(saved.frozen)  # names that exist; freeze would take each for a pattern
    return network
