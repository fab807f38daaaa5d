"""Layers of networks for tables: RealMLP, TabM and ensembles that are trained together."""

from nnbackend.layers.tabular.feature_scale import FeatureScale
from nnbackend.layers.tabular.member_dense import MemberDense
from nnbackend.layers.tabular.member_mean import MemberMean
from nnbackend.layers.tabular.parametric_activation import ParametricActivation
from nnbackend.layers.tabular.periodic_embedding import PeriodicEmbedding
from nnbackend.layers.tabular.rank_one_dense import RankOneDense
from nnbackend.layers.tabular.replicate import Replicate
from nnbackend.layers.tabular.scaled_dense import ScaledDense

__all__ = [
    "FeatureScale",
    "MemberDense",
    "MemberMean",
    "ParametricActivation",
    "PeriodicEmbedding",
    "RankOneDense",
    "Replicate",
    "ScaledDense",
]
