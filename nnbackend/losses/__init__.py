"""Losses: the value, and the gradient with respect to the prediction, together.

``value, dy = loss(prediction, target, sample_weight)``. The value is the mean over samples (and over
the outputs of a sample); with weights ``w`` it is ``sum(w * l) / sum(w)`` over the samples' losses
``l``, so that a weight of 2 counts a sample twice. ``dy`` has the shape of the prediction, and is what
a network's backward pass takes.

Some losses contain the activation of the output (``absorbs``): the cross-entropies take logits, the
numbers before the sigmoid or softmax, and Poisson's the logarithm of the rate. Together with it they
are stable for any finite logit. ``Network.fit`` hands them those numbers also when a network ends in
that activation.

Any function ``loss(prediction, target, sample_weight=None) -> (value, dy)`` is a loss.
"""

from nnbackend.losses.base import LOSSES, Loss, absorbed_activation, get, trait
from nnbackend.losses.cross_entropy import (
    BinaryCrossEntropy,
    BinaryFocal,
    KLDivergence,
    SoftmaxCrossEntropy,
    SoftmaxFocal,
    binary_cross_entropy,
    binary_focal,
    kl_divergence,
    softmax_cross_entropy,
    softmax_focal,
)
from nnbackend.losses.each_member import EachMember
from nnbackend.losses.margin import (
    CategoricalHinge,
    Hinge,
    SquaredHinge,
    categorical_hinge,
    hinge,
    squared_hinge,
)
from nnbackend.losses.per_output import PerOutput, PerOutputSpec, loss_for_outputs
from nnbackend.losses.regression import (
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    Quantile,
    huber,
    log_cosh,
    mae,
    mse,
    poisson,
    quantile,
)
from nnbackend.losses.similarity import CosineSimilarity, cosine_similarity

__all__ = [
    "LOSSES",
    "BinaryCrossEntropy",
    "BinaryFocal",
    "CategoricalHinge",
    "CosineSimilarity",
    "EachMember",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "PerOutput",
    "PerOutputSpec",
    "Poisson",
    "Quantile",
    "SoftmaxCrossEntropy",
    "SoftmaxFocal",
    "SquaredHinge",
    "absorbed_activation",
    "binary_cross_entropy",
    "binary_focal",
    "categorical_hinge",
    "cosine_similarity",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "loss_for_outputs",
    "mae",
    "mse",
    "poisson",
    "quantile",
    "softmax_cross_entropy",
    "softmax_focal",
    "squared_hinge",
    "trait",
]
