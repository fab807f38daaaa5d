"""Options of ``nnbackend train`` that are lists: widths, quantiles, changes of images."""

from __future__ import annotations

from nnbackend import transforms
from nnbackend.errors import unknown_name
from nnbackend.tabular.recipe import Recipe
from nnbackend.transforms import Transform

__all__ = ["AUGMENTATIONS", "read_augmentations", "read_quantiles", "read_widths"]

MAX_WIDTH = 1 << 24
AUGMENTATIONS: dict[str, Transform] = {
    "flip": transforms.RandomFlip(),
    "shift": transforms.RandomShift(fraction=0.125),
    "mixup": transforms.Mixup(),
    "cutmix": transforms.CutMix(),
}


def read_widths(text: str) -> list[int]:
    """Return the widths that ``64,64`` stands for."""
    if text.strip().lower() == "none":
        return []
    widths = [int(width) if width.strip().isdecimal() else 0 for width in text.split(",")]
    if not all(1 <= width <= MAX_WIDTH for width in widths):
        raise ValueError(
            f"--hidden takes widths like 64,64 of at most {MAX_WIDTH}, or none; got {text!r}"
        )
    return widths


def read_quantiles(text: str) -> list[float]:
    """Return the quantiles that ``0.1,0.5,0.9`` stands for."""
    try:
        found = tuple(float(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"--quantiles takes numbers like 0.1,0.5,0.9; got {text!r}") from None
    Recipe(quantiles=found)  # refuses those that cannot be
    return list(found)


def read_augmentations(text: str) -> list[str]:
    """Return the names that ``shift,mixup`` stands for."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in AUGMENTATIONS:
            raise unknown_name("augmentation", name, AUGMENTATIONS)
    return names
