"""Neural networks trained by backpropagation, on NumPy, CuPy or any array API library."""

from typing import TYPE_CHECKING

from nnbackend import (
    activations,
    callbacks,
    constraints,
    data,
    errors,
    initializers,
    losses,
    metrics,
    optimizers,
    regularizers,
    schedules,
)
from nnbackend.backends.base import Backend
from nnbackend.backends.choose import BackendStatus, available_backends, get_backend
from nnbackend.core.lazy import lazily
from nnbackend.core.types import Context, Layer
from nnbackend.layers import (
    Activation,
    AlphaDropout,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    Residual,
    Sequential,
    register_layer,
)
from nnbackend.network import Network
from nnbackend.optimizers import (
    LAMB,
    LBFGS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    Muon,
    Nadam,
    RAdam,
    RMSprop,
)
from nnbackend.saving.model_file import load
from nnbackend.training.history import History

if TYPE_CHECKING:
    from nnbackend import testing
    from nnbackend.core import registry
    from nnbackend.saving import checkpoint as checkpoints

__version__ = "0.1.0"

__all__ = [
    "LAMB",
    "LBFGS",
    "SGD",
    "Activation",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "AlphaDropout",
    "Backend",
    "BackendStatus",
    "Context",
    "Dense",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "History",
    "Layer",
    "Lion",
    "Muon",
    "Nadam",
    "Network",
    "RAdam",
    "RMSprop",
    "Residual",
    "Sequential",
    "__version__",
    "activations",
    "available_backends",
    "callbacks",
    "checkpoints",
    "constraints",
    "data",
    "errors",
    "get_backend",
    "initializers",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "register_layer",
    "registry",
    "regularizers",
    "schedules",
    "testing",
]

__getattr__, __dir__ = lazily(
    __name__,
    {"checkpoints": "saving.checkpoint", "registry": "core.registry", "testing": "testing"},
)
