"""Neural networks trained by backpropagation, on NumPy, CuPy or any array API library."""

# First of all: what follows takes a while, in which Ctrl-C may come.
from nnbackend.core import early_signals as _early_signals  # noqa: F401

# isort: split
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
from nnbackend.core.history import History
from nnbackend.core.lazy import lazily
from nnbackend.core.types import Context, Layer
from nnbackend.core.version import __version__
from nnbackend.layers import (
    GEGLU,
    GLU,
    Activation,
    AlphaDropout,
    Concatenate,
    Conv1D,
    Conv2D,
    Conv3D,
    ConvTranspose1D,
    ConvTranspose2D,
    ConvTranspose3D,
    Dense,
    DepthwiseConv1D,
    DepthwiseConv2D,
    DepthwiseConv3D,
    DropBlock,
    Dropout,
    DropPath,
    Flatten,
    GaussianNoise,
    Graph,
    Maxout,
    Normalize,
    PReLU,
    ReGLU,
    Residual,
    SeparableConv1D,
    SeparableConv2D,
    Sequential,
    SpatialDropout,
    SwiGLU,
    register_layer,
)
from nnbackend.network import Network, load
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

if TYPE_CHECKING:
    from nnbackend import tables, testing
    from nnbackend.core import registry
    from nnbackend.inspection.observe import observe
    from nnbackend.saving import checkpoint as checkpoints

__all__ = [
    "GEGLU",
    "GLU",
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
    "Concatenate",
    "Context",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "ConvTranspose1D",
    "ConvTranspose2D",
    "ConvTranspose3D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "DepthwiseConv3D",
    "DropBlock",
    "DropPath",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "Graph",
    "History",
    "Layer",
    "Lion",
    "Maxout",
    "Muon",
    "Nadam",
    "Network",
    "Normalize",
    "PReLU",
    "RAdam",
    "RMSprop",
    "ReGLU",
    "Residual",
    "SeparableConv1D",
    "SeparableConv2D",
    "Sequential",
    "SpatialDropout",
    "SwiGLU",
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
    "observe",
    "optimizers",
    "register_layer",
    "registry",
    "regularizers",
    "schedules",
    "tables",
    "testing",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "checkpoints": "saving.checkpoint",
        "observe": "inspection.observe",
        "registry": "core.registry",
        "tables": "tables",
        "testing": "testing",
    },
)
