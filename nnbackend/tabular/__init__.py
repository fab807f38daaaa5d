"""Networks for tables as their authors made them: layers and optimizers of RealMLP and of TabM.

They are for tables that are numbers already: numeric columns scaled to about unit size, categories as
one-hot columns or, where they have many values, as indices. ::

    layers = build_realmlp(numbers=12, one_hot=5, outputs=3, steps=steps)
    net = nnb.Network(layers).initialize_from(x[:256])
    net.fit(x, y, loss=SoftmaxCrossEntropy(0.1), optimizer=build_realmlp_optimizer(layers, steps), ...)
"""

from nnbackend.tabular.indices import offset_indices
from nnbackend.tabular.realmlp import build_realmlp, build_realmlp_optimizer
from nnbackend.tabular.tabm import build_tabm, build_tabm_optimizer

__all__ = [
    "build_realmlp",
    "build_realmlp_optimizer",
    "build_tabm",
    "build_tabm_optimizer",
    "offset_indices",
]
