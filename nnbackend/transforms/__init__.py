"""Random changes of the batches of training: image augmentation, Mixup and CutMix."""

from nnbackend.transforms.augmentation import Augmentation, augmentation_for
from nnbackend.transforms.base import TRANSFORMS, ImageTransform, Transform, register_transform
from nnbackend.transforms.cutmix import CutMix
from nnbackend.transforms.flip import RandomFlip
from nnbackend.transforms.mixup import Mixup
from nnbackend.transforms.shift import RandomCrop, RandomShift

__all__ = [
    "TRANSFORMS",
    "Augmentation",
    "CutMix",
    "ImageTransform",
    "Mixup",
    "RandomCrop",
    "RandomFlip",
    "RandomShift",
    "Transform",
    "augmentation_for",
    "register_transform",
]
