"""Networks for tables as their authors made them: layers and optimizers of RealMLP and of TabM.

They are for tables that are numbers already: numeric columns scaled to about unit size, categories as
one-hot columns or, where they have many values, as indices. ::

    layers = build_realmlp(numbers=12, one_hot=5, outputs=3, steps=steps)
    net = nnb.Network(layers).initialize_from(x[:256])
    net.fit(x, y, loss=SoftmaxCrossEntropy(0.1), optimizer=build_realmlp_optimizer(layers, steps), ...)

or, with the training in one go::

    trained = fit_network(Part(x, y), Part(x_held_out, y_held_out), Columns(12, 5), outputs=3,
                          recipe=choose_recipe(len(x)), task="classification")
"""

from nnbackend.tabular.columns import Columns
from nnbackend.tabular.indices import offset_indices
from nnbackend.tabular.realmlp import build_realmlp, build_realmlp_optimizer
from nnbackend.tabular.recipe import Recipe, choose_recipe
from nnbackend.tabular.tabm import build_tabm, build_tabm_optimizer
from nnbackend.tabular.training import Part, Trained, fit_folds, fit_network

__all__ = [
    "Columns",
    "Part",
    "Recipe",
    "Trained",
    "build_realmlp",
    "build_realmlp_optimizer",
    "build_tabm",
    "build_tabm_optimizer",
    "choose_recipe",
    "fit_folds",
    "fit_network",
    "offset_indices",
]
