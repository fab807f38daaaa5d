"""The augmentation of a fit, checked against the network before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nnbackend.core.random import ShapeGenerator
from nnbackend.core.tree import flatten
from nnbackend.training.objective import Objective
from nnbackend.transforms import augmentation_for

if TYPE_CHECKING:
    from nnbackend.network import Network

__all__ = ["with_augmentation"]


def with_augmentation(objective: Objective, augment: Any, network: Network) -> Objective:
    """Return an objective whose batches of training go through the transforms ``augment``.

    Raises:
        TypeError: an entry is no transform.
        ValueError: a transform does not go with the inputs, the loss or the layers.
    """
    augmentation = augmentation_for(augment, network.output_shape, objective.loss)
    if augmentation is None:
        return objective
    own = network.input_shape
    shape = augmentation.shape_after(own)
    if shape != own:
        _check_takes(network, own, shape)
    return replace(objective, augmentation=augmentation)


def _check_takes(network: Network, own: Any, shape: Any) -> None:
    """Check that inputs of another shape give outputs of the same shape, with the same parameters."""
    try:
        params, output = network.layers.init(shape, ShapeGenerator((0, 0)))
    except ValueError as error:
        raise ValueError(
            f"augment gives rows of shape {shape}, and the network is built for {own}: {error}"
        ) from error
    here, there = (
        {name: tuple(p.shape) for name, p in flatten(tree).items()}
        for tree in (network.params, params)
    )
    if here != there or output != network.output_shape:
        raise ValueError(
            f"augment gives rows of shape {shape}, and the network, which is built for {own}, does not "
            "take them with the same parameters: leave size out, or pool over whole images"
        )
